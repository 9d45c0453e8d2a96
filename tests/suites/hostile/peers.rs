//! Clients of ill will beside a load that must not notice them.

use std::io::Read;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ambidex_tests::client::Client;
use ambidex_tests::server::{Backend, backends};
use ambidex_tests::tree::content;
use rustix::net::sockopt;

use crate::stage::{Effort, Report, Site, effort, expect_normal, requests};

/// Does harm until told to stop.
type Attack = fn(SocketAddr, &AtomicBool);

const ATTACKS: &[(&str, Attack, Effort)] = &[
    ("resets amid a body", resets, Effort::Ci),
    (
        "clients that never read",
        |addr, stop| hold(readers(addr), stop),
        Effort::Ci,
    ),
    ("clients that end their side", half_closes, Effort::Long),
    ("requests byte by byte", drips, Effort::Ci),
    ("answers read byte by byte", sips, Effort::Long),
    (
        "silent connections",
        |addr, stop| hold(silent(addr), stop),
        Effort::Ci,
    ),
    ("all of these at once", all, Effort::Quick),
];

/// What makes a client slow, not what the test waits for.
const PAUSE: Duration = Duration::from_millis(10);
const LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n";

fn go_on(stop: &AtomicBool) -> bool {
    thread::sleep(PAUSE);
    !stop.load(Ordering::SeqCst)
}

fn hold<T>(held: T, stop: &AtomicBool) {
    while go_on(stop) {}
    drop(held);
}

fn resets(addr: SocketAddr, stop: &AtomicBool) {
    let mut part = [0; 10_000];
    while go_on(stop) {
        for _ in 0..10 {
            let mut client = Client::connect(addr);
            client.send(LARGE);
            client.read_exact(&mut part).expect("a part of the answer");
            client.reset();
        }
    }
}

fn readers(addr: SocketAddr) -> Vec<Client> {
    let reader = |_| {
        let mut client = Client::connect(addr);
        client.send(LARGE);
        client
    };
    (0..100).map(reader).collect()
}

fn silent(addr: SocketAddr) -> Vec<Client> {
    let count = match effort() {
        Effort::Quick => 200,
        Effort::Ci => 2000,
        Effort::Long => 5000,
    };
    (0..count).map(|_| Client::connect(addr)).collect()
}

/// Whoever has said all still gets the whole answer.
fn half_closes(addr: SocketAddr, stop: &AtomicBool) {
    let whole = content(30, 3 << 20);
    while go_on(stop) {
        let mut client = Client::connect(addr);
        client.send(LARGE);
        client
            .stream()
            .shutdown(Shutdown::Write)
            .expect("connected");
        assert!(client.read_response(false).body == whole);
        client.expect_closed();
    }
}

fn drips(addr: SocketAddr, stop: &AtomicBool) {
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(addr)).collect();
    for byte in b"GET /large HTTP/1.1\r\nX-Long: "
        .iter()
        .chain([b'x'; 16].iter().cycle())
    {
        if !go_on(stop) {
            return;
        }
        for client in &mut clients {
            client.send_refusable(&[*byte]);
        }
    }
}

fn sips(addr: SocketAddr, stop: &AtomicBool) {
    let mut clients = readers(addr);
    for client in &clients {
        sockopt::set_socket_recv_buffer_size(client.stream(), 1).expect("a socket option");
    }
    while go_on(stop) {
        for client in &mut clients {
            // It may have been cut off for being slow.
            let _ = client.read(&mut [0]);
        }
    }
}

fn all(addr: SocketAddr, stop: &AtomicBool) {
    thread::scope(|scope| {
        for attack in [resets, half_closes, drips, sips] {
            scope.spawn(move || attack(addr, stop));
        }
        hold((readers(addr), silent(addr)), stop);
    });
}

fn cell(site: &Site, backend: Backend, what: &str, attack: Attack, report: &mut Report) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let name = format!("{what}, on {}", backend.name());
    let server = site.builder(backend).start();
    let (addr, load, over) = (server.addr(), site.load(&server), AtomicBool::new(false));
    let mut tally = thread::scope(|scope| {
        scope.spawn(|| attack(addr, &over));
        let _stop = Stop(&over);
        load.run(requests())
    });
    tally.expect_right(&name);
    tally.add(expect_normal(server, &load, &name));
    report.cell(&name, tally);
}

#[test]
fn clients_of_ill_will() {
    let mut report = Report::new("peers");
    let site = Site::new();
    for backend in backends() {
        for &(what, attack, _) in ATTACKS.iter().filter(|attack| effort() >= attack.2) {
            cell(&site, backend, what, attack, &mut report);
        }
    }
    report.finish();
}
