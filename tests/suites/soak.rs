//! Hours of mixed load: when it is over, descriptors, threads, operations and tasks are as many as before it, and
//! memory has grown by no more than is stated here.
//!
//! `AMBIDEX_PROVE=ci` soaks for a minute, `AMBIDEX_PROVE=long` for an hour at a low rate:
//! `AMBIDEX_PROVE=long nice cargo test --profile prove -p ambidex-tests --test soak`.

#[path = "soak/load.rs"]
mod load;

use std::any::Any;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use ambidex_tests::client::get;
use ambidex_tests::rig::thread_names;
use ambidex_tests::server::{Backend, Server, backends, built, eventually};
use serde_json::Value;

use load::{Counts, Load, Site};

/// Clients of each server at a time.
const CLIENTS: u64 = 3;
/// How often it is looked whether a client has failed.
const LOOK: Duration = Duration::from_millis(100);
/// By how much private memory may have grown: what the allocator keeps, and buffers of a server's pool (128 KiB each)
/// that were not touched in the warm-up. A minute makes thousands of connections: a leak of some 300 bytes of each is more.
const GROWTH_KIB: u64 = 1024;

static SERVER: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = ["--example", "soak_server"];
    built(&target, "soak_server")
});

/// How long, and how hard.
struct Plan {
    warm_up: Duration,
    soak: Duration,
    /// Of each client between its visits.
    pause: Duration,
    /// Threads end some seconds after their last work: are they waited for?
    patient: bool,
}

impl Plan {
    fn new() -> Plan {
        let (warm_up, soak, pause) = match std::env::var("AMBIDEX_PROVE").as_deref() {
            Ok("long") => (60, 3600, 40),
            Ok("ci") => (6, 60, 4),
            _ => (1, 2, 1),
        };
        Plan {
            warm_up: Duration::from_secs(warm_up),
            soak: Duration::from_secs(soak),
            pause: Duration::from_millis(pause),
            patient: soak > 2,
        }
    }
}

/// A process under load.
struct Subject {
    name: String,
    pid: u32,
    address: SocketAddr,
    /// Whether it tells about its engine.
    tells: bool,
    /// Ends it when dropped.
    _running: Box<dyn Any + Send + Sync>,
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How much of everything a server has.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    descriptors: usize,
    threads: usize,
    dirty_kib: u64,
    engine: Option<Value>,
}

impl Subject {
    /// The program that users have, with two workers.
    fn program(site: &Site) -> Subject {
        let server = Server::builder(site.tree.path()).workers(2);
        let server = server.arg("--directory-listing=json").start();
        Subject {
            name: "ambidex serve".to_owned(),
            pid: server.pid(),
            address: server.addr(),
            tells: false,
            _running: Box::new(server),
        }
    }

    /// One engine that tells about itself.
    fn engine(site: &Site, backend: Backend) -> Subject {
        let mut command = Command::new(&*SERVER);
        command
            .arg(site.tree.path())
            .env("AMBIDEX_DISK", backend.name())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = lines.next().expect("a line").expect("text");
        let address = line.strip_prefix("listening on http://");
        Subject {
            name: format!("an engine on {}", backend.name()),
            pid: child.id(),
            address: address
                .and_then(|text| text.parse().ok())
                .expect("an address"),
            tells: true,
            _running: Box::new(Killed(child)),
        }
    }

    fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.pid));
        folder.expect("the server is running").count()
    }

    /// Its own: of the kernel's workers one stays with each ring that has ever had work for it.
    fn threads(&self) -> usize {
        let names = thread_names(self.pid);
        names
            .iter()
            .filter(|name| !name.starts_with("iou-"))
            .count()
    }

    fn sample(&self) -> Sample {
        let engine = self.tells.then(|| {
            let response = get(self.address, "/engine");
            serde_json::from_slice(&response.body).expect("JSON")
        });
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid));
        let rollup = rollup.expect("the server is running");
        let dirty = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Private_Dirty:"));
        let dirty = dirty.and_then(|line| line.trim().strip_suffix(" kB"));
        Sample {
            descriptors: self.descriptors(),
            threads: self.threads(),
            dirty_kib: dirty
                .and_then(|number| number.parse().ok())
                .expect("proc_pid_smaps(5)"),
            engine,
        }
    }

    /// The state in which all that `before` tells of has come back to that, but for memory.
    fn settled(&self, before: &Sample, threads_max: usize) -> Sample {
        let what = format!("{} is as before: {before:?}", self.name);
        let mut last = self.sample();
        eventually(&what, || {
            last = self.sample();
            last.descriptors <= before.descriptors
                && last.threads <= threads_max
                && last.engine == before.engine
        });
        last
    }

    fn soak(&self, site: &Arc<Site>, plan: &Plan) -> (Counts, u64, u64) {
        let fresh = self.sample();
        let load = |time: Duration| {
            let load = Load::start(site, self.address, CLIENTS, plan.pause, false);
            for _ in 0..time.div_duration_f64(LOOK).ceil() as u64 {
                thread::sleep(LOOK);
                if load.has_failed() {
                    break;
                }
            }
            load.finish()
        };
        load(plan.warm_up);
        let threads_max = if plan.patient {
            fresh.threads
        } else {
            usize::MAX
        };
        let warm = self.settled(&fresh, threads_max);
        let mut counts = Counts::default();
        // A minute at a time, so that what happened can be followed.
        let minute = Duration::from_secs(60);
        let minutes = plan.soak.div_duration_f64(minute).ceil() as u32;
        for at in 1..=minutes {
            counts += load(plan.soak / minutes);
            if minutes > 1 {
                let now = self.sample();
                let _ = writeln!(std::io::stderr(), "{}: minute {at}: {now:?}", self.name);
            }
        }
        let end = self.settled(&fresh, threads_max.min(warm.threads.max(fresh.threads)));
        let (before, after) = (warm.dirty_kib, end.dirty_kib);
        assert!(
            after <= before + GROWTH_KIB,
            "{}: {before} KiB grew to {after} KiB: {counts:?}",
            self.name
        );
        (counts, before, after)
    }
}

#[test]
fn after_a_long_mixed_load_nothing_is_left_of_it() {
    let site = Arc::new(Site::new());
    let plan = Plan::new();
    let mut subjects = vec![Subject::program(&site)];
    subjects.extend(
        backends()
            .into_iter()
            .map(|backend| Subject::engine(&site, backend)),
    );
    let results: Vec<_> = thread::scope(|scope| {
        let soak = |subject| {
            let (site, plan) = (&site, &plan);
            scope.spawn(move || Subject::soak(subject, site, plan))
        };
        let running: Vec<_> = subjects.iter().map(soak).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("it holds");
        running.into_iter().map(join).collect()
    });
    site.check();
    let mut all = Counts::default();
    let mut memory = Vec::new();
    for (subject, (counts, before, after)) in subjects.iter().zip(results) {
        assert!(counts.right > 0, "{}: {counts:?}", subject.name);
        all += counts;
        memory.push(format!("{}: {before} to {after} KiB", subject.name));
    }
    // Past the test harness, for tests/prove.
    let _ = writeln!(
        std::io::stderr(),
        "PROVED soak: {} servers for {} s: {} responses right, {} left early; descriptors, threads, operations \
         and tasks as before; private memory of {}",
        subjects.len(),
        plan.soak.as_secs(),
        all.right,
        all.left,
        memory.join(", "),
    );
}
