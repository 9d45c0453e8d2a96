//! The models, and the loop that they turn.

mod doorbell;
mod join;
mod remote;
mod shutdown;
mod tasks;
mod workers;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::rc::Rc;

use crate::doorbell::Doorbell;
use crate::handle::Handle;
use crate::sync::{Arc, AtomicUsize, Ordering, yield_now};
use crate::tasks::{Shared, Tasks};

/// What a bug of this kind needs is seldom more than two.
const PREEMPTIONS_MAX: usize = 3;
/// Who waits for so many turns of all others waits for nothing. Miri may leave the others without one.
const YIELDS_MAX: usize = if cfg!(miri) { 1_000_000 } else { 64 };

/// Runs `one` in every interleaving, and says past the test harness how many those were.
#[cfg(not(miri))]
fn model(name: &str, one: impl Fn() + Send + Sync + 'static) {
    use std::io::Write;

    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        one();
    });
    let count = count.load(Ordering::Relaxed);
    let _ = writeln!(std::io::stderr(), "MODEL {count} interleavings: {name}");
}

/// Runs `one` in the interleaving of Miri's seed.
#[cfg(miri)]
fn model(_name: &str, one: impl Fn() + Send + Sync + 'static) {
    one();
}

/// An eventfd in place of the loop's epoll set, which it is in edge-triggered: each write is heard once.
struct Sleep {
    eventfd: File,
}

impl Sleep {
    fn on(doorbell: &impl AsFd) -> Sleep {
        let fd = doorbell.as_fd().try_clone_to_owned();
        Sleep {
            eventfd: File::from(fd.expect("a descriptor")),
        }
    }

    /// How often it was written to since it was last asked.
    fn rings(&self) -> u64 {
        let mut count = [0; 8];
        // Nothing to read is an error, and so no ring.
        let read = (&self.eventfd).read_exact(&mut count);
        read.map_or(0, |()| u64::from_ne_bytes(count))
    }

    /// Sleeps until it is written to.
    fn wait(&self) {
        wait_for("a ring: the loop sleeps on work", || self.rings() > 0);
    }
}

/// Lets the others go on until `come`.
fn wait_for(what: &str, mut come: impl FnMut() -> bool) {
    let mut yields = 0;
    while !come() {
        yields += 1;
        assert!(yields < YIELDS_MAX, "waits for ever for {what}");
        yield_now();
    }
}

/// Where threads meet that share nothing else that loom sees: it tries every order of those who pass.
#[derive(Clone)]
struct Crossing(Arc<AtomicUsize>);

impl Crossing {
    fn new() -> Crossing {
        Crossing(Arc::new(AtomicUsize::new(0)))
    }

    fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A loop of tasks alone, in the order of `turn.rs`.
struct Loop {
    shared: Arc<Shared>,
    handle: Handle,
    sleep: Sleep,
}

impl Loop {
    fn new() -> Loop {
        let doorbell = Arc::new(Doorbell::new().expect("an eventfd"));
        let sleep = Sleep::on(&*doorbell);
        let shared = Shared::new(doorbell);
        let tasks = Rc::new(Tasks::new(&shared));
        Loop {
            shared,
            handle: Handle { tasks },
            sleep,
        }
    }

    /// Steps 4 to 6 of a turn.
    fn finish_turn(&self) {
        if !self.shared.has_work() {
            self.shared.doorbell.arm();
            if !self.shared.has_work() {
                self.sleep.wait();
            }
            self.shared.doorbell.disarm();
        }
        self.adopt();
    }

    fn adopt(&self) {
        let arrivals = std::mem::take(&mut *self.shared.arrivals());
        for arrival in arrivals {
            arrival(&self.handle);
        }
    }

    fn run_until(&self, done: impl Fn() -> bool) {
        loop {
            self.handle.tasks.run(256);
            if done() {
                return;
            }
            self.finish_turn();
        }
    }
}
