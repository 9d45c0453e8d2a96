//! One request and its answer, every byte accounted for; RFC 9112.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ambidex::Handle;
use ambidex::net::TcpStream;

/// Bytes read at a time: a 64 KiB body takes two calls, not one for each segment.
const BUFFER_BYTES: usize = 64 * 1024;
/// Fields of an answer's head.
const FIELDS_MAX: usize = 64;

/// What a well-formed answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Bytes of the body.
    pub length: u64,
    /// Bytes of head and body.
    pub bytes: u64,
    /// Whether the connection can be used again.
    pub keep_alive: bool,
}

/// Why a request has no good answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection.
    Connect(io::Error),
    /// The connection ended or broke before the answer was complete.
    Broken(io::Error),
    /// A status other than 200.
    Status(u16),
    /// The body is not as long as the file.
    Length {
        /// What the file has.
        expected: u64,
        /// What the answer announced.
        announced: u64,
    },
    /// The body is not the file's.
    Content {
        /// The first byte that differs.
        offset: u64,
    },
    /// Not HTTP/1.x, or without a Content-Length.
    Syntax(&'static str),
}

impl Failure {
    /// Whether there is no connection any more that the other side keeps.
    pub(crate) fn is_of_connection(&self) -> bool {
        matches!(self, Failure::Connect(_) | Failure::Broken(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(error) => write!(f, "cannot connect: {error}"),
            Failure::Broken(error) => write!(f, "the connection broke: {error}"),
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::Length {
                expected,
                announced,
            } => write!(f, "a body of {announced} bytes instead of {expected}"),
            Failure::Content { offset } => {
                write!(f, "the body differs from the file at byte {offset}")
            }
            Failure::Syntax(what) => f.write_str(what),
        }
    }
}

/// The head of an answer.
struct Head {
    /// Where the body starts.
    end: usize,
    length: u64,
    keep_alive: bool,
}

/// A connection and its buffer.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// What of the buffer has arrived and is not consumed.
    from: usize,
    to: usize,
    /// Counts what arrives.
    received: Rc<Cell<u64>>,
}

impl Wire {
    /// # Errors
    /// [`Failure::Connect`].
    pub(crate) async fn connect(io: &Handle, address: SocketAddr) -> Result<Wire, Failure> {
        let connect = TcpStream::connect(io.net(), address);
        let stream = connect.await.map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        Ok(Wire {
            stream,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            from: 0,
            to: 0,
            received: Rc::default(),
        })
    }

    /// Adds what arrives from now on to `received`.
    pub(crate) fn counted_by(mut self, received: &Rc<Cell<u64>>) -> Wire {
        self.received = Rc::clone(received);
        self
    }

    /// Sends `request` and reads the whole answer, the only one.
    ///
    /// # Errors
    /// Any [`Failure`]; the connection is of no more use then.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.send(request).await?;
        let answer = self.receive(None, None).await?;
        self.check_empty()?;
        Ok(answer)
    }

    /// # Errors
    /// [`Failure::Broken`].
    pub(crate) async fn send(&mut self, requests: &[u8]) -> Result<(), Failure> {
        let sent = self.stream.write_all(requests).await;
        sent.map_err(Failure::Broken)
    }

    /// Reads the next answer, whose body must have `length` bytes and be `content`, as far as that
    /// is known.
    ///
    /// # Errors
    /// Any [`Failure`]; the connection is of no more use then.
    pub(crate) async fn receive(
        &mut self,
        length: Option<u64>,
        content: Option<&[u8]>,
    ) -> Result<Answer, Failure> {
        let head = loop {
            if self.from < self.to
                && let Some(head) = parse(&self.buffer[self.from..self.to])?
            {
                break head;
            }
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            if self.to == self.buffer.len() {
                return Err(Failure::Syntax("the head of an answer exceeds 64 KiB"));
            }
            self.read().await?;
        };
        self.from += head.end;
        if let Some(expected) = length.filter(|expected| *expected != head.length) {
            return Err(Failure::Length {
                expected,
                announced: head.length,
            });
        }
        self.body(head.length, content).await?;
        Ok(Answer {
            length: head.length,
            bytes: head.end as u64 + head.length,
            keep_alive: head.keep_alive,
        })
    }

    async fn body(&mut self, length: u64, content: Option<&[u8]>) -> Result<(), Failure> {
        let mut done = 0;
        loop {
            let here =
                (self.to - self.from).min(usize::try_from(length - done).unwrap_or(usize::MAX));
            let piece = &self.buffer[self.from..self.from + here];
            if let Some(at) = content.and_then(|content| difference(content, done, piece)) {
                return Err(Failure::Content { offset: at });
            }
            self.from += here;
            done += here as u64;
            if done == length {
                return Ok(());
            }
            (self.from, self.to) = (0, 0);
            self.read().await?;
        }
    }

    /// That nothing has come which nobody asked for.
    pub(crate) fn check_empty(&self) -> Result<(), Failure> {
        if self.from == self.to {
            return Ok(());
        }
        Err(Failure::Syntax("more bytes than the answer announced"))
    }

    async fn read(&mut self) -> Result<(), Failure> {
        match self.stream.read(&mut self.buffer[self.to..]).await {
            Ok(0) => Err(Failure::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => {
                self.to += length;
                self.received.set(self.received.get() + length as u64);
                Ok(())
            }
            Err(error) => Err(Failure::Broken(error)),
        }
    }
}

/// Where `piece` is not what `content` has from `from` on.
fn difference(content: &[u8], from: u64, piece: &[u8]) -> Option<u64> {
    let start = usize::try_from(from)
        .unwrap_or(usize::MAX)
        .min(content.len());
    let expected = &content[start..];
    if expected.starts_with(piece) {
        return None;
    }
    let same = expected.iter().zip(piece).take_while(|(a, b)| a == b);
    Some(from + same.count() as u64)
}

/// `None` if the head is not complete.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let end = match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Failure::Syntax("the answer is not HTTP/1.x")),
    };
    let status = response.code.unwrap_or_default();
    if status != 200 {
        return Err(Failure::Status(status));
    }
    let mut length = None;
    let mut keep_alive = response.version == Some(1);
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(field.value)
                .ok()
                .and_then(|text| text.trim().parse().ok());
        } else if field.name.eq_ignore_ascii_case("connection") {
            keep_alive = !field.value.eq_ignore_ascii_case(b"close");
        }
    }
    match length {
        Some(length) => Ok(Some(Head {
            end,
            length,
            keep_alive,
        })),
        None => Err(Failure::Syntax(
            "the answer has no Content-Length (chunked bodies are not measured)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_complete() {
        let text = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 12\r\n\r\nbody";
        for cut in 0..text.len() - 4 {
            assert!(parse(&text[..cut]).unwrap().is_none(), "{cut}");
        }
        let head = parse(text).unwrap().unwrap();
        assert_eq!((head.end, head.length), (text.len() - 4, 12));
        assert!(head.keep_alive);
    }

    #[test]
    fn the_first_byte_that_differs_is_named() {
        assert_eq!(difference(b"abcdef", 2, b"cd"), None);
        assert_eq!(difference(b"abcdef", 2, b"cX"), Some(3));
        assert_eq!(difference(b"abcdef", 4, b"efg"), Some(6));
    }

    #[test]
    fn connections_that_end_are_known() {
        for (version, connection, keep_alive) in [
            ("1.1", "close", false),
            ("1.1", "Close", false),
            ("1.1", "keep-alive", true),
            ("1.0", "keep-alive", true),
        ] {
            let text = format!(
                "HTTP/{version} 200 OK\r\nConnection: {connection}\r\nContent-Length: 0\r\n\r\n"
            );
            let head = parse(text.as_bytes()).unwrap().unwrap();
            assert_eq!(head.keep_alive, keep_alive, "{text}");
        }
    }

    #[test]
    fn answers_that_cannot_be_checked_fail() {
        let failure = |text: &str| parse(text.as_bytes()).err().map(|error| error.to_string());
        assert_eq!(
            failure("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").as_deref(),
            Some("status 404")
        );
        assert!(failure("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_some());
        assert!(failure("SSH-2.0-OpenSSH\r\n").is_some());
    }
}
