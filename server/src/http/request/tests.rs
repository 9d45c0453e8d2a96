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
        ("Transfer-Encoding: ,chunked\r\n", Err(Refusal::BadRequest)),
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
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
    ] {
        assert_eq!(parsed("1.0", fields), Err(Refusal::BadRequest), "{fields}");
    }
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

/// Lengths of names tell most fields apart: these have the same, and mean nothing.
#[test]
fn fields_are_told_by_their_whole_names() {
    let meant = "Range: r\r\nExpect: 100-continue\r\nIf-Match: m\r\nIf-Range: i\r\nConnection: close\r\n\
                 If-None-Match: n\r\nContent-Length: 1\r\nIf-Modified-Since: s\r\nIf-Unmodified-Since: u\r\n";
    let similar = "Date: d\r\nX-Ran: x\r\nX-Expe: x\r\nX-Match-: x\r\nX-Connecti: close\r\nX-None-Match-: x\r\n\
                   X-Content-Leng: 7\r\nX-Modified-Since-: x\r\nX-Unmodified-Since-: x\r\n";
    let parsed = |fields: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head}");
        };
        let Request {
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
            range,
            if_range,
            keep_alive,
            body,
            expectation,
            ..
        } = request;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let tags = [if_match, if_none_match].map(|value| value.map(text));
        let others = [if_modified_since, if_unmodified_since, range, if_range];
        (
            tags,
            others.map(|value| value.map(str::to_owned)),
            keep_alive,
            body,
            expectation,
        )
    };
    let some = |value: &str| Some(value.to_owned());
    let all = (
        [some("m"), some("n")],
        [some("s"), some("u"), some("r"), some("i")],
        false,
        Body::Length(1),
        Expectation::Continue,
    );
    let none = (
        [None, None],
        [None, None, None, None],
        true,
        Body::None,
        Expectation::None,
    );
    assert_eq!(parsed(meant), all);
    assert_eq!(parsed(similar), none);
    assert_eq!(
        parsed(&format!(
            "{similar}{meant}{}",
            meant.replace("Content-Length: 1\r\n", "")
        )),
        all
    );
}

#[test]
fn options_of_a_connection_may_be_repeated() {
    for (version, option, keep) in [("1.1", "close", false), ("1.0", "keep-alive", true)] {
        let head =
            format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {option}, {option}\r\n\r\n");
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head}");
        };
        assert_eq!(request.keep_alive, keep, "{head}");
    }
}

#[test]
fn methods_are_those_of_the_rfcs_in_capitals() {
    for (name, method, keep) in [
        ("GET", Method::Get, true),
        ("HEAD", Method::Head, true),
        ("OPTIONS", Method::Options, true),
        ("POST", Method::Other, true),
        ("PUT", Method::Other, true),
        ("CONNECT", Method::Other, false),
        ("get", Method::Unknown, true),
        ("BREW", Method::Unknown, true),
    ] {
        let head = format!("{name} / HTTP/1.1\r\nHost: a\r\n\r\n");
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head}");
        };
        assert_eq!(
            (request.method, request.keep_alive),
            (method, keep),
            "{name}"
        );
    }
}

#[test]
fn other_fields_are_found_by_name() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1 \r\nx-a:2\r\nX-AB: 3\r\nX-B: \xff\r\n\r\n";
    let Parsed::Complete(request, _) = parse(head) else {
        panic!("a request");
    };
    assert_eq!(request.field("x-a"), Some("1"));
    assert_eq!(request.fields("x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!((request.field("x-b"), request.field("x")), (None, None));
}

#[test]
fn bounds_hold_to_the_byte() {
    let padded = |target: usize, head: usize| {
        let start = format!("GET /{} HTTP/1.1\r\nHost: a\r\nX: ", "a".repeat(target - 1));
        let padding = "b".repeat(head.saturating_sub(start.len() + 4));
        format!("{start}{padding}\r\n\r\n").into_bytes()
    };
    let whole = padded(8192, 16384);
    assert!(matches!(parse(&whole), Parsed::Complete(_, 16384)));
    assert!(matches!(parse(&whole[..16383]), Parsed::Partial));
    assert_eq!(refusal(&padded(8193, 0)), Some(Refusal::TargetTooLong));
    // Nothing more can come that would make a request of it.
    let endless = [&whole[..16380], b"bbbb"].concat();
    assert_eq!(refusal(&endless), Some(Refusal::FieldsTooLarge));
    assert!(matches!(parse(&endless[..16383]), Parsed::Partial));
    let line = [&b"GET /"[..], &[b'a'; 8192 + 64 - 5]].concat();
    assert_eq!(refusal(&line), Some(Refusal::TargetTooLong));
    assert!(matches!(parse(&line[..8192 + 63]), Parsed::Partial));
    assert!(matches!(parse(b"\r"), Parsed::Partial));
}

#[test]
fn a_line_end_is_never_a_newline_alone() {
    // Two of them, too: one does not make up for the other.
    for head in [
        &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/1.1\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\n",
    ] {
        assert_eq!(
            refusal(head),
            Some(Refusal::BadRequest),
            "{}",
            head.escape_ascii()
        );
    }
}
