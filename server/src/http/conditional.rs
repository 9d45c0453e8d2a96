//! Conditional requests, in the order of RFC 9110, 13.2.2.

use std::time::{SystemTime, UNIX_EPOCH};

use ambidex::disk::Metadata;

use crate::http::request::{Method, Request};

/// First second of the year 10000: HTTP dates have four digits.
const YEAR_10000: i64 = 253_402_300_800;

/// What tells versions of a file apart.
#[derive(Clone, Debug)]
pub struct Validators {
    /// A strong entity tag, quoted: device, inode, size, and time of change in nanoseconds.
    pub etag: String,
    /// Seconds since 1970 of the last change; never in the future. `None` if no HTTP date can say.
    pub modified: Option<u64>,
}

impl Validators {
    /// Of a file, at the time of day `now`.
    #[must_use]
    pub fn new(metadata: &Metadata, now: SystemTime) -> Validators {
        let (seconds, nanoseconds) = metadata.modified_parts();
        let etag = format!(
            "\"{:x}-{:x}-{:x}-{seconds:x}.{nanoseconds:x}\"",
            metadata.device(),
            metadata.inode(),
            metadata.len()
        );
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let modified = (0..YEAR_10000)
            .contains(&seconds)
            .then(|| seconds.unsigned_abs().min(now));
        Validators { etag, modified }
    }
}

/// What the preconditions decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer the request, and its range.
    Proceed,
    /// Answer the request, all of it: `If-Range` does not match.
    IgnoreRange,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// Judges the preconditions of `request`.
#[must_use]
pub fn judge(request: &Request<'_>, validators: &Validators) -> Verdict {
    let failed = match (request.if_match, request.if_unmodified_since) {
        (Some(tags), _) => !lists(tags, &validators.etag, Comparison::Strong),
        (None, Some(date)) => matches!(newer(validators, date), Some(true)),
        (None, None) => false,
    };
    if failed {
        return Verdict::Failed;
    }
    let readable = matches!(request.method, Method::Get | Method::Head);
    match (request.if_none_match, request.if_modified_since) {
        (Some(tags), _) if lists(tags, &validators.etag, Comparison::Weak) => {
            return if readable {
                Verdict::NotModified
            } else {
                Verdict::Failed
            };
        }
        (None, Some(date)) if readable && matches!(newer(validators, date), Some(false)) => {
            return Verdict::NotModified;
        }
        _ => {}
    }
    match request.if_range {
        Some(condition) if !range_applies(condition, validators) => Verdict::IgnoreRange,
        _ => Verdict::Proceed,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names `etag`, or is `*`.
fn lists(tags: &str, etag: &str, comparison: Comparison) -> bool {
    if tags.trim() == "*" {
        return true;
    }
    let mut rest = tags;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, tag) = match rest.strip_prefix("W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let Some(end) = tag.strip_prefix('"').and_then(|inner| inner.find('"')) else {
            return false;
        };
        let (tag, tail) = tag.split_at(end + 2);
        if tag == etag && !(weak && comparison == Comparison::Strong) {
            return true;
        }
        rest = tail;
    }
}

/// Whether the file is newer than an HTTP date; `None` if that cannot be said.
fn newer(validators: &Validators, date: &str) -> Option<bool> {
    let date = httpdate::parse_http_date(date).ok()?;
    let date = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(validators.modified? > date)
}

fn range_applies(condition: &str, validators: &Validators) -> bool {
    if condition.starts_with('"') || condition.starts_with("W/") {
        return condition == validators.etag;
    }
    // RFC 9110, 13.1.5: a date must match exactly.
    let date = httpdate::parse_http_date(condition).ok();
    let date = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
    date.is_some() && date.map(|date| date.as_secs()) == validators.modified
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Parsed, parse};

    fn verdict(fields: &str) -> Verdict {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{fields}");
        };
        let validators = Validators {
            etag: "\"x\"".to_owned(),
            modified: Some(784_111_777),
        };
        judge(&request, &validators)
    }

    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    #[test]
    fn none_match_wins_over_modified_since() {
        assert_eq!(
            verdict(&format!(
                "If-None-Match: \"y\"\r\nIf-Modified-Since: {AT}\r\n"
            )),
            Verdict::Proceed
        );
        assert_eq!(
            verdict(&format!(
                "If-None-Match: \"x\"\r\nIf-Modified-Since: {BEFORE}\r\n"
            )),
            Verdict::NotModified
        );
    }

    #[test]
    fn match_wins_over_unmodified_since() {
        assert_eq!(
            verdict(&format!(
                "If-Match: \"x\"\r\nIf-Unmodified-Since: {BEFORE}\r\n"
            )),
            Verdict::Proceed
        );
        assert_eq!(verdict("If-Match: W/\"x\"\r\n"), Verdict::Failed);
        assert_eq!(
            verdict(&format!("If-Unmodified-Since: {BEFORE}\r\n")),
            Verdict::Failed
        );
        assert_eq!(
            verdict(&format!("If-Unmodified-Since: {AT}\r\n")),
            Verdict::Proceed
        );
    }

    #[test]
    fn lists_stars_and_weak_tags_are_understood() {
        for fields in [
            "If-None-Match: *\r\n",
            "If-None-Match: W/\"x\"\r\n",
            "If-None-Match: \"a\", \"x,y\" ,\"x\"\r\n",
        ] {
            assert_eq!(verdict(fields), Verdict::NotModified, "{fields}");
        }
        for fields in [
            "If-None-Match: x\r\n",
            "If-None-Match: \"x\r\n",
            "If-None-Match: \r\n",
        ] {
            assert_eq!(verdict(fields), Verdict::Proceed, "{fields}");
        }
    }

    #[test]
    fn a_date_that_makes_no_sense_is_no_condition() {
        assert_eq!(verdict("If-Modified-Since: tomorrow\r\n"), Verdict::Proceed);
        assert_eq!(
            verdict("If-Unmodified-Since: tomorrow\r\n"),
            Verdict::Proceed
        );
        assert_eq!(
            verdict(&format!("If-Modified-Since: {AT}\r\n")),
            Verdict::NotModified
        );
    }

    #[test]
    fn a_range_needs_the_very_same_version() {
        assert_eq!(verdict("If-Range: \"x\"\r\n"), Verdict::Proceed);
        assert_eq!(verdict("If-Range: W/\"x\"\r\n"), Verdict::IgnoreRange);
        assert_eq!(verdict(&format!("If-Range: {AT}\r\n")), Verdict::Proceed);
        assert_eq!(
            verdict(&format!("If-Range: {BEFORE}\r\n")),
            Verdict::IgnoreRange
        );
    }
}
