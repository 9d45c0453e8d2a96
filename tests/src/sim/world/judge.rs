//! Whether an answer is right: of one version of the file, which it had while the request was under way.

use std::ops::Range;
use std::time::Duration;

use super::answer::Head;
use super::parts::check_parts;
use super::plan::{FILES, LISTED};
use super::request::{Ask, Owed, Request, encoded, http_date};
use super::site::{DIRECTORY, Site, Version};
use super::time::DAY_ONE;

/// From when to when, as time goes in the world.
pub(super) type Window = (Duration, Duration);

/// What the body of an answer must be.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing is known of it.
    Any,
    /// These bytes.
    Bytes(&'static [u8]),
    /// These parts of them, between boundaries.
    Parts(&'static [u8], String, Vec<Range<usize>>),
    /// A directory, as it was at some time since.
    Listing(Duration),
}

/// Kinds of answers that are judged: each must come up, or nothing is known of it.
pub const KINDS: [&str; 9] = [
    "whole",
    "part",
    "parts",
    "not modified",
    "condition failed",
    "unsatisfiable",
    "list",
    "broken off",
    "kept",
];
/// The last of [`KINDS`]: an answer that ends visibly before its end, for its file became shorter.
pub(super) const BROKEN: usize = 7;
/// Whole answers with a body, of which some were read for an earlier one.
pub(super) const KEPT: usize = 8;

/// An answer whose head is right.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head_bytes: usize,
    pub(super) body_bytes: usize,
    /// The connection ends with it.
    pub(super) closes: bool,
    /// One of [`KINDS`].
    pub(super) kind: Option<usize>,
    body: Body,
}

/// What an answer may say besides what is owed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excuses {
    pub(super) error: bool,
    pub(super) unavailable: bool,
    /// A listing need not know everything of each file.
    pub(super) blind: bool,
}

fn seconds(moment: Duration) -> u64 {
    (DAY_ONE + moment).as_secs()
}

/// Judges the head of an answer to `request`, which was under way during `window`.
pub(super) fn judge(
    head: &Head<'_>,
    request: &Request,
    site: &Site,
    window: Window,
    excuses: Excuses,
) -> Result<Answer, String> {
    let excused = match head.status {
        500 => excuses.error,
        503 => excuses.unavailable,
        _ => false,
    };
    let body = match (head.status, &request.ask) {
        _ if excused => Body::Any,
        (404, Ask::Missing) => Body::Any,
        (200, Ask::Listing) => Body::Listing(window.0),
        (status, Ask::Missing | Ask::Listing) => return Err(format!("answered {status}")),
        _ => of_file(head, request, site, window)?,
    };
    let length = head.length()?;
    let owed = match &body {
        Body::Bytes(bytes) if head.status != 304 => Some(bytes.len()),
        _ => length,
    };
    if length != owed {
        return Err(format!("{length:?} bytes instead of {owed:?}"));
    }
    let kind = match (head.status, &body) {
        (200, Body::Bytes(_)) => Some(0),
        (206, Body::Bytes(_)) => Some(1),
        (206, Body::Parts(..)) => Some(2),
        (304, _) => Some(3),
        (412, _) => Some(4),
        (416, _) => Some(5),
        (_, Body::Listing(_)) => Some(6),
        _ => None,
    };
    let bodiless = request.head || head.status == 304;
    Ok(Answer {
        head_bytes: head.bytes,
        body_bytes: if bodiless { 0 } else { length.unwrap_or(0) },
        closes: head.closes(),
        kind,
        body: if bodiless { Body::Any } else { body },
    })
}

/// What an answer says of a file must be owed for one of its versions: that which it names, if it names any.
fn of_file(
    head: &Head<'_>,
    request: &Request,
    site: &Site,
    window: Window,
) -> Result<Body, String> {
    let tag = head.field("etag");
    if tag.is_none() && matches!(head.status, 200 | 206 | 304) {
        return Err("it names no version".to_owned());
    }
    let between = (seconds(window.0), seconds(window.1));
    let mut versions = site.versions(request.file, window);
    let body = versions.find_map(|version| {
        if tag.is_some_and(|tag| tag != version.tag()) {
            return None;
        }
        let owed = request.owed(version, between);
        let mut bodies = owed
            .iter()
            .map(|owed| matches(head, request, version, owed));
        bodies.find_map(|body| body)
    });
    body.ok_or_else(|| {
        let owed = |version: &Version| (version.tag(), request.owed(version, between));
        let owed: Vec<_> = site.versions(request.file, window).map(owed).collect();
        format!("{} of version {tag:?}; owed: {owed:?}", head.status)
    })
}

/// The body that goes with `head`, if that is what is `owed` for `version`.
fn matches(head: &Head<'_>, request: &Request, version: &Version, owed: &Owed) -> Option<Body> {
    let status = match owed {
        Owed::Whole => 200,
        Owed::Part(_) | Owed::Parts(_) => 206,
        Owed::NotModified => 304,
        Owed::Failed => 412,
        Owed::Unsatisfiable => 416,
    };
    if head.status != status {
        return None;
    }
    let (bytes, size) = (version.bytes(request.file), version.size);
    let named = matches!(status, 200 | 206 | 304);
    if named && head.field("last-modified") != Some(&http_date(version.seconds())) {
        return None;
    }
    let range = head.field("content-range");
    match owed {
        Owed::Whole => range.is_none().then_some(Body::Bytes(bytes)),
        Owed::Part(part) => {
            let right = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            (range == Some(&right)).then(|| Body::Bytes(&bytes[part.clone()]))
        }
        Owed::Parts(parts) => {
            let kind = head.field("content-type")?;
            let boundary = kind.strip_prefix("multipart/byteranges; boundary=")?;
            Some(Body::Parts(bytes, boundary.to_owned(), parts.clone()))
        }
        Owed::Unsatisfiable => (range == Some(&format!("bytes */{size}"))).then_some(Body::Any),
        Owed::NotModified | Owed::Failed => Some(Body::Any),
    }
}

impl Answer {
    /// Judges what has come of the body; it is all of it, or the connection has ended.
    pub(super) fn judge_body(
        &self,
        body: &[u8],
        site: &Site,
        now: Duration,
        excuses: Excuses,
    ) -> Result<(), String> {
        let whole = body.len() == self.body_bytes;
        let wrong = match &self.body {
            Body::Any => return Ok(()),
            Body::Bytes(bytes) => (!bytes.starts_with(body)).then_some("wrong bytes"),
            Body::Parts(bytes, boundary, parts) => {
                check_parts(body, whole, bytes, boundary, parts.clone()).err()
            }
            Body::Listing(_) if !whole => None,
            Body::Listing(since) => check_listing(body, site, (*since, now), excuses.blind).err(),
        };
        wrong.map_or(Ok(()), |wrong| Err(wrong.to_owned()))
    }
}

/// Each file of the directory stands in the list once, with the size and the time of one of its versions.
fn check_listing(
    body: &[u8],
    site: &Site,
    window: Window,
    blind: bool,
) -> Result<(), &'static str> {
    let list: serde_json::Value = serde_json::from_slice(body).map_err(|_| "no list")?;
    let list = list.as_array().ok_or("no list")?;
    if list.len() != LISTED.len() {
        return Err("a list of another length");
    }
    for (item, (place, (path, ..))) in list.iter().zip(LISTED.iter().enumerate()) {
        let name = path
            .strip_prefix(DIRECTORY)
            .and_then(|name| name.strip_prefix('/'));
        if item["name"].as_str() != name || item["type"] != "file" {
            return Err("a list of other names");
        }
        let link = name.map(|name| format!("./{}", encoded(name)));
        if item["href"].as_str() != link.as_deref() {
            return Err("a list of other links");
        }
        let (size, time) = (item["size"].as_u64(), item["mtime"].as_str());
        if blind && size.is_none() && time.is_none() {
            continue;
        }
        let mut versions = site.versions(FILES.len() + 1 + place, window);
        let is_one = |version: &Version| {
            size == Some(version.size as u64) && time == Some(&timestamp(version.seconds()))
        };
        if !versions.any(|version| is_one(&version.clone())) {
            return Err("a list that tells of no version");
        }
    }
    Ok(())
}

/// The time as lists write it: that of the first versions, or one of the world's first day.
fn timestamp(seconds: u64) -> String {
    let Some(since) = seconds.checked_sub(DAY_ONE.as_secs()) else {
        return "2020-09-13T12:26:40Z".to_owned();
    };
    let of_day = 22 * 3600 + 13 * 60 + 20 + since;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("2023-11-14T{hour:02}:{minute:02}:{second:02}Z")
}
