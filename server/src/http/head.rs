//! The head of an answer, as bytes.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

/// Room for most heads, so that building one takes memory once.
const HEAD_BYTES: usize = 512;

/// Status code and reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub u16);

impl Status {
    /// The reason phrase of RFC 9110; empty for a code that it does not know.
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
            406 => "Not Acceptable",
            408 => "Request Timeout",
            410 => "Gone",
            412 => "Precondition Failed",
            413 => "Content Too Large",
            414 => "URI Too Long",
            416 => "Range Not Satisfiable",
            417 => "Expectation Failed",
            421 => "Misdirected Request",
            429 => "Too Many Requests",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            505 => "HTTP Version Not Supported",
            _ => "",
        }
    }
}

/// Builds the head of an answer.
///
/// ```
/// use ambidex_server::http::head::{Head, Status};
/// let bytes = Head::new(Status(204), "Sun, 06 Nov 1994 08:49:37 GMT")
///     .text("Allow", "GET, HEAD")
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
        let mut head = Head {
            bytes: Vec::with_capacity(HEAD_BYTES),
        };
        head.push("HTTP/1.1 ");
        head.push_number(u64::from(status.0));
        head.push(" ");
        head.push(status.reason());
        head.push("\r\nDate: ");
        head.push(date);
        head.push("\r\nServer: ambidex\r\n");
        head
    }

    /// Adds a field. `value` must hold no control characters.
    pub fn field(mut self, name: &str, value: impl Display) -> Head {
        // Writing to a Vec does not fail.
        let _ = write!(self.bytes, "{name}: {value}\r\n");
        self
    }

    /// Adds a field: [`Head::field`] without the cost of formatting.
    pub fn text(mut self, name: &str, value: &str) -> Head {
        self.push(name);
        self.push(": ");
        self.push(value);
        self.push("\r\n");
        self
    }

    /// Adds a field that holds a number.
    pub fn number(mut self, name: &str, value: u64) -> Head {
        self.push(name);
        self.push(": ");
        self.push_number(value);
        self.push("\r\n");
        self
    }

    /// Adds `Content-Range` for the bytes of `range`, which is not empty, out of `size`.
    pub fn content_range(mut self, range: &std::ops::Range<u64>, size: u64) -> Head {
        self.push("Content-Range: bytes ");
        self.push_number(range.start);
        self.push("-");
        self.push_number(range.end - 1);
        self.push("/");
        self.push_number(size);
        self.push("\r\n");
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
    pub fn finish(mut self, keep_alive: bool) -> Vec<u8> {
        Head::conclude(&mut self.bytes, keep_alive);
        self.bytes
    }

    /// Ends a head that lacks nothing else, as [`Head::finish`].
    pub(crate) fn conclude(bytes: &mut Vec<u8>, keep_alive: bool) {
        bytes.extend_from_slice(if keep_alive {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
    }

    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn push_number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&digits[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_the_same_however_they_are_written() {
        for number in [0, 9, 10, 1000, u64::MAX] {
            let fast = Head::new(Status(200), "d").number("N", number);
            let slow = Head::new(Status(200), "d").field("N", number);
            assert_eq!(fast.finish(true), slow.finish(true));
        }
        let head = Head::new(Status(206), "d").content_range(&(5..10), 100);
        assert_eq!(
            head.text("A", "b").finish(false),
            b"HTTP/1.1 206 Partial Content\r\nDate: d\r\nServer: ambidex\r\n\
              Content-Range: bytes 5-9/100\r\nA: b\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn what_is_edited_is_sent() {
        let mut head = Head::new(Status(200), "d");
        head.edit().extend_from_slice(b"A: b\r\n");
        assert_eq!(
            head.finish(true),
            b"HTTP/1.1 200 OK\r\nDate: d\r\nServer: ambidex\r\nA: b\r\nConnection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn dates_are_those_of_http() {
        let head = Head::new(Status(200), "d").date("Last-Modified", 784_111_777);
        let text = String::from_utf8(head.finish(true)).expect("ASCII");
        assert!(
            text.contains("\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
            "{text}"
        );
    }

    #[test]
    fn reasons_are_those_of_the_rfcs() {
        let known = "200 OK|201 Created|202 Accepted|204 No Content|206 Partial Content|\
            301 Moved Permanently|302 Found|303 See Other|304 Not Modified|307 Temporary Redirect|\
            308 Permanent Redirect|400 Bad Request|401 Unauthorized|403 Forbidden|404 Not Found|\
            405 Method Not Allowed|406 Not Acceptable|408 Request Timeout|410 Gone|\
            412 Precondition Failed|413 Content Too Large|414 URI Too Long|416 Range Not Satisfiable|\
            417 Expectation Failed|421 Misdirected Request|429 Too Many Requests|\
            431 Request Header Fields Too Large|500 Internal Server Error|501 Not Implemented|\
            503 Service Unavailable|505 HTTP Version Not Supported";
        for line in known.split('|') {
            let (code, reason) = line.split_once(' ').expect("code and reason");
            assert_eq!(Status(code.parse().expect("a number")).reason(), reason);
        }
        assert_eq!(Status(299).reason(), "");
    }
}
