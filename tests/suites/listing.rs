//! Listings of directories, for people and for programs.

#[path = "listing/long.rs"]
mod long;

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, UNIX_EPOCH};

use ambidex_server::{Files, Listing};
use ambidex_tests::client::{Client, Response};
use ambidex_tests::hosted::{Hosted, each_backend};
use ambidex_tests::tree::Tree;
use serde_json::Value;

fn listing(listing: Listing) -> Files {
    Files {
        listing,
        ..Files::default()
    }
}

fn text(response: &Response) -> String {
    String::from_utf8(response.body.clone()).expect("a listing is UTF-8")
}

fn list(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{response:?}");
    let value: Value = serde_json::from_slice(&response.body).expect("valid JSON");
    value.as_array().expect("an array").clone()
}

fn names(response: &Response) -> Vec<String> {
    let names = list(response).into_iter();
    names
        .map(|entry| entry["name"].as_str().expect("a string").to_owned())
        .collect()
}

/// Reads one response whose body may be chunked.
fn read_framed(client: &mut Client) -> Response {
    let mut response = client.read_head().expect("a head");
    if response.header("transfer-encoding").is_none() {
        let mut body = vec![0; usize::try_from(response.content_length()).expect("a size")];
        client.read_exact(&mut body).expect("the whole body");
        response.body = body;
        return response;
    }
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.header("content-length"), None);
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).expect("a chunk's size");
            line.push(byte[0]);
        }
        let digits = std::str::from_utf8(&line[..line.len() - 2]).expect("digits");
        let size = usize::from_str_radix(digits, 16).expect("a size");
        let mut chunk = vec![0; size + 2];
        client.read_exact(&mut chunk).expect("a chunk");
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends with its line");
        if size == 0 {
            return response;
        }
        response.body.extend_from_slice(&chunk[..size]);
    }
}

fn request(client: &mut Client, path: &str, fields: &str) -> Response {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n{fields}\r\n").as_bytes());
    read_framed(client)
}

#[test]
fn a_directory_is_listed_only_if_that_was_asked_for_and_has_no_index() {
    let tree = Tree::new();
    tree.file("dir/a", "a")
        .file("indexed/index.html", "index")
        .file("indexed/b", "b");
    each_backend(tree.path(), &Files::default(), |server| {
        assert_eq!(server.get("/dir/").status, 404, "off by default");
    });
    each_backend(tree.path(), &listing(Listing::Html), |server| {
        let mut client = server.client();
        assert_eq!(client.get("/dir").header("location"), Some("/dir/"));
        assert!(text(&client.get("/dir/")).contains("href=\"./a\""));
        assert_eq!(client.get("/indexed/").body, b"index");
        for path in ["/dir/a/", "/missing/", "/dir/missing/"] {
            assert_eq!(client.get(path).status, 404, "{path}");
        }
    });
}

#[test]
fn a_page_loads_nothing_and_fits_a_phone() {
    let tree = Tree::new();
    tree.file("dir/a", "a");
    each_backend(tree.path(), &listing(Listing::Html), |server| {
        let response = server.get("/dir/");
        assert_eq!(
            response.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let policy = response
            .header("content-security-policy")
            .expect("a policy");
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        let page = text(&response);
        assert!(page.contains("<meta name=\"viewport\" content=\"width=device-width"));
        for loaded in [
            "<script", "<link", "<img", "src=", "url(", "http:", "@import",
        ] {
            assert!(!page.contains(loaded), "{loaded}: {page}");
        }
        assert!(page.contains("<a href=\"../\">"), "the way up");
        assert!(
            !text(&server.get("/")).contains("\"../\""),
            "there is nothing above"
        );
    });
}

/// Names that mean something in HTML, in a URL or to a terminal.
const ODD: [&[u8]; 10] = [
    b"<script>alert(1)<",
    b"a&b\"c'd",
    b"javascript:alert(1)",
    b"line\nend\r",
    b"\x1b[31mred",
    b"what?#%20",
    b"a b",
    b"\xff\xfe",
    b"back\\slash",
    "\u{202e}gpj.exe".as_bytes(),
];

fn odd_tree() -> Tree {
    let tree = Tree::new();
    for name in ODD {
        tree.file(OsStr::from_bytes(name), name);
    }
    tree.file(OsStr::from_bytes(b"<dir>\"/x"), "x");
    tree
}

#[test]
fn odd_names_are_safe_on_the_page_and_their_links_lead_to_them() {
    let tree = odd_tree();
    each_backend(tree.path(), &listing(Listing::Html), |server| {
        let page = text(&server.get("/"));
        let mut client = server.client();
        let mut found = 0;
        for part in page.split("<a href=\"./").skip(1) {
            let href = part.split('"').next().expect("its end");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
            assert!(href.bytes().all(plain), "{href}");
            if !href.ends_with('/') {
                let file = client.get(&format!("/{href}"));
                assert!(ODD.contains(&file.body.as_slice()), "{href}");
                found += 1;
            }
        }
        assert_eq!(found, ODD.len());
        for raw in ["<script", "<dir", "d'd", "\"c", "\x1b", "\r", "\u{202e}"] {
            assert!(!page.contains(raw), "{raw:?}: {page}");
        }
        let title = text(&server.get("/%3Cdir%3E%22/"));
        assert!(title.contains("/&lt;dir&gt;&quot;/") && !title.contains("<dir>"));
    });
}

#[test]
fn json_is_valid_for_any_name_and_its_references_are_exact() {
    let tree = odd_tree();
    each_backend(tree.path(), &listing(Listing::Json), |server| {
        let response = server.get("/");
        let kind = response.header("content-type");
        assert_eq!(kind, Some("application/json; charset=utf-8"));
        let mut client = server.client();
        let mut files = 0;
        for entry in list(&response) {
            let href = entry["href"].as_str().expect("a reference");
            let path = href.strip_prefix('.').expect("relative");
            if entry["type"] == "directory" {
                assert!(path.ends_with('/') && entry.get("size").is_none());
                continue;
            }
            let file = client.get(path);
            assert!(ODD.contains(&file.body.as_slice()), "{href}");
            assert_eq!(entry["size"], file.body.len());
            let name = String::from_utf8_lossy(&file.body);
            assert_eq!(entry["name"], name.as_ref());
            files += 1;
        }
        assert_eq!(files, ODD.len());
    });
}

#[test]
fn the_form_is_the_one_that_the_client_asks_for() {
    let tree = Tree::new();
    tree.file("a", "a");
    let kind = |server: &Hosted, path: &str, accept: &str| {
        let response = server.get_with(path, &[("Accept", accept)]);
        assert_eq!(response.header("vary"), Some("Accept"));
        response.header("content-type").map(str::to_owned)
    };
    let (html, json) = (
        "text/html; charset=utf-8",
        "application/json; charset=utf-8",
    );
    each_backend(tree.path(), &listing(Listing::Both), |server| {
        for (path, accept, expected) in [
            ("/", "*/*", html),
            ("/", "application/json", json),
            ("/", "text/html,application/xhtml+xml,*/*;q=0.8", html),
            ("/", "application/json, text/html;q=0.5", json),
            ("/?format=json", "text/html", json),
            ("/?format=html", "application/json", html),
        ] {
            assert_eq!(
                kind(server, path, accept).as_deref(),
                Some(expected),
                "{path} {accept}"
            );
        }
    });
    each_backend(tree.path(), &listing(Listing::Html), |server| {
        let response = server.get_with("/?format=json", &[("Accept", "application/json")]);
        assert_eq!(response.header("content-type"), Some(html));
        assert_eq!(response.header("vary"), None);
    });
}

#[test]
fn a_listing_is_sorted_by_name_size_or_time_and_always_the_same() {
    let tree = Tree::new();
    for (name, size, time) in [("b", 10, 3), ("a", 10, 1), ("c", 5, 2)] {
        tree.file(name, vec![b'x'; size]);
        tree.modified(name, UNIX_EPOCH + Duration::from_secs(1_000_000_000 + time));
    }
    tree.dir("z").dir("y");
    each_backend(tree.path(), &listing(Listing::Both), |server| {
        for (query, expected) in [
            ("", "yzabc"),
            ("&sort=name", "yzabc"),
            ("&sort=name&order=desc", "zycba"),
            ("&sort=size", "yzcab"),
            ("&sort=size&order=desc", "yzabc"),
            ("&sort=nonsense&order=%22", "yzabc"),
        ] {
            let names = names(&server.get(&format!("/?format=json{query}")));
            assert_eq!(names.concat(), expected, "{query}");
        }
        let by_time = names(&server.get("/?format=json&sort=time"));
        assert_eq!(by_time[2..].concat(), "acb");
        let times = list(&server.get("/?format=json"));
        let a = times.iter().find(|entry| entry["name"] == "a").expect("a");
        assert_eq!(a["mtime"], "2001-09-09T01:46:41Z");
        // The page offers the same, and to turn it round.
        let page = text(&server.get("/?sort=size"));
        for link in [
            "?sort=name&amp;order=asc",
            "?sort=size&amp;order=desc",
            "?sort=time&amp;order=asc",
        ] {
            assert!(page.contains(link), "{link}");
        }
    });
}

#[test]
fn what_is_not_served_is_not_listed() {
    let world = Tree::new();
    world.file("outside/secret", "the-secret-that-lies-outside");
    world
        .file("root/seen", "x")
        .dir("root/folder")
        .fifo("root/fifo");
    world
        .file("root/.hidden", "x")
        .file("root/.well-known/x", "x");
    world
        .symlink("../outside/secret", "root/leak")
        .symlink("../outside", "root/leak-dir");
    world
        .symlink("nowhere", "root/dangling")
        .symlink("loop", "root/loop");
    world
        .symlink("/proc/self/exe", "root/magic")
        .symlink("fifo", "root/to-fifo");
    world
        .symlink("seen", "root/link")
        .symlink("folder", "root/link-dir");
    let root = world.path().join("root");
    each_backend(&root, &listing(Listing::Json), |server| {
        let response = server.get("/");
        assert_eq!(names(&response), ["folder", "link-dir", "link", "seen"]);
        let list = list(&response);
        assert_eq!(
            (&list[1]["type"], &list[1]["href"]),
            (&"directory".into(), &"./link-dir/".into())
        );
        assert_eq!(list[2]["size"], 1);
    });
    let files = Files {
        hidden: true,
        symlinks: ambidex_server::Symlinks::None,
        ..listing(Listing::Json)
    };
    each_backend(&root, &files, |server| {
        assert_eq!(
            names(&server.get("/")),
            [".well-known", "folder", ".hidden", "seen"]
        );
    });
    each_backend(&root, &listing(Listing::Html), |server| {
        for path in ["/leak-dir/", "/leak-dir", "/.well-known/.x/"] {
            assert_eq!(server.get(path).status, 404, "{path}");
        }
        let page = text(&server.get("/"));
        assert!(!page.contains("leak") && !page.contains("hidden"), "{page}");
    });
}

#[test]
fn an_empty_directory_is_an_empty_list() {
    let tree = Tree::new();
    tree.dir("empty");
    each_backend(tree.path(), &listing(Listing::Both), |server| {
        assert_eq!(server.get("/empty/?format=json").body, b"[\n]\n");
        assert!(text(&server.get("/empty/")).contains("Nothing here."));
    });
}
