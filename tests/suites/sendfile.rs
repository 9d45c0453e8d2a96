//! Large files out of the page cache, where that was asked for: the same bytes, by fewer copies, and never what is not cached.

use std::fs::OpenOptions;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use ambidex::disk::File;
use ambidex::net::TcpListener;
use ambidex_server::{Config, Files, Server, Site, Stop};
use ambidex_tests::client::Client;
use ambidex_tests::loops::{ANY_PORT, builder, engines};
use ambidex_tests::rig::cold;
use ambidex_tests::rig::skipped;
use ambidex_tests::sim::backends;
use ambidex_tests::sim::net::FakeNet;
use ambidex_tests::tree::{Tree, content};

/// Several windows, and a piece of one.
const LARGE: usize = 3 << 20 | 123;
/// More than sockets hold.
const HUGE: usize = 48 << 20;
/// The largest that is always copied.
const SMALL: usize = 64 << 10;
/// What goes with the head.
const FIRST: u64 = 16 << 10;
const SEED: u64 = 77;

fn large() -> Vec<u8> {
    content(SEED, LARGE)
}

/// A disk with `large` and `small`; the path is not that of a memory filesystem where there is another.
fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("large", large());
    tree.file("small", content(SEED, SMALL));
    tree
}

/// Serves `tree` to `client` on each backend, and tells how many bytes went by sendfile(2) for each.
fn serve(
    tree: &Tree,
    sendfile: bool,
    prepare: impl Fn(&FakeNet),
    client: impl Fn(SocketAddr) + Clone + Send + 'static,
) -> Vec<u64> {
    let served = backends("sendfile").into_iter().map(|choice| {
        let net = Rc::new(FakeNet::default());
        let mut engine = builder(choice)
            .net_kernel(Rc::clone(&net) as Rc<_>)
            .build()
            .expect("an engine");
        prepare(&net);
        let client = client.clone();
        let run = engine.run(async |io| {
            let site = Site::open(&io, tree.path()).await.expect("a site");
            let listener = TcpListener::bind(io.net(), ANY_PORT).expect("a port");
            let address = listener.local_addr().expect("bound");
            let files = Files {
                sendfile,
                ..Files::default()
            };
            let server = Server::new(site).config(Config {
                files,
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
        });
        run.expect("the loop");
        net.sent_by_file()
    });
    served.collect()
}

/// Whether this kernel and filesystem tell what is cached.
fn is_told(tree: &Tree) -> bool {
    let path = tree.path().join("large");
    let told = engines("is_cached").next().is_some_and(|mut engine| {
        let told = engine.run(async |io| {
            let file = File::open(io.disk(), &path).await.expect("open");
            file.is_cached(0..LARGE as u64)
        });
        told.expect("the loop")
    });
    if !told {
        skipped(
            "sendfile",
            "this kernel or filesystem does not tell what is cached (cachestat, RWF_NOWAIT)",
        );
    }
    told
}

fn asks_for_all_and_a_part(address: SocketAddr) {
    let mut client = Client::connect(address);
    let expected = large();
    assert!(client.get("/large").body == expected);
    let part = client.request("GET", "/large", &[("Range", "bytes=100000-")]);
    assert_eq!(part.status, 206);
    assert!(part.body == expected[100_000..]);
    // On the same connection: nothing was left behind.
    assert!(client.get("/small").body == content(SEED, SMALL));
}

#[test]
fn a_warm_large_file_goes_by_sendfile_but_for_what_goes_with_the_head() {
    let tree = tree();
    if !is_told(&tree) {
        return;
    }
    let expected = (LARGE as u64 - FIRST) + (LARGE as u64 - 100_000 - FIRST);
    for sent in serve(&tree, true, |_| {}, asks_for_all_and_a_part) {
        assert_eq!(sent, expected);
    }
}

#[test]
fn nothing_goes_by_sendfile_unless_asked_for() {
    for sent in serve(&tree(), false, |_| {}, asks_for_all_and_a_part) {
        assert_eq!(sent, 0);
    }
}

#[test]
fn an_interrupted_call_is_made_again_and_one_that_cannot_be_is_a_copy() {
    let tree = tree();
    if !is_told(&tree) {
        return;
    }
    for errno in [libc::EINVAL, libc::ENOSYS, libc::EPERM] {
        let script = |net: &FakeNet| net.script_sendfiles([libc::EINTR, 0, errno]);
        for sent in serve(&tree, true, script, asks_for_all_and_a_part) {
            // The one that succeeded; then those of the part.
            assert!((1..LARGE as u64 * 2).contains(&sent), "{sent}");
        }
    }
}

#[test]
fn a_client_that_stops_reading_gets_all_of_it_later() {
    let tree = Tree::new();
    tree.file("large", content(SEED, HUGE));
    let client = |address| {
        let mut client = Client::connect(address);
        client.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(
            client.read_head().expect("a head").content_length(),
            HUGE as u64
        );
        let mut other = Client::connect(address);
        assert!(other.get("/missing").status == 404, "the loop goes on");
        let mut body = vec![0; HUGE];
        client.read_exact(&mut body).expect("all of it");
        assert!(body == content(SEED, HUGE));
    };
    serve(&tree, true, |_| {}, client);
}

#[test]
fn an_answer_whose_file_became_shorter_ends_short() {
    let tree = Tree::new();
    tree.file("large", content(SEED, HUGE));
    let path: PathBuf = tree.path().join("large");
    let client = move |address| {
        let mut client = Client::connect(address);
        client
            .send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\nGET /large HTTP/1.1\r\nHost: t\r\n\r\n");
        assert_eq!(
            client.read_head().expect("a head").content_length(),
            HUGE as u64
        );
        let file = OpenOptions::new().write(true).open(&path).expect("open");
        file.set_len(LARGE as u64).expect("shorter");
        let mut body = Vec::new();
        client.read_to_end(&mut body).expect("data, then the end");
        file.set_len(HUGE as u64).expect("as long as it was");
        assert!(body.len() < HUGE, "{} bytes", body.len());
    };
    serve(&tree, true, |_| {}, client);
}

/// Pages on their way through another processor's batches stay at first.
fn evict(path: &Path, is_cached: impl Fn() -> bool) {
    for _ in 0..100 {
        cold::evict(path).expect("evict");
        if !is_cached() {
            return;
        }
        thread::yield_now();
    }
    panic!("it stays cached");
}

#[test]
fn what_is_not_cached_is_not_called_cached() {
    let tree = tree();
    let path = tree.path().join("large");
    if !is_told(&tree) {
        return;
    }
    let is_memory = cold::missing(tree.path()).expect("a probe").is_some();
    for mut engine in engines("is_cached") {
        let run = engine.run(async |io| {
            let file = File::open(io.disk(), &path).await.expect("open");
            let all = LARGE as u64;
            assert!(file.is_cached(0..all) && file.is_cached(5..6) && file.is_cached(3..3));
            if is_memory {
                return skipped("is_cached", "nothing can be evicted here");
            }
            assert!(!file.is_cached(0..all + 100_000), "beyond the end");
            evict(&path, || file.is_cached(5..6));
            assert!(!file.is_cached(0..all) && !file.is_cached(5..6));
            let (read, _) = file.read_at(vec![0; 4096], 0).await;
            assert_eq!(read.expect("read"), 4096);
            assert!(file.is_cached(0..4096));
            // Warm for the next engine.
            assert_eq!(std::fs::read(&path).expect("read").len(), LARGE);
        });
        run.expect("the loop");
    }
}
