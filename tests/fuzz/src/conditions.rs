//! Conditions, ranges and codings: what a request asks for of a representation of any size, as the
//! server reads it and as the [`reference`](crate::reference) does.

use arbitrary::{Arbitrary, Unstructured};

use crate::encoding::{Encoding, Preference};
use crate::http::conditional::{Validators, Verdict, judge};
use crate::http::range::{RANGES_MAX, Selection, select};
use crate::http::request::{Bounds, Method, Parsed, parse_within};
use crate::reference::condition::{self, Outcome, Version};
use crate::reference::range::{self, Sent};
use crate::reference::request::{Head, Read};
use crate::reference::{self, encoding};

const METHODS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "POST"];
const NAMES: [&str; 7] = [
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
    "Accept-Encoding",
];

/// The representation, but for what the text after it says.
#[derive(Arbitrary, Debug)]
struct Given {
    size: Size,
    modified: Option<u32>,
    settled: bool,
    etag: Etag,
    method: u8,
    /// The order of the server's codings.
    offered: [u8; 3],
}

/// Small ones, since those are what ranges are about, and all others.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Size {
    Small(u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Etag {
    X,
    Empty,
    Comma,
    Long,
}

/// A representation, then lines: each begins with a digit for the name of its field.
///
/// # Panics
/// If server and reference decide differently.
pub fn check(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let Ok(given) = Given::arbitrary(&mut input) else {
        return;
    };
    let method = METHODS[usize::from(given.method) % METHODS.len()];
    let mut text = format!("{method} / HTTP/1.1\r\nHost: a\r\n").into_bytes();
    for line in input.take_rest().split(|byte| *byte == b'\n') {
        if let [choice, value @ ..] = line {
            let name = NAMES[usize::from(*choice) % NAMES.len()];
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(&[b": ", value, b"\r\n"].concat());
        }
    }
    text.extend_from_slice(b"\r\n");
    compare(&given, &text);
}

fn compare(given: &Given, text: &[u8]) {
    let bounds = Bounds::default();
    let read = reference::request::read(text, &bounds);
    let (request, head) = match (parse_within(text, &bounds), read) {
        (Parsed::Complete(request, _), Read::Whole(head)) => (request, head),
        (Parsed::Refused(_), Read::Bad) => return,
        _ => panic!("one of them refuses: {}", text.escape_ascii()),
    };
    let shown = || format!("{given:?} {}", text.escape_ascii());
    let version = version(given);
    let validators = Validators {
        etag: String::from_utf8_lossy(&version.etag).into_owned(),
        modified: version.modified,
        settled: version.settled,
    };
    let verdict = judge(&request, &validators);
    let outcome = match verdict {
        Verdict::Failed => Outcome::Failed,
        Verdict::NotModified => Outcome::NotModified,
        Verdict::Proceed => Outcome::Perform { ranged: true },
        Verdict::IgnoreRange => Outcome::Perform { ranged: false },
    };
    assert_eq!(outcome, condition::judge(&head, &version), "{}", shown());
    let size = match given.size {
        Size::Small(size) => u64::from(size),
        Size::Any(size) => size,
    };
    if let (Some(field), Method::Get) = (request.range, request.method) {
        let sent = sent(select(field, size), size);
        assert_eq!(sent, range::read(field, size, RANGES_MAX), "{}", shown());
    }
    assert_eq!(
        accepted(given, request.field("accept-encoding")),
        choices(given, &head),
        "{}",
        shown()
    );
}

fn version(given: &Given) -> Version {
    let long = format!("\"{}\"", "5f-1c03e-7d.0-gzip".repeat(3));
    Version {
        etag: match given.etag {
            Etag::X => b"\"x\"".to_vec(),
            Etag::Empty => b"\"\"".to_vec(),
            Etag::Comma => b"\"a, b\"".to_vec(),
            Etag::Long => long.into_bytes(),
        },
        modified: given.modified.map(u64::from),
        settled: given.settled,
    }
}

/// What the server sends, which must lie within the representation.
fn sent(selection: Selection, size: u64) -> Sent {
    let parts = match selection {
        Selection::Whole => return Sent::Whole,
        Selection::Unsatisfiable => return Sent::Nothing,
        Selection::Part(part) => vec![part],
        Selection::Parts(parts) => {
            assert!((2..=RANGES_MAX).contains(&parts.len()), "{parts:?}");
            parts
        }
    };
    let within = |part: &std::ops::Range<u64>| part.start < part.end && part.end <= size;
    assert!(parts.iter().all(within), "{parts:?} of {size}");
    Sent::Parts(parts)
}

fn offered(given: &Given) -> Vec<Encoding> {
    given
        .offered
        .iter()
        .filter_map(|at| Encoding::ALL.get(usize::from(*at % 4)).copied())
        .collect()
}

fn accepted(given: &Given, field: Option<&str>) -> Vec<Option<&'static str>> {
    let preference = Preference::new(field, &offered(given));
    let codings = preference
        .encodings()
        .iter()
        .map(|encoding| Some(encoding.name()));
    codings.chain(preference.identity.then_some(None)).collect()
}

/// Rule: the first line alone counts, if it is UTF-8.
fn choices(given: &Given, head: &Head) -> Vec<Option<&'static str>> {
    let names: Vec<&str> = offered(given)
        .iter()
        .map(|encoding| encoding.name())
        .collect();
    let line = head.values("accept-encoding").first().copied();
    encoding::choices(line.and_then(|line| std::str::from_utf8(line).ok()), &names)
}
