//! One request and its answer, every byte accounted for; RFC 9112.

use std::fmt;
use std::io;
use std::net::SocketAddr;

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
    /// Not HTTP/1.x, or without a Content-Length.
    Syntax(&'static str),
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
        })
    }

    /// Sends `request` and reads the whole answer, whose body must have `expected` bytes if that
    /// is known.
    ///
    /// # Errors
    /// Any [`Failure`]; the connection is of no more use then.
    pub(crate) async fn exchange(
        &mut self,
        request: &[u8],
        expected: Option<u64>,
    ) -> Result<Answer, Failure> {
        let sent = self.stream.write_all(request).await;
        sent.map_err(Failure::Broken)?;
        let mut filled = 0;
        let head = loop {
            if filled == self.buffer.len() {
                return Err(Failure::Syntax("the head of an answer exceeds 64 KiB"));
            }
            filled += self.read(filled).await?;
            if let Some(head) = parse(&self.buffer[..filled])? {
                break head;
            }
        };
        if expected.is_some_and(|expected| expected != head.length) {
            return Err(Failure::Length {
                expected: expected.unwrap_or_default(),
                announced: head.length,
            });
        }
        let mut body = (filled - head.end) as u64;
        while body < head.length {
            body += self.read(0).await? as u64;
        }
        if body > head.length {
            return Err(Failure::Syntax("more bytes than the answer announced"));
        }
        Ok(Answer {
            length: head.length,
            bytes: head.end as u64 + head.length,
            keep_alive: head.keep_alive,
        })
    }

    async fn read(&mut self, from: usize) -> Result<usize, Failure> {
        match self.stream.read(&mut self.buffer[from..]).await {
            Ok(0) => Err(Failure::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(length) => Ok(length),
            Err(error) => Err(Failure::Broken(error)),
        }
    }
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
