//! Simulation: fake kernels, repeatable randomness, and what it takes to turn a ring by hand.

#[macro_use]
mod forward;

pub mod clock;
pub mod disk;
pub mod net;
pub mod poison;
pub mod rng;
pub mod spare;
// The fuzz targets compile this module into a crate without the server.
#[cfg(not(fuzzing))]
pub mod world;

use std::fs;
use std::future::Future;
use std::io::Write;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use ambidex::clock::{Clock, Real};
use ambidex::disk::{Choice, Options, Ring};

/// No test waits longer than this for what must come.
pub const HANG: Duration = Duration::from_secs(30);

/// A waker that counts.
#[derive(Debug, Default)]
pub struct Bell {
    rung: AtomicU32,
}

impl Bell {
    /// A bell that has not rung.
    #[must_use]
    pub fn new() -> Arc<Bell> {
        Arc::default()
    }

    /// The waker that rings it.
    #[must_use]
    pub fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// How often it has rung since it was last asked.
    pub fn take(&self) -> u32 {
        self.rung.swap(0, Ordering::SeqCst)
    }

    /// Whether it has rung since it was last taken.
    #[must_use]
    pub fn has_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst) > 0
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.fetch_add(1, Ordering::SeqCst);
    }
}

/// Turns a hang into a failure.
#[derive(Debug)]
pub struct Patience {
    end: Instant,
}

impl Patience {
    /// [`HANG`] from now.
    #[must_use]
    pub fn new() -> Patience {
        Patience {
            end: Real.now() + HANG,
        }
    }

    /// # Panics
    /// If the time is up; `what` did not come.
    pub fn check(&self, what: &str) {
        assert!(Real.now() < self.end, "hangs: {what}");
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience::new()
    }
}

/// The backends that this machine has: threads always, io_uring if it can be had.
#[must_use]
pub fn backends(test: &str) -> Vec<Choice> {
    let uring = Options {
        choice: Choice::Uring,
        ..Options::default()
    };
    match Ring::new(&uring) {
        Ok(_) => vec![Choice::Uring, Choice::Threads],
        Err(error) => {
            skip(&format!("{test} on io_uring"), &error.to_string());
            vec![Choice::Threads]
        }
    }
}

/// Says, past the test harness, that something was not tested.
pub fn skip(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}

/// A small ring on `choice`.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn ring(choice: Choice, entries: u32) -> Ring {
    poison::ring(&Options {
        choice,
        sq_entries: entries,
        cq_entries: entries,
        ..Options::default()
    })
    .expect("a ring")
}

/// Submits and reaps once.
///
/// # Panics
/// If the ring answers an error.
pub fn turn(ring: &mut Ring) {
    ring.submit().expect("submit");
    ring.reap(64).expect("reap");
}

/// Turns `ring` until `done`, which is `what` we wait for.
///
/// # Panics
/// If that takes too long.
pub fn turn_until(ring: &mut Ring, what: &str, mut done: impl FnMut(&Ring) -> bool) {
    let patience = Patience::new();
    while !done(ring) {
        turn(ring);
        std::thread::yield_now();
        patience.check(what);
    }
}

/// Waits, without reaping, until the kernel has posted a completion.
///
/// # Panics
/// If that takes too long.
pub fn wait_for_completion(ring: &mut Ring) {
    let patience = Patience::new();
    ring.submit().expect("submit");
    while ring.arm() {
        std::thread::yield_now();
        patience.check("a completion");
    }
    ring.disarm();
}

/// Turns `ring` until `future` has resolved.
///
/// # Panics
/// If that takes too long.
pub fn drive<T>(ring: &mut Ring, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let patience = Patience::new();
    loop {
        if let Poll::Ready(value) = poll_once(future.as_mut()) {
            return value;
        }
        turn(ring);
        std::thread::yield_now();
        patience.check("a future on a ring");
    }
}

/// Polls once, with nobody to wake.
pub fn poll_once<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// How many descriptors of this process lead to something whose name contains `name`. Unlike a plain count of
/// descriptors this does not see those of other tests.
///
/// # Panics
/// If /proc is not mounted.
#[must_use]
pub fn descriptors(name: &str) -> usize {
    let all = fs::read_dir("/proc/self/fd").expect("/proc");
    all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|link| link.to_string_lossy().contains(name))
        .count()
}
