//! The head of a request, strictly parsed. RFC 9112.

use std::mem::MaybeUninit;

use httparse::Status as Progress;

use crate::http::fields::Fields;
use crate::http::target;

/// More header fields than this no [`Bounds`] can allow: room for them is made on the stack.
pub const FIELDS_CEILING: usize = 1024;
/// What a request line holds beside the target: method, version, spaces, line end.
const LINE_REST_BYTES: usize = 64;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes of request line and header fields together.
    pub header_bytes_max: usize,
    /// Most header fields; at most [`FIELDS_CEILING`].
    pub fields_max: usize,
    /// Most bytes of the request target.
    pub target_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            header_bytes_max: 16 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
        }
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The file.
    Get,
    /// Its header fields.
    Head,
    /// What may be done with it.
    Options,
    /// What RFC 9110 and RFC 5789 define and no file can do: 405.
    Other,
    /// What nobody has defined: 501.
    Unknown,
}

impl Method {
    fn of(name: &str) -> Method {
        // Methods are case-sensitive.
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "OPTIONS" => Method::Options,
            "POST" | "PUT" | "DELETE" | "CONNECT" | "TRACE" | "PATCH" => Method::Other,
            _ => Method::Unknown,
        }
    }
}

/// What follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    None,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// What the client waits for before it sends the body (`Expect`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// `100-continue`
    Continue,
    /// What nobody has defined: 417.
    Other,
}

/// A request whose head is complete.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is wanted.
    pub method: Method,
    /// Of what.
    pub target: &'a str,
    /// The host and port it is meant for: those of a target in absolute-form, else of `Host`. `None`
    /// or empty if the client did not say.
    pub authority: Option<&'a str>,
    /// Whether the connection may be used again.
    pub keep_alive: bool,
    /// What follows the head.
    pub body: Body,
    /// What the client waits for before it sends the body.
    pub expectation: Expectation,
    /// `If-Match`, the first line of it.
    pub if_match: Option<&'a [u8]>,
    /// `If-None-Match`, the first line of it.
    pub if_none_match: Option<&'a [u8]>,
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
        std::str::from_utf8(self.fields(name).next()?).ok()
    }

    /// The values of all fields of a name, in lower case.
    pub fn fields<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let lines = self.head.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(move |line| {
            let (before, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b":")?;
            before
                .eq_ignore_ascii_case(name.as_bytes())
                .then(|| value.trim_ascii())
        })
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
    /// 501: a transfer coding that we do not know.
    Coding,
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

/// Parses the head at the start of `bytes`, which must not begin with an empty line, within the
/// default [`Bounds`].
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
    parse_within(bytes, &Bounds::default())
}

/// As [`parse`], within other bounds. The verdict on a stream of bytes does not depend on how many
/// of them are there when it is asked for.
#[must_use]
pub fn parse_within<'a>(bytes: &'a [u8], bounds: &Bounds) -> Parsed<'a> {
    // httparse passes over any number of empty lines; whoever is bounded counts them before.
    match bytes {
        [b'\r'] => return Parsed::Partial,
        [b'\r' | b'\n', ..] => return Parsed::Refused(Refusal::BadRequest),
        _ => {}
    }
    // Each bound cuts off what the parser sees, so that it decides the same however many bytes
    // beyond it have arrived.
    let line_max = bounds.target_bytes_max.saturating_add(LINE_REST_BYTES);
    let line_max = line_max.min(bounds.header_bytes_max);
    let endless = bytes
        .get(..line_max)
        .is_some_and(|line| !line.contains(&b'\n'));
    let (seen_max, refusal) = if endless {
        (line_max, Refusal::TargetTooLong)
    } else {
        (bounds.header_bytes_max, Refusal::FieldsTooLarge)
    };
    let seen = &bytes[..bytes.len().min(seen_max)];
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_CEILING];
    let room = &mut room[..bounds.fields_max.min(FIELDS_CEILING)];
    let mut parser = httparse::Request::new(&mut []);
    match parser.parse_with_uninit_headers(seen, room) {
        Ok(Progress::Complete(length)) => match check(&parser, &bytes[..length], bounds) {
            Ok(request) => Parsed::Complete(request, length),
            Err(refusal) => Parsed::Refused(refusal),
        },
        Ok(Progress::Partial) if bytes.len() >= seen_max => Parsed::Refused(refusal),
        Ok(Progress::Partial) => Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => Parsed::Refused(Refusal::FieldsTooLarge),
        Err(httparse::Error::Version) => Parsed::Refused(Refusal::Version),
        Err(_) => Parsed::Refused(Refusal::BadRequest),
    }
}

fn check<'a>(
    parser: &httparse::Request<'_, 'a>,
    head: &'a [u8],
    bounds: &Bounds,
) -> Result<Request<'a>, Refusal> {
    let method = parser.method.unwrap_or("");
    let target = parser.path.ok_or(Refusal::BadRequest)?;
    if has_bare_newline(head) {
        return Err(Refusal::BadRequest);
    }
    if target.len() > bounds.target_bytes_max {
        return Err(Refusal::TargetTooLong);
    }
    let mut request = Request {
        method: Method::of(method),
        target,
        authority: None,
        keep_alive: false,
        body: Body::None,
        expectation: Expectation::None,
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
    // RFC 9112, 3.2.2: absolute-form wins over Host.
    if let Some(authority) = target::authority(target) {
        if authority.is_empty() || !target::is_host(authority) {
            return Err(Refusal::BadRequest);
        }
        request.authority = Some(authority);
    }
    // A client that takes the answer for a tunnel would send what is no HTTP.
    request.keep_alive &= method != "CONNECT";
    Ok(request)
}

/// httparse takes a bare LF for a line end; another parser in the path may not. Without a branch in
/// the loop, so that the compiler makes vectors of it.
fn has_bare_newline(head: &[u8]) -> bool {
    let pairs = head.iter().zip(&head[1..]);
    pairs.fold(false, |found, (before, byte)| {
        found | ((*byte == b'\n') & (*before != b'\r'))
    })
}

#[cfg(test)]
mod tests;
