//! Names and values of header fields, and heads that are changed after the fact.

use std::ops::Range;

/// Whether `name` may be the name of a field: a token of RFC 9110, 5.6.2.
pub(crate) fn is_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// Whether `value` may be sent: printable ASCII, so nothing in it ends the line.
pub(crate) fn is_value(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// Whether the server alone can know the field: what frames the message, or was negotiated.
pub(crate) fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 9] = [
        "Connection",
        "Content-Encoding",
        "Content-Length",
        "Content-Range",
        "Date",
        "Keep-Alive",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
    ];
    RESERVED
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// Adds a field at the end of an open head.
pub(crate) fn add(head: &mut Vec<u8>, name: &str, value: &str) {
    if name.eq_ignore_ascii_case("vary") {
        return vary(head, value);
    }
    for part in [name, ": ", value, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
}

/// Takes out every field of this name.
pub(crate) fn remove(head: &mut Vec<u8>, name: &str) {
    while let Some(line) = find(head, name) {
        head.drain(line);
    }
}

/// Puts one field of this name in the place of all.
pub(crate) fn set(head: &mut Vec<u8>, name: &str, value: &str) {
    remove(head, name);
    add(head, name, value);
}

/// Whether there is a field of this name.
pub(crate) fn has(head: &[u8], name: &str) -> bool {
    find(head, name).is_some()
}

/// The status of a head.
pub(crate) fn status(head: &[u8]) -> u16 {
    let digits = head
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Names what the answer depended on, in the one `Vary` there is.
pub(crate) fn vary(head: &mut Vec<u8>, on: &str) {
    let Some(line) = find(head, "Vary") else {
        head.extend_from_slice(b"Vary: ");
        head.extend_from_slice(on.as_bytes());
        head.extend_from_slice(b"\r\n");
        return;
    };
    let value = &head[line.start + "Vary:".len()..line.end];
    let mut known = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if !known.any(|known| known.eq_ignore_ascii_case(on.as_bytes())) {
        let more = format!(", {on}");
        head.splice(line.end - 2..line.end - 2, more.into_bytes());
    }
}

/// The first line, its end included, of this name.
fn find(head: &[u8], name: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let range = start..start + line.len();
        start = range.end;
        if let Some((before, rest)) = line.split_at_checked(name.len())
            && rest.starts_with(b":")
            && before.eq_ignore_ascii_case(name.as_bytes())
        {
            return Some(range);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nServer: ambidex\r\nVary: Accept-Encoding\r\n";

    #[test]
    fn fields_are_set_added_and_removed() {
        let mut head = HEAD.to_vec();
        add(&mut head, "X-A", "1");
        add(&mut head, "x-a", "2");
        set(&mut head, "server", "other");
        assert_eq!(
            String::from_utf8_lossy(&head),
            "HTTP/1.1 200 OK\r\nVary: Accept-Encoding\r\nX-A: 1\r\nx-a: 2\r\nserver: other\r\n"
        );
        remove(&mut head, "X-A");
        assert!(!has(&head, "x-a") && has(&head, "Server"));
        assert_eq!(status(&head), 200);
    }

    #[test]
    fn there_is_one_vary() {
        let mut head = HEAD.to_vec();
        for on in ["accept-encoding", "Origin", "origin"] {
            vary(&mut head, on);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        assert!(
            text.ends_with("Vary: Accept-Encoding, Origin\r\n"),
            "{text}"
        );
    }

    #[test]
    fn names_and_values_hold_nothing_that_ends_a_line() {
        for (name, good) in [
            ("X-A", true),
            ("", false),
            ("A B", false),
            ("A:", false),
            ("Ä", false),
        ] {
            assert_eq!(is_name(name), good, "{name}");
        }
        for (value, good) in [
            ("a b\tc", true),
            ("", true),
            ("a\r\nb", false),
            ("a\0", false),
            ("ä", false),
        ] {
            assert_eq!(is_value(value), good, "{value:?}");
        }
    }

    #[test]
    fn a_head_without_vary_gets_one() {
        let mut head = b"HTTP/1.1 404 Not Found\r\nVaryx: a\r\n".to_vec();
        add(&mut head, "VARY", "Origin");
        add(&mut head, "Vary", "Accept");
        assert_eq!(
            head,
            b"HTTP/1.1 404 Not Found\r\nVaryx: a\r\nVary: Origin, Accept\r\n"
        );
        assert_eq!((status(&head), status(b"HTTP/1.1 ")), (404, 0));
    }

    #[test]
    fn what_frames_a_message_is_reserved() {
        for (name, reserved) in [
            ("Connection", true),
            ("content-length", true),
            ("TRANSFER-ENCODING", true),
            ("Content-Type", false),
            ("X-A", false),
        ] {
            assert_eq!(is_reserved(name), reserved, "{name}");
        }
    }
}
