//! Bodies nobody asked for: read and thrown away, within bounds, and never taken for a request.

use ambidex_tests::client::Client;
use ambidex_tests::server::{Server, backends, each_backend};

use crate::{assert_answered, assert_refused, assert_serves, tree};

const CHUNKED: &str = "GET /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
/// What a smuggler would have us answer.
const SMUGGLED: &str = "GET /b HTTP/1.1\r\nHost: t\r\n\r\n";

/// Trap 54.
#[test]
fn a_body_within_the_bound_is_drained_and_the_connection_kept() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for length in [1, 5, 1000, 16_384, 65_536] {
            let body = SMUGGLED.repeat(length / SMUGGLED.len() + 1);
            let head = format!("GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
            assert_answered(server, format!("{head}{}", &body[..length]));
        }
        let smuggled = format!("{:x}\r\n{SMUGGLED}\r\n", SMUGGLED.len());
        for chunks in [
            "",
            "1\r\nx\r\n",
            "00A\r\n0123456789\r\n",
            &smuggled.repeat(1000),
        ] {
            assert_answered(server, format!("{CHUNKED}{chunks}0\r\n\r\n"));
        }
    });
}

/// Trap 54.
#[test]
fn a_body_beyond_the_bound_is_not_read_and_the_connection_closed() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let chunk = format!("{:x}\r\n{SMUGGLED}\r\n", SMUGGLED.len());
        let endless = format!("{CHUNKED}{}", chunk.repeat(70_000 / chunk.len()));
        let long = format!("{CHUNKED}ffffff\r\n{}", SMUGGLED.repeat(3000));
        let head = "GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 65537\r\n\r\n".to_owned();
        for request in [endless, long, head] {
            let mut client = Client::connect(server.addr());
            client.send_refusable(request.as_bytes());
            let response = client.read_response(false);
            assert_eq!(response.body, b"alpha");
            assert_eq!(response.header("connection"), Some("close"));
            client.expect_closed();
        }
        assert_serves(server);
    });
}

/// Trap 55.
#[test]
fn chunk_extensions_and_trailers_are_passed_over_within_bounds() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let body = |extension: &str, trailer: &str| {
            format!("{CHUNKED}5;{extension}\r\nGET /\r\n0\r\n{trailer}\r\n")
        };
        assert_answered(server, body("a=b;c=\"d e\"", ""));
        assert_answered(
            server,
            body("a", "X: y\r\nContent-Length: 100\r\nHost: u\r\n"),
        );
        assert_answered(server, body(&"e".repeat(256), &"X: y\r\n".repeat(500)));
        assert_refused(server, body(&"e".repeat(257), ""), 400);
        assert_refused(
            server,
            body("a", &format!("X: {}\r\n", "y".repeat(5000))),
            400,
        );
        assert_refused(server, body("a", &"X: y\r\n".repeat(1000)), 400);
    });
}

#[test]
fn a_chunk_that_others_may_read_otherwise_is_refused() {
    let tree = tree();
    let chunks = [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "+1\r\nx\r\n",
        "0x1\r\nx\r\n",
        " 1\r\nx\r\n",
        "1 \r\nx\r\n",
        "1\nx\n0\n\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "2\r\nx\r\n0\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "1;\n\r\nx\r\n0\r\n\r\n",
        "1;\r\r\nx\r\n",
        "10000000000000000\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "ffffffffffffffff\r\nx",
        "fffffffffffffff1\r\nx\r\n",
    ];
    each_backend(tree.path(), |server| {
        for chunk in chunks {
            assert_refused(server, format!("{CHUNKED}{chunk}"), 400);
        }
    });
}

#[test]
fn a_body_that_stops_half_way_times_out_with_408() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let server = server.args(["--header-timeout", "1"]).start();
        for request in [
            format!("{CHUNKED}5\r\nab"),
            format!("{CHUNKED}0\r\n"),
            "GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
        ] {
            let mut client = Client::connect(server.addr());
            client.send(request.as_bytes());
            let response = client.read_response(false);
            assert_eq!(response.status, 408, "{request}");
            assert_eq!(response.header("connection"), Some("close"));
            client.expect_closed();
        }
        assert_serves(&server);
        server.assert_sound();
    }
}
