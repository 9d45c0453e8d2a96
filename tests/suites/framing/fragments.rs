//! Whatever the packets, the same bytes get the same answers.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Instant;
use std::{fs, thread};

use ambidex_tests::client::Client;
use ambidex_tests::server::{HANG_GUARD, Server, each_backend};
use ambidex_tests::sim::rng;
use fastrand::Rng;

use crate::tree;

/// As /proc/net/tcp writes an address.
fn hexadecimal(addr: SocketAddr) -> String {
    let IpAddr::V4(ip) = addr.ip() else {
        panic!("an IPv4 loopback address")
    };
    format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(ip.octets()),
        addr.port()
    )
}

/// How many bytes from `client` the kernel holds that the server has not read; `None` once its side
/// of the connection is gone.
pub(crate) fn unread_by(server: &Server, client: &Client) -> Option<usize> {
    let here = hexadecimal(client.stream().local_addr().expect("connected"));
    let there = hexadecimal(server.addr());
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc is mounted");
    let fields = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut found = fields.filter(|fields| fields[1] == there && fields[2] == here);
    let (_, unread) = found.next()?[4].split_once(':')?;
    usize::from_str_radix(unread, 16).ok()
}

/// Waits until the server has read all that was sent: the next bytes are then a packet of their own.
fn until_read(server: &Server, client: &Client) {
    let start = Instant::now();
    while unread_by(server, client).is_some_and(|bytes| bytes > 0) {
        assert!(start.elapsed() < HANG_GUARD, "the server does not read");
        thread::yield_now();
    }
}

/// Everything the server says to these pieces and then the end; without the dates, which pass.
fn answers<'a>(server: &Server, pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut client = Client::connect(server.addr());
    for piece in pieces {
        client.send_refusable(piece);
        until_read(server, &client);
    }
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
    each_backend(tree.path(), |server| {
        for (request, status) in KEPT.into_iter().chain(CLOSED) {
            let kept = KEPT.contains(&(request, status));
            let text = format!("{request}GET /b HTTP/1.1\r\nHost: t\r\n\r\n");
            let bytes = text.as_bytes();
            let whole = answers(server, [bytes]);
            let expected = if kept {
                vec![status, 200]
            } else {
                vec![status]
            };
            assert_eq!(statuses(&whole), expected, "{text:?} -> {whole}");
            for cut in 1..bytes.len() {
                let (first, second) = bytes.split_at(cut);
                assert_eq!(
                    answers(server, [first, second]),
                    whole,
                    "{text:?} cut at {cut}"
                );
            }
            assert_eq!(answers(server, bytes.chunks(1)), whole, "{text:?} in bytes");
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
                let filler = vec![bytes[at]; rng.usize(..20_000)];
                bytes.splice(at..at, filler);
            }
        }
    }
    bytes
}

#[test]
fn any_conversation_in_any_pieces_is_answered_the_same() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let name = "any_conversation_in_any_pieces";
        rng::schedules(name, 4, 300, |rng| {
            let bytes = conversation(rng);
            let whole = answers(server, [bytes.as_slice()]);
            let mut pieces = Vec::new();
            let mut rest = bytes.as_slice();
            let longest = [2, 10, 100, 5000][rng.usize(..4)];
            while !rest.is_empty() && pieces.len() < 500 {
                let (piece, tail) = rest.split_at(rng.usize(1..=longest).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            pieces.push(rest);
            let text = bytes.escape_ascii();
            assert_eq!(answers(server, pieces.iter().copied()), whole, "{text}");
        });
        assert_eq!(Client::connect(server.addr()).get("/a").body, b"alpha");
    });
}
