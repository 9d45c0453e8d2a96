//! G7: a slow, stuck or dead disk does not stop the sockets, and an ordinary file is served while
//! requests for files on such a disk wait. Liveness only: how fast is for the benches.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ambidex_tests::client::{self, Client};
use ambidex_tests::rig::blkio::Throttle;
use ambidex_tests::rig::fuse::{self, CACHED, Pace, Rig, Script, UNCACHED};
use ambidex_tests::rig::{cold, is_exiting, skipped};
use ambidex_tests::server::{Backend, HANG_GUARD, Server, backends, eventually};
use ambidex_tests::tree::{Tree, content};
use tempfile::TempDir;

const CLIENTS: usize = 32;
const HOT_REQUESTS: usize = 2000;
const HOT_LANES: usize = 4;
const HOT_FILES: usize = 8;
const COLD_SIZE: usize = 64 * 1024;

/// A file that a test asks for: its path in the URL and what it must hold.
type Page = (String, Vec<u8>);

/// Fetches hot files `HOT_REQUESTS` times, over connections that stay open and over new ones.
fn hot_run(server: &Server, pages: &[Page]) {
    let addr = server.addr();
    let pages: Arc<[Page]> = pages.into();
    let (sender, finished) = mpsc::channel();
    for lane in 0..HOT_LANES {
        let (pages, sender) = (pages.clone(), sender.clone());
        thread::spawn(move || {
            let mut kept = Client::connect(addr);
            for turn in 0..HOT_REQUESTS / HOT_LANES {
                let (path, bytes) = &pages[(lane + turn) % pages.len()];
                let response = if turn % 5 == 0 {
                    client::get(addr, path)
                } else {
                    kept.get(path)
                };
                assert_eq!(response.status, 200, "{path}");
                assert!(response.body == *bytes, "{path}");
            }
            sender.send(()).expect("the test waits");
        });
    }
    drop(sender);
    for _ in 0..HOT_LANES {
        let finished = finished.recv_timeout(HANG_GUARD);
        finished.expect("hot requests go on while the disk is slow");
    }
}

fn hot_pages(tree: &Path) -> Vec<Page> {
    let page = |index: usize| (format!("/hot{index}.txt"), content(index as u64, 1024));
    let pages: Vec<_> = (0..HOT_FILES).map(page).collect();
    for (path, bytes) in &pages {
        std::fs::write(tree.join(&path[1..]), bytes).expect("a new file");
    }
    pages
}

/// Clients that fetch evicted files until told to stop.
struct ColdLoad {
    stop: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
    fetched: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl ColdLoad {
    const FILES_EACH: usize = 8;

    fn seed(client: usize, file: usize) -> u64 {
        1000 + (client * Self::FILES_EACH + file) as u64
    }

    fn write(tree: &Path) {
        for client in 0..CLIENTS {
            for file in 0..Self::FILES_EACH {
                let seed = Self::seed(client, file);
                let path = tree.join(format!("cold{seed}"));
                std::fs::write(path, content(seed, COLD_SIZE)).expect("a new file");
            }
        }
    }

    fn start(server: &Server, tree: &Path) -> Self {
        let (stop, waiting, fetched) = Default::default();
        let mut load = Self {
            stop,
            waiting,
            fetched,
            threads: Vec::new(),
        };
        for client in 0..CLIENTS {
            let (addr, tree) = (server.addr(), tree.to_owned());
            let (stop, waiting, fetched) = (
                load.stop.clone(),
                load.waiting.clone(),
                load.fetched.clone(),
            );
            load.threads.push(thread::spawn(move || {
                let mut connection = Client::connect(addr);
                let files = (0..Self::FILES_EACH).cycle();
                for file in files.take_while(|_| !stop.load(Ordering::SeqCst)) {
                    let seed = Self::seed(client, file);
                    cold::evict(&tree.join(format!("cold{seed}"))).expect("eviction");
                    waiting.fetch_add(1, Ordering::SeqCst);
                    let response = connection.get(&format!("/cold{seed}"));
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    assert!(response.body == content(seed, COLD_SIZE), "cold{seed}");
                    fetched.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
        load
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    /// Lets each client finish its fetch; a wrong byte in any of them shows here.
    fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("cold files arrive whole");
        }
    }
}

/// # Errors
///
/// That of making the control group, where this machine cannot slow a disk down.
fn evicted_files_on_a_slow_disk(backend: Backend, root: &TempDir) -> io::Result<()> {
    let pages = hot_pages(root.path());
    ColdLoad::write(root.path());
    let server = Server::start(root.path(), backend);
    // Fetched once, hot from now on.
    for (path, bytes) in &pages {
        assert!(client::get(server.addr(), path).body == *bytes, "{path}");
    }
    // After the server, so that it is dropped before it and lets reads in flight go.
    let throttle = Throttle::new(root.path(), 500)?;
    throttle.attach(server.pid()).expect("a control group");
    let reads_before = throttle.reads().expect("a counter");
    let load = ColdLoad::start(&server, root.path());
    eventually("every cold client is served in turn", || {
        load.fetched() >= 2 * CLIENTS
    });
    let reads = || throttle.reads().expect("a counter");
    assert!(reads() - reads_before >= CLIENTS as u64, "nothing was cold");
    eventually("the disk reads beside hot requests", || {
        let before = reads();
        hot_run(&server, &pages);
        reads() > before
    });

    // A disk that has all but stopped: anything hot that queues behind it runs into the guard.
    throttle.limit(2).expect("a control group");
    eventually("every cold client waits", || load.waiting() == CLIENTS);
    let fetched_before = load.fetched();
    hot_run(&server, &pages);
    let fetched = load.fetched() - fetched_before;
    assert!(fetched < HOT_REQUESTS / 2, "the limit did not hold");

    throttle.limit(0).expect("a control group");
    load.finish();
    server.assert_sound();
    Ok(())
}

#[test]
fn hot_requests_go_on_beside_evicted_files() {
    const NAME: &str = "hot_requests_go_on_beside_evicted_files";
    for backend in backends() {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        if let Some(reason) = cold::missing(place).expect("a temporary file") {
            return skipped(NAME, &reason);
        }
        let root = tempfile::tempdir_in(place).expect("a temporary directory");
        if let Err(error) = evicted_files_on_a_slow_disk(backend, &root) {
            return skipped(NAME, &format!("cgroup v1 blkio: {error}"));
        }
    }
}

/// A server whose root holds ordinary files, a stuck file system and a healthy one.
///
/// The order of the fields matters: what is stuck must be let go before the server can end.
struct Stage {
    stuck: Rig,
    _well: Rig,
    server: Server,
    pages: Vec<Page>,
    held: Vec<u8>,
    _tree: Tree,
}

impl Stage {
    fn new(backend: Backend, ttl: Duration, size: usize, script: fn(Script) -> Script) -> Self {
        let tree = Tree::new();
        tree.dir("stuck").dir("well");
        let held = content(99, size);
        let pages = hot_pages(tree.path());
        let stuck = vec![("file", script(Script::new(held.clone())))];
        let well = vec![("page.txt", Script::new(Self::well().1))];
        let stuck = Rig::mount(&tree.path().join("stuck"), ttl, stuck).expect("a mount");
        let well = Rig::mount(&tree.path().join("well"), UNCACHED, well).expect("a mount");
        stuck.warm("file").expect("a file");
        let server = Server::builder(tree.path())
            .backend(backend)
            .args(["--grace-period", "1"])
            .start();
        Self {
            stuck,
            _well: well,
            server,
            pages,
            held,
            _tree: tree,
        }
    }

    /// The page on the healthy file system.
    fn well() -> Page {
        ("/well/page.txt".to_owned(), content(98, 1024))
    }

    /// Clients that have asked for the stuck file and not read an answer.
    fn ask(&self) -> Vec<Client> {
        let ask = |_| {
            let mut client = Client::connect(self.server.addr());
            client.send(b"GET /stuck/file HTTP/1.1\r\nHost: test\r\n\r\n");
            client
        };
        (0..CLIENTS).map(ask).collect()
    }

    /// Each of `clients` gets the right bytes, an honest refusal or a close.
    fn expect_answers(&self, clients: Vec<Client>) {
        for mut client in clients {
            match client.try_read_response(false) {
                Ok(response) if response.status == 200 => assert!(response.body == self.held),
                Ok(response) => assert!(response.status >= 500, "{}", response.status),
                Err(error) => {
                    use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
                    let kind = error.kind();
                    assert!(matches!(kind, ConnectionReset | UnexpectedEof), "{error}");
                }
            }
        }
    }

    fn expect_normal(&self) {
        let response = client::get(self.server.addr(), "/stuck/file");
        assert_eq!(response.status, 200);
        assert!(response.body == self.held);
        hot_run(&self.server, &self.pages);
        let (path, bytes) = Self::well();
        assert!(client::get(self.server.addr(), &path).body == bytes);
        self.server.assert_sound();
    }
}

/// Hot requests go on while requests are held in the kernel, and all is well once they are answered.
fn hot_requests_beside(ttl: Duration, size: usize, script: fn(Script) -> Script) {
    for backend in backends() {
        let stage = Stage::new(backend, ttl, size, script);
        hot_run(&stage.server, &stage.pages);
        let clients = stage.ask();
        stage.stuck.wait_held(1, HANG_GUARD);
        hot_run(&stage.server, &stage.pages);
        assert!(stage.stuck.held() > 0, "nothing was stuck any more");
        stage.stuck.release();
        stage.expect_answers(clients);
        stage.expect_normal();
    }
}

/// Clients that ask for the slow file again and again until told to stop.
struct SlowLoad {
    stop: Arc<AtomicBool>,
    waiting: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl SlowLoad {
    fn start(stage: &Stage) -> Self {
        let (stop, waiting) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let one = |_| {
            let (stop, waiting) = (stop.clone(), waiting.clone());
            let (addr, held) = (stage.server.addr(), stage.held.clone());
            thread::spawn(move || {
                let mut client = Client::connect(addr);
                while !stop.load(Ordering::SeqCst) {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    let response = client.get("/stuck/file");
                    waiting.fetch_sub(1, Ordering::SeqCst);
                    assert!(response.status == 200 && response.body == held);
                }
            })
        };
        let threads = (0..CLIENTS).map(one).collect();
        Self {
            stop,
            waiting,
            threads,
        }
    }

    fn wait_all(&self) {
        eventually("every slow client waits", || {
            self.waiting.load(Ordering::SeqCst) == CLIENTS
        });
    }

    fn finish(self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("slow files arrive whole");
        }
    }
}

/// Fetches hot pages one after the other, all over one connection or each over its own.
fn hot_requests(stage: &Stage, kept: bool) {
    let mut connection = Client::connect(stage.server.addr());
    for (path, bytes) in stage.pages.iter().cycle().take(HOT_REQUESTS / 4) {
        if !kept {
            connection = Client::connect(stage.server.addr());
        }
        let response = connection.get(path);
        assert!(response.status == 200 && response.body == *bytes, "{path}");
    }
}

/// The four phases of the comparison with other servers (idle, slow reads, slow opens, stuck opens),
/// each over kept-alive and over new connections, and normal again at once after each.
#[test]
fn eight_phases_of_a_slow_disk() {
    if let Some(reason) = fuse::missing() {
        return skipped("eight_phases_of_a_slow_disk", &reason);
    }
    type Slowness = fn(Script) -> Script;
    let phases: [Option<Slowness>; 4] = [
        None,
        Some(|script| {
            script
                .read(Pace::After(Duration::from_millis(400)))
                .direct()
        }),
        Some(|script| script.open(Pace::After(Duration::from_millis(1500)))),
        Some(|script| script.open(Pace::Held)),
    ];
    for backend in backends() {
        for phase in phases {
            let stage = Stage::new(backend, CACHED, 1000, phase.unwrap_or(|script| script));
            let load = phase.map(|_| SlowLoad::start(&stage));
            for kept in [true, false] {
                if let Some(load) = &load {
                    // Whichever of them is through first: the slow ones never are in the way.
                    load.wait_all();
                }
                hot_requests(&stage, kept);
            }
            stage.stuck.release();
            if let Some(load) = load {
                load.finish();
            }
            stage.expect_normal();
        }
    }
}

#[test]
fn open_that_takes_a_second_and_a_half() {
    if let Some(reason) = fuse::missing() {
        return skipped("open_that_takes_a_second_and_a_half", &reason);
    }
    for ttl in [UNCACHED, CACHED] {
        for backend in backends() {
            let slow = |script: Script| script.open(Pace::After(Duration::from_millis(1500)));
            let stage = Stage::new(backend, ttl, 1000, slow);
            let clients = stage.ask();
            stage.stuck.wait_opens(1, HANG_GUARD);
            hot_run(&stage.server, &stage.pages);
            stage.stuck.release();
            stage.expect_answers(clients);
            stage.expect_normal();
        }
    }
}

#[test]
fn open_that_never_returns() {
    if let Some(reason) = fuse::missing() {
        return skipped("open_that_never_returns", &reason);
    }
    hot_requests_beside(UNCACHED, 1000, |script| script.open(Pace::Held));
}

/// With the name in the kernel's cache an open that was to fail rather than block blocks all the same.
#[test]
fn open_of_a_cached_name_that_never_returns() {
    if let Some(reason) = fuse::missing() {
        return skipped("open_of_a_cached_name_that_never_returns", &reason);
    }
    hot_requests_beside(CACHED, 1000, |script| script.open(Pace::Held));
}

#[test]
fn read_that_never_returns() {
    if let Some(reason) = fuse::missing() {
        return skipped("read_that_never_returns", &reason);
    }
    for size in [1000, 300_000] {
        hot_requests_beside(CACHED, size, |script| script.read(Pace::Held));
        hot_requests_beside(UNCACHED, size, |script| script.read(Pace::Held).direct());
    }
}

/// Work in flight is bounded for each device and not for all of them together.
#[test]
fn stuck_file_system_does_not_stop_another() {
    if let Some(reason) = fuse::missing() {
        return skipped("stuck_file_system_does_not_stop_another", &reason);
    }
    let scripts: [fn(Script) -> Script; 2] = [
        |script| script.open(Pace::Held),
        |script| script.read(Pace::Held),
    ];
    for script in scripts {
        for backend in backends() {
            let stage = Stage::new(backend, CACHED, 1000, script);
            // More than any bound on the work in flight.
            let clients: Vec<_> = (0..4).flat_map(|_| stage.ask()).collect();
            stage.stuck.wait_held(1, HANG_GUARD);
            hot_run(&stage.server, &[Stage::well()]);
            assert!(stage.stuck.held() > 0, "nothing was stuck any more");
            stage.stuck.release();
            stage.expect_answers(clients);
        }
    }
}

#[test]
fn clients_that_leave_a_stuck_file() {
    if let Some(reason) = fuse::missing() {
        return skipped("clients_that_leave_a_stuck_file", &reason);
    }
    for backend in backends() {
        let stage = Stage::new(backend, CACHED, 1000, |script| script.open(Pace::Held));
        let clients = stage.ask();
        stage.stuck.wait_held(1, HANG_GUARD);
        drop(clients);
        let clients = stage.ask();
        hot_run(&stage.server, &stage.pages);
        assert!(stage.stuck.held() > 0, "nothing was stuck any more");
        stage.stuck.release();
        stage.expect_answers(clients);
        stage.expect_normal();
    }
}

/// The kernel does not reap a process while a file system owes it an answer, whatever the process does.
/// So what the server can do, and must, is to stop listening and to call exit(2) with status 0.
#[test]
fn sigterm_during_hung_opens() {
    if let Some(reason) = fuse::missing() {
        return skipped("sigterm_during_hung_opens", &reason);
    }
    for ttl in [UNCACHED, CACHED] {
        for backend in backends() {
            let mut stage = Stage::new(backend, ttl, 1000, |script| script.open(Pace::Held));
            let clients = stage.ask();
            stage.stuck.wait_held(1, HANG_GUARD);
            stage.server.signal(rustix::process::Signal::TERM);
            eventually("the server exits", || is_exiting(stage.server.pid()));
            assert!(stage.stuck.held() > 0, "nothing was stuck any more");
            let refused = Client::try_connect(stage.server.addr()).is_err();
            assert!(refused, "a server that has exited still listens");
            stage.stuck.release();
            let status = stage.server.wait();
            assert_eq!(status.code(), Some(0), "{}", stage.server.stderr());
            drop(clients);
        }
    }
}
