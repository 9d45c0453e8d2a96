//! What a hot request costs: system calls of the loop, as the engine counts them (`counted` holds that to `strace`).
//!
//! The clock stands still, so that no path is looked up anew and no timer is due: the counts are exact.

use std::net::SocketAddr;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ambidex::clock::{Clock, Real};
use ambidex::disk::Choice;
use ambidex::net::TcpListener;
use ambidex::{Handle, Metrics};
use ambidex_server::{Config, Limits, Server, Site, Stop};
use ambidex_tests::client::Client;
use ambidex_tests::loops::{ANY_PORT, builder};
use ambidex_tests::sim::backends;
use ambidex_tests::tree::{Tree, content};

/// Requests whose cost is told, and those that come before.
const MANY: usize = 100;
const FEW: usize = 10;
/// Short answers after which others have a turn.
const REQUESTS_PER_TURN: u64 = 64;
/// Requests that come in one segment.
const PIPELINED: usize = 32;
const BYTES: usize = 1024;

/// Stands still, an hour after the files were made.
struct Still(Instant, SystemTime);

impl Clock for Still {
    fn now(&self) -> Instant {
        self.0
    }

    fn wall(&self) -> SystemTime {
        self.1
    }
}

/// What an engine counts while `client` is served.
fn count(
    choice: Choice,
    open_files_max: usize,
    client: impl FnOnce(SocketAddr) + Send + 'static,
) -> Metrics {
    let tree = Tree::new();
    tree.file("hot", content(0, BYTES));
    let clock = Rc::new(Still(Real.now(), Real.wall() + Duration::from_secs(3600)));
    let mut engine = builder(choice).clock(clock).build().expect("an engine");
    let counted = engine.run(async |io: Handle| {
        let site = Site::open(&io, tree.path()).await.expect("a site");
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("a port");
        let address = listener.local_addr().expect("bound");
        let limits = Limits {
            open_files_max,
            ..Limits::default()
        };
        let server = Server::new(site).config(Config {
            limits,
            ..Config::default()
        });
        let stop = Stop::default();
        let order = stop.clone();
        let client = thread::spawn(move || {
            client(address);
            order.set();
        });
        let served = server.serve(&io, listener, &stop).await;
        served.expect("it serves to the end");
        client.join().expect("the client was served");
        io.metrics()
    });
    counted.expect("the loop")
}

/// Calls of the loop, and operations that it hands over, that `MANY` requests of `client` cost.
fn cost(choice: Choice, open_files_max: usize, client: fn(SocketAddr, usize)) -> (u64, u64) {
    let [few, more] = [FEW, FEW + MANY].map(|requests| {
        let client = move |address| client(address, requests);
        let metrics = count(choice, open_files_max, client);
        (metrics.calls, metrics.submitted)
    });
    (more.0 - few.0, more.1 - few.1)
}

fn one_after_the_other(address: SocketAddr, requests: usize) {
    let (mut client, expected) = (Client::connect(address), content(0, BYTES));
    for _ in 0..requests {
        assert!(client.get("/hot").body == expected);
    }
}

fn many_at_a_time(address: SocketAddr, times: usize) {
    let (mut client, expected) = (Client::connect(address), content(0, BYTES));
    let all = "GET /hot HTTP/1.1\r\nHost: t\r\n\r\n".repeat(PIPELINED);
    for _ in 0..times {
        client.send(all.as_bytes());
        for _ in 0..PIPELINED {
            assert!(client.read_response(false).body == expected);
        }
    }
}

/// As many as `each` for each of so many requests, and one wait for each time that others have a turn. How a connection
/// begins and ends takes a call more or less.
fn budget(each: u64, times: u64, requests: u64) -> u64 {
    each * times + requests / REQUESTS_PER_TURN + 10
}

#[test]
fn a_hot_small_file_costs_four_calls_wait_receive_look_and_send() {
    for choice in backends("four calls") {
        let (calls, operations) = cost(choice, 1000, one_after_the_other);
        let most = budget(4, MANY as u64, MANY as u64);
        assert!(calls <= most, "{choice:?}: {calls} of {most}");
        assert_eq!(operations, 0, "{choice:?}");
    }
}

#[test]
fn a_hot_small_file_among_others_costs_two_calls_look_and_send() {
    for choice in backends("two calls") {
        let (calls, operations) = cost(choice, 1000, many_at_a_time);
        // Waiting and receiving are for all.
        let each = 2 * PIPELINED as u64 + 2;
        let most = budget(each, MANY as u64, (MANY * PIPELINED) as u64);
        assert!(calls <= most, "{choice:?}: {calls} of {most}");
        assert_eq!(operations, 0, "{choice:?}");
    }
}

/// What it would cost: an open, a read and a close more. If this is no more, the others tell nothing.
#[test]
fn without_what_is_kept_it_costs_three_operations_more() {
    for choice in backends("three operations") {
        let (_, operations) = cost(choice, 0, one_after_the_other);
        assert_eq!(operations, 3 * MANY as u64, "{choice:?}");
    }
}
