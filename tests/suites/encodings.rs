//! Which form of a file is sent: precompressed siblings by `Accept-Encoding`, and content types.

use ambidex_server::{Encoding, Files, Types};
use ambidex_tests::client::Response;
use ambidex_tests::hosted::{Hosted, each_backend};
use ambidex_tests::server::Server;
use ambidex_tests::tree::{Tree, content};

fn all() -> Files {
    Files {
        precompressed: Encoding::ALL.to_vec(),
        ..Files::default()
    }
}

/// `/app.js` in four forms that tell themselves apart, `/part.css` with a `.gz` only, `/bare.css`
/// alone.
fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("app.js", "plain")
        .file("app.js.zst", "zstd form")
        .file("app.js.br", "brotli form")
        .file("app.js.gz", "gzip form");
    tree.file("part.css", "plain")
        .file("part.css.gz", "gzip form");
    tree.file("bare.css", "plain");
    tree
}

fn accepting(server: &Hosted, path: &str, accepted: &str) -> Response {
    server.get_with(path, &[("Accept-Encoding", accepted)])
}

#[test]
fn the_form_is_chosen_by_weights_and_then_by_the_order_of_the_server() {
    let tree = tree();
    each_backend(tree.path(), &all(), |server| {
        for (accepted, encoding, body) in [
            ("gzip", Some("gzip"), "gzip form"),
            ("gzip, deflate, br, zstd", Some("zstd"), "zstd form"),
            ("gzip, br", Some("br"), "brotli form"),
            (
                "gzip;q=1.0, br;q=0.9, zstd;q=0.1",
                Some("gzip"),
                "gzip form",
            ),
            ("gzip;q=0, br;q=0", None, "plain"),
            ("gzip;q=0, *", Some("zstd"), "zstd form"),
            ("*", Some("zstd"), "zstd form"),
            ("identity;q=0, gzip", Some("gzip"), "gzip form"),
            ("identity, gzip;q=0.5", None, "plain"),
            ("deflate", None, "plain"),
            ("", None, "plain"),
        ] {
            let response = accepting(server, "/app.js", accepted);
            assert_eq!(response.status, 200, "{accepted:?}");
            assert_eq!(
                response.header("content-encoding"),
                encoding,
                "{accepted:?}"
            );
            assert_eq!(response.body, body.as_bytes(), "{accepted:?}");
            let kind = response.header("content-type");
            assert_eq!(kind, Some("text/javascript; charset=utf-8"));
        }
        let response = server.get("/app.js");
        assert_eq!(response.body, b"plain");
        assert_eq!(response.header("content-encoding"), None);
    });
}

#[test]
fn a_form_that_is_not_there_falls_back_to_the_next_and_to_the_file_itself() {
    let tree = tree();
    each_backend(tree.path(), &all(), |server| {
        let response = accepting(server, "/part.css", "zstd, br, gzip");
        assert_eq!(response.body, b"gzip form");
        let response = accepting(server, "/bare.css", "zstd, br, gzip");
        assert_eq!(response.body, b"plain");
        assert_eq!(response.header("content-encoding"), None);
        // The sibling of nothing is nothing.
        tree.file("orphan.js.gz", "gzip form");
        assert_eq!(accepting(server, "/orphan.js", "gzip").status, 404);
    });
}

#[test]
fn what_no_form_satisfies_is_not_acceptable_and_the_connection_goes_on() {
    let tree = tree();
    each_backend(tree.path(), &all(), |server| {
        let mut client = server.client();
        for accepted in ["identity;q=0", "*;q=0", "br, *;q=0", "identity;q=0, br"] {
            let response = client.request("GET", "/part.css", &[("Accept-Encoding", accepted)]);
            assert_eq!(response.status, 406, "{accepted}");
        }
        assert_eq!(client.get("/part.css").body, b"plain");
    });
}

#[test]
fn the_server_decides_between_equals_and_offers_only_what_it_is_told() {
    let tree = tree();
    let files = Files {
        precompressed: vec![Encoding::Gzip, Encoding::Brotli],
        ..Files::default()
    };
    each_backend(tree.path(), &files, |server| {
        let response = accepting(server, "/app.js", "zstd, br, gzip");
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        let response = accepting(server, "/app.js", "zstd");
        assert_eq!(response.header("content-encoding"), None);
    });
    each_backend(tree.path(), &Files::default(), |server| {
        let response = accepting(server, "/app.js", "zstd, br, gzip");
        assert_eq!(response.body, b"plain");
        assert_eq!(response.header("vary"), None, "nothing is negotiated");
    });
}

#[test]
fn vary_is_said_of_every_form_and_of_304() {
    let tree = tree();
    tree.file("photo.png", "png")
        .file("photo.png.gz", "gzip form");
    each_backend(tree.path(), &all(), |server| {
        for path in ["/app.js", "/bare.css"] {
            for accepted in ["gzip", "identity", "zstd;q=0"] {
                let response = accepting(server, path, accepted);
                assert_eq!(response.header("vary"), Some("Accept-Encoding"), "{path}");
                let tag = response.header("etag").expect("an ETag");
                let fields = [("Accept-Encoding", accepted), ("If-None-Match", tag)];
                let again = server.get_with(path, &fields);
                assert_eq!(again.status, 304, "{path} {accepted}");
                assert_eq!(again.header("vary"), Some("Accept-Encoding"), "{path}");
                assert_eq!(again.header("etag"), Some(tag), "{path}");
            }
            assert_eq!(server.get(path).header("vary"), Some("Accept-Encoding"));
        }
        // Compressed by its nature: no other form is looked for.
        let response = accepting(server, "/photo.png", "gzip");
        assert_eq!(
            (response.body.as_slice(), response.header("vary")),
            (&b"png"[..], None)
        );
    });
}

#[test]
fn each_form_has_an_entity_tag_of_its_own_and_its_own_ranges() {
    let tree = tree();
    each_backend(tree.path(), &all(), |server| {
        let tags: Vec<String> = ["identity", "gzip", "br", "zstd"]
            .iter()
            .map(|accepted| accepting(server, "/app.js", accepted))
            .map(|response| response.header("etag").expect("an ETag").to_owned())
            .collect();
        for (at, tag) in tags.iter().enumerate() {
            assert!(!tags[..at].contains(tag), "{tags:?}");
        }
        // The tag of one form is no reason to keep another.
        let fields = [
            ("Accept-Encoding", "br"),
            ("If-None-Match", tags[1].as_str()),
        ];
        assert_eq!(server.get_with("/app.js", &fields).status, 200);
        let fields = [("Accept-Encoding", "br"), ("Range", "bytes=0-5")];
        let part = server.get_with("/app.js", &fields);
        assert_eq!((part.status, part.body.as_slice()), (206, &b"brotli"[..]));
        assert_eq!(part.header("content-range"), Some("bytes 0-5/11"));
        assert_eq!(part.header("content-encoding"), Some("br"));
    });
}

#[test]
fn a_sibling_passes_the_same_checks_as_any_name() {
    let world = Tree::new();
    world.file("outside/secret", "the-secret-that-lies-outside");
    let page = "root/page.html";
    world.file(page, "plain");
    world.symlink("../outside/secret", "root/page.html.zst");
    world.fifo("root/page.html.br").dir("root/page.html.gz");
    world.file("root/inner.html", "plain");
    world.file("root/forms/inner", "gzip form");
    world.symlink("forms/inner", "root/inner.html.gz");
    each_backend(&world.path().join("root"), &all(), |server| {
        let response = accepting(server, "/page.html", "zstd, br, gzip");
        assert_eq!(
            (response.status, response.body.as_slice()),
            (200, &b"plain"[..])
        );
        assert_eq!(response.header("content-encoding"), None);
        // A link that stays inside is a form like any other.
        assert_eq!(accepting(server, "/inner.html", "gzip").body, b"gzip form");
    });
}

#[test]
fn a_compressed_file_that_is_asked_for_by_its_own_name_is_sent_as_it_is() {
    let tree = tree();
    each_backend(tree.path(), &all(), |server| {
        for (path, kind) in [
            ("/app.js.gz", "application/gzip"),
            ("/app.js.zst", "application/zstd"),
            ("/app.js.br", "application/octet-stream"),
        ] {
            let response = accepting(server, path, "gzip, br, zstd");
            assert_eq!(response.status, 200);
            assert_eq!(response.header("content-type"), Some(kind), "{path}");
            assert_eq!(response.header("content-encoding"), None, "{path}");
        }
    });
}

#[test]
fn a_head_of_a_form_describes_that_form() {
    let tree = tree();
    each_backend(tree.path(), &all(), |server| {
        let mut client = server.client();
        let response = client.request("HEAD", "/app.js", &[("Accept-Encoding", "gzip")]);
        assert_eq!(response.content_length(), 9);
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(client.get("/app.js").body, b"plain");
    });
}

#[test]
fn the_index_has_forms_too() {
    let tree = Tree::new();
    let form = content(1, 100_000);
    tree.file("index.html", "plain")
        .file("index.html.br", &form);
    each_backend(tree.path(), &all(), |server| {
        let response = accepting(server, "/", "br");
        assert_eq!(response.header("content-encoding"), Some("br"));
        assert_eq!(response.body, form);
    });
}

#[test]
fn types_name_their_charset_and_own_types_come_first() {
    let mut types = Types::default();
    types.insert("foo", "application/x-foo").expect("a type");
    types
        .insert("", "text/plain; charset=utf-8")
        .expect("a type");
    let files = Files {
        types,
        ..Files::default()
    };
    let tree = Tree::new();
    let expected = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.json", "application/json; charset=utf-8"),
        ("a.xml", "text/xml; charset=utf-8"),
        ("a.svg", "image/svg+xml; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.wasm", "application/wasm"),
        ("a.FOO", "application/x-foo"),
        ("LICENSE", "text/plain; charset=utf-8"),
        ("a.unheard-of", "application/octet-stream"),
    ];
    for (name, _) in expected {
        tree.file(name, "x");
    }
    each_backend(tree.path(), &files, |server| {
        for (name, kind) in expected {
            let response = server.get(&format!("/{name}"));
            assert_eq!(response.header("content-type"), Some(kind), "{name}");
        }
    });
}

/// No flag: nothing is looked for beside a file.
#[test]
fn nothing_is_negotiated_by_default() {
    let tree = tree();
    ambidex_tests::server::each_backend(tree.path(), |server: &Server| {
        let mut client = ambidex_tests::client::Client::connect(server.addr());
        let response = client.request("GET", "/app.js", &[("Accept-Encoding", "gzip")]);
        assert_eq!(response.body, b"plain");
    });
}
