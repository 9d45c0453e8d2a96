//! Randomness that can be repeated: seeds that are printed, schedules that replay, random weights.

use std::env;
use std::io::Write;
use std::num::NonZero;
use std::thread;

use ambidex::clock::{Clock, Real};
use fastrand::Rng;

/// Odd, and far from any small multiple of a power of two: keeps the seeds of neighbouring schedules apart.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The seeds of one test: `AMBIDEX_SEED` alone if it is set (decimal, or hexadecimal after `0x`), else `fixed` and
/// a random one.
///
/// # Panics
/// If `AMBIDEX_SEED` is not a number.
#[must_use]
pub fn seeds(fixed: u64) -> Vec<u64> {
    let Ok(word) = env::var("AMBIDEX_SEED") else {
        return vec![fixed, fastrand::u64(..)];
    };
    let seed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    vec![seed.unwrap_or_else(|error| panic!("AMBIDEX_SEED={word}: {error}"))]
}

/// The seed of schedule `index` of the run that begins with `first`.
#[must_use]
pub fn seed_of(first: u64, index: u64) -> u64 {
    first.wrapping_add(index.wrapping_mul(STRIDE))
}

/// Runs `count` schedules of `test`, or `AMBIDEX_SCHEDULES_MAX` if that is less, spread over its [`seeds`], and prints
/// count and seeds before the first. A schedule that panics is named together with the seed that replays it as the first
/// of its run.
pub fn schedules(test: &str, fixed: u64, count: u64, mut schedule: impl FnMut(&mut Rng)) {
    let seeds = seeds(fixed);
    let each = count.min(schedules_max()).div_ceil(seeds.len() as u64);
    for seed in seeds {
        // Not by way of `print!`, which the test harness hides when all is well.
        let _ = writeln!(
            std::io::stderr(),
            "{test}: {each} schedules from AMBIDEX_SEED={seed:#x}"
        );
        for index in 0..each {
            let seed = seed_of(seed, index);
            let _witness = Witness { test, index, seed };
            schedule(&mut Rng::with_seed(seed));
        }
    }
}

/// How much a suite is to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// What `cargo test` does: a few seconds, in debug.
    Quick,
    /// What CI does.
    Ci,
    /// As much as there is time for.
    Long,
}

/// The effort that `AMBIDEX_PROVE` asks for: `ci`, `long`, or none.
///
/// # Panics
/// If it says something else.
#[must_use]
pub fn effort() -> Effort {
    match env::var("AMBIDEX_PROVE").as_deref() {
        Err(_) | Ok("") => Effort::Quick,
        Ok("ci") => Effort::Ci,
        Ok("long") => Effort::Long,
        Ok(word) => panic!("AMBIDEX_PROVE={word}: it is ci or long"),
    }
}

/// Says, past the test harness, what a lane has proven.
pub fn proved(lane: &str, what: &str) {
    let _ = writeln!(std::io::stderr(), "PROVED {lane}: {what}");
}

/// `number` with a comma before each three digits.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// As [`schedules`], on all processors and with a line for `lane` at the end, if more than [`Effort::Quick`] is asked for.
/// `counts` is how many schedules each effort takes.
///
/// # Panics
/// If a schedule does.
pub fn prove(
    (lane, test): (&str, &str),
    fixed: u64,
    counts: [u64; 3],
    schedule: impl Fn(&mut Rng) + Sync,
) {
    let effort = effort();
    if effort == Effort::Quick {
        return schedules(test, fixed, counts[0], schedule);
    }
    let (seeds, start) = (seeds(fixed), Real.now());
    let each = counts[effort as usize].div_ceil(seeds.len() as u64);
    let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    thread::scope(|scope| {
        for first in 0..threads {
            let (seeds, schedule) = (&seeds, &schedule);
            scope.spawn(move || {
                for base in seeds {
                    for index in (first..each).step_by(threads as usize) {
                        let seed = seed_of(*base, index);
                        let _witness = Witness { test, index, seed };
                        schedule(&mut Rng::with_seed(seed));
                    }
                }
            });
        }
    });
    let count = each * seeds.len() as u64;
    let rate = (count as f64 / (Real.now() - start).as_secs_f64()) as u64;
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("{seed:#x}")).collect();
    let (count, rate, seeds) = (grouped(count), grouped(rate), seeds.join(" and "));
    proved(
        lane,
        &format!("{count} schedules of {test}, seeds {seeds}, {rate}/s"),
    );
}

/// Tools that slow a program down a hundred times set `AMBIDEX_SCHEDULES_MAX`, and who measures.
///
/// # Panics
/// If that is not a number.
#[must_use]
pub fn schedules_max() -> u64 {
    let Ok(word) = env::var("AMBIDEX_SCHEDULES_MAX") else {
        return u64::MAX;
    };
    let parsed = word.parse();
    parsed.unwrap_or_else(|error| panic!("AMBIDEX_SCHEDULES_MAX={word}: {error}"))
}

/// Says which schedule was under way when the test panicked.
struct Witness<'a> {
    test: &'a str,
    index: u64,
    seed: u64,
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let Witness { test, index, seed } = self;
            eprintln!("{test}: schedule {index} failed; AMBIDEX_SEED={seed:#x} runs it first");
        }
    }
}

/// How likely each of `N` actions is. Random weights reach corners that even ones do not: runs in which nobody gives up,
/// or everybody does.
#[derive(Debug)]
pub struct Weights<const N: usize> {
    /// Cumulative.
    sums: [u32; N],
}

impl<const N: usize> Weights<N> {
    /// Weights that differ by up to a factor of 64; now and then one is 0.
    pub fn random(rng: &mut Rng) -> Weights<N> {
        let mut sum = 0;
        let sums = [(); N].map(|()| {
            let absent = rng.u32(..8) == 0;
            sum += if absent { 0 } else { 1 << rng.u32(..7) };
            sum
        });
        Weights { sums }
    }

    /// Picks an action: an index below `N`.
    pub fn pick(&self, rng: &mut Rng) -> usize {
        let total = self.sums[N - 1];
        if total == 0 {
            return rng.usize(..N);
        }
        let ball = rng.u32(..total);
        self.sums.partition_point(|sum| *sum <= ball)
    }
}

/// One of `items`, if there are any.
pub fn choose<T: Copy>(rng: &mut Rng, items: &[T]) -> Option<T> {
    (!items.is_empty()).then(|| items[rng.usize(..items.len())])
}

/// True in `percent` of 100 cases.
pub fn chance(rng: &mut Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}
