//! How a target becomes a name: escapes, dots, slashes, redirects, hidden names, indexes, clean
//! URLs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use ambidex_server::Files;
use ambidex_tests::client::Client;
use ambidex_tests::hosted::each_backend;
use ambidex_tests::server::each_backend as each_process;
use ambidex_tests::tree::Tree;

fn bytes(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Every byte escaped, but the slashes.
fn escaped(name: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'/' => "/".to_owned(),
        byte => format!("%{byte:02x}"),
    };
    name.iter().map(escape).collect()
}

#[test]
fn any_name_is_reached_by_its_escapes() {
    let tree = Tree::new();
    let names: [&[u8]; 14] = [
        b"a b",
        b"100%",
        b"what?",
        b"#1",
        b"a\\b",
        b"%2e%2e",
        b"a%2fb",
        b"\xff\xfe",
        b"\xc0\xae\xc0\xae",
        "\u{e9}t\u{e9}".as_bytes(),
        "e\u{301}".as_bytes(),
        b"line\r\nend",
        b"..;",
        b"...",
    ];
    for name in names {
        tree.file(bytes(name), name);
    }
    let files = Files {
        hidden: true,
        ..Files::default()
    };
    each_backend(tree.path(), &files, |server| {
        let mut client = server.client();
        for name in names {
            let response = client.get(&format!("/{}", escaped(name)));
            assert_eq!((response.status, response.body.as_slice()), (200, name));
            let response = client.get(&format!("/{}?{}#{}", escaped(name), "a=/../b", "c"));
            assert_eq!(response.body, name, "the query takes no part");
        }
    });
}

#[test]
fn a_name_is_its_bytes_and_nothing_is_folded_or_decoded_twice() {
    let tree = Tree::new();
    tree.file("Case", "upper").file("\u{e9}", "composed");
    tree.file("dir/a", "a").file("%61", "escaped");
    each_process(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for path in [
            "/case",
            "/e%cc%81",
            "/dir%5ca",
            "/dir\\a",
            "/dir%255ca",
            "/%c0%ae%c0%ae/x",
            "/dir/%c0%ae/a",
            "/..;/x",
            "/dir/..;/a",
        ] {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
        assert_eq!(client.get("/%2561").body, b"escaped");
        for path in [
            "/./dir/./a",
            "/dir/../dir/a",
            "//dir//a",
            "/dir/x/../a",
            "/%2e/dir/%2E/a",
            "/x/%2e%2e/dir/a",
        ] {
            assert_eq!(client.get(path).body, b"a", "{path}");
        }
        assert_eq!(client.get("/%43ase").body, b"upper");
    });
}

#[test]
fn a_target_that_makes_no_sense_is_400() {
    let tree = Tree::new();
    tree.file("a", "a").file("a.html", "page");
    each_process(tree.path(), |server| {
        for path in [
            "/%",
            "/%2",
            "/%zz",
            "/a%",
            "/%g0",
            "/a%00",
            "/a%00.html",
            "/%00",
            "/..",
            "/../a",
            "/%2e%2e/a",
            "/..%2fa",
        ] {
            let mut client = Client::connect(server.addr());
            let response = client.get(path);
            assert_eq!(response.status, 400, "{path}");
            if response.header("connection") == Some("close") {
                client.expect_closed();
            } else {
                assert_eq!(client.get("/a").body, b"a");
            }
        }
    });
}

#[test]
fn a_name_or_path_that_is_too_long_is_no_failure_of_the_server() {
    let tree = Tree::new();
    tree.file("a", "a");
    let long_index = Files {
        index: vec!["n".repeat(300), "a".to_owned()],
        clean_urls: true,
        ..Files::default()
    };
    each_backend(tree.path(), &long_index, |server| {
        let mut client = server.client();
        let deepest = format!("/{}", "d/".repeat(2045));
        // 255 bytes are a name; with `.html` they are not.
        for path in [
            format!("/{}", "n".repeat(255)),
            format!("/{}", "n".repeat(256)),
            deepest,
        ] {
            assert_eq!(client.get(&path).status, 404, "{} bytes", path.len());
        }
        for depth in [2048, 3000] {
            let status = client.get(&"/d".repeat(depth)).status;
            assert!([404, 414].contains(&status), "{status}");
        }
        assert_eq!(client.get("/").body, b"a", "the next index");
    });
}

#[test]
fn a_slash_after_a_file_is_not_found() {
    let tree = Tree::new();
    tree.file("a.txt", "a").file("index.html", "top");
    let files = Files {
        listing: ambidex_server::Listing::Both,
        clean_urls: true,
        ..Files::default()
    };
    each_backend(tree.path(), &files, |server| {
        let mut client = server.client();
        for path in [
            "/a.txt/",
            "/a.txt/.",
            "/a.txt//",
            "/a.txt/x",
            "/a.txt/index.html",
            "/index/",
        ] {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
        // Resolved as text, as RFC 3986 has it: whether `a.txt` is a directory is not asked.
        assert_eq!(client.get("/a.txt/../a.txt").body, b"a");
    });
}

#[test]
fn a_redirect_to_a_directory_stays_on_this_server() {
    let tree = Tree::new();
    let names: [&[u8]; 7] = [
        b"evil.example",
        b"\\evil.example",
        b"a b",
        b"in\r\nX-In: jected",
        b"q?#%",
        b"\xff",
        b"@evil.example:80",
    ];
    for name in names {
        tree.dir(bytes(name));
    }
    each_process(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for (target, location) in [
            ("/evil.example", "/evil.example/"),
            ("//evil.example", "/evil.example/"),
            ("///evil.example", "/evil.example/"),
            ("/%2fevil.example", "/evil.example/"),
            ("/.//evil.example", "/evil.example/"),
            ("/x/..//evil.example", "/evil.example/"),
            ("/\\evil.example", "/%5Cevil.example/"),
            ("/%5cevil.example", "/%5Cevil.example/"),
            ("//%5cevil.example", "/%5Cevil.example/"),
            ("/a%20b?x=/../y&z", "/a%20b/?x=/../y&z"),
            ("/in%0d%0aX-In:%20jected", "/in%0D%0AX-In:%20jected/"),
            ("/q%3f%23%25", "/q%3F%23%25/"),
            ("/%ff", "/%FF/"),
            ("/@evil.example:80", "/@evil.example:80/"),
            ("http://test//evil.example?q", "/evil.example/?q"),
            ("/evil.example?\"<>", "/evil.example/?%22%3C%3E"),
        ] {
            let response = client.get(target);
            assert_eq!(response.status, 301, "{target}");
            assert_eq!(response.header("location"), Some(location), "{target}");
            assert!(response.header("x-in").is_none());
            // It leads to the directory, not to another redirect.
            assert_eq!(client.get(location).status, 404, "{location}");
        }
    });
}

#[test]
fn hidden_names_are_not_found_wherever_they_stand() {
    let tree = Tree::new();
    let hidden = [
        ".env",
        ".git/config",
        "a/.ssh/id",
        "a/b/.htpasswd",
        ".well-known/.x",
        "a/.well-known/x",
        "...",
        ".a.html",
    ];
    for name in hidden {
        tree.file(name, "hidden");
    }
    tree.file(".well-known/acme-challenge/token", "token")
        .file("a/x.y", "x");
    each_backend(tree.path(), &Files::default(), |server| {
        let mut client = server.client();
        for name in hidden {
            for path in [
                format!("/{name}"),
                format!("/{}", escaped(name.as_bytes())),
                format!("/a/../{name}"),
            ] {
                assert_eq!(client.get(&path).status, 404, "{path}");
            }
        }
        for path in ["/.git", "/.git/", "/a/.ssh", "/.missing"] {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
        assert_eq!(
            client.get("/.well-known/acme-challenge/token").body,
            b"token"
        );
        assert_eq!(client.get("/a/x.y").body, b"x");
    });
    let files = Files {
        hidden: true,
        ..Files::default()
    };
    each_backend(tree.path(), &files, |server| {
        for name in hidden {
            assert_eq!(server.get(&format!("/{name}")).body, b"hidden", "{name}");
        }
    });
}

#[test]
fn the_index_is_the_first_of_the_list_that_is_a_file_there() {
    let tree = Tree::new();
    tree.file("one/index.html", "html")
        .file("one/index.htm", "htm");
    tree.file("two/index.htm", "htm");
    tree.dir("three/index.html")
        .fifo("three/index.htm")
        .file("three/default", "last");
    tree.file("four/other", "x");
    let index = ["index.html", "index.htm", "default"].map(str::to_owned);
    let files = Files {
        index: index.to_vec(),
        ..Files::default()
    };
    each_backend(tree.path(), &files, |server| {
        let mut client = server.client();
        for (path, body) in [("/one/", "html"), ("/two/", "htm"), ("/three/", "last")] {
            let response = client.get(path);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, body.as_bytes()),
                "{path}"
            );
        }
        assert_eq!(client.get("/four/").status, 404);
        assert_eq!(client.get("/none/").status, 404);
    });
    let none = Files {
        index: Vec::new(),
        ..Files::default()
    };
    each_backend(tree.path(), &none, |server| {
        assert_eq!(server.get("/one/").status, 404);
        assert_eq!(server.get("/one/index.html").body, b"html");
    });
}

#[test]
fn a_clean_url_is_the_page_without_its_ending() {
    let tree = Tree::new();
    tree.file("about.html", "about")
        .file("both.html", "page")
        .file("both", "file");
    tree.file("blog.html", "blog")
        .file("blog/index.html", "posts")
        .file("docs/index.html", "docs");
    tree.file("v1.2.html", "release").dir("dir.html");
    tree.fifo("pipe.html");
    let files = Files {
        clean_urls: true,
        ..Files::default()
    };
    each_backend(tree.path(), &files, |server| {
        let mut client = server.client();
        for (path, body) in [
            ("/about", "about"),
            ("/about?x", "about"),
            // Not redirected: both are addresses.
            ("/about.html", "about"),
            ("/both", "file"),
            ("/blog", "blog"),
            ("/blog/", "posts"),
            ("/v1.2", "release"),
        ] {
            let response = client.get(path);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, body.as_bytes()),
                "{path}"
            );
        }
        let kind = client.get("/about");
        assert_eq!(
            kind.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(client.get("/docs").header("location"), Some("/docs/"));
        for path in ["/about/", "/dir", "/pipe", "/missing"] {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
    });
    each_backend(tree.path(), &Files::default(), |server| {
        assert_eq!(server.get("/about").status, 404, "off by default");
    });
}

/// The directory is held, not its name.
#[test]
fn a_root_that_is_replaced_is_served_until_the_end() {
    let world = Tree::new();
    world.file("site/a", "old").file("next/a", "new");
    let (site, next) = (world.path().join("site"), world.path().join("next"));
    each_backend(&site, &Files::default(), |server| {
        fs::rename(&site, world.path().join("before")).expect("a new name");
        fs::rename(&next, &site).expect("a free name");
        assert_eq!(server.get("/a").body, b"old");
        fs::rename(&site, &next).expect("a free name");
        fs::rename(world.path().join("before"), &site).expect("a free name");
    });
}
