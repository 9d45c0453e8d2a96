//! Header fields by path: `Cache-Control`, fields of the user's own, `nosniff`.

use std::path::PathBuf;

use ambidex_tests::client::{Client, Response, get};
use ambidex_tests::server::{Server, each_backend, each_backend_with, run};
use ambidex_tests::tree::Tree;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("index.html", "<p>start</p>")
        .file("app.3f9a1c2b.js", "1")
        .file("assets/index-DfG3k2a1.css", "a{}")
        .file("report.20240101.txt", "old")
        .file("docs/a.txt", "alpha")
        .file("docs/deep/b.txt", "beta");
    tree
}

/// A configuration file beside, not in, what is served.
fn config(text: &str) -> (Tree, PathBuf) {
    let folder = Tree::new();
    folder.file("site.toml", text);
    let path = folder.path().join("site.toml");
    (folder, path)
}

fn with_config(tree: &Tree, text: &str, test: impl Fn(&Server)) {
    let (_folder, path) = config(text);
    let path = path.to_str().expect("UTF-8");
    each_backend_with(tree.path(), &["--config", path], test);
}

fn cache_control(response: &Response) -> Option<&str> {
    response.header("cache-control")
}

#[test]
fn nothing_is_said_about_caches_by_default_and_types_are_not_sniffed() {
    each_backend(tree().path(), |server| {
        let mut client = Client::connect(server.addr());
        for (path, status) in [("/docs/a.txt", 200), ("/missing", 404), ("/docs", 301)] {
            let response = client.get(path);
            assert_eq!(response.status, status, "{path}");
            assert_eq!(
                response.header("x-content-type-options"),
                Some("nosniff"),
                "{path}"
            );
            assert_eq!(cache_control(&response), None, "{path}");
            assert_eq!(response.header("vary"), None, "{path}");
            assert_eq!(
                response.header("access-control-allow-origin"),
                None,
                "{path}"
            );
        }
    });
}

#[test]
fn nosniff_can_be_turned_off() {
    with_config(&tree(), "nosniff = false", |server| {
        let response = get(server.addr(), "/docs/a.txt");
        assert_eq!(
            (response.status, response.header("x-content-type-options")),
            (200, None)
        );
    });
}

#[test]
fn cache_control_goes_by_the_first_glob_that_matches() {
    let text = "cache-control = \"max-age=60\"\n\
                [[cache]]\npaths = \"/docs/*.txt\"\nvalue = \"no-store\"\n\
                [[cache]]\npaths = \"*.txt\"\nvalue = \"no-cache\"\n";
    with_config(&tree(), text, |server| {
        let mut client = Client::connect(server.addr());
        for (path, value) in [
            ("/docs/a.txt", "no-store"),
            ("/docs/deep/b.txt", "no-cache"),
            ("/report.20240101.txt", "no-cache"),
            ("/", "max-age=60"),
        ] {
            let response = client.get(path);
            assert_eq!(cache_control(&response), Some(value), "{path}");
        }
        assert_eq!(cache_control(&client.get("/missing.txt")), None);
        assert_eq!(cache_control(&client.get("/docs")), None);
    });
}

#[test]
fn a_304_and_a_206_say_what_the_200_says() {
    let args = [
        "--cache-control",
        "max-age=60",
        "--header",
        "X-Team: files",
        "--cors=http://a.example",
    ];
    each_backend_with(tree().path(), &args, |server| {
        let mut client = Client::connect(server.addr());
        let whole = client.get("/docs/a.txt");
        let etag = whole.header("etag").expect("an ETag").to_owned();
        let unchanged = client.request("GET", "/docs/a.txt", &[("If-None-Match", &etag)]);
        let part = client.request("GET", "/docs/a.txt", &[("Range", "bytes=0-1")]);
        let head = client.request("HEAD", "/docs/a.txt", &[]);
        assert_eq!(
            (unchanged.status, part.status, head.status),
            (304, 206, 200)
        );
        for name in [
            "cache-control",
            "x-team",
            "vary",
            "etag",
            "x-content-type-options",
        ] {
            for other in [&unchanged, &part, &head] {
                assert!(whole.header(name).is_some(), "{name}");
                assert_eq!(
                    other.header(name),
                    whole.header(name),
                    "{name} of {}",
                    other.status
                );
            }
        }
    });
}

#[test]
fn names_with_a_hash_are_kept_for_ever_and_dates_are_not() {
    let args = ["--immutable", "--cache-control", "no-cache"];
    each_backend_with(tree().path(), &args, |server| {
        let for_ever = Some("public, max-age=31536000, immutable");
        let mut client = Client::connect(server.addr());
        for (path, value) in [
            ("/app.3f9a1c2b.js", for_ever),
            ("/assets/index-DfG3k2a1.css", for_ever),
            ("/report.20240101.txt", Some("no-cache")),
            ("/docs/a.txt", Some("no-cache")),
            ("/missing.3f9a1c2b.js", None),
        ] {
            assert_eq!(cache_control(&client.get(path)), value, "{path}");
        }
    });
}

#[test]
fn fields_are_set_added_and_removed_by_glob() {
    let text = "[[header]]\npaths = \"/docs/**\"\nname = \"X-Docs\"\nset = \"one\"\n\
                [[header]]\npaths = \"/docs/deep/*\"\nname = \"X-Docs\"\nset = \"two\"\n\
                [[header]]\npaths = \"/docs/deep/*\"\nname = \"Link\"\nadd = \"</a>; rel=preload\"\n\
                [[header]]\nname = \"Server\"\nremove = true\n\
                [[header]]\npaths = \"*.txt\"\nname = \"Content-Type\"\nset = \"text/x-own\"\n\
                [[header]]\nname = \"ETag\"\nremove = true\n\
                [[header]]\nname = \"Vary\"\nadd = \"Accept\"\n\
                [[header]]\nname = \"Strict-Transport-Security\"\nset = \"max-age=9\"\n";
    with_config(&tree(), text, |server| {
        let mut client = Client::connect(server.addr());
        let index = client.get("/");
        assert_eq!(index.header("x-docs"), None);
        assert_eq!(
            index.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let one = client.get("/docs/a.txt");
        assert_eq!(
            (one.header("x-docs"), one.header("link")),
            (Some("one"), None)
        );
        assert_eq!(one.header("content-type"), Some("text/x-own"));
        let two = client.get("/docs/deep/b.txt");
        assert_eq!(two.header("x-docs"), Some("two"));
        assert_eq!(two.header("link"), Some("</a>; rel=preload"));
        let missing = client.get("/missing.txt");
        assert_eq!(missing.status, 404);
        assert_eq!(
            missing.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        for response in [&index, &one, &two, &missing] {
            assert_eq!(response.header("server"), None);
            assert_eq!(response.header("etag"), None);
            assert_eq!(
                response.header("strict-transport-security"),
                Some("max-age=9")
            );
        }
        assert_eq!(one.header("vary"), Some("Accept"));
    });
}

#[test]
fn options_come_after_the_rules_of_the_file() {
    let (_folder, path) = config(
        "[[header]]\nname = \"X-A\"\nset = \"file\"\n[[header]]\nname = \"X-B\"\nset = \"file\"\n",
    );
    let args = [
        "--config",
        path.to_str().expect("UTF-8"),
        "--header",
        "x-a: option",
    ];
    each_backend_with(tree().path(), &args, |server| {
        let response = get(server.addr(), "/");
        assert_eq!(response.header("x-a"), Some("option"));
        assert_eq!(response.header("x-b"), Some("file"));
    });
}

#[test]
fn what_would_break_an_answer_is_refused_at_the_start() {
    let tree = tree();
    let root = tree.path().to_str().expect("UTF-8");
    for (args, culprit) in [
        (["--header", "Content-Length: 1"], "Content-Length"),
        (
            ["--header", "Transfer-Encoding: chunked"],
            "Transfer-Encoding",
        ),
        (["--header", "X-A: a\rSet-Cookie: b"], "X-A"),
        (["--header", "X A: a"], "X A"),
        (["--header", "nothing"], "nothing"),
        (["--cache-control", "a\r\nb: c"], "Cache-Control"),
    ] {
        let output = run(&[&["serve", root, "--check"][..], &args].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr.contains(culprit) && stderr.lines().count() == 1,
            "{stderr:?}"
        );
    }
}
