//! RFC 9112, 7.1: a chunked body, all of it at once.

use super::{find, is_token, is_value};

/// Rule: no chunk size has more digits.
const DIGITS_MAX: usize = 15;
/// Rule: no extension of a chunk has more bytes.
const EXTENSION_BYTES_MAX: usize = 256;
/// Rule: no trailer section has more bytes, each line end counted as one.
const TRAILER_BYTES_MAX: usize = 4096;

/// What `bytes` begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunks {
    /// A body of so many bytes as sent.
    Whole(usize),
    /// More is needed to tell.
    Incomplete,
    /// No chunked body.
    Bad,
}

/// Reads the body at the start of `bytes`.
#[must_use]
pub fn read(bytes: &[u8]) -> Chunks {
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else {
            return Chunks::Incomplete;
        };
        let Some(size) = size(&bytes[at..at + end]) else {
            return Chunks::Bad;
        };
        at += end + 2;
        if size == 0 {
            return trailers(bytes, at);
        }
        if size > (bytes.len() - at) as u64 {
            return Chunks::Incomplete;
        }
        at += size as usize;
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Chunks::Incomplete,
            _ => return Chunks::Bad,
        }
    }
}

fn size(line: &[u8]) -> Option<u64> {
    let mut halves = line.splitn(2, |byte| *byte == b';');
    let digits = std::str::from_utf8(halves.next()?).ok()?;
    let extension = halves.next().unwrap_or_default();
    let good = digits.len() <= DIGITS_MAX
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && extension.len() <= EXTENSION_BYTES_MAX
        && is_value(extension);
    good.then(|| u64::from_str_radix(digits, 16).ok())?
}

fn trailers(bytes: &[u8], start: usize) -> Chunks {
    let (mut at, mut seen) = (start, 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else {
            return Chunks::Incomplete;
        };
        let line = &bytes[at..at + end];
        at += end + 2;
        if line.is_empty() {
            return Chunks::Whole(at);
        }
        seen += line.len() + 1;
        let colon = line.iter().position(|byte| *byte == b':');
        let good = colon.is_some_and(|at| is_token(&line[..at]) && is_value(&line[at + 1..]));
        if !good || seen > TRAILER_BYTES_MAX {
            return Chunks::Bad;
        }
    }
}
