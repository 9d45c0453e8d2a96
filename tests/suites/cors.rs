//! Cross-origin reading: the Fetch standard's protocol, from the server's side.

use ambidex_tests::client::{Client, Response};
use ambidex_tests::server::{Server, each_backend, each_backend_with, run};
use ambidex_tests::tree::Tree;

const ORIGIN: (&str, &str) = ("Origin", "https://app.example");
const WANTS_GET: (&str, &str) = ("Access-Control-Request-Method", "GET");

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a.json", "{}").dir("folder");
    tree
}

fn with(args: &[&str], test: impl Fn(&Server, &mut Client)) {
    each_backend_with(tree().path(), args, |server| {
        test(server, &mut Client::connect(server.addr()));
    });
}

fn allowed(response: &Response) -> Option<&str> {
    response.header("access-control-allow-origin")
}

#[test]
fn nobody_is_let_in_unless_told() {
    each_backend(tree().path(), |server| {
        let mut client = Client::connect(server.addr());
        let response = client.request("GET", "/a.json", &[ORIGIN]);
        assert_eq!((response.status, allowed(&response)), (200, None));
        let preflight = client.request("OPTIONS", "/a.json", &[ORIGIN, WANTS_GET]);
        assert_eq!(allowed(&preflight), None);
    });
}

#[test]
fn everybody_is_let_in_on_every_answer() {
    with(&["--cors"], |_, client| {
        let etag = client
            .get("/a.json")
            .header("etag")
            .expect("an ETag")
            .to_owned();
        for (path, field, status) in [
            ("/a.json", ("X", "y"), 200),
            ("/a.json", ("If-None-Match", etag.as_str()), 304),
            ("/a.json", ("Range", "bytes=0-0"), 206),
            ("/a.json", ("Range", "bytes=9-"), 416),
            ("/a.json", ("If-Match", "\"no\""), 412),
            ("/missing", ("X", "y"), 404),
            ("/folder", ("X", "y"), 301),
        ] {
            let response = client.request("GET", path, &[ORIGIN, field]);
            assert_eq!(response.status, status, "{path} {field:?}");
            assert_eq!(allowed(&response), Some("*"), "{path} {field:?}");
            assert_eq!(response.header("vary"), None, "{path} {field:?}");
            let exposed = response
                .header("access-control-expose-headers")
                .expect("a list");
            assert!(
                exposed.contains("Content-Range") && exposed.contains("ETag"),
                "{exposed}"
            );
        }
        let refused = client.request("DELETE", "/a.json", &[ORIGIN]);
        assert!(matches!(refused.status, 405 | 501), "{refused:?}");
        assert_eq!(allowed(&refused), Some("*"));
    });
}

#[test]
fn a_list_lets_in_who_is_on_it_and_says_that_it_looked() {
    with(
        &["--cors=https://app.example,http://localhost:3000"],
        |_, client| {
            for path in ["/a.json", "/missing"] {
                for (origin, answer) in [
                    ("https://app.example", Some("https://app.example")),
                    ("http://localhost:3000", Some("http://localhost:3000")),
                    ("http://app.example", None),
                    ("https://app.example.evil.example", None),
                    ("https://app.example:444", None),
                    ("null", None),
                ] {
                    let response = client.request("GET", path, &[("Origin", origin)]);
                    assert_eq!(allowed(&response), answer, "{path} {origin}");
                    assert_eq!(response.header("vary"), Some("Origin"), "{path} {origin}");
                }
                let response = client.get(path);
                assert_eq!(
                    (allowed(&response), response.header("vary")),
                    (None, Some("Origin"))
                );
            }
        },
    );
}

#[test]
fn a_preflight_is_answered_with_methods_fields_and_an_age() {
    with(&["--cors=https://app.example"], |_, client| {
        let fields = (
            "Access-Control-Request-Headers",
            "range, X-Own,if-none-match",
        );
        let response = client.request("OPTIONS", "/a.json", &[ORIGIN, WANTS_GET, fields]);
        assert_eq!(
            (response.status, allowed(&response)),
            (204, Some("https://app.example"))
        );
        assert_eq!(
            response.header("access-control-allow-methods"),
            Some("GET, HEAD")
        );
        assert_eq!(
            response.header("access-control-allow-headers"),
            Some("range, if-none-match")
        );
        assert_eq!(response.header("access-control-max-age"), Some("3600"));
        assert_eq!(
            response.header("vary"),
            Some("Origin, Access-Control-Request-Headers")
        );
        assert_eq!(response.header("content-length"), None);
        // A stranger learns nothing, and the connection goes on.
        let stranger = [("Origin", "https://evil.example"), WANTS_GET];
        let response = client.request("OPTIONS", "/a.json", &stranger);
        assert_eq!((response.status, allowed(&response)), (204, None));
        assert_eq!(response.header("access-control-allow-methods"), None);
        assert_eq!(client.get("/a.json").status, 200);
    });
}

#[test]
fn what_only_looks_like_a_preflight_is_none() {
    with(&["--cors"], |_, client| {
        for fields in [&[ORIGIN][..], &[WANTS_GET], &[]] {
            let response = client.request("OPTIONS", "/a.json", fields);
            assert_eq!(
                response.header("access-control-max-age"),
                None,
                "{fields:?}"
            );
            assert_eq!(client.get("/a.json").status, 200);
        }
    });
}

#[test]
fn origins_that_are_none_are_refused_at_the_start() {
    let tree = tree();
    let root = tree.path().to_str().expect("UTF-8");
    for origin in [
        "app.example",
        "https://app.example/path",
        "https://*.example",
        "https://",
    ] {
        let output = run(&["serve", root, "--check", &format!("--cors={origin}")]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{origin}");
        assert!(
            stderr.contains("is not an origin") && stderr.lines().count() == 1,
            "{stderr:?}"
        );
    }
}
