//! Accepting under pressure: no descriptors left, and connections that are gone before they are
//! accepted.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use ambidex::Handle;
use ambidex::net::{TcpListener, TcpStream};
use ambidex_server::{Site, Stop};
use ambidex_tests::client::{Client, get};
use ambidex_tests::loops::{ANY_PORT, ask, faked, run_on};
use ambidex_tests::server::{Server, backends, each_backend, eventually};
use ambidex_tests::tree::Tree;
use rustix::process::Signal;

const NOFILE: u64 = 64;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha");
    tree
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_ends_the_server() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend).nofile(NOFILE);
        let server = server
            .args(["--idle-timeout", "600", "--header-timeout", "600"])
            .start();
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        let before = server.open_fds();
        for round in 0..3 {
            let mut clients: Vec<_> = (0..100).map(|_| Client::connect(server.addr())).collect();
            // A server may hold a few back to open files with, not a quarter of them.
            eventually("descriptors are used up", || {
                server.open_fds() as u64 >= NOFILE * 3 / 4
            });
            let status = clients[0].get("/a").status;
            assert!([200, 500, 503].contains(&status), "round {round}: {status}");

            let used = server.cpu_seconds();
            // The measuring interval itself: processor time per second of being exhausted.
            thread::sleep(Duration::from_secs(1));
            let used = server.cpu_seconds() - used;
            assert!(
                used < 0.2,
                "round {round}: {used} s of processor time in a second"
            );

            drop(clients);
            assert_eq!(get(server.addr(), "/a").body, b"alpha", "round {round}");
            eventually("descriptors come back", || server.open_fds() <= before);
        }
        server.assert_sound();
    }
}

/// Has `/a` on a new connection, and gives that.
async fn visit(io: &Handle, address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(io.net(), address).await;
    let stream = stream.expect("a connection");
    expect_a(&stream).await;
    stream
}

async fn expect_a(stream: &TcpStream) {
    let answer = ask(stream, &["GET /a HTTP/1.1"]).await;
    assert!(answer.ends_with("\r\n\r\nalpha"), "{answer}");
}

/// A server keeps descriptors back, so its own never run out; others may take those of the system.
#[test]
fn a_shortage_that_others_made_does_not_end_the_server() {
    let tree = tree();
    let (mut engine, net) = faked();
    run_on(&mut engine, async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("a port");
        let address = listener.local_addr().expect("bound");
        let site = Site::open(&io, tree.path()).await.expect("a site");
        let (server, stop) = (ambidex_server::Server::new(site), Stop::default());
        let serving = io.spawn({
            let (io, stop) = (io.clone(), stop.clone());
            async move { server.serve(&io, listener, &stop).await }
        });
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            let resting = visit(&io, address).await;
            net.script_accepts([errno]);
            drop(visit(&io, address).await);
            // It was for a moment only: who rests need not go. When it lasts, they make room.
            expect_a(&resting).await;
            net.script_accepts([errno, errno]);
            drop(visit(&io, address).await);
            let ended = resting.read(&mut [0]).await;
            assert_eq!(ended.expect("an end"), 0, "{errno}");
        }
        stop.set();
        let served = serving.await.expect("it ends");
        served.expect("it serves to the end");
    });
}

#[test]
fn a_waiting_connection_is_served_as_soon_as_another_leaves() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend).nofile(NOFILE);
        let server = server
            .args(["--idle-timeout", "600", "--header-timeout", "600"])
            .start();
        let clients: Vec<_> = (0..100).map(|_| Client::connect(server.addr())).collect();
        eventually("descriptors are used up", || {
            server.open_fds() as u64 >= NOFILE * 3 / 4
        });
        // From the middle on they are in the backlog: each needs the place of one that left.
        for mut client in clients {
            client.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
            let status = client.read_response(false).status;
            assert!([200, 500, 503].contains(&status), "{status}");
        }
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
    }
}

#[test]
fn a_storm_of_resets_does_not_end_the_server() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut witness = Client::connect(server.addr());
        for round in 0..2_000 {
            let mut client = Client::connect(server.addr());
            if round % 2 == 0 {
                client.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
            }
            client.reset();
        }
        assert_eq!(witness.get("/a").body, b"alpha");
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
    });
}

#[test]
fn connections_reset_before_they_are_accepted_are_passed_over() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        for _ in 0..5 {
            // A stopped server accepts nothing: the kernel completes the handshakes for it.
            server.signal(Signal::STOP);
            let clients: Vec<_> = (0..100).map(|_| Client::connect(server.addr())).collect();
            clients.into_iter().for_each(Client::reset);
            let mut last = Client::connect(server.addr());
            last.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
            server.signal(Signal::CONT);
            assert_eq!(last.read_response(false).body, b"alpha");
        }
    });
}
