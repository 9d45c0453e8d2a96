//! Where a request begins and ends: one interpretation only, whatever the packets.

#[path = "framing/bodies.rs"]
mod bodies;
#[path = "framing/fragments.rs"]
mod fragments;
#[path = "framing/limits.rs"]
mod limits;
#[path = "framing/pipelining.rs"]
mod pipelining;

use ambidex_tests::client::Client;
use ambidex_tests::server::{Server, each_backend};
use ambidex_tests::tree::Tree;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("b", "beta");
    tree
}

/// Asserts that `request` is answered once, with `status`, and the connection closed, whatever
/// follows it; and that the worker still serves.
fn assert_refused(server: &Server, request: impl AsRef<[u8]>, status: u16) {
    let mut bytes = request.as_ref().to_vec();
    let text = bytes[..bytes.len().min(200)].escape_ascii().to_string();
    bytes.extend_from_slice(b"GET /b HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut client = Client::connect(server.addr());
    client.send_refusable(&bytes);
    let response = client.try_read_response(false);
    let response = response.unwrap_or_else(|error| panic!("{text} -> {error}"));
    assert_eq!(response.status, status, "{text}");
    assert_eq!(response.header("connection"), Some("close"), "{text}");
    response.date("date");
    client.expect_closed();
    assert_serves(server);
}

/// Asserts that `request` is answered with `/a`, and the next request too.
fn assert_answered(server: &Server, request: impl AsRef<[u8]>) {
    let request = request.as_ref();
    let text = request[..request.len().min(200)].escape_ascii();
    let mut client = Client::connect(server.addr());
    client.send(request);
    let response = client.read_response(false);
    assert_eq!(
        (response.status, response.body.as_slice()),
        (200, &b"alpha"[..]),
        "{text}"
    );
    assert_eq!(client.get("/b").body, b"beta", "after {text}");
}

fn assert_serves(server: &Server) {
    assert_eq!(Client::connect(server.addr()).get("/a").body, b"alpha");
}

/// Trap 46.
#[test]
fn a_request_names_exactly_one_host_that_can_be_one() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let hosts = [
            "t",
            "t.example.:80",
            "T:",
            "127.0.0.1:1",
            "[::1]:8080",
            "",
            "a_b",
            "xn--bcher-kva",
            " \t t \t",
        ];
        for host in hosts {
            assert_answered(server, format!("GET /a HTTP/1.1\r\nHost:{host}\r\n\r\n"));
        }
        let bad = [
            "t u", "t,u", "t/a", "t?a", "t#a", "u@t", "t:80:80", "t:x", "t:-1", "t:65536", ":80",
            "[::1", "[t]", "::1", "t\\a", "<t>", "%zz", "\u{e9}",
        ];
        for host in bad {
            assert_refused(
                server,
                format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                400,
            );
            // To HTTP/1.0 a Host is not necessary, but one that is there must be one.
            assert_refused(
                server,
                format!("GET /a HTTP/1.0\r\nHost: {host}\r\n\r\n"),
                400,
            );
        }
        for fields in [
            "",
            "Host: t\r\nHost: t\r\n",
            "Host: t\r\nX: y\r\nHOST: u\r\n",
        ] {
            assert_refused(server, format!("GET /a HTTP/1.1\r\n{fields}\r\n"), 400);
        }
        assert_refused(server, "GET /a HTTP/1.0\r\nHost: t\r\nHost: t\r\n\r\n", 400);
    });
}

/// Trap 47; which site it selects is a matter of virtual hosts.
#[test]
fn an_absolute_target_is_understood_and_its_host_must_be_one() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for target in [
            "http://u:80/a",
            "HTTP://u/a?q",
            "http://[::1]/a",
            "http://u/./a",
        ] {
            assert_answered(server, format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"));
        }
        for target in [
            "http:///a",
            "http://",
            "http://u@t/a",
            "http://t:x/a",
            "http://t\\/a",
            "http:/a",
            "ftp://t/a",
            "//t/../../a",
            "t/a",
            "t:80",
            "a",
            "*",
        ] {
            assert_refused(
                server,
                format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"),
                400,
            );
        }
        // It does not excuse a Host that is wrong or missing.
        for fields in ["", "Host: a b\r\n", "Host: t\r\nHost: t\r\n"] {
            assert_refused(
                server,
                format!("GET http://t/a HTTP/1.1\r\n{fields}\r\n"),
                400,
            );
        }
    });
}

/// Traps 49 to 52.
#[test]
fn a_length_that_can_be_read_in_two_ways_is_refused() {
    let tree = tree();
    let lengths = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;a\r\n",
        "Content-Length: 5.0\r\n",
        "Content-Length: 1e3\r\n",
        "Content-Length: \u{663}\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,chunked\r\n",
    ];
    each_backend(tree.path(), |server| {
        for method in ["GET", "POST"] {
            for fields in lengths {
                let request = format!("{method} /a HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
                assert_refused(server, request, 400);
            }
            for fields in [
                "Transfer-Encoding: gzip, chunked\r\n",
                "Transfer-Encoding: nonsense\r\nTransfer-Encoding: Chunked\r\n",
            ] {
                let request = format!("{method} /a HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
                assert_refused(server, request, 501);
            }
            // HTTP/1.0 has no codings: who added the field cannot be trusted with the body.
            let request = format!("{method} /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
            assert_refused(server, request, 400);
        }
    });
}

/// Trap 53.
#[test]
fn a_field_that_others_may_read_otherwise_is_refused() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let get = |line: &[u8]| {
            let mut bytes = b"GET /a HTTP/1.1\r\nHost: t\r\n".to_vec();
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n\r\n");
            bytes
        };
        let lines: [&[u8]; 20] = [
            b"X: a\r\n folded",
            b"X: a\r\n\tfolded",
            b"X : a",
            b"X\t: a",
            b" X: a",
            b"X: a\rb",
            b"X: a\r\r\nY: b",
            b"X: a\nY: b",
            b"\nX: a",
            b"X: a\0b",
            b"X: a\x01b",
            b"X: a\x7fb",
            b"X\0: a",
            b": a",
            b"X",
            b"X(y): a",
            b"X\xe9: a",
            b"\"X\": a",
            b"X@: a",
            b"X y: a",
        ];
        for line in lines {
            assert_refused(server, get(line), 400);
        }
        for line in [
            &b"X:"[..],
            b"X:a",
            b"X: a\tb",
            b"X: \xe9\xff",
            b"!#$%&'*+-.^_`|~: a",
        ] {
            assert_answered(server, get(line));
        }
        // Line ends of the request line and of the head.
        for request in [
            "GET /a HTTP/1.1\nHost: t\r\n\r\n",
            "GET /a HTTP/1.1\r\nHost: t\n\n",
            "GET /a HTTP/1.1\r\nHost: t\r\n\n",
            "GET /a HTTP/1.1\rHost: t\r\r",
            "GET\t/a HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /a\tb HTTP/1.1\r\nHost: t\r\n\r\n",
            "GET /a\x7f HTTP/1.1\r\nHost: t\r\n\r\n",
        ] {
            assert_refused(server, request, 400);
        }
    });
}

/// Trap 58.
#[test]
fn what_is_no_http_1_is_refused_and_closed() {
    let tree = tree();
    let noise: Vec<u8> = (0..=255).cycle().take(5000).collect();
    each_backend(tree.path(), |server| {
        let refused: [&[u8]; 10] = [
            b"GET /a\r\n",
            b"GET /a\r\n\r\n",
            b"GET\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
            b"\x80\x2e\x01\x03\x01",
            b"\0\0\0\0",
            b"SSH-2.0-x\r\n",
            b"\x05\x01\x00",
            &noise,
            b"{\"a\": 1}\n",
        ];
        for bytes in refused {
            assert_refused(server, bytes, 400);
        }
        for bytes in [
            // The version begins with a space.
            "GET /a  HTTP/1.1\r\nHost: t\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET /a HTTP/2.0\r\nHost: t\r\n\r\n",
            "GET /a HTTP/3\r\n\r\n",
            "GET /a HTTP/0.9\r\n\r\n",
            "GET /a HTTP/1.2\r\n\r\n",
        ] {
            assert_refused(server, bytes, 505);
        }
    });
}

/// Trap 58; RFC 9112, 2.2, has us pass over one at least.
#[test]
fn a_few_empty_lines_before_a_request_are_passed_over() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let request = "GET /a HTTP/1.1\r\nHost: t\r\n\r\n";
        for lines in 0..=4 {
            assert_answered(server, format!("{}{request}", "\r\n".repeat(lines)));
        }
        for start in [
            &"\r\n".repeat(5),
            &"\r\n".repeat(100_000),
            "\n",
            "\r\n\n",
            "\r\r\n",
            " \r\n",
        ] {
            assert_refused(server, format!("{start}{request}"), 400);
        }
        // As before each of several, so they do not add up.
        let mut client = Client::connect(server.addr());
        client.send(format!("\r\n\r\n\r\n{request}").repeat(10).as_bytes());
        for _ in 0..10 {
            assert_eq!(client.read_response(false).body, b"alpha");
        }
    });
}
