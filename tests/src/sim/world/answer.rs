//! Answers as a client reads them, and the bytes that files have.

use std::sync::LazyLock;

use super::plan::{FILES, LARGE};

/// The bytes of file number `file`.
pub(super) fn content(file: usize) -> &'static [u8] {
    static CONTENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let all = FILES.into_iter().chain([LARGE]).enumerate();
        let bytes = |(file, (_, size, _))| (0..size).map(|at| byte(file, at)).collect();
        all.map(bytes).collect()
    });
    &CONTENTS[file]
}

fn byte(file: usize, at: usize) -> u8 {
    let mixed = (at as u32).wrapping_mul(0x9E37_79B1) ^ (file as u32).wrapping_mul(0x85EB_CA6B);
    (mixed >> 24) as u8
}

/// An answer, or as much of it as has come.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    /// What it says that its body has.
    pub(super) length: usize,
    /// What of the body is here.
    pub(super) body: &'a [u8],
    /// Bytes of all of it, if it is here.
    pub(super) whole: Option<usize>,
    /// It says that the connection ends.
    pub(super) closes: bool,
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl<'a> Answer<'a> {
    /// The answer that `heard` begins with; `None` if its head is not whole.
    pub(super) fn parse(
        heard: &'a [u8],
        bodiless: bool,
    ) -> Result<Option<Answer<'a>>, &'static str> {
        const START: &[u8] = b"HTTP/1.1 ";
        if !heard.starts_with(&START[..START.len().min(heard.len())]) {
            return Err("no answer");
        }
        let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = str::from_utf8(&heard[..end]).map_err(|_| "a head that is no text")?;
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or("no status")?;
        let length = field(head, "content-length").map(str::parse);
        let length: usize = length.transpose().map_err(|_| "no length")?.unwrap_or(0);
        let comes = if bodiless { 0 } else { length };
        let body = &heard[end + 4..];
        let body = &body[..comes.min(body.len())];
        Ok(Some(Answer {
            status,
            length,
            body,
            whole: (body.len() == comes).then_some(end + 4 + comes),
            closes: field(head, "connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("close")),
        }))
    }
}
