//! The request target: from bytes on the wire to a path inside the site.

use std::borrow::Cow;

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode, percent_encode, utf8_percent_encode,
};

/// What a path cannot hold as it is; RFC 3986, 3.3. A backslash is one of those: some clients
/// take it for a slash.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// What a query cannot hold as it is.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// A target that makes no sense: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTarget;

/// A path inside the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Relative, without empty, `.` and `..` components, decoded once. Empty for the root.
    pub path: Vec<u8>,
    /// It names a directory: it ends with `/`, `/.` or `/..`.
    pub directory: bool,
    /// The path as it was sent, for a redirect.
    pub raw_path: &'a str,
    /// What follows the path, `?` included; may be empty.
    pub query: &'a str,
}

/// Reads a target in origin-form (`/path?query`) or absolute-form (`http://host/path?query`).
///
/// # Errors
/// [`BadTarget`] for any other form, a broken escape, a NUL byte, or a path that climbs above the
/// root.
///
/// ```
/// use ambidex_server::http::target::parse;
/// let target = parse("/a/./b%20c/../d/?x=1").unwrap();
/// assert_eq!((target.path.as_slice(), target.directory), (&b"a/d"[..], true));
/// assert!(parse("/../etc/passwd").is_err());
/// assert!(parse("/%zz").is_err());
/// ```
pub fn parse(target: &str) -> Result<Target<'_>, BadTarget> {
    let local = strip_authority(target).ok_or(BadTarget)?;
    let end = local.find(['?', '#']).unwrap_or(local.len());
    let (raw_path, rest) = local.split_at(end);
    let query = &rest[..rest.find('#').unwrap_or(rest.len())];
    let decoded = decode(raw_path)?;
    let mut path = Vec::with_capacity(decoded.len());
    let mut directory = true;
    for component in decoded.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => directory = true,
            b".." => {
                if path.is_empty() {
                    return Err(BadTarget);
                }
                let parent = path.iter().rposition(|byte| *byte == b'/');
                path.truncate(parent.unwrap_or(0));
                directory = true;
            }
            name => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(name);
                directory = false;
            }
        }
    }
    Ok(Target {
        path,
        directory,
        raw_path,
        query,
    })
}

fn strip_authority(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let scheme = target.get(..7)?;
    if !scheme.eq_ignore_ascii_case("http://") {
        return None;
    }
    let rest = &target[7..];
    match rest.find(['/', '?', '#']) {
        Some(at) if rest.as_bytes()[at] == b'/' => Some(&rest[at..]),
        // Without a path, the path is "/"; RFC 9112, 3.2.1.
        _ => Some("/"),
    }
}

fn decode(path: &str) -> Result<Cow<'_, [u8]>, BadTarget> {
    let bytes = path.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        let digits = bytes.get(at + 1..at + 3).ok_or(BadTarget)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BadTarget);
        }
    }
    let decoded: Cow<'_, [u8]> = percent_decode(bytes).into();
    if decoded.contains(&0) {
        return Err(BadTarget);
    }
    Ok(decoded)
}

/// Where a request for a directory without its slash is sent: its path, resolved and encoded anew,
/// with one leading slash and one trailing slash, and the same query. `//host` cannot come out of
/// it, nor a line end.
///
/// ```
/// use ambidex_server::http::target::{parse, slash_redirect};
/// assert_eq!(slash_redirect(&parse("//evil.example?q").unwrap()), "/evil.example/?q");
/// assert_eq!(slash_redirect(&parse(r"/\evil%0d%0a").unwrap()), "/%5Cevil%0D%0A/");
/// ```
#[must_use]
pub fn slash_redirect(target: &Target<'_>) -> String {
    let path = percent_encode(&target.path, PATH);
    let slash = if target.path.is_empty() { "" } else { "/" };
    format!("/{path}{slash}{}", utf8_percent_encode(target.query, QUERY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(target: &str) -> Result<(String, bool), BadTarget> {
        parse(target).map(|t| (String::from_utf8_lossy(&t.path).into_owned(), t.directory))
    }

    #[test]
    fn dots_and_slashes_are_resolved() {
        for (target, expected, directory) in [
            ("/", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("//a//b", "a/b", false),
            ("/./a/.", "a", true),
            ("/a/b/..", "a", true),
            ("/a/../b", "b", false),
            ("/a%2fb", "a/b", false),
            ("/%2e/a", "a", false),
            ("/a?b/../../c", "a", false),
            ("/a#b", "a", false),
            ("/a%3fb%23", "a?b#", false),
            ("http://h/a", "a", false),
            ("HTTP://h", "", true),
            ("http://h?x", "", true),
            (
                "/%c0%ae%c0%ae/a",
                "\u{fffd}\u{fffd}\u{fffd}\u{fffd}/a",
                false,
            ),
        ] {
            assert_eq!(
                path(target),
                Ok((expected.to_owned(), directory)),
                "{target}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for target in [
            "",
            "a",
            "*",
            "/..",
            "/../a",
            "/a/../..",
            "/%2e%2e/a",
            "/..%2fa",
            "/%",
            "/%2",
            "/%zz",
            "/%00",
            "/a%00.html",
            "ftp://h/a",
            "http:/a",
        ] {
            assert_eq!(path(target), Err(BadTarget), "{target}");
        }
    }
}
