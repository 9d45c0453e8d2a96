//! Where it listens: several addresses, Unix sockets, sockets that were passed to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use ambidex_tests::client::get;
use ambidex_tests::server::{Builder, HANG_GUARD, Server, backends, binary};
use ambidex_tests::tree::{Tree, content};

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("large", content(3, 1 << 20));
    tree
}

fn with_unix(tree: &Tree, socket: &Path) -> Builder {
    Server::builder(tree.path()).args(["--listen", &format!("unix:{}", socket.display())])
}

/// The whole answer to a GET over a Unix socket.
fn fetch(socket: &Path, path: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).expect("somebody listens");
    stream
        .set_read_timeout(Some(HANG_GUARD))
        .expect("a socket option");
    let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

fn assert_refused(output: &Output, culprits: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
    for culprit in culprits {
        assert!(stderr.contains(culprit), "no {culprit:?} in {stderr:?}");
    }
}

fn other_addresses(server: &Server, count: usize) -> Vec<String> {
    ambidex_tests::server::eventually("all addresses are named", || {
        server.stdout().lines().count() == count
    });
    let stdout = server.stdout();
    let lines = stdout.lines().skip(1);
    lines
        .map(|line| {
            line.strip_prefix("listening on ")
                .expect("an address")
                .to_owned()
        })
        .collect()
}

#[test]
fn several_addresses_are_served_by_every_worker_at_once() {
    let tree = tree();
    for backend in backends() {
        for workers in [1, 3] {
            let server = Server::builder(tree.path())
                .backend(backend)
                .workers(workers);
            let server = server.args(["--listen", "127.0.0.2:0,127.0.0.3:0"]).start();
            assert_eq!(get(server.addr(), "/a").body, b"alpha");
            for address in other_addresses(&server, 3) {
                let address: SocketAddr = address
                    .strip_prefix("http://")
                    .expect("TCP")
                    .parse()
                    .expect("an address");
                assert_eq!(get(address, "/a").body, b"alpha", "{address}");
            }
            server.assert_sound();
        }
    }
}

#[test]
fn port_and_bind_make_addresses() {
    let tree = tree();
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("bound");
    let server = Server::builder(tree.path()).args(["-p", &free.port().to_string()]);
    let server = server
        .args(["-b", "127.0.0.4", "--host", "127.0.0.5"])
        .start();
    let addresses = other_addresses(&server, 3);
    let port = free.port();
    assert_eq!(
        addresses,
        [
            format!("http://127.0.0.4:{port}"),
            format!("http://127.0.0.5:{port}")
        ]
    );
    assert_eq!(
        get(SocketAddr::from(([127, 0, 0, 5], port)), "/a").body,
        b"alpha"
    );
}

#[test]
fn a_unix_socket_is_served_and_its_file_goes_with_the_server() {
    let tree = tree();
    let folder = Tree::new();
    let socket = folder.path().join("s");
    for backend in backends() {
        for workers in [1, 2] {
            let mut server = with_unix(&tree, &socket)
                .backend(backend)
                .workers(workers)
                .start();
            assert_eq!(
                other_addresses(&server, 2),
                [format!("unix:{}", socket.display())]
            );
            for _ in 0..8 {
                let answer = fetch(&socket, "/large");
                assert!(
                    answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(&content(3, 1 << 20))
                );
            }
            assert!(fetch(&socket, "/missing").starts_with(b"HTTP/1.1 404 "));
            assert_eq!(get(server.addr(), "/a").body, b"alpha");
            assert_eq!(server.terminate().code(), Some(0));
            assert!(!socket.exists(), "the socket is still there");
            server.assert_sound();
        }
    }
}

#[test]
fn a_socket_file_is_replaced_only_if_nobody_listens() {
    let tree = tree();
    let folder = Tree::new();
    let socket = folder.path().join("s");
    drop(UnixListener::bind(&socket).expect("a new socket"));
    assert!(socket.exists(), "a listener leaves its file behind");
    let first = with_unix(&tree, &socket).start();
    assert!(fetch(&socket, "/a").ends_with(b"alpha"));
    assert_refused(
        &with_unix(&tree, &socket).spawn_failing(),
        &["another server listens"],
    );
    assert!(fetch(&socket, "/a").ends_with(b"alpha"));
    drop(first);
    let file = folder.path().join("file");
    fs::write(&file, "precious").expect("a new file");
    assert_refused(&with_unix(&tree, &file).spawn_failing(), &["no socket"]);
    assert_eq!(fs::read(&file).expect("still there"), b"precious");
    let nowhere = folder.path().join("missing/s");
    assert_refused(
        &with_unix(&tree, &nowhere).spawn_failing(),
        &["missing/s", "no such directory"],
    );
    let long = folder.path().join("x".repeat(200));
    assert_refused(&with_unix(&tree, &long).spawn_failing(), &["too long"]);
}

#[test]
fn a_socket_file_of_a_successor_is_left_alone() {
    let tree = tree();
    let folder = Tree::new();
    let socket = folder.path().join("s");
    let mut server = with_unix(&tree, &socket).start();
    fs::remove_file(&socket).expect("it is there");
    let successor = UnixListener::bind(&socket).expect("a new socket");
    assert!(server.terminate().success());
    assert!(socket.exists(), "the file of another was removed");
    drop(successor);
}

/// Starts the server with `socket` as descriptor 3, as systemd does.
fn activated(tree: &Tree, socket: OwnedFd, args: &[&str]) -> (Child, String) {
    let mut command = Command::new("sh");
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&0 0</dev/null";
    command
        .args(["-c", script, "sh"])
        .arg(binary())
        .arg("serve")
        .arg(tree.path());
    command
        .args(args)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("a shell");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut line).expect("a line");
    (child, line)
}

#[test]
fn a_passed_socket_is_served_whether_it_is_named_or_not() {
    let tree = tree();
    for args in [
        &[][..],
        &["--bind", "fd:3"],
        &["--listen", "fd:3", "--workers", "2"],
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (mut child, line) = activated(&tree, listener.into(), args);
        assert_eq!(line, format!("listening on http://{address}\n"), "{args:?}");
        for _ in 0..4 {
            assert_eq!(get(address, "/a").body, b"alpha", "{args:?}");
        }
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
    let folder = Tree::new();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).expect("a new socket");
    let (mut child, line) = activated(&tree, listener.into(), &[]);
    assert_eq!(line, format!("listening on unix:{}\n", socket.display()));
    assert!(fetch(&socket, "/a").ends_with(b"alpha"));
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert!(socket.exists(), "the socket of the supervisor is its own");
}

#[test]
fn a_socket_that_was_not_passed_is_refused() {
    let tree = tree();
    let output = Server::builder(tree.path())
        .args(["--bind", "fd:3"])
        .spawn_failing();
    assert_refused(&output, &["fd:3", "LISTEN_FDS"]);
}
