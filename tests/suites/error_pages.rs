//! Pages of the site's owner: for what is not found, for what fails, and for applications that find
//! their own way in the browser.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ambidex_server::Files;
use ambidex_tests::hosted::{Hosted, each_backend};
use ambidex_tests::rig::skipped;
use ambidex_tests::server::backends;
use ambidex_tests::tree::{Tree, content};

const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn with_404(page: &str) -> Files {
    Files {
        page_404: Some(page.to_owned()),
        ..Files::default()
    }
}

fn spa() -> Files {
    Files {
        fallback: Some("/index.html".to_owned()),
        ..Files::default()
    }
}

#[test]
fn what_is_not_found_gets_the_page_and_stays_404() {
    let tree = Tree::new();
    tree.file("404.html", "lost?").file("a.txt", "a");
    each_backend(tree.path(), &with_404("/404.html"), |server| {
        let mut client = server.client();
        for path in ["/missing", "/a.txt/", "/missing/", "/.env", "/x/y/z.js"] {
            let response = client.get(path);
            assert_eq!(response.status, 404, "{path}");
            assert_eq!(response.body, b"lost?", "{path}");
            let kind = response.header("content-type");
            assert_eq!(kind, Some("text/html; charset=utf-8"));
            assert!(
                response.header("etag").is_none() && response.header("last-modified").is_none()
            );
        }
        // As a file, it is a file.
        let page = client.get("/404.html");
        assert_eq!((page.status, page.body.as_slice()), (200, &b"lost?"[..]));
        assert_eq!(client.get("/a.txt").body, b"a");
    });
}

#[test]
fn conditions_and_ranges_do_not_apply_to_the_page() {
    let tree = Tree::new();
    tree.file("404.html", content(1, 300_000));
    each_backend(tree.path(), &with_404("404.html"), |server| {
        let mut client = server.client();
        let tag = client
            .get("/404.html")
            .header("etag")
            .expect("an ETag")
            .to_owned();
        for (name, value) in [
            ("Range", "bytes=0-3"),
            ("If-None-Match", "*"),
            ("If-None-Match", tag.as_str()),
            ("If-Modified-Since", "Fri, 31 Dec 2100 23:59:59 GMT"),
            ("If-Match", "\"x\""),
        ] {
            let response = client.request("GET", "/missing", &[(name, value)]);
            assert_eq!(response.status, 404, "{name}: {value}");
            assert_eq!(response.body.len(), 300_000, "{name}: {value}");
            assert!(response.header("content-range").is_none());
        }
        let head = client.request("HEAD", "/missing", &[]);
        assert_eq!((head.status, head.content_length()), (404, 300_000));
        assert_eq!(client.get("/404.html").status, 200);
    });
}

#[test]
fn a_page_that_cannot_be_had_leaves_the_line_of_text() {
    let world = Tree::new();
    world.file("outside/secret", "the-secret-that-lies-outside");
    world.symlink("../outside/secret", "root/leak.html");
    world.fifo("root/fifo.html").dir("root/dir.html");
    world.file("root/.hidden.html", "hidden");
    let pages = [
        "none.html",
        "leak.html",
        "fifo.html",
        "dir.html",
        ".hidden.html",
        "../outside/secret",
        "",
    ];
    for page in pages {
        let files = Files {
            page_50x: Some(page.to_owned()),
            ..with_404(page)
        };
        each_backend(&world.path().join("root"), &files, |server| {
            let mut client = server.client();
            for _ in 0..2 {
                let response = client.get("/missing");
                assert_eq!(response.status, 404, "{page}");
                assert_eq!(response.body, b"404 Not Found\n", "{page}");
            }
        });
    }
}

#[test]
fn nothing_of_the_request_appears_in_an_error() {
    let tree = Tree::new();
    each_backend(tree.path(), &Files::default(), |server| {
        let mut client = server.client();
        for path in [
            "/%3Cscript%3Ealert(1)%3C/script%3E",
            "/x?%3Cscript%3E",
            "/%22onload=x",
        ] {
            let response = client.get(path);
            assert_eq!(response.status, 404, "{path}");
            let text = String::from_utf8_lossy(&response.body).into_owned();
            assert!(
                !text.contains("script") && !text.contains("onload"),
                "{text}"
            );
        }
    });
}

/// Holds a lease on `file`: opening it without waiting fails with `EWOULDBLOCK`, whoever asks
/// (`F_SETLEASE`, fcntl(2)). `None` where that cannot be had.
fn lease(file: &Path) -> Option<Child> {
    const HOLDER: &str = "import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()";
    let mut command = Command::new("python3");
    command.arg("-c").arg(HOLDER).arg(file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = command.spawn().ok()?;
    let mut line = [0; 5];
    let held = holder.stdout.as_mut()?.read_exact(&mut line);
    if held.is_err() {
        let _ = holder.wait();
        return None;
    }
    Some(holder)
}

#[test]
fn the_page_for_failures_needs_no_disk() {
    let tree = Tree::new();
    tree.file("50x.html", "we are sorry")
        .file("busy", "x")
        .file("a", "alpha");
    let files = Files {
        page_50x: Some("/50x.html".to_owned()),
        ..Files::default()
    };
    for backend in backends() {
        tree.file("50x.html", "we are sorry");
        let server = Hosted::start(tree.path(), backend, files.clone());
        fs::remove_file(tree.path().join("50x.html")).expect("it is there");
        let Some(mut holder) = lease(&tree.path().join("busy")) else {
            return skipped("the_page_for_failures", "no lease can be held with python3");
        };
        let mut client = server.client();
        for method in ["GET", "HEAD", "GET"] {
            let response = client.request(method, "/busy", &[("Range", "bytes=0-1")]);
            assert_eq!(response.status, 503);
            assert_eq!(response.content_length(), 12);
            assert!(response.header("retry-after").is_some());
            let kind = response.header("content-type");
            assert_eq!(kind, Some("text/html; charset=utf-8"));
            let body = if method == "GET" { "we are sorry" } else { "" };
            assert_eq!(response.body, body.as_bytes());
        }
        assert_eq!(client.get("/a").body, b"alpha", "the connection goes on");
        assert_eq!(client.get("/missing").body, b"404 Not Found\n");
        drop(holder.stdin.take());
        holder.wait().expect("our own child");
        server.assert_sound();
    }
}

#[test]
fn an_application_gets_its_page_with_200_for_what_is_not_there() {
    let tree = Tree::new();
    tree.file("index.html", "the app")
        .file("app.js", "code")
        .file("docs/x", "x");
    each_backend(tree.path(), &spa(), |server| {
        let mut client = server.client();
        // A person goes there.
        for path in [
            "/users/1",
            "/users/",
            "/users/john.doe",
            "/docs/",
            "/?q=1",
            "/app.js/",
        ] {
            let response = client.request("GET", path, &[("Accept", HTML)]);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, &b"the app"[..]),
                "{path}"
            );
        }
        // Without a preference, by the looks of the name.
        for accept in [&[][..], &[("Accept", "*/*")]] {
            let response = client.request("GET", "/users/1", accept);
            assert_eq!(
                (response.status, response.body.as_slice()),
                (200, &b"the app"[..])
            );
            assert_eq!(response.header("vary"), Some("Accept"));
            for path in ["/assets/gone.js", "/gone.png", "/.env", "/x/.git/config"] {
                let response = client.request("GET", path, accept);
                assert_eq!(response.status, 404, "{path} {accept:?}");
            }
        }
        // A part of a page, or data.
        for accept in ["image/avif,image/webp,image/*;q=0.8", "application/json"] {
            let response = client.request("GET", "/users/1", &[("Accept", accept)]);
            assert_eq!(response.status, 404, "{accept}");
            assert_eq!(response.header("vary"), Some("Accept"), "{accept}");
        }
        // What is hidden is not there for anybody.
        let hidden = client.request("GET", "/.git/config", &[("Accept", HTML)]);
        assert_eq!(hidden.status, 404);
        assert_eq!(client.get("/app.js").body, b"code");
    });
}

#[test]
fn the_page_of_an_application_is_a_file_with_conditions_and_ranges() {
    let tree = Tree::new();
    tree.file("index.html", "the app");
    each_backend(tree.path(), &spa(), |server| {
        let mut client = server.client();
        let page = client.get("/users/1");
        let tag = page.header("etag").expect("an ETag").to_owned();
        let again = client.request("GET", "/users/2", &[("If-None-Match", &tag)]);
        assert_eq!((again.status, again.header("vary")), (304, Some("Accept")));
        let part = client.request("GET", "/users/1", &[("Range", "bytes=4-")]);
        assert_eq!((part.status, part.body.as_slice()), (206, &b"app"[..]));
        let head = client.request("HEAD", "/users/1", &[]);
        assert_eq!((head.status, head.content_length()), (200, 7));
    });
}

#[test]
fn an_application_without_its_page_is_not_found() {
    let world = Tree::new();
    world
        .file("outside/secret", "the-secret-that-lies-outside")
        .file("root/a", "a");
    world.symlink("../outside/secret", "root/leak.html");
    for page in ["gone.html", "leak.html", "../outside/secret"] {
        let files = Files {
            fallback: Some(page.to_owned()),
            ..with_404("gone.html")
        };
        each_backend(&world.path().join("root"), &files, |server| {
            let mut client = server.client();
            assert_eq!(client.get("/users/1").status, 404, "{page}");
            assert_eq!(client.get("/a").body, b"a");
        });
    }
}
