//! Bounds on what clients may take: connections, descriptors and time. Traps 65
//! to 70 and 85. Whoever goes too far is cut off; the others do not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use ambidex_tests::client::{Client, get};
use ambidex_tests::server::{Backend, Builder, Server, backends, each_backend, eventually};
use ambidex_tests::tree::{Tree, content};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustix::process::Signal;

/// More than socket buffers on both sides hold.
const LARGE: usize = 48 << 20;
const NOFILE: u64 = 64;
/// Made once: it takes a second, in which those who wait for their turn would read nothing.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| content(31, LARGE));

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("large", &*WHOLE);
    tree
}

fn each(tree: &Tree, args: &[&str], test: impl Fn(&Server)) {
    each_built(tree, |builder| builder.args(args), test);
}

fn each_built(tree: &Tree, build: impl Fn(Builder) -> Builder, test: impl Fn(&Server)) {
    for backend in backends() {
        let builder = Server::builder(tree.path()).backend(backend);
        let server = build(builder.args(["--idle-timeout", "600"])).start();
        test(&server);
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        server.assert_sound();
    }
}

/// Asks for `/large` and reads no more than the head.
fn start_large(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    client.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.read_head().expect("a response");
    assert_eq!((head.status, head.content_length()), (200, LARGE as u64));
    client
}

/// The bytes until the connection ends, orderly or not.
fn read_to_the_end(client: &mut Client) -> usize {
    let mut received = Vec::new();
    match client.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("neither data nor an end: {error}"),
    }
    received.len()
}

fn expect_turned_away(mut client: Client) {
    let response = client.read_response(false);
    assert_eq!(response.status, 503);
    assert_eq!(response.header("connection"), Some("close"));
    assert!(response.header("retry-after").is_some());
    client.expect_closed();
}

/// Once those who leave are noticed, there is room for a new one.
fn expect_room(addr: SocketAddr) {
    eventually("there is room again", || {
        let mut client = Client::connect(addr);
        client.send_refusable(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
        let answer = client.try_read_response(false);
        answer.is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn one_connection_too_many_is_answered_503_and_closed() {
    // Those who are busy read nothing while the others come and go.
    let args = ["--max-connections", "3", "--write-timeout", "600"];
    each(&tree(), &args, |server| {
        let mut busy: Vec<_> = (0..3).map(|_| start_large(server.addr())).collect();
        for _ in 0..100 {
            expect_turned_away(Client::connect(server.addr()));
        }
        // Who has sent a request already gets to read the answer all the same.
        let mut eager = Client::connect(server.addr());
        eager.send_refusable(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
        expect_turned_away(eager);
        drop(busy.pop());
        expect_room(server.addr());
        for mut client in busy {
            let mut body = vec![0; LARGE];
            client.read_exact(&mut body).expect("the whole file");
            assert!(body == *WHOLE);
        }
    });
}

#[test]
fn connections_that_rest_make_room_the_longest_first() {
    each(&tree(), &["--max-connections", "3"], |server| {
        let mut clients: Vec<_> = (0..3).map(|_| Client::connect(server.addr())).collect();
        for which in [0, 1, 2, 0] {
            assert_eq!(clients[which].get("/a").body, b"alpha");
        }
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        clients[1].expect_closed();
        for which in [2, 0] {
            assert_eq!(clients[which].get("/a").body, b"alpha");
        }
    });
}

#[test]
fn one_address_has_only_its_share_of_connections() {
    let connect_from = |last: u8, to: SocketAddr| {
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let from = SocketAddr::from(([127, 0, 0, last], 0));
        bind(&fd, &from).expect("a loopback address");
        connect(&fd, &to).expect("the server accepts");
        TcpStream::from(fd)
    };
    let answer = |mut stream: TcpStream| {
        let request = b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        let _ = stream.write_all(request);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let args = [
        "--max-connections-per-address",
        "2",
        "--write-timeout",
        "600",
    ];
    each(&tree(), &args, |server| {
        let busy: Vec<_> = (0..2).map(|_| start_large(server.addr())).collect();
        let refused = answer(connect_from(1, server.addr()));
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        for _ in 0..5 {
            let served = answer(connect_from(2, server.addr()));
            assert!(served.starts_with("HTTP/1.1 200 "), "{served}");
        }
        drop(busy);
        expect_room(server.addr());
    });
}

/// Reads `/large` a little at a time; tells whether all of it came.
fn sip(server: &Server) -> bool {
    let mut client = start_large(server.addr());
    let mut left = LARGE;
    let mut part = vec![0; 64 * 1024];
    while left > 0 {
        match client.read(&mut part) {
            Ok(0) => return false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
            Ok(count) => left -= count,
            Err(error) => panic!("{error}"),
        }
        // What makes it slow, not what the test waits for.
        thread::sleep(Duration::from_millis(3));
    }
    true
}

#[test]
fn a_client_that_is_slower_than_it_must_be_is_cut_off() {
    let slow = ["--write-timeout", "1", "--min-rate", "1000000000"];
    each(&tree(), &slow, |server| {
        assert!(!sip(server), "ten times too slow, and nobody minded");
    });
    // And one that takes little but something all the time is an honest slow link.
    let fair = ["--write-timeout", "1", "--min-rate", "100"];
    each(&tree(), &fair, |server| {
        assert!(sip(server), "an honest client was cut off");
    });
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    each(&tree(), &["--write-timeout", "1"], |server| {
        let before = server.open_fds();
        let mut clients: Vec<_> = (0..8).map(|_| start_large(server.addr())).collect();
        eventually("they are given up", || server.open_fds() <= before);
        for client in &mut clients {
            assert!(read_to_the_end(client) < LARGE);
        }
    });
}

#[test]
fn a_body_that_drips_after_its_refusal_is_not_waited_for() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        client.send(b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n");
        assert_eq!(client.read_response(false).status, 405);
        let mut stream = client.stream();
        let closed = (0..300).any(|_| {
            thread::sleep(Duration::from_millis(50));
            stream.write_all(b"x").is_err()
        });
        assert!(closed, "the server still reads");
    });
}

#[test]
fn resting_connections_give_their_descriptors_to_new_ones() {
    let build = |builder: Builder| builder.nofile(NOFILE);
    each_built(&tree(), build, |server| {
        // Twice as many as there are descriptors, each served and kept alive.
        let mut clients = Vec::new();
        for _ in 0..2 * NOFILE {
            let mut client = Client::connect(server.addr());
            assert_eq!(client.get("/a").body, b"alpha");
            clients.push(client);
        }
        // The first were ended for the last, who can still have files opened.
        for client in &mut clients[..NOFILE as usize] {
            client.expect_closed();
        }
        for client in clients.iter_mut().rev().take(NOFILE as usize / 4) {
            assert_eq!(client.get("/a").body, b"alpha");
            assert_eq!(client.get("/missing").status, 404);
        }
    });
}

#[test]
fn requests_wait_for_descriptors_and_are_all_served() {
    let build = |builder: Builder| builder.nofile(NOFILE).args(["--write-timeout", "600"]);
    each_built(&tree(), build, |server| {
        // Each needs a connection and a file, which is more than there are.
        let mut clients: Vec<_> = (0..36).map(|_| Client::connect(server.addr())).collect();
        for client in &mut clients {
            client.send(b"GET /large HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        }
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| {
                    let response = client.read_response(false);
                    assert_eq!(response.status, 200);
                    assert!(response.body == *WHOLE);
                });
            }
        });
    });
}

#[test]
fn silent_connections_do_not_keep_others_out_for_ever() {
    let build = |builder: Builder| builder.nofile(NOFILE).args(["--header-timeout", "1"]);
    each_built(&tree(), build, |server| {
        // They never ask for anything, and would be waited for ten minutes.
        let silent: Vec<_> = (0..NOFILE)
            .map(|_| Client::connect(server.addr()))
            .collect();
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        drop(silent);
    });
}

/// What slowhttptest does, and a flood of ranges, all at once.
#[test]
fn attacks_in_miniature_leave_the_server_available() {
    const EACH: usize = 60;
    let ranges: Vec<_> = (0..1000).map(|n| format!("{n}-")).collect();
    let ranges = format!("bytes={}", ranges.join(","));
    each(&tree(), &["--header-timeout", "600"], |server| {
        let addr = server.addr();
        let mut attackers = Vec::new();
        for _ in 0..EACH {
            let mut headers = Client::connect(addr);
            headers.send(b"GET /a HTTP/1.1\r\nHost: t\r\nX-a: ");
            let mut body = Client::connect(addr);
            body.send(b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 8192\r\n\r\nx");
            let mut reader = Client::connect(addr);
            sockopt::set_socket_recv_buffer_size(reader.stream(), 1).expect("a socket option");
            reader.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
            let mut range = Client::connect(addr);
            let request = format!("GET /large HTTP/1.1\r\nHost: t\r\nRange: {ranges}\r\n\r\n");
            range.send(request.as_bytes());
            attackers.extend([headers, body, reader, range]);
        }
        let mut kept = Client::connect(addr);
        for round in 0..200 {
            assert_eq!(kept.get("/a").body, b"alpha");
            assert_eq!(get(addr, "/a").body, b"alpha");
            for headers in attackers.iter_mut().step_by(4).take(5) {
                headers.send_refusable(if round % 2 == 0 { b"y" } else { b"z" });
            }
        }
        drop(attackers);
    });
}

fn with_grace(tree: &Tree, backend: Backend) -> Server {
    let builder = Server::builder(tree.path()).backend(backend);
    let args = [
        "--grace-period",
        "600",
        "--header-timeout",
        "600",
        "--write-timeout",
        "600",
    ];
    builder.args(args).start()
}

fn wait_until_refused(addr: SocketAddr) {
    eventually("new connections are refused", || {
        Client::try_connect(addr).is_err()
    });
}

#[test]
fn an_answer_after_the_order_to_stop_says_close() {
    let tree = tree();
    for backend in backends() {
        let mut server = with_grace(&tree, backend);
        let mut client = Client::connect(server.addr());
        // One request and most of the next: once the first is answered, the next is under way.
        client.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\nGET /a HTTP/1.1\r\nHost: t\r\n");
        let first = client.read_response(false);
        assert_eq!(first.header("connection"), Some("keep-alive"));
        // Whoever serves another has finished with this one.
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        server.signal(Signal::TERM);
        wait_until_refused(server.addr());
        client.send(b"\r\n");
        let last = client.read_response(false);
        assert_eq!((last.status, last.body.as_slice()), (200, &b"alpha"[..]));
        assert_eq!(last.header("connection"), Some("close"));
        client.expect_closed();
        assert_eq!(server.wait().code(), Some(0));
        server.assert_sound();
    }
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let tree = tree();
    for backend in backends() {
        let mut server = with_grace(&tree, backend);
        let mut stalled = start_large(server.addr());
        server.signal(Signal::TERM);
        wait_until_refused(server.addr());
        server.signal(Signal::TERM);
        let status = server.wait();
        assert_eq!(status.code(), Some(128 + Signal::TERM.as_raw()));
        assert!(read_to_the_end(&mut stalled) < LARGE);
    }
}
