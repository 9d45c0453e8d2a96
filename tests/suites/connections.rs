//! Connections that behave badly, and files that change under a response: each harms itself only.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ambidex_tests::client::{Client, get};
use ambidex_tests::server::{Server, backends, each_backend, each_backend_with, eventually};
use ambidex_tests::tree::{Tree, content, content_at};

/// More than socket buffers on both sides hold.
const LARGE: usize = 64 << 20;
const SEED: u64 = 11;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("middle", content(5, 300_000));
    tree
}

fn large_tree() -> Tree {
    let tree = tree();
    tree.file("large", content(SEED, LARGE));
    tree
}

/// Asks for `/large` and reads no more than the head of the response.
fn start_large(server: &Server) -> Client {
    let mut client = Client::connect(server.addr());
    client.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.read_head().expect("a response");
    assert_eq!((head.status, head.content_length()), (200, LARGE as u64));
    client
}

/// Reads to the end of the connection, orderly or not.
fn read_until_closed(client: &mut Client) -> Vec<u8> {
    let mut received = Vec::new();
    match client.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("neither data nor an end: {error}"),
    }
    received
}

#[test]
fn a_request_in_single_bytes_is_a_request() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for path in ["/a", "/middle", "/a"] {
            for byte in format!("GET {path} HTTP/1.1\r\nHost: t\r\nX-Long: value\r\n\r\n").bytes() {
                client.send(&[byte]);
            }
            let response = client.read_response(false);
            assert_eq!(
                (response.status, response.body),
                (200, get(server.addr(), path).body)
            );
        }
    });
}

#[test]
fn a_request_split_at_any_byte_is_the_same_request() {
    let tree = tree();
    let request = b"GET /a HTTP/1.1\r\nHost: t\r\n\r\nGET /missing HTTP/1.1\r\nHost: t\r\n\r\n";
    each_backend(tree.path(), |server| {
        let mut client = Client::connect(server.addr());
        for cut in 0..request.len() {
            client.send(&request[..cut]);
            client.send(&request[cut..]);
            assert_eq!(client.read_response(false).body, b"alpha", "cut at {cut}");
            assert_eq!(client.read_response(false).status, 404, "cut at {cut}");
        }
    });
}

#[test]
fn a_client_that_has_finished_sending_still_gets_its_responses() {
    let tree = large_tree();
    each_backend(tree.path(), |server| {
        for (path, requests) in [("/a", 1), ("/a", 3), ("/large", 1), ("/large", 2)] {
            let mut client = Client::connect(server.addr());
            client.send(
                format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n")
                    .repeat(requests)
                    .as_bytes(),
            );
            client
                .stream()
                .shutdown(Shutdown::Write)
                .expect("connected");
            for _ in 0..requests {
                let response = client.read_response(false);
                let whole = if path == "/a" {
                    b"alpha".to_vec()
                } else {
                    content(SEED, LARGE)
                };
                assert!(response.body == whole, "{path}");
            }
            client.expect_closed();
        }
    });
}

#[test]
fn a_client_that_leaves_before_its_request_is_whole_is_forgotten() {
    let tree = tree();
    each_backend(tree.path(), |server| {
        let before = server.open_fds();
        for part in ["", "G", "GET /a HTTP/1.1\r\nHost"] {
            let mut client = Client::connect(server.addr());
            client.send(part.as_bytes());
            client
                .stream()
                .shutdown(Shutdown::Write)
                .expect("connected");
            let received = read_until_closed(&mut client);
            let text = String::from_utf8_lossy(&received);
            assert!(
                text.is_empty() || text.starts_with("HTTP/1.1 400"),
                "{part:?} -> {text}"
            );
        }
        eventually("descriptors come back", || server.open_fds() <= before);
    });
}

#[test]
fn a_reset_amid_a_body_ends_that_connection_only() {
    let tree = large_tree();
    each_backend(tree.path(), |server| {
        let mut witness = Client::connect(server.addr());
        assert_eq!(witness.get("/a").body, b"alpha");
        for round in 0..20 {
            let mut client = start_large(server);
            let mut part = vec![0; round * 100_000];
            client.read_exact(&mut part).expect("a part of the body");
            assert!(part == content(SEED, part.len()));
            if round % 2 == 0 {
                client.reset()
            } else {
                drop(client)
            }
            assert_eq!(witness.get("/a").body, b"alpha");
        }
        assert!(witness.get("/large").body == content(SEED, LARGE));
    });
}

#[test]
fn clients_that_never_read_hold_nobody_up() {
    let tree = large_tree();
    // The server gives nobody up for as long as a client of this test waits.
    each_backend_with(tree.path(), &["--write-timeout", "600"], |server| {
        let stalled: Vec<_> = (0..40).map(|_| start_large(server)).collect();
        let mut client = Client::connect(server.addr());
        for _ in 0..100 {
            assert_eq!(client.get("/a").body, b"alpha");
            assert!(client.get("/middle").body == content(5, 300_000));
            assert_eq!(get(server.addr(), "/a").body, b"alpha");
        }
        // One of the stalled, woken up late, still gets all of its file.
        let mut late = stalled.into_iter().last().expect("forty");
        let mut body = vec![0; LARGE];
        late.read_exact(&mut body).expect("the whole body");
        assert!(body == content(SEED, LARGE));
        assert_eq!(late.get("/a").body, b"alpha");
    });
}

#[test]
fn five_hundred_connections_are_kept_alive_and_then_given_back() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let server = server.args(["--idle-timeout", "600"]).start();
        let mut first = Client::connect(server.addr());
        assert_eq!(first.get("/a").body, b"alpha");
        let idle = socket_count(&server) - 1;
        drop(first);
        eventually("the first connection is gone", || {
            socket_count(&server) == idle
        });
        // What the first request set up for good is not a leak.
        let before = server.open_fds();
        let mut clients: Vec<Client> = Vec::new();
        clients.extend((0..500).map(|_| Client::connect(server.addr())));
        for round in 0..3 {
            for client in &mut clients {
                client.send(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
            }
            for client in &mut clients {
                assert_eq!(client.read_response(false).body, b"alpha", "round {round}");
            }
        }
        assert_eq!(socket_count(&server), idle + 500);
        drop(clients);
        eventually("descriptors come back", || server.open_fds() == before);
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        server.assert_sound();
    }
}

fn socket_count(server: &Server) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it is running");
    let targets = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    targets
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[test]
fn a_file_cut_short_while_it_is_sent_closes_the_connection_short() {
    for backend in backends() {
        // A boundary of any folio: cutting within one would zero its rest in the page cache, and
        // with it what a server may rightly have queued.
        for cut in [0, 8 << 20] {
            let tree = large_tree();
            let server = Server::start(tree.path(), backend);
            let mut client = start_large(&server);
            let file = File::options().write(true).open(tree.path().join("large"));
            file.and_then(|file| file.set_len(cut)).expect("own file");
            let received = read_until_closed(&mut client);
            assert!(
                received.len() < LARGE,
                "{} bytes of a file cut to {cut}",
                received.len()
            );
            assert!(
                received == content(SEED, received.len()),
                "padded after the cut to {cut}"
            );
            assert_eq!(get(server.addr(), "/large").content_length(), cut);
            server.assert_sound();
        }
    }
}

#[test]
fn a_file_that_grows_while_it_is_sent_arrives_as_long_as_it_was_promised() {
    for backend in backends() {
        let tree = large_tree();
        let server = Server::start(tree.path(), backend);
        let mut client = start_large(&server);
        let file = File::options().write(true).open(tree.path().join("large"));
        file.and_then(|file| file.set_len(LARGE as u64 * 2))
            .expect("own file");
        let mut body = vec![0; LARGE];
        client.read_exact(&mut body).expect("the promised bytes");
        assert!(body == content(SEED, LARGE));
        assert_eq!(client.get("/a").body, b"alpha");
    }
}

#[test]
fn a_file_replaced_while_it_is_sent_arrives_as_it_was() {
    for backend in backends() {
        let tree = large_tree();
        let server = Server::start(tree.path(), backend);
        let mut client = start_large(&server);
        let etag = |client: &mut Client| {
            client
                .request("HEAD", "/large", &[])
                .header("etag")
                .expect("an ETag")
                .to_owned()
        };
        let before = etag(&mut Client::connect(server.addr()));
        tree.file("new", content(SEED + 1, LARGE));
        let root = tree.path();
        fs::rename(root.join("new"), root.join("large")).expect("own files");
        let mut body = vec![0; LARGE];
        client.read_exact(&mut body).expect("the promised bytes");
        assert!(body == content(SEED, LARGE));
        assert_ne!(etag(&mut client), before);
        let range = client.request("GET", "/large", &[("Range", "bytes=60000000-60000099")]);
        assert_eq!(range.body, content_at(SEED + 1, 60_000_000, 100));
    }
}

/// Has `greedy` run beside a client that asks for something small 100 times.
fn beside(server: &Server, greedy: impl Fn(&AtomicBool, &AtomicU64) + Sync) {
    let (stop, progress) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| greedy(&stop, &progress));
        eventually("it has begun", || progress.load(Ordering::SeqCst) > 0);
        let mut other = Client::connect(server.addr());
        for _ in 0..50 {
            assert_eq!(other.get("/a").body, b"alpha");
            assert_eq!(get(server.addr(), "/a").body, b"alpha");
        }
        let before = progress.load(Ordering::SeqCst);
        eventually("it still goes on", || {
            progress.load(Ordering::SeqCst) > before
        });
        stop.store(true, Ordering::SeqCst);
    });
}

/// Sends `request` over and over and takes whatever comes, until told to stop.
fn flood(addr: SocketAddr, request: &[u8], stop: &AtomicBool, progress: &AtomicU64) {
    let client = Client::connect(addr);
    let many = request.repeat(1 + 60_000 / request.len());
    thread::scope(|scope| {
        scope.spawn(|| while client.stream().write_all(&many).is_ok() {});
        let mut part = vec![0; 1 << 20];
        while !stop.load(Ordering::SeqCst) {
            let read = client.stream().read(&mut part).expect("answers");
            assert!(read > 0, "the connection ended");
            progress.fetch_add(read as u64, Ordering::SeqCst);
        }
        let _ = client.stream().shutdown(Shutdown::Both);
    });
}

#[test]
fn one_that_always_reads_leaves_turns_to_others() {
    // In memory too, where no read ever waits.
    let memory = tempfile::tempdir_in("/dev/shm").ok();
    let disk = large_tree();
    let mut roots = vec![disk.path()];
    if let Some(memory) = &memory {
        for name in ["a", "large"] {
            fs::copy(disk.path().join(name), memory.path().join(name)).expect("a copy");
        }
        roots.push(memory.path());
    }
    for root in roots {
        each_backend(root, |server| {
            let request = b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n";
            beside(server, |stop, progress| {
                flood(server.addr(), request, stop, progress);
            });
        });
    }
}

#[test]
fn one_with_requests_without_end_leaves_turns_to_others() {
    const REQUEST: &[u8] = b"DELETE / HTTP/1.1\r\nHost: t\r\n\r\n";
    const ANSWER_BYTES_MIN: usize = 100;
    let tree = tree();
    each_backend(tree.path(), |server| {
        let mut other = Client::connect(server.addr());
        assert_eq!(other.get("/a").body, b"alpha");
        let greedy = Client::connect(server.addr());
        // A stopped server: requests pile up until sockets hold no more.
        server.signal(rustix::process::Signal::STOP);
        let many = REQUEST.repeat(2000);
        let mut sent = 0;
        greedy.stream().set_nonblocking(true).expect("an option");
        while let Ok(count) = greedy.stream().write(&many[sent % REQUEST.len()..]) {
            sent += count;
        }
        greedy.stream().set_nonblocking(false).expect("an option");
        let due = sent / REQUEST.len() * ANSWER_BYTES_MIN;
        let received = AtomicU64::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut part = vec![0; 1 << 20];
                while let Ok(count @ 1..) = greedy.stream().read(&mut part) {
                    received.fetch_add(count as u64, Ordering::SeqCst);
                }
            });
            server.signal(rustix::process::Signal::CONT);
            for _ in 0..20 {
                assert_eq!(other.get("/a").body, b"alpha");
            }
            let received = received.load(Ordering::SeqCst);
            let _ = greedy.stream().shutdown(Shutdown::Both);
            assert!(
                received < due as u64 / 2,
                "{received} of {due} bytes before"
            );
        });
    });
}
