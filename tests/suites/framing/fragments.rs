//! Whatever the packets, the same bytes get the same answers.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use ambidex_tests::client::Client;
use ambidex_tests::server::{Server, backends, eventually};
use ambidex_tests::sim::rng;
use ambidex_tests::tree::Tree;
use fastrand::Rng;
use rustix::io::ioctl_fionread;
use rustix::net::getpeername;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::tree;

/// The server's end of a connection.
pub(crate) struct FarEnd {
    socket: OwnedFd,
    /// What the server calls it, and what that is: neither once the server has closed it.
    name: PathBuf,
    link: PathBuf,
}

impl FarEnd {
    /// That of `client`, as soon as the server has accepted it.
    pub(crate) fn of(server: &Server, client: &Client) -> FarEnd {
        let mut found = None;
        soon("the server accepts", || {
            found = FarEnd::find(server, client);
            found.is_some()
        });
        found.expect("it was found")
    }

    fn find(server: &Server, client: &Client) -> Option<FarEnd> {
        let pid = Pid::from_raw(i32::try_from(server.pid()).ok()?)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).expect("the server runs");
        let here = client.stream().local_addr().expect("connected");
        let names = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it runs");
        for name in names.filter_map(|entry| Some(entry.ok()?.path())) {
            let is_socket = |link: &PathBuf| link.to_string_lossy().starts_with("socket:");
            let Some(link) = fs::read_link(&name).ok().filter(is_socket) else {
                continue;
            };
            let number = name.file_name()?.to_str()?.parse().ok()?;
            let Ok(socket) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else {
                continue;
            };
            let peer = getpeername(&socket).ok().flatten();
            if peer.is_some_and(|peer| peer == here.into()) {
                return Some(FarEnd { socket, name, link });
            }
        }
        None
    }

    /// How many bytes the server has not read yet.
    pub(crate) fn unread(&self) -> u64 {
        ioctl_fionread(&self.socket).unwrap_or(0)
    }

    /// Waits until the server has read all that was sent, or closed: the next bytes are then a packet
    /// of their own.
    fn until_read(&self) {
        let open = |name: &Path| fs::read_link(name).is_ok_and(|link| link == self.link);
        soon("the server reads", || {
            self.unread() == 0 || !open(&self.name)
        });
    }
}

/// As [`eventually`], without its pauses at first: thousands of these add up.
fn soon(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        thread::yield_now();
    }
    eventually(what, condition);
}

/// Everything the server says to these pieces and then the end; without the dates, which pass.
fn answers(server: &Server, pieces: &[&[u8]]) -> String {
    let mut client = Client::connect(server.addr());
    let (last, first) = pieces.split_last().expect("a piece");
    if !first.is_empty() {
        let far = FarEnd::of(server, &client);
        for piece in first {
            client.send_refusable(piece);
            // On loopback they are there when send(2) returns.
            far.until_read();
        }
    }
    client.send_refusable(last);
    // The server may have ended the connection.
    let _ = client.stream().shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    match client.read_to_end(&mut answers) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("neither data nor an end: {error}"),
    }
    let text = String::from_utf8_lossy(&answers);
    let lines = text
        .split("\r\n")
        .filter(|line| !line.starts_with("Date: "));
    lines.collect::<Vec<_>>().join("\r\n")
}

/// Servers that do not tire of waiting: a test on a busy machine is no slow client.
fn each_patient(tree: &Tree, test: impl Fn(&Server)) {
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let server = server.args(["--header-timeout", "3600"]).start();
        test(&server);
        server.assert_sound();
    }
}

/// Requests after which the connection goes on, with the status of the answer.
const KEPT: [(&str, u16); 13] = [
    ("GET /a HTTP/1.1\r\nHost: t\r\n\r\n", 200),
    ("\r\n\r\nHEAD /a HTTP/1.1\r\nHost: t\r\n\r\n", 200),
    ("GET /missing HTTP/1.1\r\nHost: t\r\n\r\n", 404),
    (
        "GET /b HTTP/1.1\r\nHost: t\r\nContent-Length: 7\r\n\r\nGET /a ",
        200,
    ),
    (
        "GET /b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nGET\r\n0\r\nT: u\r\n\r\n",
        200,
    ),
    ("OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n", 204),
    ("POST /a HTTP/1.1\r\nHost: t\r\n\r\n", 405),
    ("BREW /a HTTP/1.1\r\nHost: t\r\n\r\n", 501),
    ("GET /a HTTP/1.1\r\nHost: t\r\nExpect: x\r\n\r\n", 417),
    (
        "GET /a HTTP/1.1\r\nHost: t\r\nRange: bytes=1-2\r\n\r\n",
        206,
    ),
    ("GET /a HTTP/1.1\r\nHost: t\r\nRange: bytes=9-\r\n\r\n", 416),
    (
        "GET /a HTTP/1.1\r\nHost: t\r\nIf-None-Match: *\r\n\r\n",
        304,
    ),
    ("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
];

/// Requests after which it does not.
const CLOSED: [(&str, u16); 9] = [
    (
        "GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        200,
    ),
    ("GET /a HTTP/1.1\r\n\r\n", 400),
    ("GET /a HTTP/1.1\nHost: t\n\n", 400),
    ("GET /a HTTP/2.0\r\nHost: t\r\n\r\n", 505),
    (
        "\r\n\r\n\r\n\r\n\r\nGET /a HTTP/1.1\r\nHost: t\r\n\r\n",
        400,
    ),
    ("GET /a HTTP/1.1\r\nHost: t\r\nX : y\r\n\r\n", 400),
    (
        "GET /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: x, chunked\r\n\r\n",
        501,
    ),
    (
        "GET /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nGETX",
        400,
    ),
    (
        "POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nGET",
        405,
    ),
];

fn statuses(answers: &str) -> Vec<u16> {
    let heads = answers.split("HTTP/1.1 ").skip(1);
    heads
        .filter_map(|head| head.get(..3)?.parse().ok())
        .collect()
}

#[test]
fn a_request_cut_at_any_byte_is_answered_the_same() {
    let tree = tree();
    each_patient(&tree, |server| {
        for (request, status) in KEPT.into_iter().chain(CLOSED) {
            let kept = KEPT.contains(&(request, status));
            let text = format!("{request}GET /b HTTP/1.1\r\nHost: t\r\n\r\n");
            let bytes = text.as_bytes();
            let whole = answers(server, &[bytes]);
            let expected = if kept {
                vec![status, 200]
            } else {
                vec![status]
            };
            assert_eq!(statuses(&whole), expected, "{text:?} -> {whole}");
            for cut in 1..bytes.len() {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(
                    answers(server, &[first, second]),
                    whole,
                    "{text:?} cut at {cut}"
                );
            }
            assert_eq!(
                answers(server, &bytes.chunks(1).collect::<Vec<_>>()),
                whole,
                "{text:?} in bytes"
            );
        }
    });
}

/// A conversation: some requests, one of them perhaps damaged.
fn conversation(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..5) {
        bytes.extend_from_slice(KEPT[rng.usize(..KEPT.len())].0.as_bytes());
    }
    if rng.bool() {
        bytes.extend_from_slice(CLOSED[rng.usize(..CLOSED.len())].0.as_bytes());
        bytes.extend_from_slice(KEPT[0].0.as_bytes());
    }
    for _ in 0..rng.usize(..3) {
        let at = rng.usize(..bytes.len());
        match rng.u8(..4) {
            0 => bytes[at] = rng.u8(..),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, b"\r\n :,0"[rng.usize(..6)]),
            _ => {
                let filler = vec![bytes[at]; [3, 300, 9000, 20_000][rng.usize(..4)]];
                bytes.splice(at..at, filler);
            }
        }
    }
    bytes
}

#[test]
fn any_conversation_in_any_pieces_is_answered_the_same() {
    let tree = tree();
    each_patient(&tree, |server| {
        let name = "any_conversation_in_any_pieces";
        rng::schedules(name, 4, 200, |rng| {
            let bytes = conversation(rng);
            let whole = answers(server, &[bytes.as_slice()]);
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            let longest = [2, 10, 100, 5000][rng.usize(..4)];
            while !rest.is_empty() && pieces.len() < 200 {
                let (piece, tail) = rest.split_at(rng.usize(1..=longest).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            pieces.push(rest);
            let text = bytes[..bytes.len().min(2000)].escape_ascii();
            assert_eq!(answers(server, &pieces), whole, "{text}");
        });
        assert_eq!(Client::connect(server.addr()).get("/a").body, b"alpha");
    });
}
