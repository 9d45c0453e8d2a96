//! What the server says: methods, framing, types, validators, ranges, paths and refusals.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ambidex_tests::client::{Client, Response, get};
use ambidex_tests::server::{Server, each_backend};
use ambidex_tests::tree::{Tree, content};

const MODIFIED_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn modified() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// A root with `/data.bin`: 1,000 bytes, last modified at [`modified`].
fn data_tree() -> Tree {
    let tree = Tree::new();
    tree.file("data.bin", content(1, 1000));
    tree.modified("data.bin", modified());
    tree
}

fn raw(server: &Server, request: &str) -> (Client, Response) {
    let mut client = Client::connect(server.addr());
    client.send_refusable(request.as_bytes());
    let response = client.read_response(false);
    (client, response)
}

#[test]
fn a_file_comes_with_its_length_type_validators_and_date() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        let response = get(server.addr(), "/data.bin");
        assert_eq!((response.status, response.reason.as_str()), (200, "OK"));
        assert_eq!(response.body, content(1, 1000));
        assert_eq!(
            response.header("content-type"),
            Some("application/octet-stream")
        );
        assert_eq!(response.header("accept-ranges"), Some("bytes"));
        assert_eq!(response.header("server"), Some("ambidex"));
        assert_eq!(response.header("last-modified"), Some(MODIFIED_TEXT));
        assert!(response.date("date") > modified());
        let etag = response.header("etag").expect("an ETag");
        let opaque = etag
            .strip_prefix('"')
            .and_then(|etag| etag.strip_suffix('"'));
        assert!(
            opaque.is_some_and(|tag| !tag.is_empty() && !tag.contains('"')),
            "{etag}"
        );
    });
}

#[test]
fn text_types_name_their_charset_and_unknown_types_are_octets() {
    let tree = Tree::new();
    let types = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.png", "image/png"),
        ("a.unheard-of", "application/octet-stream"),
        ("bare", "application/octet-stream"),
    ];
    for (path, _) in types {
        tree.file(path, "x");
    }
    each_backend(tree.path(), |server| {
        for (path, expected) in types {
            let response = get(server.addr(), &format!("/{path}"));
            assert_eq!(response.header("content-type"), Some(expected), "{path}");
        }
    });
}

#[test]
fn an_empty_file_is_a_whole_answer() {
    let tree = Tree::new();
    tree.file("empty", "");
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for method in ["GET", "HEAD", "GET"] {
            let response = client.request(method, "/empty", &[]);
            assert_eq!((response.status, response.content_length()), (200, 0));
        }
        // RFC 9110 calls a suffix of nothing satisfiable, but Content-Range cannot express it.
        assert_eq!(
            client
                .request("GET", "/empty", &[("Range", "bytes=0-")])
                .status,
            416
        );
        let suffix = client
            .request("GET", "/empty", &[("Range", "bytes=-5")])
            .status;
        assert!([200, 416].contains(&suffix), "{suffix}");
    });
}

#[test]
fn head_has_the_header_of_get_and_no_body() {
    let tree = data_tree();
    tree.file("sub/index.html", "index");
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for path in ["/data.bin", "/sub/", "/sub", "/missing"] {
            let without_date = |mut response: Response| {
                response
                    .headers
                    .retain(|(name, _)| !name.eq_ignore_ascii_case("date"));
                (response.status, response.headers)
            };
            let head = without_date(client.request("HEAD", path, &[]));
            assert_eq!(head, without_date(client.get(path)), "{path}");
        }
    });
}

#[test]
fn a_connection_stays_open_exactly_as_its_version_and_headers_ask() {
    let tree = data_tree();
    let cases = [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "connection: foo, CLOSE\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: close\r\n", false),
    ];
    each_backend(tree.path(), |server| {
        for (version, fields, open) in cases {
            let request = format!("GET /data.bin HTTP/{version}\r\nHost: test\r\n{fields}\r\n");
            let (mut client, response) = raw(server, &request);
            assert_eq!(
                (response.status, response.body.len()),
                (200, 1000),
                "{request}"
            );
            let connection = response.header("connection").map(str::to_ascii_lowercase);
            if open {
                // An HTTP/1.0 client believes in keep-alive only when it is told.
                let told = connection.as_deref() == Some("keep-alive");
                assert!(told || version == "1.1", "{request} -> {response:?}");
                assert_eq!(client.get("/data.bin").status, 200, "{request}");
            } else {
                assert_eq!(connection.as_deref(), Some("close"), "{request}");
                client.expect_closed();
            }
        }
    });
}

#[test]
fn an_http_1_0_request_needs_no_host() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        let (mut client, response) = raw(server, "GET /data.bin HTTP/1.0\r\n\r\n");
        assert_eq!(response.status, 200);
        client.expect_closed();
    });
}

#[test]
fn empty_lines_before_a_request_and_a_target_with_its_host_are_understood() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        for start in [
            "\r\nGET /data.bin",
            "GET http://test/data.bin",
            "GET http://test:80/data.bin?q",
        ] {
            let (mut client, response) =
                raw(server, &format!("{start} HTTP/1.1\r\nHost: test\r\n\r\n"));
            assert_eq!(
                (response.status, response.body.len()),
                (200, 1000),
                "{start}"
            );
            assert_eq!(client.get("/data.bin").status, 200, "{start}");
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let tree = Tree::new();
    for index in 0..50_u64 {
        tree.file(
            format!("{index}"),
            content(index, (index as usize % 7) * 40_000),
        );
    }
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        let mut requests = String::new();
        for index in 0..50 {
            let method = if index % 5 == 0 { "HEAD" } else { "GET" };
            requests.push_str(&format!("{method} /{index} HTTP/1.1\r\nHost: test\r\n\r\n"));
            requests.push_str(&format!(
                "GET /missing-{index} HTTP/1.1\r\nHost: test\r\n\r\n"
            ));
        }
        client.send(requests.as_bytes());
        for index in 0..50_u64 {
            let response = client.read_response(index % 5 == 0);
            let size = (index as usize % 7) * 40_000;
            assert_eq!(
                (response.status, response.content_length()),
                (200, size as u64)
            );
            let body = if index % 5 == 0 {
                Vec::new()
            } else {
                content(index, size)
            };
            assert!(response.body == body, "the body of {index}");
            assert_eq!(client.read_response(false).status, 404);
        }
    });
}

#[test]
fn a_pipelined_close_ends_the_connection_after_its_response() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        let close = "GET /data.bin HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
        let (mut client, response) = raw(server, &close.repeat(2));
        assert_eq!(response.body, content(1, 1000));
        client.expect_closed();
    });
}

#[test]
fn names_are_percent_decoded_once_and_the_query_is_ignored() {
    let tree = Tree::new();
    tree.file("a b.txt", "space")
        .file("100%25.txt", "once")
        .file("q", "query");
    tree.file("dir/é.txt", "utf-8").file("plus+plus", "plus");
    each_backend(tree.path(), |server| {
        let found = [
            ("/a%20b.txt", "space"),
            ("/100%2525.txt", "once"),
            ("/%71", "query"),
            ("/q?a=%zz&b", "query"),
            ("/q?../../x?y", "query"),
            ("/q?", "query"),
            ("/dir/%C3%A9.txt", "utf-8"),
            ("/dir/%c3%a9.txt", "utf-8"),
            ("/plus+plus", "plus"),
        ];
        for (path, body) in found {
            let response = get(server.addr(), path);
            assert_eq!(
                (response.status, response.body),
                (200, body.into()),
                "{path}"
            );
        }
        for path in ["/%", "/q%", "/q%7", "/q%zz", "/%g1"] {
            assert_eq!(get(server.addr(), path).status, 400, "{path}");
        }
        for path in ["/q%00", "/%00", "/q%00.txt"] {
            let status = get(server.addr(), path).status;
            assert!([400, 404].contains(&status), "{path} -> {status}");
        }
    });
}

#[test]
fn a_name_that_is_not_utf_8_is_reachable() {
    use std::os::unix::ffi::OsStrExt;
    let tree = Tree::new();
    tree.file(std::ffi::OsStr::from_bytes(b"\xff\xfe.txt"), "bytes");
    each_backend(tree.path(), |server| {
        assert_eq!(get(server.addr(), "/%ff%fe.txt").body, b"bytes");
    });
}

#[test]
fn odd_paths_resolve_inside_the_root_or_not_at_all() {
    let tree = Tree::new();
    tree.file("a", "root").file("dir/b", "deep");
    let name = tree
        .path()
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a plain name");
    each_backend(tree.path(), |server| {
        for path in ["/a", "/./a", "/././a", "/dir/./b"] {
            assert_eq!(get(server.addr(), path).status, 200, "{path}");
        }
        for path in ["//a", "///a", "/dir//b", "/a/../dir/b", "/dir/../a"] {
            let response = get(server.addr(), path);
            assert!(
                [200, 400, 404].contains(&response.status),
                "{path} -> {response:?}"
            );
        }
        let back_in = format!("/../{name}/a");
        let outside = [
            "/..",
            "/../a",
            "/../../etc/passwd",
            "/dir/../../a",
            "/dir/..%2f..%2fa",
        ];
        for path in outside.into_iter().chain([back_in.as_str()]) {
            for path in [
                path.to_owned(),
                path.replace("..", "%2e%2E"),
                path.replace("..", ".%2e"),
            ] {
                let status = get(server.addr(), &path).status;
                assert!([400, 404].contains(&status), "{path} -> {status}");
            }
        }
        for path in [
            "/a/",
            "/dir/b/",
            "/a/x",
            "/missing",
            "/missing/",
            "/dir/missing",
        ] {
            assert_eq!(get(server.addr(), path).status, 404, "{path}");
        }
    });
}

#[test]
fn a_name_too_long_for_the_file_system_is_not_found() {
    let tree = data_tree();
    each_backend(tree.path(), |server| {
        assert_eq!(
            get(server.addr(), &format!("/{}", "n".repeat(300))).status,
            404
        );
        let deep = "/d".repeat(2500);
        let status = get(server.addr(), &deep).status;
        assert!([404, 414].contains(&status), "{status}");
    });
}

#[test]
fn a_directory_is_its_index_behind_one_redirect() {
    let tree = Tree::new();
    tree.file("index.html", "top")
        .file("dir/index.html", "sub")
        .file("a b/index.html", "spaced");
    tree.file("bare/file", "x")
        .file("in\r\nX-In: jected/index.html", "x");
    tree.dir("odd/index.html");
    each_backend(tree.path(), |server| {
        let addr = server.addr();
        for (path, body) in [
            ("/", "top"),
            ("/?q", "top"),
            ("/dir/", "sub"),
            ("/a%20b/", "spaced"),
        ] {
            let response = get(addr, path);
            assert_eq!(
                response.header("content-type"),
                Some("text/html; charset=utf-8")
            );
            assert_eq!(
                (response.status, response.body),
                (200, body.into()),
                "{path}"
            );
        }
        let redirects = [
            ("/dir", "/dir/"),
            ("/dir?a=b&c", "/dir/?a=b&c"),
            ("/a%20b", "/a%20b/"),
            ("/bare", "/bare/"),
        ];
        for (path, location) in redirects {
            let response = get(addr, path);
            assert_eq!(
                (response.status, response.header("location")),
                (301, Some(location))
            );
        }
        for path in [
            "//dir", "///dir", "/%2fdir", "/%2F/dir", "/.//dir", "/%5cdir",
        ] {
            let response = get(addr, path);
            let location = response.header("location").unwrap_or_default();
            let safe = !location.starts_with("//") && !location.starts_with("/\\");
            assert!(safe, "{path} -> {location}");
        }
        let injected = get(addr, "/in%0d%0aX-In:%20jected");
        assert!(injected.header("x-in").is_none(), "{injected:?}");
        for path in ["/bare/", "/odd/"] {
            let status = get(addr, path).status;
            assert!([403, 404].contains(&status), "{path} -> {status}");
        }
    });
}
