//! What is asked: methods, `Expect`, and answers without a body.

use std::fs;
use std::io::Read;
use std::net::Shutdown;
use std::path::Path;

use ambidex_tests::client::{Client, Response};
use ambidex_tests::rig::{cold, skipped};
use ambidex_tests::server::{Server, each_backend, eventually};
use ambidex_tests::tree::{Tree, content};

const ALLOW: &str = "GET, HEAD, OPTIONS";

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("sub/index.html", "index");
    tree
}

/// Sends `request` and reads the one answer; `None` of it may be an interim one.
fn ask(server: &Server, request: &str) -> (Client, Response) {
    let mut client = Client::connect(server.addr());
    client.send_refusable(request.as_bytes());
    let response = client.read_response(request.starts_with("HEAD"));
    (client, response)
}

fn assert_kept(mut client: Client, request: &str) {
    assert_eq!(client.get("/a").body, b"alpha", "after {request}");
}

fn assert_closed(mut client: Client, response: &Response, request: &str) {
    assert_eq!(response.header("connection"), Some("close"), "{request}");
    client.expect_closed();
}

/// Trap 48.
#[test]
fn options_says_what_can_be_done_without_a_body() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for target in ["*", "/a", "/", "/missing", "http://test/a", "/a?q"] {
            let response = client.request("OPTIONS", target, &[]);
            assert_eq!(response.status, 204, "{target}");
            assert_eq!(response.header("allow"), Some(ALLOW), "{target}");
            assert_eq!(response.header("content-length"), None, "{target}");
            response.date("date");
        }
        assert_eq!(client.get("/a").body, b"alpha");
        for target in ["a", "**", "/%zz", "/../a"] {
            let request = format!("OPTIONS {target} HTTP/1.1\r\nHost: t\r\n\r\n");
            let (client, response) = ask(server, &request);
            assert_eq!(response.status, 400, "{target}");
            assert_closed(client, &response, &request);
        }
    });
}

/// Trap 83.
#[test]
fn methods_that_no_file_knows_are_405_with_allow_and_unknown_ones_501() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            let request = format!("{method} /a HTTP/1.1\r\nHost: t\r\n\r\n");
            let (client, response) = ask(server, &request);
            assert_eq!(response.status, 405, "{method}");
            assert_eq!(response.header("allow"), Some(ALLOW), "{method}");
            response.date("date");
            assert_kept(client, method);
        }
        for method in ["BREW", "get", "Head", "PROPFIND", "GETT", "M-SEARCH"] {
            let request = format!("{method} /a HTTP/1.1\r\nHost: t\r\n\r\n");
            let (client, response) = ask(server, &request);
            assert_eq!(response.status, 501, "{method}");
            assert_kept(client, method);
        }
    });
}

/// Trap 63.
#[test]
fn trace_and_connect_echo_nothing() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let trace = "TRACE /a HTTP/1.1\r\nHost: t\r\nX-Secret: sesame\r\n\r\n";
        let (client, response) = ask(server, trace);
        assert_eq!(response.status, 405);
        assert!(!String::from_utf8_lossy(&response.body).contains("sesame"));
        assert!(!format!("{:?}", response.headers).contains("sesame"));
        assert_kept(client, trace);
        for target in ["t:443", "/a", "http://t/a"] {
            let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: t\r\n\r\n");
            // What a client sends into what it takes for a tunnel is not read as a request.
            let tunnelled = "GET /a HTTP/1.1\r\nHost: t\r\n\r\n";
            let (client, response) = ask(server, &format!("{connect}{tunnelled}"));
            assert_eq!(response.status, 405, "{target}");
            assert_closed(client, &response, &connect);
        }
    });
}

/// Traps 56 and 68.
#[test]
fn a_refused_method_is_answered_before_its_body_and_then_closed() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for (method, status) in [("POST", 405), ("PUT", 405), ("BREW", 501)] {
            for fields in [
                "Content-Length: 5\r\nExpect: 100-continue\r\n",
                "Content-Length: 1000000000\r\n",
                "Content-Length: 5\r\n",
                "Transfer-Encoding: chunked\r\n",
                "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
            ] {
                let request = format!("{method} /a HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
                // Not a byte of the body is sent.
                let (client, response) = ask(server, &request);
                assert_eq!(response.status, status, "{request}");
                assert_closed(client, &response, &request);
            }
        }
    });
}

/// Trap 61: a plain close would answer the rest of the body with a reset, which may overtake the
/// answer.
#[test]
fn an_answer_reaches_a_client_that_reads_only_after_it_has_sent_its_body() {
    let tree = tree();
    let body = content(9, 500_000);
    each_backend(tree.path(), |server| {
        let length = body.len();
        for method in ["POST", "GET", "BREW"] {
            let head =
                format!("{method} /a HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
            let mut client = Client::connect(server.addr());
            client.send(head.as_bytes());
            for part in body.chunks(10_000) {
                client.send(part);
            }
            let response = client.read_response(false);
            let expected = [("POST", 405), ("GET", 200), ("BREW", 501)];
            assert!(
                expected.contains(&(method, response.status)),
                "{method} {response:?}"
            );
            assert_eq!(response.header("connection"), Some("close"));
            // An end, not a reset.
            let end = client.read(&mut [0]).expect("an orderly end");
            assert_eq!(end, 0, "{method}");
        }
    });
}

/// Trap 56.
#[test]
fn an_expectation_is_met_with_the_answer_itself_or_with_417() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let cases = [
            // Nobody waits: there is no body.
            ("1.1", "Expect: 100-continue\r\n", 200, true),
            ("1.1", "Expect: 100-CONTINUE\r\n", 200, true),
            // The body may or may not come after the answer.
            (
                "1.1",
                "Expect: 100-continue\r\nContent-Length: 5\r\n",
                200,
                false,
            ),
            (
                "1.1",
                "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
                200,
                false,
            ),
            ("1.1", "Expect: coffee\r\n", 417, true),
            ("1.1", "Expect: 100-continue, coffee\r\n", 417, true),
            (
                "1.1",
                "Expect: 100-continue\r\nExpect: coffee\r\n",
                417,
                true,
            ),
            ("1.1", "Expect: coffee\r\nContent-Length: 5\r\n", 417, false),
            (
                "1.0",
                "Connection: keep-alive\r\nExpect: 100-continue\r\n",
                200,
                true,
            ),
        ];
        for (version, fields, status, open) in cases {
            for method in ["GET", "OPTIONS"] {
                let request = format!("{method} /a HTTP/{version}\r\nHost: t\r\n{fields}\r\n");
                let (client, response) = ask(server, &request);
                let no_content = method == "OPTIONS" && status == 200;
                let expected = if no_content { 204 } else { status };
                assert_eq!(response.status, expected, "{request}");
                if open {
                    assert_kept(client, &request);
                } else {
                    assert_closed(client, &response, &request);
                }
            }
        }
        // HTTP/1.0 knows no Expect, so the body comes without being asked for.
        let request = "GET /a HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\
                       Content-Length: 5\r\n\r\nGET /";
        let (client, response) = ask(server, request);
        assert_eq!(response.body, b"alpha");
        assert_kept(client, request);
    });
}

/// Trap 59: the test client takes every byte after an answer for the next one.
#[test]
fn head_304_and_204_have_no_body() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for path in ["/a", "/sub/", "/sub", "/missing"] {
            let get = client.get(path);
            let head = client.request("HEAD", path, &[]);
            assert_eq!(head.content_length(), get.body.len() as u64, "{path}");
            assert_eq!(head.status, get.status, "{path}");
        }
        for method in ["GET", "HEAD"] {
            let fields = [("If-None-Match", "*")];
            assert_eq!(client.request(method, "/a", &fields).status, 304);
            let fields = [("If-Match", "\"x\"")];
            assert_eq!(client.request(method, "/a", &fields).status, 412);
        }
        assert_eq!(client.request("OPTIONS", "*", &[]).status, 204);
        assert_eq!(client.get("/a").body, b"alpha");
        // To a refused HEAD as well.
        client.send(b"HEAD /a HTTP/1.1\r\nHost: t\r\nExpect: coffee\r\n\r\n");
        assert_eq!(client.read_response(true).status, 417);
        assert_eq!(client.get("/a").body, b"alpha");
    });
}

/// Bytes that a process has had fetched from a device: proc_pid_io(5).
fn bytes_fetched(pid: u32) -> u64 {
    let told = fs::read_to_string(format!("/proc/{pid}/io")).expect("own child");
    let mut lines = told.lines();
    let bytes = lines.find_map(|line| line.strip_prefix("read_bytes: "));
    bytes.expect("a count").parse().expect("a number")
}

/// Trap 60.
#[test]
fn head_and_304_read_nothing_from_the_disk() {
    const NAME: &str = "head_and_304_read_nothing_from_the_disk";
    let tree = tree();
    tree.file("big", content(4, 1 << 20));
    if let Some(reason) = cold::missing(tree.path()).expect("own directory") {
        return skipped(NAME, &reason);
    }
    if !Path::new("/proc/self/io").exists() {
        return skipped(NAME, "the kernel does not count what a process reads");
    }
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        // Pages that the kernel is moving just now stay where they are: then it is done again.
        eventually("the file is fetched when it is asked for", || {
            tree.evict();
            let before = bytes_fetched(server.pid());
            for _ in 0..10 {
                let head = client.request("HEAD", "/big", &[]);
                assert_eq!(head.content_length(), 1 << 20);
                let fields = [("If-None-Match", "*")];
                assert_eq!(client.request("GET", "/big", &fields).status, 304);
                let fields = [("Range", "bytes=9999999-")];
                assert_eq!(client.request("GET", "/big", &fields).status, 416);
            }
            // Not an assertion: pages of the program itself may be fetched too, the first time.
            let answered = bytes_fetched(server.pid());
            assert!(client.get("/big").body == content(4, 1 << 20));
            answered == before && bytes_fetched(server.pid()) > answered
        });
    });
}

/// Trap 57.
#[test]
fn http_1_0_gets_a_length_and_no_chunks_and_is_closed_unless_it_asks() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for (fields, open) in [("", false), ("Connection: keep-alive\r\n", true)] {
            for path in ["/a", "/missing", "/sub"] {
                let request = format!("GET {path} HTTP/1.0\r\n{fields}\r\n");
                let (client, response) = ask(server, &request);
                assert_eq!(response.header("transfer-encoding"), None, "{request}");
                assert_eq!(response.content_length(), response.body.len() as u64);
                if open {
                    assert_eq!(response.header("connection"), Some("keep-alive"));
                    assert_kept(client, &request);
                } else {
                    assert_closed(client, &response, &request);
                }
            }
        }
    });
}

/// Trap 62.
#[test]
fn an_upgrade_is_passed_over() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for fields in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n",
        ] {
            let request = format!("GET /a HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
            let (client, response) = ask(server, &request);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, &b"alpha"[..])
            );
            assert_eq!(response.header("upgrade"), None);
            assert_kept(client, &request);
        }
    });
}

#[test]
fn a_client_that_sends_half_a_body_and_ends_is_forgotten() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for fields in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut client = Client::connect(server.addr());
            client.send(format!("GET /a HTTP/1.1\r\nHost: t\r\n{fields}\r\n5\r\n").as_bytes());
            client
                .stream()
                .shutdown(Shutdown::Write)
                .expect("connected");
            client.expect_closed();
        }
        assert_kept(Client::connect(server.addr()), "half a body");
    });
}
