//! Conditional requests, in the order of RFC 9110, 13.2.2.

use std::time::{SystemTime, UNIX_EPOCH};

use ambidex::disk::Metadata;

use crate::http::request::{Method, Request};

/// First second of the year 10000: HTTP dates have four digits.
const YEAR_10000: i64 = 253_402_300_800;

/// Room for the usual entity tag.
const ETAG_BYTES: usize = 64;

/// What tells versions of a file apart.
#[derive(Clone, Debug)]
pub struct Validators {
    /// A strong entity tag, quoted: device, inode, size, time of change in nanoseconds, encoding.
    pub etag: String,
    /// Seconds since 1970 of the last change; never in the future. `None` if no HTTP date can say.
    pub modified: Option<u64>,
    /// Whether that second is over, so that `modified` will not be said of another version.
    pub settled: bool,
}

impl Validators {
    /// Of a file in some `Content-Encoding`, at the time of day `now`.
    #[must_use]
    pub fn new(metadata: &Metadata, encoding: Option<&str>, now: SystemTime) -> Validators {
        let (seconds, nanoseconds) = metadata.modified_parts();
        let mut etag = String::with_capacity(ETAG_BYTES);
        etag.push('"');
        for (number, next) in [
            (metadata.device(), '-'),
            (metadata.inode(), '-'),
            (metadata.len(), '-'),
            // As two's complement, before 1970.
            (seconds.cast_unsigned(), '.'),
        ] {
            push_hex(&mut etag, number);
            etag.push(next);
        }
        push_hex(&mut etag, u64::from(nanoseconds));
        if let Some(encoding) = encoding {
            etag.push('-');
            etag.push_str(encoding);
        }
        etag.push('"');
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let known = (0..YEAR_10000)
            .contains(&seconds)
            .then(|| seconds.unsigned_abs());
        Validators {
            etag,
            modified: known.map(|seconds| seconds.min(now)),
            settled: known.is_some_and(|seconds| seconds < now),
        }
    }
}

fn push_hex(text: &mut String, number: u64) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (number >> (place * 4)) as u32 & 0xf;
        text.extend(char::from_digit(digit, 16));
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
    let lists = |name, comparison| {
        let mut lines = request.fields(name);
        lines.any(|line| lists(line, validators.etag.as_bytes(), comparison))
    };
    let failed = match (request.if_match, request.if_unmodified_since) {
        (Some(_), _) => !lists("if-match", Comparison::Strong),
        (None, Some(date)) => matches!(newer(validators, date), Some(true)),
        (None, None) => false,
    };
    if failed {
        return Verdict::Failed;
    }
    let readable = matches!(request.method, Method::Get | Method::Head);
    match (request.if_none_match, request.if_modified_since) {
        (Some(_), _) if lists("if-none-match", Comparison::Weak) => {
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

/// Whether a list of entity tags names `etag`, or is `*`. What is no entity tag ends the list.
fn lists(tags: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    if tags.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = tags;
    loop {
        while let [b' ' | b'\t' | b',', tail @ ..] = rest {
            rest = tail;
        }
        let (weak, tag) = match rest.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let inner = tag.strip_prefix(b"\"").unwrap_or_default();
        let Some(end) = inner.iter().position(|byte| *byte == b'"') else {
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
    let date = seconds(date)?;
    Some(validators.modified? > date)
}

/// An HTTP date in seconds since 1970; `None` if it is none.
fn seconds(date: &str) -> Option<u64> {
    // httpdate takes any byte between day and time in the format of RFC 850.
    let time = date.find(':')?.checked_sub(3)?;
    if date.as_bytes()[time] != b' ' {
        return None;
    }
    let date = httpdate::parse_http_date(date).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn range_applies(condition: &str, validators: &Validators) -> bool {
    if condition.starts_with('"') || condition.starts_with("W/") {
        return condition == validators.etag;
    }
    // RFC 9110, 13.1.5: a date must match exactly, and be one that tells versions apart (8.8.2.2).
    let date = seconds(condition);
    validators.settled && date.is_some() && date == validators.modified
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ambidex::disk::File;

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
            settled: true,
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
            "If-None-Match: ,, \"a\",,\"x\"\r\n",
            "If-None-Match: \"a\"\r\nIf-None-Match: \"x\"\r\n",
            "If-None-Match: \"\u{e9}\", \"x\"\r\n",
        ] {
            assert_eq!(verdict(fields), Verdict::NotModified, "{fields}");
        }
        for fields in [
            "If-None-Match: x\r\n",
            "If-None-Match: \"x\r\n",
            "If-None-Match: \r\n",
            "If-None-Match: \"x\r\n",
            "If-None-Match: w/\"x\"\r\n",
            "If-None-Match: \"X\"\r\n",
            "If-None-Match: \"a\" x \"x\"\r\n",
        ] {
            assert_eq!(verdict(fields), Verdict::Proceed, "{fields}");
        }
    }

    #[test]
    fn numbers_are_written_in_hexadecimal() {
        for number in [0, 1, 15, 16, 0xabc, u64::MAX] {
            let mut text = String::new();
            push_hex(&mut text, number);
            assert_eq!(text, format!("{number:x}"));
        }
    }

    #[test]
    fn a_second_that_is_not_over_names_no_version() {
        let validators = |settled| Validators {
            etag: "\"x\"".to_owned(),
            modified: Some(784_111_777),
            settled,
        };
        assert!(range_applies(AT, &validators(true)));
        assert!(!range_applies(AT, &validators(false)));
    }

    #[test]
    fn a_date_that_makes_no_sense_is_no_condition() {
        for date in [
            "tomorrow",
            "8:49",
            "Sunday, 06-Nov-94*08:49:36 GMT",
            "Sun, 06 Nov 1994 08:49:36 CET",
        ] {
            for name in ["If-Modified-Since", "If-Unmodified-Since"] {
                let fields = format!("{name}: {date}\r\n");
                assert_eq!(verdict(&fields), Verdict::Proceed, "{fields}");
            }
        }
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

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel for a file")]
    fn a_version_is_named_by_its_file_its_size_and_its_time() {
        let path = std::env::temp_dir().join(format!("ambidex-validators-{}", std::process::id()));
        let modified = UNIX_EPOCH + Duration::new(784_111_777, 171);
        let file = std::fs::File::create(&path).expect("a file");
        let prepared = file.set_len(300).and_then(|()| file.set_modified(modified));
        prepared.expect("its size and time");
        let mut engine = ambidex::Engine::new().expect("an engine");
        let opened = engine.run(async |io| File::open(io.disk(), &path).await);
        std::fs::remove_file(&path).expect("it is ours");
        let metadata = *opened
            .expect("it runs")
            .expect("it opens")
            .metadata_at_open();
        let names = format!("{:x}-{:x}", metadata.device(), metadata.inode());
        let at = |encoding, seconds| {
            Validators::new(
                &metadata,
                encoding,
                UNIX_EPOCH + Duration::from_secs(seconds),
            )
        };
        let later = at(None, 784_111_778);
        assert_eq!(later.etag, format!("\"{names}-12c-2ebc98a1.ab\""));
        assert_eq!((later.modified, later.settled), (Some(784_111_777), true));
        let packed = at(Some("br"), 784_111_777);
        assert_eq!(packed.etag, format!("\"{names}-12c-2ebc98a1.ab-br\""));
        assert_eq!(
            (packed.modified, packed.settled),
            (Some(784_111_777), false)
        );
        // Of a clock that went back, no date is in the future.
        assert_eq!(at(None, 7).modified, Some(7));
    }

    #[test]
    fn a_method_that_reads_nothing_fails_where_others_need_not_read() {
        let verdict = |method: &str, fields: &str| {
            let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
                panic!("{head}");
            };
            let validators = Validators {
                etag: "\"x\"".to_owned(),
                modified: Some(784_111_777),
                settled: true,
            };
            judge(&request, &validators)
        };
        let since = format!("If-Modified-Since: {AT}");
        for (method, tag, date) in [
            ("GET", Verdict::NotModified, Verdict::NotModified),
            ("HEAD", Verdict::NotModified, Verdict::NotModified),
            ("POST", Verdict::Failed, Verdict::Proceed),
        ] {
            assert_eq!(verdict(method, "If-None-Match: \"x\""), tag, "{method}");
            assert_eq!(verdict(method, &since), date, "{method}");
        }
    }
}
