//! Several parts of a file in one body: RFC 9110, 14.6, and RFC 2046, 5.1.

use std::ops::Range;

/// What is not as it should be, or that the body ends here.
enum Stop {
    Cut,
    Wrong(&'static str),
}

/// What has not been read of a body.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Takes `text` off.
    fn expect(&mut self, text: &[u8], what: &'static str) -> Result<(), Stop> {
        let here = text.len().min(self.0.len());
        if self.0[..here] != text[..here] {
            return Err(Stop::Wrong(what));
        }
        self.0 = &self.0[here..];
        if here < text.len() {
            Err(Stop::Cut)
        } else {
            Ok(())
        }
    }

    /// Takes all up to `end` off, and that.
    fn until(&mut self, end: &[u8]) -> Result<&'a [u8], Stop> {
        let at = self.0.windows(end.len()).position(|here| here == end);
        let at = at.ok_or(Stop::Cut)?;
        let (before, rest) = self.0.split_at(at);
        self.0 = &rest[end.len()..];
        Ok(before)
    }
}

/// Whether `body`, or what has come of it if it is not `whole`, holds each of `parts` of `bytes` once.
pub(super) fn check_parts(
    body: &[u8],
    whole: bool,
    bytes: &[u8],
    boundary: &str,
    mut parts: Vec<Range<usize>>,
) -> Result<(), &'static str> {
    let mut rest = Rest(body);
    let ended = loop {
        if parts.is_empty() {
            let end = format!("\r\n--{boundary}--\r\n");
            break rest.expect(end.as_bytes(), "no end of the parts");
        }
        if let Err(stop) = part(&mut rest, bytes, boundary, &mut parts) {
            break Err(stop);
        }
    };
    match ended {
        Ok(()) if !rest.0.is_empty() => Err("something after the parts"),
        Err(Stop::Wrong(what)) => Err(what),
        Err(Stop::Cut) if whole => Err("parts that break off"),
        Ok(()) | Err(Stop::Cut) => Ok(()),
    }
}

/// One part, which is taken off `parts`.
fn part(
    rest: &mut Rest<'_>,
    bytes: &[u8],
    boundary: &str,
    parts: &mut Vec<Range<usize>>,
) -> Result<(), Stop> {
    let start = format!("\r\n--{boundary}\r\n");
    rest.expect(start.as_bytes(), "no boundary")?;
    let head = rest.until(b"\r\n\r\n")?;
    let head = str::from_utf8(head).map_err(|_| Stop::Wrong("a part's head is no text"))?;
    let range = head
        .split("\r\n")
        .find_map(|line| line.strip_prefix("Content-Range: "));
    let is_it = |part: &Range<usize>| {
        let text = format!("bytes {}-{}/{}", part.start, part.end - 1, bytes.len());
        range == Some(text.as_str())
    };
    let at = parts.iter().position(is_it);
    let part = parts.swap_remove(at.ok_or(Stop::Wrong("a part that is not owed"))?);
    rest.expect(&bytes[part], "wrong bytes in a part")
}
