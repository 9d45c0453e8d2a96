//! The head of a request, strictly parsed. RFC 9112.

use httparse::{EMPTY_HEADER, Status as Progress};

/// Most bytes of request line and header fields together.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of the request target.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;
/// Most header fields.
pub const FIELDS_MAX: usize = 100;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The file.
    Get,
    /// Its header fields.
    Head,
    /// Anything else.
    Other,
}

/// A request whose head is complete.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is wanted.
    pub method: Method,
    /// Of what.
    pub target: &'a str,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
    /// Bytes of the body that follows; `None` if that is not known beforehand (chunked).
    pub body_bytes: Option<u64>,
    /// The client waits before it sends the body (`Expect`).
    pub expects: bool,
    /// `If-Match`.
    pub if_match: Option<&'a str>,
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<&'a str>,
    /// `Range`.
    pub range: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// All of the head, for the fields that few answers depend on.
    pub head: &'a [u8],
}

impl<'a> Request<'a> {
    /// The value of a field, by its name in lower case: of the first, if there are several. `None` if
    /// it is absent or no UTF-8.
    ///
    /// ```
    /// use ambidex_server::http::request::{Parsed, parse};
    /// let Parsed::Complete(request, _) = parse(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\n\r\n") else {
    ///     panic!("a complete request");
    /// };
    /// assert_eq!((request.field("accept"), request.field("origin")), (Some("x"), None));
    /// ```
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        let mut named = lines.filter_map(|line| {
            let (before, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            before
                .eq_ignore_ascii_case(name.as_bytes())
                .then_some(value)
        });
        std::str::from_utf8(named.next()?.trim_ascii()).ok()
    }
}

/// A head that is refused. The connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400
    BadRequest,
    /// 414
    TargetTooLong,
    /// 431
    FieldsTooLarge,
    /// 505
    Version,
}

/// What became of the bytes so far.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// More bytes are needed.
    Partial,
    /// A request, and how many bytes its head took.
    Complete(Request<'a>, usize),
    /// Not a request.
    Refused(Refusal),
}

/// Parses the head at the start of `bytes`.
///
/// ```
/// use ambidex_server::http::request::{Parsed, parse};
/// let Parsed::Complete(request, length) = parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest") else {
///     panic!("a complete request");
/// };
/// assert_eq!((request.target, length), ("/", 27));
/// ```
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut parser = httparse::Request::new(&mut fields);
    let limited = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    match parser.parse(limited) {
        Ok(Progress::Complete(length)) => match check(&parser, &bytes[..length]) {
            Ok(request) => Parsed::Complete(request, length),
            Err(refusal) => Parsed::Refused(refusal),
        },
        Ok(Progress::Partial) => match too_large(bytes) {
            Some(refusal) => Parsed::Refused(refusal),
            None => Parsed::Partial,
        },
        Err(httparse::Error::TooManyHeaders) => Parsed::Refused(Refusal::FieldsTooLarge),
        Err(httparse::Error::Version) => Parsed::Refused(Refusal::Version),
        Err(_) => Parsed::Refused(Refusal::BadRequest),
    }
}

/// Which limit an unfinished head has passed, if any.
fn too_large(bytes: &[u8]) -> Option<Refusal> {
    let line = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    // The method and the version take some bytes more than the target.
    if line > TARGET_BYTES_MAX + 64 {
        return Some(Refusal::TargetTooLong);
    }
    (bytes.len() >= HEAD_BYTES_MAX).then_some(Refusal::FieldsTooLarge)
}

fn check<'a>(parser: &httparse::Request<'_, 'a>, head: &'a [u8]) -> Result<Request<'a>, Refusal> {
    // httparse takes a bare LF for a line end; another parser in the path may not.
    let bare_lf = head
        .iter()
        .enumerate()
        .any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'));
    let target = parser.path.ok_or(Refusal::BadRequest)?;
    if bare_lf {
        return Err(Refusal::BadRequest);
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    let mut request = Request {
        method: match parser.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            _ => Method::Other,
        },
        target,
        keep_alive: parser.version == Some(1),
        body_bytes: Some(0),
        expects: false,
        if_match: None,
        if_none_match: None,
        if_modified_since: None,
        if_unmodified_since: None,
        range: None,
        if_range: None,
        head,
    };
    let mut fields = Fields::default();
    for field in parser.headers.iter() {
        fields.take(&mut request, field.name, field.value)?;
    }
    fields.conclude(&mut request, parser.version == Some(1))?;
    Ok(request)
}

/// What must be seen of all fields before it can be judged.
#[derive(Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    fn take<'a>(
        &mut self,
        request: &mut Request<'a>,
        name: &str,
        value: &'a [u8],
    ) -> Result<(), Refusal> {
        let text = std::str::from_utf8(value).ok();
        // The first of a field that must not be repeated counts; the rest are not understood.
        let keep = |slot: &mut Option<&'a str>| *slot = slot.or(text);
        // Lengths differ among most of the names, so this costs one comparison each.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.hosts += 1,
            5 if name.eq_ignore_ascii_case("range") => keep(&mut request.range),
            6 if name.eq_ignore_ascii_case("expect") => request.expects = true,
            8 if name.eq_ignore_ascii_case("if-match") => keep(&mut request.if_match),
            8 if name.eq_ignore_ascii_case("if-range") => keep(&mut request.if_range),
            10 if name.eq_ignore_ascii_case("connection") => self.connection(text.unwrap_or("")),
            13 if name.eq_ignore_ascii_case("if-none-match") => keep(&mut request.if_none_match),
            14 if name.eq_ignore_ascii_case("content-length") => self.content_length(value)?,
            17 if name.eq_ignore_ascii_case("if-modified-since") => {
                keep(&mut request.if_modified_since);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.chunked = true,
            19 if name.eq_ignore_ascii_case("if-unmodified-since") => {
                keep(&mut request.if_unmodified_since);
            }
            _ => {}
        }
        Ok(())
    }

    fn connection(&mut self, value: &str) {
        for option in value.split(',').map(str::trim) {
            self.close |= option.eq_ignore_ascii_case("close");
            self.keep_alive |= option.eq_ignore_ascii_case("keep-alive");
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(value)
            .ok()
            .filter(|_| digits)
            .and_then(|text| text.parse().ok())
            .ok_or(Refusal::BadRequest)?;
        if self.length.replace(length).is_some() {
            return Err(Refusal::BadRequest);
        }
        Ok(())
    }

    fn conclude(self, request: &mut Request<'_>, version_1_1: bool) -> Result<(), Refusal> {
        // RFC 9112, 3.2: exactly one Host in HTTP/1.1. 6.1: both lengths is an attack.
        let hosts_wrong = self.hosts > 1 || (version_1_1 && self.hosts == 0);
        if hosts_wrong || (self.chunked && self.length.is_some()) {
            return Err(Refusal::BadRequest);
        }
        request.body_bytes = if self.chunked {
            None
        } else {
            Some(self.length.unwrap_or(0))
        };
        request.keep_alive = !self.close && (version_1_1 || self.keep_alive);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> Option<Refusal> {
        match parse(bytes) {
            Parsed::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n fold\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET /\r\n\r\n",
        ] {
            assert_eq!(
                refusal(bad),
                Some(Refusal::BadRequest),
                "{}",
                bad.escape_ascii()
            );
        }
        assert_eq!(refusal(b"GET / HTTP/2.0\r\n"), Some(Refusal::Version));
    }

    #[test]
    fn limits_have_their_own_answers() {
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "a".repeat(2 * TARGET_BYTES_MAX - 64)
        );
        assert_eq!(refusal(long.as_bytes()), Some(Refusal::TargetTooLong));
        assert_eq!(
            refusal(&long.as_bytes()[..TARGET_BYTES_MAX + 100]),
            Some(Refusal::TargetTooLong)
        );
        let field = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}",
            "b".repeat(HEAD_BYTES_MAX)
        );
        assert_eq!(refusal(field.as_bytes()), Some(Refusal::FieldsTooLarge));
        let many = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(FIELDS_MAX)
        );
        assert_eq!(refusal(many.as_bytes()), Some(Refusal::FieldsTooLarge));
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        for (head, keep) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
                false,
            ),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
                panic!("{head}");
            };
            assert_eq!(request.keep_alive, keep, "{head}");
        }
    }

    #[test]
    fn every_prefix_of_a_request_is_partial() {
        let head = b"GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n";
        for length in 0..head.len() {
            assert!(
                matches!(parse(&head[..length]), Parsed::Partial),
                "{length}"
            );
        }
    }
}
