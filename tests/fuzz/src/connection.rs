//! All that one client sends: heads, bodies and what is pipelined behind them, read by the server's
//! parser and by the [`reference`](crate::reference).
//!
//! The loop here is that of `server/src/connection.rs` without its sockets and its patience: empty
//! lines, a head, its body, and again.

use crate::http::chunked::Chunked;
use crate::http::request::{
    Body, Bounds, Expectation, Method, Parsed, Refusal, Request, parse_within,
};
use crate::http::target;
use crate::reference::chunked::Chunks;
use crate::reference::request::{Framing, Head, Read};
use crate::reference::{self, find};

/// Empty lines before a request that are passed over.
const EMPTY_LINES_MAX: usize = 4;
/// Pieces of one input: each is a look at all that has come, so that their number is squared.
const PIECES_MAX: usize = 600;
/// What might make a request of what is none yet. What was refused must stay refused.
const CONTINUATIONS: [&[u8]; 8] = [
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\r\n",
    b"0\r\n\r\n",
    b"\r\n0\r\n\r\n",
    b" / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\nHost: a\r\n\r\n",
];

/// One request as it was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: Method,
    target: Vec<u8>,
    place: Option<reference::target::Place>,
    authority: Option<Vec<u8>>,
    keep_alive: bool,
    /// `None` for chunks.
    length: Option<u64>,
    expectation: Expectation,
    /// The values of all fields, by their names in lower case, and of those that have a place in
    /// [`Request`] the first.
    fields: Vec<(String, Vec<Vec<u8>>)>,
    /// Where its head ended, and where its body.
    ends: [usize; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More is to come.
    Open,
    /// The last request was the last.
    Closed,
    /// What came next is none.
    Refused,
}

/// What a connection's bytes said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    requests: Vec<Seen>,
    end: End,
}

/// The first byte chooses bounds and pieces; the rest is what the client sends.
///
/// # Panics
/// If server and reference read it differently, or if it matters in which pieces it comes.
pub fn check(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    let bounds = bounds(*choice);
    let whole = product(bytes, bytes.len().max(1), &bounds);
    for piece in [1, 1 + usize::from(*choice) % 31, 127] {
        let piece = piece.max(bytes.len() / PIECES_MAX);
        let pieces = product(bytes, piece, &bounds);
        assert_eq!(
            pieces,
            whole,
            "in pieces of {piece}: {}",
            bytes.escape_ascii()
        );
    }
    let expected = expected(bytes, &bounds);
    if whole.end == End::Refused && expected.end == End::Open {
        // The server need not wait for the end of what cannot become a request.
        assert_eq!(
            whole.requests,
            expected.requests,
            "{}",
            bytes.escape_ascii()
        );
        stays_refused(bytes, &expected, &bounds);
    } else {
        assert_eq!(whole, expected, "{}", bytes.escape_ascii());
    }
}

/// Those of the server, and small ones.
fn bounds(choice: u8) -> Bounds {
    match choice % 4 {
        0 => Bounds {
            header_bytes_max: 256,
            fields_max: 4,
            target_bytes_max: 32,
        },
        1 => Bounds {
            header_bytes_max: 80,
            fields_max: 100,
            target_bytes_max: 64,
        },
        _ => Bounds::default(),
    }
}

fn stays_refused(bytes: &[u8], read: &Reading, bounds: &Bounds) {
    for continuation in CONTINUATIONS {
        let longer = expected(&[bytes, continuation].concat(), bounds);
        let more = longer.requests.len() > read.requests.len();
        assert!(!more, "refused too early: {}", bytes.escape_ascii());
    }
}

/// What the server makes of it, in pieces of so many bytes.
fn product(bytes: &[u8], piece: usize, bounds: &Bounds) -> Reading {
    let mut server = Server {
        bounds,
        input: Vec::new(),
        taken: 0,
        empty_lines: 0,
        body: None,
        reading: Reading {
            requests: Vec::new(),
            end: End::Open,
        },
    };
    for piece in bytes.chunks(piece) {
        server.input.extend_from_slice(piece);
        while server.reading.end == End::Open && server.step() {}
    }
    server.reading
}

/// A body that is being thrown away.
enum Rest {
    Length(u64),
    Chunked(Chunked),
}

struct Server<'a> {
    bounds: &'a Bounds,
    input: Vec<u8>,
    /// Bytes taken off the input.
    taken: usize,
    empty_lines: usize,
    /// That of the last request, and the request.
    body: Option<(Rest, Seen)>,
    reading: Reading,
}

impl Server<'_> {
    /// Takes one thing off the input; false if it wants more.
    fn step(&mut self) -> bool {
        if let Some((rest, seen)) = self.body.take() {
            return self.drain(rest, seen);
        }
        while self.empty_lines < EMPTY_LINES_MAX && self.input.starts_with(b"\r\n") {
            self.take(2);
            self.empty_lines += 1;
        }
        let (rest, mut seen, length) = match parse_within(&self.input, self.bounds) {
            Parsed::Partial => return false,
            Parsed::Refused(refusal) => {
                plausible(refusal, &self.input, self.bounds);
                self.reading.end = End::Refused;
                return true;
            }
            Parsed::Complete(request, length) => {
                let rest = match request.body {
                    Body::None => Rest::Length(0),
                    Body::Length(length) => Rest::Length(length),
                    Body::Chunked => Rest::Chunked(Chunked::default()),
                };
                (rest, seen(&request), length)
            }
        };
        self.take(length);
        self.empty_lines = 0;
        seen.ends[0] = self.taken;
        self.body = Some((rest, seen));
        true
    }

    fn drain(&mut self, rest: Rest, mut seen: Seen) -> bool {
        let (taken, rest) = match rest {
            Rest::Length(left) => {
                let here = self
                    .input
                    .len()
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - here as u64;
                (here, (left > 0).then_some(Rest::Length(left)))
            }
            Rest::Chunked(mut chunked) => match chunked.skip(&self.input) {
                Ok((taken, done)) => (taken, (!done).then_some(Rest::Chunked(chunked))),
                Err(_) => {
                    self.reading.end = End::Refused;
                    return true;
                }
            },
        };
        self.take(taken);
        if let Some(rest) = rest {
            self.body = Some((rest, seen));
            return false;
        }
        seen.ends[1] = self.taken;
        if !seen.keep_alive {
            self.reading.end = End::Closed;
        }
        self.reading.requests.push(seen);
        true
    }

    fn take(&mut self, count: usize) {
        self.input.drain(..count);
        self.taken += count;
    }
}

/// Each refusal has its reason.
fn plausible(refusal: Refusal, input: &[u8], bounds: &Bounds) {
    let line = input
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let lines = input.iter().filter(|byte| **byte == b'\n').count();
    let plausible = match refusal {
        Refusal::BadRequest => true,
        Refusal::TargetTooLong => {
            line.len() > bounds.target_bytes_max || line.len() >= bounds.header_bytes_max
        }
        Refusal::FieldsTooLarge => {
            input.len() >= bounds.header_bytes_max || lines > bounds.fields_max
        }
        Refusal::Coding => find(&input.to_ascii_lowercase(), b"transfer-encoding:").is_some(),
        Refusal::Version => {
            let version = line.splitn(3, |byte| *byte == b' ').nth(2);
            !matches!(version, None | Some(b"HTTP/1.1\r" | b"HTTP/1.0\r"))
        }
    };
    assert!(plausible, "{refusal:?}: {}", input.escape_ascii());
}

/// The request as the server understood it.
fn seen(request: &Request<'_>) -> Seen {
    let names = names(request.head);
    let values = |name: &str| request.fields(name).map(<[u8]>::to_vec).collect();
    let mut fields: Vec<_> = names
        .iter()
        .map(|name| (name.clone(), values(name)))
        .collect();
    let kept: [(&str, Option<&[u8]>); 6] = [
        ("if-match", request.if_match),
        ("if-none-match", request.if_none_match),
        (
            "if-modified-since",
            request.if_modified_since.map(str::as_bytes),
        ),
        (
            "if-unmodified-since",
            request.if_unmodified_since.map(str::as_bytes),
        ),
        ("range", request.range.map(str::as_bytes)),
        ("if-range", request.if_range.map(str::as_bytes)),
    ];
    for (name, kept) in kept {
        let kept = kept.into_iter().map(<[u8]>::to_vec).collect();
        fields.push((format!("first {name}"), kept));
    }
    Seen {
        method: request.method,
        target: request.target.as_bytes().to_vec(),
        place: place(request.target),
        authority: request
            .authority
            .map(|authority| authority.as_bytes().to_vec()),
        keep_alive: request.keep_alive,
        length: match request.body {
            Body::None => Some(0),
            Body::Length(length) => Some(length),
            Body::Chunked => None,
        },
        expectation: request.expectation,
        fields,
        ends: [0; 2],
    }
}

/// The names of fields to be asked for.
fn names(head: &[u8]) -> Vec<String> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    let names = lines.filter_map(|line| line.split(|byte| *byte == b':').next());
    let names = names.filter_map(|name| std::str::from_utf8(name).ok());
    names
        .filter(|name| !matches!(*name, "" | "\r"))
        .map(str::to_ascii_lowercase)
        .collect()
}

/// The path as the server resolves it, which it must have contained.
fn place(text: &str) -> Option<reference::target::Place> {
    let parsed = target::parse(text).ok()?;
    let path = &parsed.path;
    let segments: Vec<Vec<u8>> = match path.is_empty() {
        true => Vec::new(),
        false => path
            .split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect(),
    };
    let contained = |name: &Vec<u8>| !matches!(name.as_slice(), b"" | b"." | b"..");
    assert!(
        segments.iter().all(contained) && !path.contains(&0),
        "{text:?}"
    );
    let redirect = target::slash_redirect(&parsed);
    let again = target::parse(&redirect).expect("what we send clients to can be asked for");
    assert_eq!((&again.path, again.directory), (path, true), "{text:?}");
    assert!(!redirect.starts_with("//") && redirect.bytes().all(|byte| byte > b' '));
    Some(reference::target::Place {
        segments,
        directory: parsed.directory,
        query: parsed.query.as_bytes().to_vec(),
    })
}

/// What the reference makes of it.
fn expected(bytes: &[u8], bounds: &Bounds) -> Reading {
    let mut requests = Vec::new();
    let mut at = 0;
    let end = loop {
        for _ in 0..EMPTY_LINES_MAX {
            at += if bytes[at..].starts_with(b"\r\n") {
                2
            } else {
                0
            };
        }
        let head = match bytes[at..].first() {
            // Rule: one empty line too many is no request, but its first half is not yet one.
            Some(b'\r') if bytes.len() - at == 1 => break End::Open,
            Some(b'\r') => break End::Refused,
            _ => match reference::request::read(&bytes[at..], bounds) {
                Read::Whole(head) => head,
                Read::Incomplete => break End::Open,
                Read::Bad => break End::Refused,
            },
        };
        let start = at + head.length;
        let left = bytes.len() - start;
        let body = match head.framing {
            Framing::Length(length) if length > left as u64 => break End::Open,
            Framing::Length(length) => length as usize,
            Framing::Chunked => match reference::chunked::read(&bytes[start..]) {
                Chunks::Whole(length) => length,
                Chunks::Incomplete => break End::Open,
                Chunks::Bad => break End::Refused,
            },
        };
        at = start + body;
        requests.push(expected_request(&head, [start, at]));
        if !head.keep_alive {
            break End::Closed;
        }
    };
    Reading { requests, end }
}

fn expected_request(head: &Head, ends: [usize; 2]) -> Seen {
    let names: Vec<String> = head
        .fields
        .iter()
        .map(|(name, _)| String::from_utf8_lossy(name).to_ascii_lowercase())
        .collect();
    let values = |name: &str| head.values(name).into_iter().map(<[u8]>::to_vec).collect();
    let mut fields: Vec<_> = names
        .iter()
        .map(|name| (name.clone(), values(name)))
        .collect();
    let first = |name: &str| head.values(name).first().map(|value| value.to_vec());
    // Rule: of a field that is no list, what is no UTF-8 is not understood.
    let first_text = |name: &str| {
        let mut values = head.values(name).into_iter();
        values
            .find(|value| std::str::from_utf8(value).is_ok())
            .map(<[u8]>::to_vec)
    };
    for (name, kept) in [
        ("if-match", first("if-match")),
        ("if-none-match", first("if-none-match")),
        ("if-modified-since", first_text("if-modified-since")),
        ("if-unmodified-since", first_text("if-unmodified-since")),
        ("range", first_text("range")),
        ("if-range", first_text("if-range")),
    ] {
        fields.push((format!("first {name}"), kept.into_iter().collect()));
    }
    Seen {
        method: match head.method.as_slice() {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            b"POST" | b"PUT" | b"DELETE" | b"CONNECT" | b"TRACE" | b"PATCH" => Method::Other,
            _ => Method::Unknown,
        },
        target: head.target.clone(),
        place: reference::target::place(&head.target),
        authority: head.authority.clone(),
        keep_alive: head.keep_alive,
        length: match head.framing {
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        },
        expectation: expectation(head),
        fields,
        ends,
    }
}

/// RFC 9110, 10.1.1. Rule: a repeated field must be the same.
fn expectation(head: &Head) -> Expectation {
    let values = head.values("expect");
    let known = |value: &&[u8]| value.eq_ignore_ascii_case(b"100-continue");
    match (values.is_empty() || !head.recent, values.iter().all(known)) {
        (true, _) => Expectation::None,
        (false, true) => Expectation::Continue,
        (false, false) => Expectation::Other,
    }
}
