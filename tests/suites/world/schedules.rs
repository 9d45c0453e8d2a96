//! Many seeds.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ambidex::clock::{Clock, Real};
use ambidex_tests::sim::rng::{Effort, effort, grouped, proved, schedules_max, seed_of, seeds};
use ambidex_tests::sim::world::{Cut, KINDS, Outcome, Plan, run, shrink};

use crate::kept;

const FIRST: u64 = 0x5EED;
/// One in so many is run twice, and its traces compared (G10).
const AGAIN: u64 = 1000;
/// Schedules of which at least one has each kind of answer, and far more than one.
const ALL_KINDS: u64 = 2000;

/// Schedules of this run.
fn count() -> u64 {
    let count = match effort() {
        Effort::Quick => 2_000,
        Effort::Ci => 1_000_000,
        Effort::Long => 10_000_000,
    };
    count.min(schedules_max())
}

/// What all threads share.
struct Run {
    first: u64,
    count: u64,
    next: AtomicU64,
    failed: Mutex<Vec<(u64, String)>>,
    seen: [AtomicU64; KINDS.len()],
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
            for (sum, seen) in self.seen.iter().zip(outcome.seen) {
                sum.fetch_add(seen, Ordering::Relaxed);
            }
            let wrong = outcome.wrong.clone().or_else(|| {
                let again = index
                    .is_multiple_of(AGAIN)
                    .then(|| run(seed, Cut::default(), false));
                again.and_then(|again| difference(&outcome, &again))
            });
            if let Some(wrong) = wrong {
                self.failed.lock().expect("no panic").push((seed, wrong));
            }
        }
    }

    /// How many answers of each kind were judged.
    fn kinds(&self) -> String {
        let mut text = String::new();
        for (kind, seen) in KINDS.iter().zip(&self.seen) {
            let seen = seen.load(Ordering::Relaxed);
            let unseen = seen == 0 && self.count >= ALL_KINDS;
            assert!(!unseen, "no answer was {kind}");
            // Writing to a String does not fail.
            let _ = write!(text, ", {} {kind}", grouped(seen));
        }
        text
    }
}

/// G10.
fn difference(one: &Outcome, other: &Outcome) -> Option<String> {
    let differ = (one.trace, one.calls) != (other.trace, other.calls);
    differ.then(|| "two runs of one seed differ".to_owned())
}

/// Makes the schedule of `seed` small, keeps it, and fails.
fn fail(seed: u64, wrong: &str) -> ! {
    let cut = shrink(seed);
    if std::env::var_os("AMBIDEX_LOG").is_some() {
        let log = run(seed, cut, true).log;
        eprintln!("{:#?}\n{}", Plan::new(seed, cut), log.join("\n"));
    }
    let path = kept::keep(seed, cut, wrong);
    panic!("AMBIDEX_SEED={seed:#x}, {cut:?}, kept as {path}: {wrong}");
}

#[test]
fn the_server_keeps_its_guarantees_in_every_world() {
    let first = seeds(FIRST)[0];
    let run = Run {
        first,
        count: count(),
        next: AtomicU64::new(0),
        failed: Mutex::default(),
        seen: Default::default(),
    };
    let start = Real.now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run.work());
        }
    });
    let took = Real.now() - start;
    if let Some((seed, wrong)) = run.failed.lock().expect("no panic").first() {
        fail(*seed, wrong);
    }
    let rate = (run.count as f64 / took.as_secs_f64()) as u64;
    let (count, rate, kinds) = (grouped(run.count), grouped(rate), run.kinds());
    proved(
        "world",
        &format!("{count} schedules, seed {first:#x}, {rate}/s; answers judged{kinds}"),
    );
}
