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
    let rest = strip_scheme(target)?;
    match rest.find(['/', '?', '#']) {
        Some(at) if rest.as_bytes()[at] == b'/' => Some(&rest[at..]),
        // Without a path, the path is "/"; RFC 9112, 3.2.1.
        _ => Some("/"),
    }
}

fn strip_scheme(target: &str) -> Option<&str> {
    let scheme = target.get(..7)?;
    scheme.eq_ignore_ascii_case("http://").then(|| &target[7..])
}

/// The host and port that a target in absolute-form names; `None` in any other form.
///
/// ```
/// use ambidex_server::http::target::authority;
/// assert_eq!(authority("http://a.example:80/b?c"), Some("a.example:80"));
/// assert_eq!(authority("/b"), None);
/// ```
#[must_use]
pub fn authority(target: &str) -> Option<&str> {
    let rest = strip_scheme(target)?;
    Some(&rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())])
}

/// Whether `text` is a host with or without a port (RFC 9110, 7.2): a name, an IPv4 address, or an
/// IP address in brackets. The empty one is: it is what a client sends that knows no name.
///
/// ```
/// use ambidex_server::http::target::is_host;
/// assert!(is_host("a.example:8080") && is_host("[::1]:80") && is_host(""));
/// assert!(!is_host("a b") && !is_host("user@a") && !is_host("a/b") && !is_host("a:b"));
/// ```
#[must_use]
pub fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, rest)) if is_literal(address) => (address, rest),
            _ => return false,
        },
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            if !is_name(name) {
                return false;
            }
            (name, port)
        }
    };
    match port.strip_prefix(':') {
        // A port without a host is nobody's.
        Some(digits) => !name.is_empty() && is_port(digits),
        None => port.is_empty(),
    }
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.is_empty() || digits.parse::<u16>().is_ok())
}

/// What may stand in brackets: RFC 3986, 3.2.2.
fn is_literal(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&byte);
    match address.strip_prefix(['v', 'V']) {
        Some(future) => !future.is_empty() && future.bytes().all(plain),
        None => address.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut escaped = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let good = match byte {
            _ if escaped > 0 => {
                escaped -= 1;
                byte.is_ascii_hexdigit()
            }
            b'%' => {
                escaped = 2;
                at + 2 < bytes.len()
            }
            // Not the comma, though RFC 3986 has it: it is what joins two Host fields.
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' => true,
            b'(' | b')' | b'*' | b'+' | b';' | b'=' => true,
            _ => byte.is_ascii_alphanumeric(),
        };
        if !good {
            return false;
        }
    }
    true
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
    fn a_host_is_a_name_or_an_address_and_maybe_a_port() {
        for host in [
            "",
            "a",
            "a.b-c_d~e",
            "1.2.3.4:80",
            "a:",
            "a:65535",
            "[::1]",
            "[::ffff:1.2.3.4]:80",
            "[v1.a:b]",
            "a%2fb",
            "a%2fx",
            "xn--a",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            ":80", "[v]", "[v1/a]", "a:65536", "a:-1", "a:+1", "a:8o", "a:80:80", "::1", "[::1",
            "[]", "[g]", "[::1]a", "[::1]:x", "a b", "a,b c", "a/b", "a?b", "a#b", "a@b", "a\\b",
            "a\"b", "<a>", "a%2", "a%zz", "\u{e9}", "a\tb", "a{b}", "a|b",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn a_redirect_holds_nothing_that_no_field_may_hold() {
        for (target, expected) in [
            ("//evil.example", "/evil.example/"),
            ("/\\evil.example", "/%5Cevil.example/"),
            ("/\u{e9}", "/%C3%A9/"),
            ("/a%0d%0ab", "/a%0D%0Ab/"),
            ("/a?b=\u{e9}", "/a/?b=%C3%A9"),
        ] {
            let target = parse(target).expect("a target");
            assert_eq!(slash_redirect(&target), expected);
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

    #[test]
    fn path_and_query_are_kept_as_they_were_sent() {
        for (target, raw_path, query) in [
            ("/a%20b?c?d#e", "/a%20b", "?c?d"),
            ("/a#b?c", "/a", ""),
            ("http://h/a?b", "/a", "?b"),
            ("http://h?x", "/", ""),
            ("http://h", "/", ""),
        ] {
            let target = parse(target).expect("a target");
            assert_eq!((target.raw_path, target.query), (raw_path, query));
        }
        for (target, expected) in [
            ("http://h:80/a", Some("h:80")),
            ("HTTP://h?a", Some("h")),
            ("http://h#a", Some("h")),
            ("/http://h", None),
        ] {
            assert_eq!(authority(target), expected, "{target}");
        }
        assert_eq!(slash_redirect(&parse("/?q").expect("a target")), "/?q");
    }
}
