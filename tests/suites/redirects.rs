//! Redirects and rewrites: where they lead, and where they never do.

use ambidex_tests::client::{Client, Response};
use ambidex_tests::server::{Server, each_backend_with, run};
use ambidex_tests::tree::Tree;

const RULES: &str = r#"
[[redirect]]
from = "/old"
to = "/new.txt"
[[redirect]]
from = "/temporary/*"
to = "/docs/$1"
status = 302
[[redirect]]
from = "/keep/**"
to = "https://other.example/base/$1"
status = 308
[[redirect]]
from = "/query"
to = "/new.txt?own=1"
status = 307
[[redirect]]
from = "/open**"
to = "/$1"
[[rewrite]]
from = "/alias"
to = "/new.txt"
[[rewrite]]
from = "/new.txt"
to = "/docs/a.txt"
[[rewrite]]
from = "/users/*/profile"
to = "/docs/$1.txt"
[[rewrite]]
from = "/up/**"
to = "/docs/$1"
[[rewrite]]
from = "/folder-alias"
to = "/docs"
"#;

fn each(test: impl Fn(&Server, &mut Client)) {
    let tree = Tree::new();
    tree.file("new.txt", "new")
        .file("docs/a.txt", "alpha")
        .file("docs/index.html", "docs");
    let folder = Tree::new();
    folder.file("site.toml", RULES);
    let config = folder.path().join("site.toml");
    let args = ["--config", config.to_str().expect("UTF-8")];
    each_backend_with(tree.path(), &args, |server| {
        test(server, &mut Client::connect(server.addr()));
    });
}

fn location(response: &Response) -> (u16, Option<&str>) {
    (response.status, response.header("location"))
}

#[test]
fn a_redirect_has_its_status_and_takes_query_and_captures_along() {
    each(|_, client| {
        for (target, status, expected) in [
            ("/old", 301, "/new.txt"),
            ("/old?a=b&c", 301, "/new.txt?a=b&c"),
            ("/./x/../old", 301, "/new.txt"),
            ("/temporary/a.txt", 302, "/docs/a.txt"),
            ("/temporary/a%20b%25", 302, "/docs/a%20b%25"),
            ("/keep/a/b/?q", 308, "https://other.example/base/a/b/?q"),
            ("/query?theirs=2", 307, "/new.txt?own=1"),
        ] {
            let response = client.get(target);
            assert_eq!(location(&response), (status, Some(expected)), "{target}");
            let head = client.request("HEAD", target, &[]);
            assert_eq!(location(&head), (status, Some(expected)), "HEAD {target}");
        }
        assert_eq!(client.get("/temporary/a/b").status, 404);
        assert_eq!(client.get("/Old").status, 404);
    });
}

#[test]
fn no_redirect_leads_to_another_host_or_into_another_field() {
    each(|server, client| {
        for target in [
            "/open/evil.example",
            "/open//evil.example",
            "/open/%2fevil.example",
            "/open%2f%2fevil.example/%2e%2e",
            "/open/%5cevil.example",
            "/open/%0d%0aSet-Cookie:a=b",
            "/open/a?%0d%0aSet-Cookie:a=b",
            "/keep/%0d%0aSet-Cookie:a=b",
        ] {
            let response = client.get(target);
            let (status, location) = location(&response);
            let location = location.unwrap_or_else(|| panic!("{target}: {status}"));
            assert_eq!(response.header("set-cookie"), None, "{target}");
            let other = location.strip_prefix("https://other.example/base/");
            let local = location.starts_with('/')
                && !location.starts_with("//")
                && !location.contains('\\');
            assert!(other.is_some() || local, "{target}: {location}");
        }
        server.assert_sound();
        assert_eq!(client.get("/docs/a.txt").body, b"alpha");
    });
}

#[test]
fn a_rewrite_answers_once_and_stays_inside() {
    each(|_, client| {
        // The rule for /new.txt does not follow the one for /alias.
        assert_eq!(client.get("/alias").body, b"new");
        assert_eq!(client.get("/new.txt").body, b"alpha");
        assert_eq!(client.get("/users/a/profile").body, b"alpha");
        let part = client.request("GET", "/alias", &[("Range", "bytes=1-")]);
        assert_eq!((part.status, part.body.as_slice()), (206, &b"ew"[..]));
        assert_eq!(client.get("/users/a%2fb/profile").status, 404);
        assert_eq!(client.get("/users/%2e%2e/profile").status, 404);
        assert_eq!(client.get("/up/a.txt").body, b"alpha");
        assert_eq!(client.get("/up/%252e%252e/new.txt").status, 404);
        // Where the slash of a directory is missing, it is that of the page that answers.
        assert_eq!(
            location(&client.get("/folder-alias")),
            (301, Some("/docs/"))
        );
    });
}

#[test]
fn rules_are_for_reading_and_bad_targets_stay_bad() {
    each(|server, client| {
        let response = client.request("DELETE", "/old", &[]);
        assert!(matches!(response.status, 405 | 501), "{response:?}");
        let mut other = Client::connect(server.addr());
        assert_eq!(other.get("/old/%zz").status, 400);
        other.expect_closed();
        assert_eq!(Client::connect(server.addr()).get("/old").status, 301);
    });
}

#[test]
fn rules_that_make_no_sense_are_refused_at_the_start() {
    for (rule, culprit) in [
        ("from = \"old\"\nto = \"/a\"", "'from'"),
        ("from = \"/a\"\nto = \"//evil.example\"", "'to'"),
        ("from = \"/*\"\nto = \"https://$1/\"", "host"),
        ("from = \"/a\"\nto = \"/$1\"", "'$'"),
        ("from = \"/a\"\nto = \"/b\"\nstatus = 200", "301"),
    ] {
        let tree = Tree::new();
        tree.file("site.toml", format!("root = \".\"\n[[redirect]]\n{rule}\n"));
        let path = tree.path().join("site.toml");
        let output = run(&[
            "serve",
            "--check",
            "--config",
            path.to_str().expect("UTF-8"),
        ]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{rule}");
        assert!(
            stderr.contains(culprit) && stderr.lines().count() == 1,
            "{stderr:?}"
        );
    }
}
