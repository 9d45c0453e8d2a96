//! What the server refuses, and how: malformed, oversized, unfinished and smuggled requests, and
//! names that are no file.

use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use ambidex_tests::client::{Client, get};
use ambidex_tests::server::{Server, backends, each_backend};
use ambidex_tests::tree::{Tree, content};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::net::SendFlags;

/// A root with `/a` and `/b`, which tell themselves apart.
fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("b", "beta");
    tree
}

/// Asserts that `request` is answered with one of `statuses` and then the connection closed.
fn assert_refused(server: &Server, request: impl AsRef<[u8]>, statuses: &[u16]) {
    let request = request.as_ref();
    let start = String::from_utf8_lossy(&request[..request.len().min(200)]);
    let mut client = Client::connect(server.addr());
    client.send_refusable(request);
    let response = client.try_read_response(false);
    let response = response.unwrap_or_else(|error| panic!("{start:?} -> {error}"));
    assert!(
        statuses.contains(&response.status),
        "{start:?} -> {response:?}"
    );
    assert_eq!(response.header("connection"), Some("close"), "{start:?}");
    client.expect_closed();
}

#[test]
fn a_malformed_request_is_refused_and_the_connection_closed() {
    let tree = tree();
    let malformed = [
        "GARBAGE\r\n\r\n",
        "GET\r\n\r\n",
        "GET /a\r\n\r\n",
        "GET /a HTTP/1.1 \r\nHost: t\r\n\r\n",
        "GET  /a HTTP/1.1\r\nHost: t\r\n\r\n",
        " GET /a HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /a\0 HTTP/1.1\r\nHost: t\r\n\r\n",
        "G@T /a HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost t\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost : t\r\n\r\n",
        "GET /a HTTP/1.1\r\n: t\r\nHost: t\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: t\r\nX: a\r\n folded\r\n\r\n",
        "GET /a HTTP/1.1\r\n Host: t\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
    ];
    each_backend(tree.path(), |server| {
        malformed
            .iter()
            .for_each(|request| assert_refused(server, request, &[400]));
        // "b HTTP/1.1" is what follows a space in a target: no version either.
        for version in [
            "HTTP/2.0",
            "HTTP/0.9",
            "HTTP/3",
            "HTTP/1.12",
            "http/1.1",
            "b HTTP/1.1",
        ] {
            let request = format!("GET /a {version}\r\nHost: t\r\n\r\n");
            assert_refused(server, request, &[400, 505]);
        }
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
    });
}

#[test]
fn a_request_whose_host_or_framing_is_ambiguous_is_refused() {
    let tree = tree();
    let ambiguous = [
        "",
        "Host: t\r\nHost: t\r\n",
        "Host: t\r\nhost: u\r\n",
        "Host: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Host: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: t\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Host: t\r\nContent-Length: 5, 6\r\n",
        "Host: t\r\nContent-Length: abc\r\n",
        "Host: t\r\nContent-Length: -1\r\n",
        "Host: t\r\nContent-Length: +5\r\n",
        "Host: t\r\nContent-Length: 0x5\r\n",
        "Host: t\r\nContent-Length: \r\n",
        "Host: t\r\nContent-Length: 99999999999999999999999999\r\n",
    ];
    each_backend(tree.path(), |server| {
        for fields in ambiguous {
            let request = format!("GET /a HTTP/1.1\r\n{fields}\r\n");
            assert_refused(server, request, &[400]);
        }
    });
}

#[test]
fn oversized_requests_are_refused_with_the_status_of_what_is_too_large() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let get_with = |target: &str, fields: &str| {
            format!("GET {target} HTTP/1.1\r\nHost: t\r\n{fields}\r\n")
        };
        let long = |len: usize| "x".repeat(len);
        assert_refused(server, get_with(&format!("/{}", long(9_000)), ""), &[414]);
        assert_refused(server, get_with(&format!("/a?{}", long(9_000)), ""), &[414]);
        // No end of line in sight: the target is too long whatever follows it.
        assert_refused(server, format!("GET /{}", long(100_000)), &[414]);
        assert_refused(
            server,
            get_with("/a", &format!("X: {}\r\n", long(17_000))),
            &[431],
        );
        assert_refused(
            server,
            get_with("/a", &format!("X: {}\r\n", long(500_000))),
            &[431],
        );
        assert_refused(
            server,
            get_with("/a", &format!("{}: x\r\n", long(17_000))),
            &[431],
        );
        assert_refused(server, get_with("/a", &"X: y\r\n".repeat(101)), &[431]);
        assert_refused(server, get_with("/a", &"X: y\r\n".repeat(10_000)), &[431]);

        let mut client = Client::connect(server.addr());
        let query = format!("/a?{}", long(8_000));
        let padding = long(6_000);
        assert_eq!(
            client.request("GET", &query, &[("X", &padding)]).status,
            200
        );
        let fields = vec![("X", "y"); 90];
        assert_eq!(client.request("GET", "/a", &fields).status, 200);
    });
}

#[test]
fn an_unfinished_request_times_out_with_408_and_closes() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let server = server
            .args(["--header-timeout", "1", "--idle-timeout", "600"])
            .start();
        for part in [
            "G",
            "GET /a HTTP/1.1\r\n",
            "GET /a HTTP/1.1\r\nHost: t\r\nX: y",
        ] {
            assert_refused(&server, part, &[408]);
        }
        let mut client = Client::connect(server.addr());
        assert_eq!(client.get("/a").body, b"alpha");
        client.send(b"GET /a HT");
        assert_eq!(client.read_response(false).status, 408);
        client.expect_closed();
    }
}

/// Each wakes the connection, and nothing can be read.
#[test]
fn urgent_bytes_keep_no_idle_connection_open() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let server = server.args(["--idle-timeout", "1"]).start();
        let mut client = Client::connect(server.addr());
        assert_eq!(client.get("/a").status, 200);
        let stream = client.stream();
        stream.set_nonblocking(true).expect("a socket option");
        let ended = (0..300).any(|_| {
            // It may be closed by now, which the look behind it tells.
            let _ = rustix::net::send(stream, b"!", SendFlags::OOB);
            thread::sleep(Duration::from_millis(100));
            let seen = stream.peek(&mut [0]);
            !seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        });
        assert!(ended, "still waited for after 30 s");
    }
}

#[test]
fn a_request_that_trickles_in_is_timed_from_its_first_byte() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let server = server.args(["--header-timeout", "1"]).start();
        let mut client = Client::connect(server.addr());
        let mut trickle = Client::connect(server.addr());
        trickle.send(b"GET /a HTTP/1.1\r\nHost: t\r\nX: ");
        let mut answered = false;
        // One byte each 100 ms never lets the connection go quiet for a second.
        for _ in 0..300 {
            trickle.send_refusable(b"x");
            thread::sleep(Duration::from_millis(100));
            trickle
                .stream()
                .set_nonblocking(true)
                .expect("a socket option");
            answered = trickle
                .stream()
                .peek(&mut [0])
                .is_ok_and(|count| count == 1);
            trickle
                .stream()
                .set_nonblocking(false)
                .expect("a socket option");
            if answered {
                break;
            }
        }
        assert!(answered, "the trickling client is still being waited for");
        assert_eq!(trickle.read_response(false).status, 408);
        assert_eq!(client.get("/a").status, 200);
    }
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let server = server
            .args(["--idle-timeout", "1", "--header-timeout", "600"])
            .start();
        let mut client = Client::connect(server.addr());
        assert_eq!(client.get("/a").body, b"alpha");
        client.expect_closed();
    }
}

#[test]
fn a_small_body_is_drained_and_never_read_as_the_next_request() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let smuggled = "GET /b HTTP/1.1\r\nHost: t\r\n\r\n";
        for method in ["GET", "HEAD", "POST"] {
            let mut client = Client::connect(server.addr());
            let length = smuggled.len();
            let head =
                format!("{method} /a HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
            let next = "GET /missing HTTP/1.1\r\nHost: t\r\n\r\n";
            client.send_refusable(format!("{head}{smuggled}{next}").as_bytes());
            let response = client.read_response(method == "HEAD");
            assert_eq!(response.status, if method == "POST" { 405 } else { 200 });
            if method == "POST" && response.header("connection") == Some("close") {
                client.expect_closed();
                continue;
            }
            assert_eq!(client.read_response(false).status, 404, "{method}");
            assert_eq!(client.get("/a").body, b"alpha");
        }
    });
}

#[test]
fn a_body_that_comes_after_its_response_is_drained_too() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        client.send(b"GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nGET");
        // Whether the response comes before or after the rest of the body is the server's choice.
        client.send(b" /b");
        assert_eq!(client.read_response(false).body, b"alpha");
        assert_eq!(client.get("/b").body, b"beta");
    });
}

#[test]
fn a_chunked_body_is_never_read_as_the_next_request() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let smuggled = "GET /b HTTP/1.1\r\nHost: t\r\n\r\n";
        let head = "GET /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
        client.send_refusable(format!("{head}{chunk}").as_bytes());
        let response = client.read_response(false);
        assert!(
            [200, 400, 411, 501].contains(&response.status),
            "{response:?}"
        );
        if response.header("connection") == Some("close") {
            client.expect_closed();
        } else {
            assert_eq!(client.get("/missing").status, 404);
        }
    });
}

#[test]
fn a_big_body_is_not_waited_for() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let head = "GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000000\r\n\r\n";
        for sent in [0, 2_000_000] {
            let mut client = Client::connect(server.addr());
            client.send(head.as_bytes());
            client.send_refusable(&content(3, sent));
            let response = client.read_response(false);
            assert!([200, 413].contains(&response.status), "{response:?}");
            assert_eq!(response.header("connection"), Some("close"));
            client.expect_closed();
        }
    });
}

#[test]
fn what_is_no_file_is_not_found_and_blocks_nobody() {
    let tree = tree();
    tree.fifo("fifo")
        .fifo("dir/index.html")
        .symlink("loop", "loop")
        .symlink("fifo", "to-fifo");
    tree.symlink("two", "one")
        .symlink("one", "two")
        .symlink("nowhere", "dangling");
    let _socket = UnixListener::bind(tree.path().join("socket")).expect("a short path");
    let mut paths = vec![
        "/fifo",
        "/to-fifo",
        "/dir/",
        "/socket",
        "/loop",
        "/one",
        "/dangling",
    ];
    let zero = tree.path().join("zero");
    match mknodat(
        CWD,
        zero,
        FileType::CharacterDevice,
        Mode::from(0o666),
        makedev(1, 5),
    ) {
        Ok(()) => paths.push("/zero"),
        Err(error) => eprintln!("SKIPPED the device node of what_is_no_file: mknod says {error}"),
    }
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        // More rounds than a small thread pool has threads: none of them may be left hanging.
        for path in paths.iter().cycle().take(paths.len() * 20) {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
        assert_eq!(client.get("/a").body, b"alpha");
    });
}
