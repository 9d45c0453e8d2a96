//! RFC 9110, 13: preconditions, in the order of 13.2.2.

use super::request::Head;
use super::{date, trim};

/// A representation, as far as conditions see it.
#[derive(Clone, Debug)]
pub struct Version {
    /// Strong, with its quotes.
    pub etag: Vec<u8>,
    /// Seconds since 1970.
    pub modified: Option<u64>,
    /// Whether `modified` tells it from all other versions.
    pub settled: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 412
    Failed,
    /// 304
    NotModified,
    /// The request, with its range or without.
    Perform {
        /// With it.
        ranged: bool,
    },
}

/// Judges the conditions of a request.
#[must_use]
pub fn judge(head: &Head, version: &Version) -> Outcome {
    let readable = matches!(head.method.as_slice(), b"GET" | b"HEAD");
    let given = |name| !head.values(name).is_empty();
    let lists = |name, weakly| {
        let mut lines = head.values(name).into_iter();
        lines.any(|line| names(line, &version.etag, weakly))
    };
    // Step 1 and 2.
    if given("if-match") {
        if !lists("if-match", false) {
            return Outcome::Failed;
        }
    } else if later(head, "if-unmodified-since", version) == Some(true) {
        return Outcome::Failed;
    }
    // Step 3 and 4.
    if given("if-none-match") {
        if lists("if-none-match", true) {
            return match readable {
                true => Outcome::NotModified,
                false => Outcome::Failed,
            };
        }
    } else if readable && later(head, "if-modified-since", version) == Some(false) {
        return Outcome::NotModified;
    }
    // Step 5.
    let ranged = first(head, "if-range").is_none_or(|condition| same(condition, version));
    Outcome::Perform { ranged }
}

/// Rule: of a field that is no list, the first that is UTF-8.
fn first<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    let mut values = head.values(name).into_iter();
    values.find_map(|value| std::str::from_utf8(value).ok())
}

/// Whether the version is later than the date in a field; `None` if there is none, or no telling.
fn later(head: &Head, name: &str, version: &Version) -> Option<bool> {
    Some(version.modified? > date::read(first(head, name)?)?)
}

/// 13.1.5. Rule: what begins with a quote or `W/` is a tag, the rest are dates.
fn same(condition: &str, version: &Version) -> bool {
    if condition.starts_with(['"']) || condition.starts_with("W/") {
        return condition.as_bytes() == version.etag;
    }
    let date = date::read(condition);
    version.settled && date.is_some() && date == version.modified
}

/// 8.8.3: whether a list of entity tags has `etag`. Rule: from the first thing on that is no entity
/// tag nothing is read, and commas may be missing.
fn names(list: &[u8], etag: &[u8], weakly: bool) -> bool {
    if trim(list) == b"*" {
        return true;
    }
    let (mut rest, mut found) = (list, false);
    loop {
        rest = trim(rest);
        if let [b',', after @ ..] = rest {
            rest = after;
            continue;
        }
        let weak = rest.starts_with(b"W/");
        let opaque = if weak { &rest[2..] } else { rest };
        let parts: Vec<&[u8]> = opaque.splitn(3, |byte| *byte == b'"').collect();
        let [b"", inner, after] = parts[..] else {
            return found;
        };
        let tag = [b"\"", inner, b"\""].concat();
        found |= tag == etag && (weakly || !weak);
        rest = after;
    }
}
