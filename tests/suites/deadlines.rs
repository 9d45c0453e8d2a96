//! Disks that hang: an honest 503 in time while nothing was sent, a visible cut afterwards, queues
//! with an end, and nothing lost when the disk is back.

use std::io::{ErrorKind, Read};

use ambidex_tests::client::{self, Client, Response};
use ambidex_tests::rig::fuse::{self, CACHED, Pace, Rig, Script, UNCACHED};
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{Backend, HANG_GUARD, Server, backends, eventually};
use ambidex_tests::tree::{Tree, content};

/// Operations that the engine has at work on one mount, and requests that may wait behind them.
const AT_WORK: usize = 32;
const QUEUE: usize = 256;
const LARGE: usize = 1_000_000;
/// A boundary of the server's reads.
const MIDDLE: u64 = 512 * 1024;

/// A server with a page on an ordinary disk and a stuck mount at `stuck/`.
///
/// The order of the fields matters: what is stuck must be let go before the server can end.
struct Stage {
    rig: Rig,
    server: Server,
    _tree: Tree,
}

impl Stage {
    fn new(backend: Backend, script: &Script, args: &[&str]) -> Self {
        let tree = Tree::new();
        tree.dir("stuck").file("page", content(1, 1024));
        tree.symlink("stuck/file", "link").symlink("stuck", "dir");
        let files = vec![("file", script.clone()), ("index.html", script.clone())];
        // Names known to the kernel: only the open or the read is left to hang.
        let rig = Rig::mount(&tree.path().join("stuck"), CACHED, files).expect("a mount");
        rig.warm("file").expect("a file");
        rig.warm("index.html").expect("a file");
        let server = Server::builder(tree.path()).backend(backend).args(args);
        Self {
            rig,
            server: server.args(["--grace-period", "1"]).start(),
            _tree: tree,
        }
    }

    fn hot(&self, client: &mut Client) {
        assert!(client.get("/page").body == content(1, 1024));
        let fresh = client::get(self.server.addr(), "/page");
        assert!(fresh.body == content(1, 1024));
    }

    /// Sends a request and leaves the answer for later.
    fn ask(&self, path: &str) -> Client {
        let mut client = Client::connect(self.server.addr());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
        client
    }

    /// Everything is as if nothing had been: no descriptor, buffer or place in a queue is missing.
    fn expect_normal(&self, whole: &[u8]) {
        self.rig.release();
        // What was given up may still be on its way, and a busy machine may miss so short a deadline;
        // a place that is lost does not come back.
        eventually("more than there are places for are served", || {
            let clients: Vec<_> = (0..2 * AT_WORK).map(|_| self.ask("/stuck/file")).collect();
            let served = clients.into_iter().map(|mut client| {
                let response = client.read_response(false);
                if response.status != 200 {
                    expect_refusal(&response);
                    return false;
                }
                assert!(response.body == whole);
                true
            });
            served.filter(|served| *served).count() == 2 * AT_WORK
        });
        self.hot(&mut Client::connect(self.server.addr()));
        self.server.assert_sound();
    }
}

fn expect_refusal(response: &Response) {
    assert_eq!(response.status, 503, "{response:?}");
    let seconds = response.header("retry-after").expect("when to come back");
    assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0));
}

#[test]
fn a_hung_open_or_first_read_is_answered_503_within_the_deadline() {
    const NAME: &str = "a_hung_open_or_first_read_is_answered_503_within_the_deadline";
    if let Some(reason) = fuse::missing() {
        return skipped(NAME, &reason);
    }
    let whole = content(2, 1000);
    let file = Script::new(whole.clone());
    let scripts = [
        file.clone().open(Pace::Held),
        file.clone().read(Pace::Held),
        file.read(Pace::Held).direct(),
    ];
    for script in &scripts {
        for backend in backends() {
            let stage = Stage::new(backend, script, &["--disk-deadline", "0.2"]);
            let mut hot = Client::connect(stage.server.addr());
            stage.hot(&mut hot);
            let before = stage.server.open_fds();
            // The file itself, through links within the site, and as the index of a directory.
            for path in ["/stuck/file", "/link", "/dir/file", "/stuck/", "/dir/"] {
                let mut client = stage.ask(path);
                expect_refusal(&client.read_response(false));
                // Promised, and so: the connection goes on.
                stage.hot(&mut client);
                stage.hot(&mut hot);
            }
            assert!(stage.rig.held() > 0, "nothing was stuck");
            stage.expect_normal(&whole);
            eventually("descriptors come back", || {
                stage.server.open_fds() <= before
            });
        }
    }
}

#[test]
fn a_disk_that_hangs_in_the_middle_cuts_the_answer_where_all_can_see() {
    const NAME: &str = "a_disk_that_hangs_in_the_middle_cuts_the_answer_where_all_can_see";
    if let Some(reason) = fuse::missing() {
        return skipped(NAME, &reason);
    }
    let whole = content(3, LARGE);
    let script = Script::new(whole.clone()).direct();
    let script = script.read_from(MIDDLE, Pace::Held);
    for backend in backends() {
        // Long enough for what does not hang.
        let stage = Stage::new(backend, &script, &["--disk-deadline", "2"]);
        let mut client = stage.ask("/stuck/file");
        // Would be answered if the connection went on.
        client.send(b"GET /page HTTP/1.1\r\nHost: t\r\n\r\n");
        let head = client.read_head().expect("a head");
        assert_eq!((head.status, head.content_length()), (200, LARGE as u64));
        let mut body = Vec::new();
        let end = client.read_to_end(&mut body);
        let cut = end.map_or_else(|e| e.kind() == ErrorKind::ConnectionReset, |_| true);
        assert!(cut && body.len() < LARGE, "{} bytes", body.len());
        assert!(whole.starts_with(&body), "bytes were made up");
        // What comes before the stuck part can still be had.
        let mut other = Client::connect(stage.server.addr());
        let range = other.request("GET", "/stuck/file", &[("Range", "bytes=0-99")]);
        assert_eq!(range.body, whole[..100]);
        stage.hot(&mut other);
        stage.expect_normal(&whole);
    }
}

/// The queue of a hung mount: as many as are at work there and as may wait are asked, and no more.
fn queue_ends(script: &Script, whole: &[u8]) {
    const MORE: usize = 40;
    for backend in backends() {
        let stage = Stage::new(backend, script, &["--disk-deadline", "0"]);
        let mut hot = Client::connect(stage.server.addr());
        let mut clients: Vec<_> = (0..AT_WORK + QUEUE + MORE)
            .map(|_| stage.ask("/stuck/file"))
            .collect();
        stage.rig.wait_held(AT_WORK, HANG_GUARD);
        let mut refused = 0;
        eventually("those beyond the queue are refused", || {
            clients.retain_mut(|client| {
                if !has_answer(client) {
                    return true;
                }
                expect_refusal(&client.read_response(false));
                stage.hot(client);
                refused += 1;
                false
            });
            refused >= MORE
        });
        stage.hot(&mut hot);
        assert_eq!(stage.rig.held(), AT_WORK, "{}", backend.name());
        stage.rig.release();
        // The others were not forgotten.
        assert!(clients.len() >= QUEUE, "{} were kept", clients.len());
        for mut client in clients {
            let response = client.read_response(false);
            assert!(response.status == 200 && response.body == whole);
        }
        stage.expect_normal(whole);
    }
}

fn has_answer(client: &Client) -> bool {
    let stream = client.stream();
    stream.set_nonblocking(true).expect("a socket option");
    let some = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).expect("a socket option");
    some
}

#[test]
fn the_queue_of_hung_opens_has_an_end() {
    if let Some(reason) = fuse::missing() {
        return skipped("the_queue_of_hung_opens_has_an_end", &reason);
    }
    let whole = content(4, 1000);
    queue_ends(&Script::new(whole.clone()).open(Pace::Held), &whole);
}

#[test]
fn the_queue_of_hung_reads_has_an_end() {
    if let Some(reason) = fuse::missing() {
        return skipped("the_queue_of_hung_reads_has_an_end", &reason);
    }
    let whole = content(5, 1000);
    let script = Script::new(whole.clone()).direct();
    queue_ends(&script.read(Pace::Held), &whole);
}

#[test]
fn who_waits_behind_a_hung_mount_is_answered_within_the_deadline_too() {
    const NAME: &str = "who_waits_behind_a_hung_mount_is_answered_within_the_deadline_too";
    if let Some(reason) = fuse::missing() {
        return skipped(NAME, &reason);
    }
    let whole = content(6, 1000);
    let file = Script::new(whole.clone());
    for script in [file.clone().open(Pace::Held), file.read(Pace::Held)] {
        for backend in backends() {
            let stage = Stage::new(backend, &script, &["--disk-deadline", "0.5"]);
            let mut hot = Client::connect(stage.server.addr());
            // The second time all places are taken by what was given up.
            for _ in 0..2 {
                let clients: Vec<_> = (0..3 * AT_WORK).map(|_| stage.ask("/stuck/file")).collect();
                stage.hot(&mut hot);
                for mut client in clients {
                    expect_refusal(&client.read_response(false));
                }
            }
            stage.hot(&mut hot);
            stage.expect_normal(&whole);
        }
    }
}

#[test]
fn clients_that_leave_during_a_hung_read_leave_nothing_behind() {
    const NAME: &str = "clients_that_leave_during_a_hung_read_leave_nothing_behind";
    if let Some(reason) = fuse::missing() {
        return skipped(NAME, &reason);
    }
    let whole = content(7, 1000);
    let file = Script::new(whole.clone());
    for script in [file.clone().open(Pace::Held), file.read(Pace::Held)] {
        for backend in backends() {
            let stage = Stage::new(backend, &script, &["--disk-deadline", "0.5"]);
            stage.hot(&mut Client::connect(stage.server.addr()));
            let before = stage.server.open_fds();
            let clients: Vec<_> = (0..2 * AT_WORK).map(|_| stage.ask("/stuck/file")).collect();
            stage.rig.wait_held(1, HANG_GUARD);
            drop(clients);
            stage.hot(&mut Client::connect(stage.server.addr()));
            stage.expect_normal(&whole);
            eventually("descriptors come back", || {
                stage.server.open_fds() <= before
            });
        }
    }
}

#[test]
fn a_hung_mount_does_not_take_the_descriptors_of_others() {
    const NAME: &str = "a_hung_mount_does_not_take_the_descriptors_of_others";
    if let Some(reason) = fuse::missing() {
        return skipped(NAME, &reason);
    }
    for backend in backends() {
        let tree = Tree::new();
        tree.dir("stuck").file("page", content(1, 1024));
        let script = Script::new(b"late".as_slice()).open(Pace::Held);
        let at = tree.path().join("stuck");
        let rig = Rig::mount(&at, UNCACHED, vec![("file", script)]).expect("a mount");
        let server = Server::builder(tree.path()).backend(backend).nofile(64);
        let server = server
            .args(["--grace-period", "1", "--disk-deadline", "0"])
            .start();
        let stage = Stage {
            rig,
            server,
            _tree: tree,
        };
        let mut hot = Client::connect(stage.server.addr());
        let clients: Vec<_> = (0..16).map(|_| stage.ask("/stuck/file")).collect();
        stage.rig.wait_held(16, HANG_GUARD);
        for _ in 0..100 {
            stage.hot(&mut hot);
        }
        assert_eq!(stage.rig.held(), 16);
        stage.rig.release();
        for mut client in clients {
            assert_eq!(client.read_response(false).body, b"late");
        }
    }
}
