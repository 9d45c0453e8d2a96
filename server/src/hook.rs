//! What a program does before and after each answer.

use std::future::Future;
use std::io;
use std::pin::Pin;

use crate::http::request::Request;
use crate::http::target::Target;
use crate::policy::fields::{self, is_name, is_reserved, is_value};

/// A future of one engine's thread.
pub(crate) type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A request, as hooks and routes see it. Bodies of requests are not read: short ones are passed
/// over, longer ones end the connection.
#[derive(Debug)]
pub struct Incoming<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) target: &'a Target<'a>,
}

impl Incoming<'_> {
    /// The method, `GET`.
    #[must_use]
    pub fn method(&self) -> &str {
        method(self.request)
    }

    /// The path from the root, decoded, without `.` and `..`; a directory ends with a slash.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        crate::policy::path_of(self.target)
    }

    /// What follows the `?`, as it was sent.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.query.strip_prefix('?')
    }

    /// Host and port as the client named them.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        crate::hosts::authority(self.request)
    }

    /// A header field by its name, the first if there are several; `None` if it is absent or no
    /// UTF-8.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.request.field(name)
    }
}

/// The method of a request, whichever.
pub(crate) fn method<'a>(request: &Request<'a>) -> &'a str {
    let head = request.head.trim_ascii_start();
    let end = head.iter().position(|byte| *byte == b' ').unwrap_or(0);
    std::str::from_utf8(&head[..end]).unwrap_or("")
}

/// Whether a request is of HTTP/1.0: it knows no chunks.
pub(crate) fn is_1_0(request: &Request<'_>) -> bool {
    let line = request.head.trim_ascii_start();
    let end = line
        .iter()
        .position(|byte| *byte == b'\r')
        .unwrap_or(line.len());
    line[..end].ends_with(b" HTTP/1.0")
}

/// An answer of the program's own: status, fields, and a body of known bytes.
///
/// ```
/// use ambidex_server::Answer;
/// let answer = Answer::new(401).field("WWW-Authenticate", "Basic realm=\"files\"");
/// let moved = Answer::redirect(302, "/login");
/// ```
#[derive(Clone, Debug)]
#[must_use = "an answer is sent by who gets it"]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// An answer without fields and body. Whatever cannot be sent (a status below 200 or above 599, a
    /// field with a line end in it, a field that frames the message) makes it a 500.
    pub fn new(status: u16) -> Answer {
        Answer {
            status,
            fields: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Sends the client elsewhere.
    pub fn redirect(status: u16, location: impl Into<String>) -> Answer {
        Answer::new(status).field("Location", location)
    }

    /// Adds a field.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<String>) -> Answer {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Sets the body. Its type is what the field `Content-Type` says.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Answer {
        self.body = body.into();
        self
    }

    /// The answer as it can be sent.
    pub(crate) fn checked(self) -> Answer {
        let good = |(name, value): &(String, String)| may_send(name, value);
        if (200..=599).contains(&self.status) && self.fields.iter().all(good) {
            return self;
        }
        Answer::new(500)
    }
}

fn may_send(name: &str, value: &str) -> bool {
    is_name(name) && is_value(value) && !is_reserved(name)
}

/// The head of an answer that is about to be sent.
#[derive(Debug)]
pub struct Outgoing<'a> {
    head: &'a mut Vec<u8>,
}

impl Outgoing<'_> {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        fields::status(self.head)
    }

    /// Sends this field, and no other of its name.
    ///
    /// # Errors
    /// `InvalidInput` for what cannot be sent: a line end in the value, a field that frames the message.
    pub fn set(&mut self, name: &str, value: &str) -> io::Result<()> {
        if !may_send(name, value) || name.eq_ignore_ascii_case("vary") {
            return Err(refused(name));
        }
        fields::set(self.head, name, value);
        Ok(())
    }

    /// Sends this field beside others of its name.
    ///
    /// # Errors
    /// Those of [`Outgoing::set`].
    pub fn add(&mut self, name: &str, value: &str) -> io::Result<()> {
        if !may_send(name, value) {
            return Err(refused(name));
        }
        fields::add(self.head, name, value);
        Ok(())
    }

    /// Does not send this field. What frames the message stays.
    pub fn remove(&mut self, name: &str) {
        if !is_reserved(name) && !name.eq_ignore_ascii_case("vary") {
            fields::remove(self.head, name);
        }
    }
}

fn refused(name: &str) -> io::Error {
    let text = format!("the header field {name:?} cannot be set to this");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Sees a request first, and may answer it.
pub(crate) trait Before {
    fn call<'a>(&'a self, incoming: &'a Incoming<'a>) -> Local<'a, Option<Answer>>;
}

impl<F: AsyncFn(&Incoming<'_>) -> Option<Answer>> Before for F {
    fn call<'a>(&'a self, incoming: &'a Incoming<'a>) -> Local<'a, Option<Answer>> {
        Box::pin(self(incoming))
    }
}

/// Sees a head last, and may change its fields.
pub(crate) trait After {
    fn call(&self, request: &Request<'_>, head: &mut Vec<u8>);
}

impl<F: Fn(&Request<'_>, &mut Outgoing<'_>)> After for F {
    fn call(&self, request: &Request<'_>, head: &mut Vec<u8>) {
        self(request, &mut Outgoing { head });
    }
}
