//! What is no regular file, and what may not be read: an answer at once, and nobody waits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use ambidex_server::{Encoding, Files, Listing};
use ambidex_tests::client::Client;
use ambidex_tests::hosted::each_backend;
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{Server, backends};
use ambidex_tests::tree::Tree;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// All that opens something beside what was asked for.
fn everything() -> Files {
    Files {
        listing: Listing::Both,
        clean_urls: true,
        precompressed: Encoding::ALL.to_vec(),
        page_404: Some("fifo".to_owned()),
        fallback: Some("fifo".to_owned()),
        ..Files::default()
    }
}

fn device(tree: &Tree, name: &str, minor: u32) -> bool {
    let path = tree.path().join(name);
    let mode = Mode::from(0o666);
    let made = mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        mode,
        makedev(1, minor),
    );
    if let Err(error) = &made {
        skipped("device nodes", &format!("mknod says {error}"));
    }
    made.is_ok()
}

#[test]
fn twelve_requests_for_a_fifo_at_once_are_answered_and_wedge_nobody() {
    let tree = Tree::new();
    tree.fifo("fifo").fifo("dir/index.html").file("a", "alpha");
    tree.file("page.html", "page")
        .fifo("page.html.gz")
        .fifo("clean.html");
    tree.symlink("fifo", "link");
    for files in [Files::default(), everything()] {
        each_backend(tree.path(), &files, |server| {
            for path in ["/fifo", "/link", "/clean", "/clean.html"] {
                let mut clients: Vec<Client> = (0..12).map(|_| server.client()).collect();
                for client in &mut clients {
                    client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
                }
                assert_eq!(server.get("/a").body, b"alpha");
                for client in &mut clients {
                    assert_eq!(client.read_response(false).status, 404, "{path}");
                    assert_eq!(client.get("/a").body, b"alpha", "the connection goes on");
                }
            }
            let response = server.get_with("/page.html", &[("Accept-Encoding", "gzip")]);
            assert_eq!(response.body, b"page");
        });
    }
}

#[test]
fn sockets_devices_and_loops_are_not_found() {
    let tree = Tree::new();
    tree.file("a", "alpha");
    let _socket = UnixListener::bind(tree.path().join("socket")).expect("a short path");
    tree.symlink("loop", "loop")
        .symlink("two", "one")
        .symlink("one", "two");
    tree.symlink("nowhere", "dangling")
        .symlink("loop/x", "through");
    let mut paths = vec![
        "/socket",
        "/loop",
        "/loop/",
        "/loop/x",
        "/one",
        "/two/x",
        "/dangling",
        "/through",
    ];
    // /dev/null, /dev/zero, and one that no driver is behind.
    for (name, minor) in [("null", 3), ("zero", 5), ("nobody", 250)] {
        if device(&tree, name, minor) {
            paths.push(
                ["/null", "/zero", "/nobody"][usize::from(minor > 3) + usize::from(minor > 5)],
            );
        }
    }
    each_backend(tree.path(), &Files::default(), |server| {
        let mut client = server.client();
        for path in paths.iter().cycle().take(paths.len() * 20) {
            let response = client.get(path);
            assert_eq!(response.status, 404, "{path}");
            assert_eq!(response.body, b"404 Not Found\n");
        }
        assert_eq!(client.get("/a").body, b"alpha");
    });
}

/// A command that takes away root's right to read everything, or nothing if we are not root.
fn unprivileged() -> Option<Vec<&'static str>> {
    if !rustix::process::geteuid().is_root() {
        return Some(Vec::new());
    }
    let setpriv = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let works = Command::new(setpriv[0])
        .args(&setpriv[1..])
        .arg("true")
        .status();
    works
        .is_ok_and(|status| status.success())
        .then(|| setpriv.to_vec())
}

#[test]
fn what_may_not_be_read_is_forbidden_without_detail() {
    let Some(wrapper) = unprivileged() else {
        return skipped("what_may_not_be_read", "root, and no setpriv");
    };
    let tree = Tree::new();
    tree.file("a", "alpha")
        .file("unreadable", "x")
        .file("closed/file", "x");
    tree.file("closed/index.html", "x")
        .file("sealed/index.html", "x");
    let mode = |path: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(tree.path().join(path), mode).expect("own file");
    };
    mode("", 0o755);
    mode("unreadable", 0);
    mode("closed", 0o644);
    mode("sealed/index.html", 0);
    for backend in backends() {
        let server = Server::builder(tree.path())
            .backend(backend)
            .wrapper(&wrapper)
            .start();
        let mut client = Client::connect(server.addr());
        for path in [
            "/unreadable",
            "/closed/file",
            "/closed/",
            "/closed/missing",
            "/sealed/",
        ] {
            let response = client.get(path);
            assert_eq!(response.status, 403, "{path}");
            assert_eq!(response.body, b"403 Forbidden\n", "{path}");
        }
        assert_eq!(client.get("/a").body, b"alpha", "the connection goes on");
        server.assert_sound();
    }
    mode("closed", 0o755);
}
