//! The head of an answer, as bytes.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// Status code and reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// The reason phrase of RFC 9110.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self.0 {
            200 => "OK",
            201 => "Created",
            202 => "Accepted",
            204 => "No Content",
            206 => "Partial Content",
            301 => "Moved Permanently",
            302 => "Found",
            303 => "See Other",
            304 => "Not Modified",
            307 => "Temporary Redirect",
            308 => "Permanent Redirect",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            412 => "Precondition Failed",
            414 => "URI Too Long",
            416 => "Range Not Satisfiable",
            421 => "Misdirected Request",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            _ => "Internal Server Error",
        }
    }
}

/// Builds the head of an answer.
///
/// ```
/// use ambidex_server::http::head::{Head, Status};
/// let bytes = Head::new(Status(204), "Sun, 06 Nov 1994 08:49:37 GMT")
///     .field("Allow", "GET, HEAD")
///     .finish(true);
/// assert!(bytes.starts_with(b"HTTP/1.1 204 ") && bytes.ends_with(b"\r\n\r\n"));
/// ```
#[derive(Debug)]
#[must_use = "call finish()"]
pub struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// Starts with the status line, `Date` and `Server`.
    pub fn new(status: Status, date: &str) -> Head {
        let mut bytes = Vec::with_capacity(512);
        // Writing to a Vec does not fail.
        let _ = write!(
            bytes,
            "HTTP/1.1 {} {}\r\nDate: {date}\r\nServer: ambidex\r\n",
            status.0,
            status.reason()
        );
        Head { bytes }
    }

    /// Adds a field. `value` must hold no control characters.
    pub fn field(mut self, name: &str, value: impl Display) -> Head {
        let _ = write!(self.bytes, "{name}: {value}\r\n");
        self
    }

    /// Adds a field that holds a date, in seconds since 1970.
    pub fn date(self, name: &str, seconds: u64) -> Head {
        let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
        self.field(name, date)
    }

    /// The bytes so far, for those who change what is in them.
    pub(crate) fn edit(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the head, saying whether the connection goes on.
    #[must_use]
    pub fn finish(self, keep_alive: bool) -> Vec<u8> {
        let connection = if keep_alive { "keep-alive" } else { "close" };
        let mut bytes = self.field("Connection", connection).bytes;
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}
