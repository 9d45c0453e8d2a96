//! RFC 9112, 2 to 6: the head of a request, once all of it is there.

use super::{elements, find, host, is_token, is_value, target, trim};
use crate::http::request::Bounds;

/// Rule: what a request line may hold beside its target, in bytes.
const LINE_REST_BYTES: usize = 64;

/// How the end of the body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// By its chunks.
    Chunked,
}

/// A head that can be read in one way only.
#[derive(Clone, Debug)]
pub struct Head {
    /// As sent.
    pub method: Vec<u8>,
    /// As sent.
    pub target: Vec<u8>,
    /// Names as sent, values without the white space around them.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of the target, else of Host.
    pub authority: Option<Vec<u8>>,
    /// What follows.
    pub framing: Framing,
    /// Whether another request may follow.
    pub keep_alive: bool,
    /// Whether the version is 1.1.
    pub recent: bool,
    /// How many bytes it took.
    pub length: usize,
}

/// What `bytes` begins with.
#[derive(Clone, Debug)]
pub enum Read {
    /// A head.
    Whole(Box<Head>),
    /// No head yet, perhaps never.
    Incomplete,
    /// No head.
    Bad,
}

impl Head {
    /// The values of the fields of this name.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = |field: &&(Vec<u8>, Vec<u8>)| field.0.eq_ignore_ascii_case(name.as_bytes());
        self.fields
            .iter()
            .filter(named)
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// All elements of a list that may be spread over several fields.
    fn list(&self, name: &str) -> Vec<&[u8]> {
        self.values(name).into_iter().flat_map(elements).collect()
    }
}

/// Reads the head at the start of `bytes`, before which empty lines have been taken off.
#[must_use]
pub fn read(bytes: &[u8], bounds: &Bounds) -> Read {
    let line_max = (bounds.target_bytes_max + LINE_REST_BYTES).min(bounds.header_bytes_max);
    // For the bound a bare LF ends it too; that is refused once the head is whole.
    let line_end = find(bytes, b"\n").map(|at| at + 1);
    if line_end.unwrap_or(bytes.len()) > line_max {
        return Read::Bad;
    }
    match find(bytes, b"\r\n\r\n").map(|at| at + 4) {
        Some(length) if length > bounds.header_bytes_max => Read::Bad,
        None if bytes.len() >= bounds.header_bytes_max => Read::Bad,
        None => Read::Incomplete,
        Some(length) => match whole(&bytes[..length], bounds) {
            Some(head) => Read::Whole(Box::new(head)),
            None => Read::Bad,
        },
    }
}

fn whole(bytes: &[u8], bounds: &Bounds) -> Option<Head> {
    let text = &bytes[..bytes.len() - 4];
    let mut lines: Vec<&[u8]> = Vec::new();
    let mut rest = text;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    let words: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return None;
    };
    let fields = lines[1..].iter().map(|line| field(line));
    let head = Head {
        method: method.to_vec(),
        target: target.to_vec(),
        fields: fields.collect::<Option<_>>()?,
        authority: None,
        framing: Framing::Length(0),
        keep_alive: false,
        recent: version == b"HTTP/1.1",
        length: bytes.len(),
    };
    let good = is_token(method)
        && is_target(target)
        && target.len() <= bounds.target_bytes_max
        && (head.recent || version == b"HTTP/1.0")
        && head.fields.len() <= bounds.fields_max;
    if !good {
        return None;
    }
    Some(Head {
        authority: authority(&head)?,
        framing: framing(&head)?,
        keep_alive: keep_alive(&head),
        ..head
    })
}

/// Rule: a target may hold UTF-8, though RFC 3986 has it escaped, and whatever else is visible.
fn is_target(target: &[u8]) -> bool {
    let visible = |c: char| c > ' ' && c != '\x7f';
    !target.is_empty() && std::str::from_utf8(target).is_ok_and(|text| text.chars().all(visible))
}

/// RFC 9112, 5. A folded line begins with white space, so its name is none.
fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    (is_token(name) && is_value(value)).then(|| (name.to_vec(), trim(value).to_vec()))
}

/// RFC 9112, 3.2 and 3.2.2: exactly one Host, which a target in absolute-form wins over. The outer
/// `None` is a refusal.
fn authority(head: &Head) -> Option<Option<Vec<u8>>> {
    let host = match head.values("host")[..] {
        [] if !head.recent => None,
        [host] if host::is_host(host) => Some(host.to_vec()),
        _ => return None,
    };
    match target::authority(&head.target) {
        Some(authority) if authority.is_empty() || !host::is_host(authority) => None,
        Some(authority) => Some(Some(authority.to_vec())),
        None => Some(host),
    }
}

/// RFC 9112, 6.3. Rule: what could be read in two ways is refused, and so are codings that are not
/// known here.
fn framing(head: &Head) -> Option<Framing> {
    let codings = head.list("transfer-encoding");
    match (&codings[..], &head.values("content-length")[..]) {
        ([], []) => Some(Framing::Length(0)),
        ([], [length]) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok()?;
            digits.then(|| length.parse().ok().map(Framing::Length))?
        }
        ([coding], []) if head.recent && coding.eq_ignore_ascii_case(b"chunked") => {
            Some(Framing::Chunked)
        }
        _ => None,
    }
}

/// RFC 9112, 9.3. Rule: nothing follows a CONNECT, whose client might take the answer for a tunnel.
fn keep_alive(head: &Head) -> bool {
    let options = head.list("connection");
    let has = |wanted: &str| {
        options
            .iter()
            .any(|o| o.eq_ignore_ascii_case(wanted.as_bytes()))
    };
    !has("close") && (head.recent || has("keep-alive")) && head.method != b"CONNECT"
}
