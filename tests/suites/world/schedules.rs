//! Many seeds.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ambidex::clock::{Clock, Real};
use ambidex_tests::sim::rng::seeds;
use ambidex_tests::sim::world::{Cut, Outcome, run, shrink};

/// Keeps the seeds of neighbouring schedules apart.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
const FIRST: u64 = 0x5EED;
/// One in so many is run twice, and its traces compared.
const AGAIN: u64 = 1000;

/// Schedules of this run.
fn count() -> u64 {
    match std::env::var("AMBIDEX_PROVE").as_deref() {
        Ok("long") => 10_000_000,
        Ok("ci") => 1_000_000,
        _ => 2_000,
    }
}

/// What all threads share.
struct Run {
    first: u64,
    count: u64,
    next: AtomicU64,
    failed: Mutex<Vec<(u64, String)>>,
}

fn seed_of(first: u64, index: u64) -> u64 {
    first.wrapping_add(index.wrapping_mul(STRIDE))
}

impl Run {
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.count || !self.failed.lock().expect("no panic").is_empty() {
                return;
            }
            let seed = seed_of(self.first, index);
            let outcome = run(seed, Cut::default(), false);
            let wrong = outcome.wrong.clone().or_else(|| {
                let again = (index % AGAIN == 0).then(|| run(seed, Cut::default(), false));
                again.and_then(|again| difference(&outcome, &again))
            });
            if let Some(wrong) = wrong {
                self.failed.lock().expect("no panic").push((seed, wrong));
            }
        }
    }
}

/// G10.
fn difference(one: &Outcome, other: &Outcome) -> Option<String> {
    let differ = (one.trace, one.calls) != (other.trace, other.calls);
    differ.then(|| "two runs of one seed differ".to_owned())
}

fn started() -> Instant {
    Real.now()
}

#[test]
fn the_server_keeps_its_guarantees_in_every_world() {
    let first = seeds(FIRST)[0];
    let run = Run {
        first,
        count: count(),
        next: AtomicU64::new(0),
        failed: Mutex::default(),
    };
    let begun = started();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run.work());
        }
    });
    let took: Duration = Real.now() - begun;
    let failed = run.failed.into_inner().expect("no panic");
    if let Some((seed, wrong)) = failed.first() {
        let cut = shrink(*seed);
        if std::env::var_os("AMBIDEX_LOG").is_some() {
            let log = ambidex_tests::sim::world::run(*seed, cut, true).log;
            eprintln!(
                "{:#?}\n{}",
                ambidex_tests::sim::world::Plan::new(*seed, cut),
                log.join("\n")
            );
        }
        panic!("AMBIDEX_SEED={seed:#x}, {cut:?}: {wrong}");
    }
    let rate = run.count as f64 / took.as_secs_f64();
    let _ = writeln!(
        std::io::stderr(),
        "PROVED world: {} schedules, seed {first:#x}, {rate:.0}/s",
        run.count
    );
}
