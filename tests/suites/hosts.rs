//! Virtual hosts: whose site answers.

use ambidex_tests::client::{Client, Response};
use ambidex_tests::server::{Server, backends, run};
use ambidex_tests::tree::Tree;

const HOSTS: &str = r#"
cache-control = "max-age=1"
[[host]]
name = "one.example"
root = "one"
[[host]]
names = ["*.example.org", "two.example"]
root = "two"
cache-control = "max-age=2"
[[host]]
name = "deep.sub.example.org"
root = "one"
[[host.redirect]]
from = "/go"
to = "/who"
"#;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("one/who", "one")
        .file("two/who", "two")
        .file("rest/who", "rest");
    tree.file("one/only-one", "1");
    tree
}

/// Servers with these hosts, with `top` in front of the file.
fn each(top: &str, test: impl Fn(&Server)) {
    let tree = tree();
    tree.file("site.toml", format!("{top}\n{HOSTS}"));
    for backend in backends() {
        let server = Server::builder(tree.path()).rootless().backend(backend);
        let server = server
            .arg("--config")
            .arg(tree.path().join("site.toml"))
            .start();
        test(&server);
        server.assert_sound();
    }
}

fn ask(client: &mut Client, target: &str, host: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    client.read_response(false)
}

#[test]
fn the_name_chooses_the_site_whatever_its_case_and_port() {
    each("root = \"rest\"", |server| {
        let mut client = Client::connect(server.addr());
        for (host, who) in [
            ("one.example", "one"),
            ("ONE.Example", "one"),
            ("one.example:8080", "one"),
            ("one.example.", "one"),
            ("two.example", "two"),
            ("a.example.org", "two"),
            ("a.b.example.org:1", "two"),
            ("deep.sub.example.org", "one"),
            ("example.org", "rest"),
            ("evil-example.org", "rest"),
            ("one.example.evil", "rest"),
            ("127.0.0.1", "rest"),
            ("[::1]:8080", "rest"),
        ] {
            let response = ask(&mut client, "/who", host);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, who.as_bytes()),
                "{host}"
            );
        }
    });
}

#[test]
fn the_authority_of_an_absolute_target_wins() {
    each("root = \"rest\"", |server| {
        let mut client = Client::connect(server.addr());
        let response = ask(&mut client, "http://two.example:80/who", "one.example");
        assert_eq!(response.body, b"two");
        let response = ask(&mut client, "HTTP://nobody.example/who", "one.example");
        assert_eq!(response.body, b"rest");
    });
}

#[test]
fn each_host_has_its_own_files_and_rules_and_inherits_the_others() {
    each("root = \"rest\"", |server| {
        let mut client = Client::connect(server.addr());
        assert_eq!(ask(&mut client, "/only-one", "one.example").status, 200);
        assert_eq!(ask(&mut client, "/only-one", "two.example").status, 404);
        let value = |response: &Response| response.header("cache-control").map(str::to_owned);
        assert_eq!(
            value(&ask(&mut client, "/who", "one.example")).as_deref(),
            Some("max-age=1")
        );
        assert_eq!(
            value(&ask(&mut client, "/who", "two.example")).as_deref(),
            Some("max-age=2")
        );
        assert_eq!(ask(&mut client, "/go", "deep.sub.example.org").status, 301);
        assert_eq!(ask(&mut client, "/go", "one.example").status, 404);
    });
}

#[test]
fn without_a_default_a_strange_name_is_misdirected_and_the_connection_goes_on() {
    each("", |server| {
        let mut client = Client::connect(server.addr());
        let response = ask(&mut client, "/who", "nobody.example");
        assert_eq!(response.status, 421);
        assert_eq!(ask(&mut client, "/who", "one.example").body, b"one");
        client.send(b"HEAD /who HTTP/1.1\r\nHost: nobody.example\r\n\r\n");
        assert_eq!(client.read_response(true).status, 421);
        assert_eq!(ask(&mut client, "/who", "two.example").body, b"two");
        // HTTP/1.0 need not say a name.
        let mut old = Client::connect(server.addr());
        old.send(b"GET /who HTTP/1.0\r\n\r\n");
        assert_eq!(old.read_response(false).status, 421);
        old.expect_closed();
    });
}

#[test]
fn names_that_are_none_and_names_of_two_are_refused_at_the_start() {
    for (hosts, culprit) in [
        (
            "[[host]]\nname = \"a.example:80\"\nroot = \".\"",
            "a.example:80",
        ),
        (
            "[[host]]\nname = \"a.*.example\"\nroot = \".\"",
            "a.*.example",
        ),
        (
            "[[host]]\nname = \"A.example\"\nroot = \".\"\n[[host]]\nname = \"a.example\"\nroot = \".\"",
            "a.example",
        ),
        ("[[host]]\nname = \"a.example\"", "root"),
        ("[[host]]\nroot = \".\"", "name"),
        (
            "[[host]]\nname = \"a.example\"\nroot = \"missing\"",
            "missing",
        ),
    ] {
        let tree = Tree::new();
        tree.file("site.toml", hosts);
        let path = tree.path().join("site.toml");
        let output = run(&[
            "serve",
            "--check",
            "--config",
            path.to_str().expect("UTF-8"),
        ]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{hosts}: {stderr}");
        assert!(
            stderr.contains(culprit) && stderr.lines().count() == 1,
            "{stderr:?}"
        );
    }
}
