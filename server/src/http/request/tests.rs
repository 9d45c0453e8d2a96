//! Heads that are taken, heads that are refused.

use super::*;

fn refusal(bytes: &[u8]) -> Option<Refusal> {
    match parse(bytes) {
        Parsed::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

#[test]
fn nonsense_is_refused() {
    for bad in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n fold\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\r",
    ] {
        assert_eq!(
            refusal(bad),
            Some(Refusal::BadRequest),
            "{}",
            bad.escape_ascii()
        );
    }
    assert_eq!(refusal(b"GET / HTTP/2.0\r\n"), Some(Refusal::Version));
}

#[test]
fn limits_have_their_own_answers() {
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
        "a".repeat(2 * 8192 - 64)
    );
    assert_eq!(refusal(long.as_bytes()), Some(Refusal::TargetTooLong));
    assert_eq!(
        refusal(&long.as_bytes()[..8192 + 100]),
        Some(Refusal::TargetTooLong)
    );
    let field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "b".repeat(16384));
    assert_eq!(refusal(field.as_bytes()), Some(Refusal::FieldsTooLarge));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    assert_eq!(refusal(many.as_bytes()), Some(Refusal::FieldsTooLarge));
}

#[test]
fn persistence_follows_version_and_connection() {
    for (head, keep) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
            false,
        ),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
    ] {
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head}");
        };
        assert_eq!(request.keep_alive, keep, "{head}");
    }
}

#[test]
fn bodies_and_expectations_are_told() {
    let parsed = |version: &str, fields: &str| {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        match parse(head.as_bytes()) {
            Parsed::Complete(request, _) => Ok((request.body, request.expectation)),
            Parsed::Refused(refusal) => Err(refusal),
            Parsed::Partial => panic!("{head}"),
        }
    };
    use Expectation as E;
    for (fields, expected) in [
        ("", Ok((Body::None, E::None))),
        ("Content-Length: 0\r\n", Ok((Body::None, E::None))),
        ("Content-Length: 007\r\n", Ok((Body::Length(7), E::None))),
        (
            "Transfer-Encoding: Chunked\r\n",
            Ok((Body::Chunked, E::None)),
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(Refusal::Coding)),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            Err(Refusal::Coding),
        ),
        (
            "Transfer-Encoding: chunked, gzip\r\n",
            Err(Refusal::BadRequest),
        ),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            Err(Refusal::BadRequest),
        ),
        ("Transfer-Encoding: chunked,\r\n", Err(Refusal::BadRequest)),
        ("Transfer-Encoding: gzip\r\n", Err(Refusal::BadRequest)),
        (
            "Transfer-Encoding: chunked;a=b\r\n",
            Err(Refusal::BadRequest),
        ),
        ("Transfer-Encoding:\r\n", Err(Refusal::BadRequest)),
        ("Expect: 100-Continue\r\n", Ok((Body::None, E::Continue))),
        ("Expect: 200-ok\r\n", Ok((Body::None, E::Other))),
        ("Expect: 100-continue, x\r\n", Ok((Body::None, E::Other))),
        (
            "Expect: x\r\nExpect: 100-continue\r\n",
            Ok((Body::None, E::Other)),
        ),
    ] {
        assert_eq!(parsed("1.1", fields), expected, "{fields}");
    }
    assert_eq!(
        parsed("1.0", "Expect: 100-continue\r\n"),
        Ok((Body::None, E::None))
    );
    assert_eq!(
        parsed("1.0", "Transfer-Encoding: chunked\r\n"),
        Err(Refusal::BadRequest)
    );
}

#[test]
fn the_authority_is_that_of_the_target_or_else_of_host() {
    for (target, host, expected) in [
        ("/", "a", Some("a")),
        ("/", "", Some("")),
        ("http://b:80/", "a", Some("b:80")),
        ("http://b", "a", Some("b")),
        ("*", "a", Some("a")),
    ] {
        let head = format!("OPTIONS {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head}");
        };
        assert_eq!(request.authority, expected, "{head}");
    }
    for (target, host) in [
        ("http:///", "a"),
        ("http://u@b/", "a"),
        ("http://b/", "u@a"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            refusal(head.as_bytes()),
            Some(Refusal::BadRequest),
            "{head}"
        );
    }
}

/// The verdict on each prefix is that more is needed, up to the one from which on it is always
/// the same.
#[test]
#[cfg_attr(
    miri,
    ignore = "it parses each prefix of many requests, which takes Miri minutes"
)]
fn the_verdict_does_not_depend_on_how_much_has_arrived() {
    let bounds = Bounds {
        header_bytes_max: 400,
        fields_max: 6,
        target_bytes_max: 100,
    };
    let verdict = |bytes: &[u8]| match parse_within(bytes, &bounds) {
        Parsed::Partial => None,
        Parsed::Complete(request, length) => Some(format!("{length} {request:?}")),
        Parsed::Refused(refusal) => Some(format!("{refusal:?}")),
    };
    let seed = match std::env::var("AMBIDEX_SEED") {
        Ok(text) => text.parse().expect("AMBIDEX_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    let mut rng = fastrand::Rng::with_seed(seed);
    let plain = "GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\nX: y\r\n\r\nGET /b";
    for round in 0..3000 {
        let mut bytes = plain.as_bytes().to_vec();
        for _ in 0..rng.usize(..4) {
            let at = rng.usize(..bytes.len());
            match rng.u8(..4) {
                0 => bytes[at] = rng.u8(..),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, *rng.choice(b"\r\n :/\t\0,").expect("some")),
                _ => {
                    let filler = vec![bytes[at]; rng.usize(..600)];
                    bytes.splice(at..at, filler);
                }
            }
        }
        let last = verdict(&bytes);
        let mut found = None;
        for length in 0..=bytes.len() {
            let now = verdict(&bytes[..length]);
            let text = bytes.escape_ascii();
            let at = || format!("round {round} of AMBIDEX_SEED={seed}, {length} bytes of {text}");
            assert!(found.is_none() || found == now, "{}", at());
            assert!(now.is_none() || now == last, "{}: {now:?}, {last:?}", at());
            found = now;
        }
    }
}

#[test]
fn every_prefix_of_a_request_is_partial() {
    let head = b"GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n";
    for length in 0..head.len() {
        assert!(
            matches!(parse(&head[..length]), Parsed::Partial),
            "{length}"
        );
    }
}
