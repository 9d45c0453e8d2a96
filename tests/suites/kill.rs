//! kill -9 at any moment, under load: the next server has the port at once, files are as before, nothing is left
//! behind, and no client has got a wrong byte.

#[path = "soak/load.rs"]
mod load;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ambidex_tests::client::get;
use ambidex_tests::server::{Backend, Server, backends};
use ambidex_tests::sim::rng;
use rustix::process::Signal;
use tempfile::TempDir;

use load::{Load, Site};

/// Clients at a time.
const CLIENTS: u64 = 6;
/// The longest that a server lives after it has said where it listens.
const LIFE_MAX: Duration = Duration::from_millis(60);
/// All files are read through once in so many rounds.
const READ_EACH: u64 = 25;
/// In the environment of a server, and of whatever it might start.
const MARK: &str = "AMBIDEX_KILL_ROUND";

fn rounds() -> u64 {
    match std::env::var("AMBIDEX_PROVE").as_deref() {
        Ok("long") => 5_000,
        Ok("ci") => 300,
        _ => 5,
    }
}

/// An address that nobody else uses: on 127.0.0.1 a port that a server has left could be taken by others.
fn address() -> SocketAddr {
    let [_, high, middle, low] = process::id().to_be_bytes();
    SocketAddr::from(([127, 64 | high, middle, low.max(1)], 0))
}

/// Where a server could leave something: its directories for temporary and its own files, and the site itself.
struct Places {
    own: TempDir,
    site: Arc<Site>,
    names: Vec<(String, u64)>,
}

impl Places {
    fn new() -> Places {
        let site = Arc::new(Site::new());
        Places {
            own: TempDir::new().expect("a directory"),
            names: names(site.tree.path()),
            site,
        }
    }

    /// Nothing has come, gone or changed in length.
    fn check(&self) {
        assert_eq!(names(self.own.path()), [], "left behind");
        assert_eq!(names(self.site.tree.path()), self.names);
    }
}

/// All files below `folder`, with their lengths.
fn names(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("our directory") {
            let entry = entry.expect("an entry");
            let about = entry.metadata().expect("an entry");
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path().display().to_string(), about.len()));
            }
        }
    }
    found.sort();
    found
}

/// The processes that have this in their environment.
fn marked(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_marked = |pid: &String| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|word| word == mark.as_bytes())
    };
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(is_marked)
        .collect()
}

fn start(places: &Places, backend: Backend, listen: SocketAddr, round: u64) -> Server {
    let mark = format!("{}-{round}", process::id());
    let server = Server::builder(places.site.tree.path())
        .backend(backend)
        .listen(listen)
        .workers(2)
        .arg("--directory-listing=json")
        .env(MARK, &mark);
    let own = [
        "TMPDIR",
        "HOME",
        "XDG_RUNTIME_DIR",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
    ];
    let homed = own
        .iter()
        .fold(server, |server, name| server.env(name, places.own.path()));
    homed.start()
}

/// Kills a server and sees that all of it is gone.
fn kill(mut server: Server, round: u64) {
    let (pid, mark) = (server.pid(), format!("{MARK}={}-{round}", process::id()));
    assert_eq!(marked(&mark), [pid.to_string()], "one process and no child");
    let groups = |pid: &dyn AsRef<OsStr>| {
        fs::read_to_string(Path::new("/proc").join(pid.as_ref()).join("cgroup"))
    };
    let (its, ours) = (groups(&pid.to_string()), groups(&"self"));
    assert_eq!(
        its.expect("it lives"),
        ours.expect("/proc"),
        "no cgroup of its own"
    );
    server.assert_sound();
    server.signal(Signal::KILL);
    let status = server.wait();
    assert_eq!(
        status.signal(),
        Some(Signal::KILL.as_raw()),
        "{}",
        server.stderr()
    );
    // The leader is reaped only after each of its threads, the kernel's I/O workers too.
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(marked(&mark), [""; 0], "it has left a process");
}

#[test]
fn killed_at_any_moment_a_server_leaves_nothing_and_the_next_has_its_port() {
    let places = Places::new();
    let kinds = backends();
    let seed = rng::seeds(0x9111)[0];
    let mut moments = fastrand::Rng::with_seed(seed);
    let first = start(&places, kinds[0], address(), 0);
    let listen = first.addr();
    let load = Load::start(&places.site, listen, CLIENTS, Duration::ZERO, true);
    kill(first, 0);
    let rounds = rounds();
    for round in 1..=rounds {
        let backend = kinds[round as usize % kinds.len()];
        let server = start(&places, backend, listen, round);
        assert_eq!(server.addr(), listen);
        // The moment of death, random and not waited for.
        let life = moments.u64(..LIFE_MAX.as_micros() as u64);
        thread::sleep(Duration::from_micros(life));
        kill(server, round);
        places.check();
        assert!(!load.has_failed(), "round {round}, AMBIDEX_SEED={seed:#x}");
        if round % READ_EACH == 0 {
            places.site.check();
        }
    }
    let server = start(&places, kinds[0], listen, rounds + 1);
    let page = get(server.addr(), "/hot/0");
    assert_eq!(page.status, 200, "the last server serves");
    let counts = load.finish();
    kill(server, rounds + 1);
    places.site.check();
    // Of a few rounds none need have met a client.
    let met = counts.right > 0 && counts.cut > 0;
    assert!(met || rounds < 100, "{counts:?}");
    // Past the test harness, for tests/prove.
    let _ = writeln!(
        std::io::stderr(),
        "PROVED kill: {rounds} rounds of kill -9 under load, seed {seed:#x}: {} responses right, {} cut \
         visibly short, 0 wrong",
        counts.right,
        counts.cut,
    );
}
