//! Names that are swapped between inside and outside while thousands of requests run: not one byte
//! of the outside leaks. Traps 12 to 14, 18 and 19.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use ambidex_tests::client::{Client, Response};
use ambidex_tests::server::{Server, backends};
use ambidex_tests::tree::Tree;
use rustix::fs::{CWD, RenameFlags, renameat_with};

const INSIDE: &str = "everybody may read this";
const SECRET: &str = "SECRET of the outside, and longer";
const CONNECTIONS: usize = 4;
const REQUESTS: usize = 1500;

/// `root/` is served; for each name of [`SWAPPED`] there is another in `spare/`.
fn world() -> Tree {
    let world = Tree::new();
    world.file("outside/file", SECRET);
    world.file("outside/file.gz", SECRET);
    world.file("outside/index.html", SECRET);
    world.file("outside/dir/file", SECRET);
    for inside in ["root/dir", "root/home", "root/deep/dir"] {
        world.file(format!("{inside}/file"), INSIDE);
        world.file(format!("{inside}/file.gz"), INSIDE);
        world.file(format!("{inside}/index.html"), INSIDE);
    }
    world.symlink("dir/file", "root/link");
    world.symlink("../outside/file", "spare/link");
    // A directory against a link to one, a directory against a directory with a link in it.
    world.symlink("../outside", "spare/dir");
    world.symlink("../../outside/file", "spare/deep/dir/file");
    world.symlink("../../outside/index.html", "spare/deep/dir/index.html");
    world.symlink("../home", "root/deep/up");
    world.symlink("../../outside", "spare/deep/up");
    world
}

const SWAPPED: [&str; 4] = ["link", "dir", "deep/dir", "deep/up"];

const TARGETS: [&str; 9] = [
    "/link",
    "/dir/file",
    "/dir/",
    "/dir",
    "/dir/../dir/file",
    "/deep/dir/file",
    "/deep/dir/",
    "/deep/up/file",
    "/deep/up/",
];

fn check(target: &str, response: &Response) {
    assert!(
        !String::from_utf8_lossy(&response.body).contains("SECRET"),
        "{target} leaked"
    );
    match response.status {
        200 if response.body.is_empty() => assert_eq!(response.content_length(), 23, "{target}"),
        200 => assert_eq!(response.body, INSIDE.as_bytes(), "{target}"),
        206 => assert_eq!(response.body, &INSIDE.as_bytes()[1..4], "{target}"),
        301 => assert_eq!(response.header("location"), Some("/dir/"), "{target}"),
        404 => {}
        status => panic!("{target} -> {status}"),
    }
}

/// Asks for everything in turn; tells how often it was there.
fn ask(addr: SocketAddr, lane: usize) -> u64 {
    let ways: [(&str, &[(&str, &str)]); 4] = [
        ("GET", &[]),
        ("HEAD", &[]),
        ("GET", &[("Range", "bytes=1-3")]),
        ("GET", &[("Accept-Encoding", "gzip, br, zstd")]),
    ];
    let mut client = Client::connect(addr);
    let mut there = 0;
    for turn in 0..REQUESTS {
        let target = TARGETS[(turn + lane) % TARGETS.len()];
        let (method, fields) = ways[turn / TARGETS.len() % ways.len()];
        let response = client.request(method, target, fields);
        check(target, &response);
        assert_eq!(response.header("connection"), Some("keep-alive"));
        there += u64::from(response.status < 300);
    }
    there
}

fn swap(world: &Tree, name: &str, stop: &AtomicBool, swaps: &AtomicU64) {
    let [inside, spare] = ["root", "spare"].map(|place| world.path().join(place).join(name));
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, &inside, CWD, &spare, RenameFlags::EXCHANGE).expect("both exist");
        swaps.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn nothing_of_the_outside_leaks_through_names_that_are_swapped() {
    for backend in backends() {
        let world = world();
        let server = Server::start(&world.path().join("root"), backend);
        let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
        let there: u64 = thread::scope(|scope| {
            for name in SWAPPED {
                let (world, stop, swaps) = (&world, &stop, &swaps);
                scope.spawn(move || swap(world, name, stop, swaps));
            }
            let addr = server.addr();
            let askers: Vec<_> = (0..CONNECTIONS)
                .map(|lane| scope.spawn(move || ask(addr, lane)))
                .collect();
            let results: Vec<_> = askers.into_iter().map(|asker| asker.join()).collect();
            // Before any unwrap: the others stop only when told.
            stop.store(true, Ordering::Relaxed);
            results
                .into_iter()
                .map(|there| there.expect("nothing leaked"))
                .sum()
        });
        let swaps = swaps.into_inner();
        eprintln!("{}: {swaps} swaps, {there} answers", backend.name());
        assert!(there > 0 && swaps > REQUESTS as u64);
        server.assert_sound();
    }
}
