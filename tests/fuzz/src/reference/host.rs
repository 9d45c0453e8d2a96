//! RFC 9110, 7.2 and RFC 3986, 3.2.2: a host with or without a port.

use std::net::Ipv6Addr;

/// Whether `text` names a host. The empty one does: it is what a client sends that knows no name.
#[must_use]
pub fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    // A colon within brackets belongs to the address.
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    let (name, port) = match text[after_brackets..].find(':') {
        Some(at) => {
            let (name, port) = text.split_at(after_brackets + at);
            (name, Some(&port[1..]))
        }
        None => (text, None),
    };
    let literal = name.strip_prefix('[').map(|rest| rest.strip_suffix(']'));
    let good_name = match literal {
        Some(Some(address)) => is_literal(address),
        Some(None) => false,
        None => is_name(name),
    };
    // Rule: a port without a host is nobody's.
    good_name && port.is_none_or(|port| !name.is_empty() && is_port(port))
}

fn is_port(port: &str) -> bool {
    let significant = port.trim_start_matches('0');
    let digits = port.chars().all(|digit| digit.is_ascii_digit());
    digits && significant.len() <= 5 && significant.parse().unwrap_or(0) <= 65_535
}

fn is_literal(address: &str) -> bool {
    // Rule: the version of an IPvFuture need not be a number, as long as there is something.
    let future = address.strip_prefix('v').or(address.strip_prefix('V'));
    future.map_or_else(
        || address.parse::<Ipv6Addr>().is_ok(),
        |rest| !rest.is_empty() && rest.chars().all(|c| is_plain(c) || matches!(c, ',' | ':')),
    )
}

/// RFC 3986, 3.2.2: reg-name. Rule: without the comma, which is what joins two Host fields.
fn is_name(name: &str) -> bool {
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let escape = rest.as_bytes().get(..3).is_some_and(|escape| {
            escape[0] == b'%' && escape[1..].iter().all(u8::is_ascii_hexdigit)
        });
        if !escape && !is_plain(first) {
            return false;
        }
        rest = &rest[if escape { 3 } else { 1 }..];
    }
    true
}

/// RFC 3986, 2: unreserved and sub-delims, but the comma.
fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()*+;=".contains(c)
}
