//! Accepting under pressure: no descriptors left, and connections that are gone before they are
//! accepted.

use std::thread;
use std::time::Duration;

use ambidex_tests::client::{Client, get};
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
