//! A small strict blocking HTTP/1.1 client. It parses by hand, so that bad framing is caught and
//! not repaired: one byte too many or too few fails the next read.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use crate::server::HANG_GUARD;

const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Received and not yet consumed.
    buffer: Vec<u8>,
}

/// A response with its body.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Header fields in order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body, empty where the caller or the status says there is none.
    pub body: Vec<u8>,
}

impl Response {
    /// Value of the header field `name`.
    ///
    /// # Panics
    /// When the field occurs more than once: none that we ask for may.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(
            values.next().is_none(),
            "{name} occurs twice in {:?}",
            self.headers
        );
        value
    }

    /// The date in the header field `name`.
    ///
    /// # Panics
    /// When there is none, or it is not in the one form that senders may use.
    pub fn date(&self, name: &str) -> SystemTime {
        let text = self.header(name).expect("a date");
        let time = httpdate::parse_http_date(text).expect("a date");
        assert_eq!(httpdate::fmt_http_date(time), text, "{name}");
        time
    }

    /// The declared length of the body.
    ///
    /// # Panics
    /// When there is none.
    pub fn content_length(&self) -> u64 {
        let length = self.header("content-length").expect("a Content-Length");
        length.parse().expect("checked when it was read")
    }
}

/// Fetches one path on a connection of its own.
pub fn get(addr: SocketAddr, path: &str) -> Response {
    Client::connect(addr).get(path)
}

impl Client {
    /// Connects; no read or write of this client waits longer than [`HANG_GUARD`].
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).expect("the server accepts")
    }

    /// Connects, where being refused is one of the answers.
    pub fn try_connect(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(HANG_GUARD))?;
        stream.set_write_timeout(Some(HANG_GUARD))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends raw bytes that the server may refuse to read to the end.
    pub fn send_refusable(&mut self, bytes: &[u8]) {
        // The response, not this write, is what the test judges.
        let _ = self.stream.write_all(bytes);
    }

    /// Fetches `path`.
    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[])
    }

    /// Sends a request with these further header fields and reads its response.
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        self.send(text.as_bytes());
        self.read_response(method == "HEAD")
    }

    /// Reads one response; `no_body` for the answer to a HEAD.
    pub fn read_response(&mut self, no_body: bool) -> Response {
        self.try_read_response(no_body)
            .expect("a well-formed response")
    }

    /// Reads one response, where a closed connection is one of the answers.
    ///
    /// # Errors
    /// `UnexpectedEof` when the connection ends first, `InvalidData` for anything malformed, and
    /// what the socket says.
    pub fn try_read_response(&mut self, no_body: bool) -> Result<Response> {
        let mut response = self.read_head()?;
        if no_body || matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        let length = content_length(&response)?;
        let length = usize::try_from(length).map_err(|_| malformed("length", &response))?;
        let mut body = vec![0; length];
        self.read_exact(&mut body)?;
        response.body = body;
        Ok(response)
    }

    /// Reads status line and header fields only; the body is left to [`Read`].
    ///
    /// # Errors
    /// As [`Client::try_read_response`].
    pub fn read_head(&mut self) -> Result<Response> {
        let mut searched: usize = 0;
        loop {
            let from = searched.saturating_sub(3);
            let end = self.buffer[from..]
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.buffer.split_off(from + end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return parse_head(&head[..head.len() - 4]);
            }
            searched = self.buffer.len();
            if searched > HEAD_BYTES_MAX {
                return Err(malformed("endless head", &searched));
            }
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk)? {
                0 => {
                    let text = String::from_utf8_lossy(&self.buffer);
                    let what = format!("closed after {text:?}");
                    return Err(Error::new(ErrorKind::UnexpectedEof, what));
                }
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Asserts that the server closes the connection without sending another byte.
    ///
    /// # Panics
    /// When it sends something or stays open past the read timeout.
    pub fn expect_closed(&mut self) {
        let mut byte = [0];
        match self.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Ok(_) => {
                let rest = String::from_utf8_lossy(&self.buffer);
                panic!("expected the end, got {:?}{rest:?}", char::from(byte[0]));
            }
            Err(error) => panic!("expected the end of the connection: {error}"),
        }
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Closes with a reset instead of an orderly end.
    pub fn reset(self) {
        let linger = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(&self.stream, linger).expect("a socket option");
    }
}

impl Read for Client {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.buffer.is_empty() {
            return self.stream.read(into);
        }
        let count = into.len().min(self.buffer.len());
        into[..count].copy_from_slice(&self.buffer[..count]);
        self.buffer.drain(..count);
        Ok(count)
    }
}

fn malformed(what: &str, found: &impl std::fmt::Debug) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("malformed {what}: {found:?}"),
    )
}

/// The one Content-Length: a server that knows its files needs no other framing.
fn content_length(response: &Response) -> Result<u64> {
    if response.header("transfer-encoding").is_some() {
        return Err(malformed("framing", response));
    }
    let value = response.header("content-length");
    value
        .filter(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| malformed("length", &response.headers))
}

fn parse_head(head: &[u8]) -> Result<Response> {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    let text = str::from_utf8(head)
        .ok()
        .filter(|_| head.iter().all(printable));
    let text = text.ok_or_else(|| malformed("bytes", &String::from_utf8_lossy(head)))?;
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let (status, reason) = parse_status(status_line)?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(": ")
            .ok_or_else(|| malformed("field", &line))?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || !name.bytes().all(token) || value.contains(['\r', '\n']) {
            return Err(malformed("field", &line));
        }
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Response {
        status,
        reason,
        headers,
        body: Vec::new(),
    })
}

fn parse_status(line: &str) -> Result<(u16, String)> {
    let rest = line
        .strip_prefix("HTTP/1.1 ")
        .ok_or_else(|| malformed("status line", &line))?;
    let (status, reason) = rest
        .split_once(' ')
        .ok_or_else(|| malformed("status line", &line))?;
    if status.len() != 3 || reason.contains(['\r', '\n']) {
        return Err(malformed("status line", &line));
    }
    let status = status.parse().map_err(|_| malformed("status", &line))?;
    Ok((status, reason.to_owned()))
}
