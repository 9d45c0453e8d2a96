//! What a client asks for, and what the server owes it for each version of a file.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::plan::{FILES, LARGE, LISTED};
use super::site::{DIRECTORY, Version};
use super::time::DAY_ONE;
use crate::sim::disk::MODIFIED;

/// Bytes of a file that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// From the first to the last of them.
    Between(u32, u32),
    /// From this one on.
    From(u32),
    /// So many at the end.
    Last(u32),
}

impl Span {
    /// The bytes of a file of `size`; `None` if it has none of them.
    fn within(self, size: usize) -> Option<Range<usize>> {
        let range = match self {
            Span::Between(first, last) => first as usize..size.min(last as usize + 1),
            Span::From(first) => first as usize..size,
            Span::Last(count) => size.saturating_sub(count as usize)..size,
        };
        (!range.is_empty()).then_some(range)
    }

    fn text(self) -> String {
        match self {
            Span::Between(first, last) => format!("{first}-{last}"),
            Span::From(first) => format!("{first}-"),
            Span::Last(count) => format!("-{count}"),
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A file.
    Whole,
    /// Parts of a file.
    Spans(Vec<Span>),
    /// A file that there is not.
    Missing,
    /// What a directory holds.
    Listing,
}

/// An entity tag in a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// That of the first version of the file.
    First,
    /// The same, said to be weak.
    Weak,
    /// Among others.
    Among,
    /// One of no version.
    Other,
    /// `*`
    Any,
}

/// A date in a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Date {
    /// A second before the first version.
    Before,
    /// When the first version was made.
    First,
    /// When the world began.
    DayOne,
}

impl Date {
    fn seconds(self) -> u64 {
        match self {
            Date::Before => MODIFIED - 1,
            Date::First => MODIFIED,
            Date::DayOne => DAY_ONE.as_secs(),
        }
    }
}

/// On what a request depends; RFC 9110, 13.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On nothing.
    None,
    /// `If-Match`
    Match(Tag),
    /// `If-None-Match`
    NoneMatch(Tag),
    /// `If-Modified-Since`
    Since(Date),
    /// `If-Range`
    RangeTag(Tag),
    /// `If-Range`
    RangeDate(Date),
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The file: a place in [`FILES`], or the one after for [`LARGE`].
    pub file: usize,
    /// What of it.
    pub ask: Ask,
    /// By HEAD.
    pub head: bool,
    /// Whether at all.
    pub condition: Condition,
}

/// What is owed for a version of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owed {
    /// 412
    Failed,
    /// 304
    NotModified,
    /// 416
    Unsatisfiable,
    /// 200
    Whole,
    /// 206
    Part(Range<usize>),
    /// 206, multipart/byteranges, in any order.
    Parts(Vec<Range<usize>>),
}

/// The file of that number: path, bytes, whether it is in the page cache.
pub(super) fn file(number: usize) -> (&'static str, usize, bool) {
    let all = FILES.iter().chain([&LARGE]).chain(&LISTED);
    *all.into_iter().nth(number).expect("a file")
}

/// As HTTP writes a date.
pub(super) fn http_date(seconds: u64) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    httpdate::fmt_http_date(time)
}

/// A path as a target has it: RFC 3986, 2.1.
pub(super) fn encoded(path: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'.' | b'-' | b'/' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}

impl Request {
    /// Writes it; `tag` is that of the first version of its file.
    pub(super) fn write(&self, to: &mut Vec<u8>, tag: &str) {
        let method = if self.head { "HEAD" } else { "GET" };
        let (path, suffix) = match self.ask {
            Ask::Listing => (DIRECTORY, "/"),
            Ask::Missing => (file(self.file).0, "-not"),
            Ask::Whole | Ask::Spans(_) => (file(self.file).0, ""),
        };
        let path = encoded(path);
        let mut text = format!("{method} /{path}{suffix} HTTP/1.1\r\nHost: a\r\n");
        if let Ask::Spans(spans) = &self.ask {
            let spans: Vec<String> = spans.iter().map(|span| span.text()).collect();
            text.push_str(&format!("Range: bytes={}\r\n", spans.join(",")));
        }
        let quote = |named: Tag| match named {
            Tag::First => tag.to_owned(),
            Tag::Weak => format!("W/{tag}"),
            Tag::Among => format!("\"a\", {tag}"),
            Tag::Other => "\"b\"".to_owned(),
            Tag::Any => "*".to_owned(),
        };
        let (name, value) = match self.condition {
            Condition::None => ("", String::new()),
            Condition::Match(tag) => ("If-Match", quote(tag)),
            Condition::NoneMatch(tag) => ("If-None-Match", quote(tag)),
            Condition::Since(date) => ("If-Modified-Since", http_date(date.seconds())),
            Condition::RangeTag(tag) => ("If-Range", quote(tag)),
            Condition::RangeDate(date) => ("If-Range", http_date(date.seconds())),
        };
        if !name.is_empty() {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        to.extend_from_slice(text.as_bytes());
    }

    /// Whether it asks for a file that is in the page cache.
    pub(super) fn is_hot(&self) -> bool {
        self.ask != Ask::Listing && file(self.file).2
    }

    /// Whether it asks for bytes of a file.
    pub(super) fn is_of_file(&self) -> bool {
        matches!(self.ask, Ask::Whole | Ask::Spans(_))
    }

    /// What the server may owe for `version`, if it answers at some time of `between`, in seconds since 1970: a date
    /// tells versions apart only once its second is over.
    pub(super) fn owed(&self, version: &Version, between: (u64, u64)) -> Vec<Owed> {
        // Of two versions, the first has a place of its own: all others came later.
        let same = version.is_first();
        let strong = |tag| match tag {
            Tag::First | Tag::Among => same,
            Tag::Any => true,
            Tag::Weak | Tag::Other => false,
        };
        let changed = version.seconds();
        let in_parts = || vec![self.parts(version.size)];
        match self.condition {
            Condition::Match(tag) if !strong(tag) => vec![Owed::Failed],
            Condition::NoneMatch(Tag::Weak) if same => vec![Owed::NotModified],
            Condition::NoneMatch(tag) if strong(tag) => vec![Owed::NotModified],
            Condition::Since(date) if changed <= date.seconds() => vec![Owed::NotModified],
            // It takes one tag, and that a strong one.
            Condition::RangeTag(tag) if tag != Tag::First || !same => vec![Owed::Whole],
            Condition::RangeDate(date) if changed != date.seconds() || changed >= between.1 => {
                vec![Owed::Whole]
            }
            Condition::RangeDate(_) if changed >= between.0 => {
                vec![Owed::Whole, self.parts(version.size)]
            }
            _ => in_parts(),
        }
    }

    /// What is owed of a file of `size` if nothing else is against it.
    fn parts(&self, size: usize) -> Owed {
        let spans = match &self.ask {
            Ask::Spans(spans) if !self.head => spans,
            _ => return Owed::Whole,
        };
        let mut parts: Vec<_> = spans.iter().filter_map(|span| span.within(size)).collect();
        let total: usize = parts.iter().map(Range::len).sum();
        if total > size {
            return Owed::Whole;
        }
        parts.sort_unstable_by_key(|part| part.start);
        let mut joined: Vec<Range<usize>> = Vec::new();
        for part in parts {
            match joined.last_mut() {
                Some(last) if part.start <= last.end => last.end = last.end.max(part.end),
                _ => joined.push(part),
            }
        }
        match joined.len() {
            0 => Owed::Unsatisfiable,
            1 => Owed::Part(joined.remove(0)),
            _ => Owed::Parts(joined),
        }
    }
}
