//! Nothing outside the served directory is ever sent, whatever links lead there and however they
//! change.

#[path = "containment/beside.rs"]
mod beside;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, thread};

use ambidex_tests::client::{Client, Response};
use ambidex_tests::server::{Server, backends, each_backend};
use ambidex_tests::tree::Tree;
use rustix::fs::{CWD, RenameFlags, renameat_with};

const SECRET: &str = "the-secret-that-lies-outside";
const PUBLIC: &str = "public";

/// `root/`, which is served, beside `outside/secret`, which must never be.
fn world() -> Tree {
    let world = Tree::new();
    world
        .file("outside/secret", SECRET)
        .file("outside/index.html", SECRET);
    world
        .file("root/public", PUBLIC)
        .file("root/sub/public", PUBLIC)
        .file("root/sub/deep/x", "x");
    world
}

fn assert_no_secret(response: &Response, path: &str) {
    let text = format!(
        "{:?} {}",
        response.headers,
        String::from_utf8_lossy(&response.body)
    );
    assert!(!text.contains(SECRET), "{path} leaked: {text}");
}

/// Asserts that `path` is refused to every kind of request, without a trace of what it leads to.
fn assert_contained(client: &mut Client, path: &str) {
    for (method, fields) in [
        ("GET", &[][..]),
        ("HEAD", &[][..]),
        ("GET", &[("Range", "bytes=0-3")][..]),
        ("GET", &[("If-None-Match", "*")][..]),
    ] {
        let response = client.request(method, path, fields);
        assert_no_secret(&response, path);
        let refused = [403, 404].contains(&response.status);
        assert!(refused, "{method} {path} {fields:?} -> {response:?}");
        assert!(
            response.header("etag").is_none(),
            "{method} {path}: {response:?}"
        );
    }
}

#[test]
fn links_that_stay_inside_are_followed() {
    let world = world();
    world
        .symlink("public", "root/same")
        .symlink("sub/public", "root/down");
    world
        .symlink("../public", "root/sub/up")
        .symlink("sub", "root/dir")
        .symlink("same", "root/two");
    world.symlink("../../public", "root/sub/deep/up-up");
    each_backend(&world.path().join("root"), |server| {
        let mut client = Client::connect(server.addr());
        for path in [
            "/same",
            "/down",
            "/sub/up",
            "/dir/public",
            "/two",
            "/sub/deep/up-up",
        ] {
            let response = client.get(path);
            assert_eq!(
                (response.status, response.body),
                (200, PUBLIC.into()),
                "{path}"
            );
        }
    });
}

#[test]
fn links_that_lead_outside_are_refused() {
    let world = world();
    let outside = world.path().join("outside");
    world.symlink(outside.join("secret"), "root/absolute");
    world.symlink("../outside/secret", "root/relative");
    world.symlink("../../outside/secret", "root/sub/relative");
    world.symlink("sub/../../outside/secret", "root/winding");
    world
        .symlink("relative", "root/chain")
        .symlink("../chain", "root/sub/chain");
    world
        .symlink("../outside", "root/dir")
        .symlink(&outside, "root/absolute-dir");
    world
        .symlink("dir", "root/dir-chain")
        .symlink("..", "root/up")
        .symlink("/", "root/slash");
    world.symlink("../outside/index.html", "root/indexed/index.html");
    world
        .symlink("/etc/passwd", "root/passwd")
        .symlink("/etc", "root/etc");
    let absolute = outside.join("secret").display().to_string();
    let slash = format!("/slash{absolute}");
    let paths = [
        "/absolute",
        "/relative",
        "/sub/relative",
        "/winding",
        "/chain",
        "/sub/chain",
        "/dir/secret",
        "/dir/",
        "/dir",
        "/absolute-dir/secret",
        "/dir-chain/secret",
        "/up/outside/secret",
        "/up/outside/",
        "/indexed/",
        "/passwd",
        "/etc/passwd",
        &slash,
    ];
    each_backend(&world.path().join("root"), |server| {
        let mut client = Client::connect(server.addr());
        paths
            .iter()
            .for_each(|path| assert_contained(&mut client, path));
        assert_eq!(client.get("/public").body, PUBLIC.as_bytes());
    });
}

#[test]
fn magic_links_of_proc_lead_nowhere() {
    let world = world();
    let absolute = world.path().join("outside/secret").display().to_string();
    world
        .symlink("/proc/self/root", "root/magic-root")
        .symlink("/proc/self/cwd", "root/cwd");
    world
        .symlink("/proc/self", "root/self")
        .symlink("/proc/self/exe", "root/exe");
    world.symlink("/proc/self/environ", "root/environ");
    let mut paths: Vec<String> = ["/exe", "/environ", "/self/environ", "/self/exe"]
        .map(String::from)
        .into();
    paths.push(format!("/magic-root{absolute}"));
    paths.push(format!("/self/root{absolute}"));
    paths.push("/cwd/Cargo.toml".to_owned());
    for fd in 0..16 {
        world.symlink(format!("/proc/self/fd/{fd}"), format!("root/fd{fd}"));
        world.symlink(
            format!("/proc/self/fd/{fd}/../outside"),
            format!("root/beside{fd}"),
        );
        paths.push(format!("/fd{fd}"));
        paths.push(format!("/fd{fd}/public"));
        paths.push(format!("/beside{fd}/secret"));
    }
    each_backend(&world.path().join("root"), |server| {
        let mut client = Client::connect(server.addr());
        paths
            .iter()
            .for_each(|path| assert_contained(&mut client, path));
    });
}

#[test]
fn dot_dot_in_a_target_never_leaves_the_root() {
    let world = world();
    world.symlink("..", "root/sub/up");
    let targets = [
        "/../outside/secret",
        "/%2e%2e/outside/secret",
        "/sub/../../outside/secret",
        "/sub/up/../outside/secret",
        "/sub/up/up/up/outside/secret",
        "/..%2foutside%2fsecret",
        "/sub/..%2f..%2foutside/secret",
        "/%2e%2e%2foutside/secret",
        "/..%5coutside/secret",
        "/.../outside/secret",
        "/..;/outside/secret",
        "/%252e%252e/outside/secret",
        "/..%c0%afoutside/secret",
        "/sub/%2e%2e/%2e%2e/outside/secret",
    ];
    each_backend(&world.path().join("root"), |server| {
        for target in targets {
            let mut client = Client::connect(server.addr());
            let response = client.get(target);
            assert_no_secret(&response, target);
            assert!(
                [400, 403, 404].contains(&response.status),
                "{target} -> {response:?}"
            );
        }
    });
}

/// Exchanges a name's two places atomically and again until `stop`, so that each always exists.
fn exchange(world: &Tree, name: &str, stop: &AtomicBool, count: &AtomicU64) {
    let (left, right) = (world.path().join("root"), world.path().join("spare"));
    let (left, right) = (left.join(name), right.join(name));
    while !stop.load(Ordering::Relaxed) {
        renameat_with(CWD, &left, CWD, &right, RenameFlags::EXCHANGE).expect("both exist");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Names in `root/` whose counterparts in `spare/` lead outside: a link to a file, a link to a
/// directory, and a directory that turns into a link.
const FLIPPING: [&str; 3] = ["link", "dir", "real"];

fn flipping_world() -> Tree {
    let world = world();
    world.symlink("public", "root/link");
    world.symlink("../outside/secret", "spare/link");
    world
        .symlink("sub", "root/dir")
        .file("root/sub/secret", PUBLIC);
    world.symlink("../outside", "spare/dir");
    world.file("root/real/secret", PUBLIC);
    world.symlink("../outside", "spare/real");
    // While `real` is away, the same `..` leads to the name of a stranger.
    world.symlink("../public", "root/real/up");
    world.file("spare/public", SECRET);
    // Stays in place amid all this.
    world.symlink("../../public", "root/sub/deep/calm");
    world
}

#[test]
fn names_that_flip_between_inside_and_outside_never_leak() {
    for backend in backends() {
        let world = flipping_world();
        let server = Server::start(&world.path().join("root"), backend);
        let (stop, flips, served) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for name in FLIPPING {
                let (world, stop, flips) = (&world, &stop, &flips);
                scope.spawn(move || exchange(world, name, stop, flips));
            }
            let paths = ["/link", "/dir/secret", "/real/secret", "/real/up"];
            let fetchers = paths.map(|path| {
                let (addr, served) = (server.addr(), &served);
                scope.spawn(move || served.fetch_add(fetch_flipping(addr, path), Ordering::Relaxed))
            });
            let results = fetchers.map(|fetcher| fetcher.join());
            // Before any unwrap: the flippers stop only when told.
            stop.store(true, Ordering::Relaxed);
            for result in results {
                result.expect("nothing leaked");
            }
        });
        let (flips, served) = (flips.into_inner(), served.into_inner());
        eprintln!("{}: {flips} flips, {served} of 8000 inside", backend.name());
        // The last flip may have left the name outside: say where it stands.
        fs::remove_file(world.path().join("root/link")).expect("a link");
        world.symlink("public", "root/link");
        let mut client = Client::connect(server.addr());
        assert_eq!(client.get("/link").body, PUBLIC.as_bytes());
        server.assert_sound();
    }
}

#[test]
fn a_link_in_place_is_served_while_other_names_flip() {
    for backend in backends() {
        let world = flipping_world();
        let server = Server::start(&world.path().join("root"), backend);
        let (stop, flips) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for name in FLIPPING {
                let (world, stop, flips) = (&world, &stop, &flips);
                scope.spawn(move || exchange(world, name, stop, flips));
            }
            // openat2(2) answers EAGAIN to a `..` beneath the root while anything on the machine is
            // renamed, about one time in ten here: that is no answer for a client.
            let served = scope
                .spawn(|| fetch_flipping(server.addr(), "/sub/deep/calm"))
                .join();
            stop.store(true, Ordering::Relaxed);
            assert_eq!(served.expect("nothing leaked"), 2_000);
        });
    }
}

/// Fetches `path` 2,000 times and returns how often it led inside.
fn fetch_flipping(addr: std::net::SocketAddr, path: &str) -> u64 {
    let mut client = Client::connect(addr);
    let mut inside = 0;
    for _ in 0..2_000 {
        let response = client.get(path);
        assert_no_secret(&response, path);
        match response.status {
            200 => {
                assert_eq!(response.body, PUBLIC.as_bytes(), "{path}");
                inside += 1;
            }
            403 | 404 => {}
            status => panic!("{path} -> {status}"),
        }
        if response.header("connection") == Some("close") {
            client = Client::connect(addr);
        }
    }
    inside
}
