//! What an event costs as more descriptors are watched: the workload of libevent's `bench`.
//!
//! There are `n` pairs of sockets, whose first ends are watched. One run writes a byte to each of
//! `active` pairs, evenly spread; whoever finds a byte reads it and, until `writes` more have been
//! written, writes one to the next pair. The run is over when every byte has been read. So at any
//! moment about `active` of `n` are ready, and what an event costs beyond a read and a write is
//! what finding it costs.

mod engine;
mod pairs;
mod watch;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;

use crate::Error;
use crate::interrupt::Interrupt;
use crate::machine;
use pairs::{Pairs, UNWATCHED_FD_MIN};

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Watcher {
    /// select(2)
    Select,
    /// poll(2)
    Poll,
    /// epoll(7), level-triggered
    EpollLevel,
    /// epoll(7), edge-triggered
    EpollEdge,
    /// This project's engine, its token face
    HybridTokens,
    /// This project's engine: a task for each pair
    Hybrid,
}

impl Watcher {
    /// All of them.
    #[must_use]
    pub fn all() -> &'static [Watcher] {
        Watcher::value_variants()
    }

    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whom.
    pub watchers: Vec<Watcher>,
    /// Numbers of pairs.
    pub pairs: Vec<usize>,
    /// Pairs that are ready at the start of a run.
    pub active: usize,
    /// Bytes written beyond those.
    pub writes: usize,
    /// Runs of each watcher in each round, after one that is not counted.
    pub runs: usize,
    /// Rounds, in each of which every watcher has its turn.
    pub rounds: usize,
}

/// One run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// How long it took.
    pub took: Duration,
    /// Processor time of this process meanwhile: on a machine with neighbours the steadier figure.
    pub cpu: Duration,
    /// Bytes read, each of which was an event.
    pub events: u64,
    /// Calls that waited.
    pub waits: u64,
    /// Descriptors looked at to find those that are ready; the kernel has looked at as many for
    /// select and poll. `None` if it is not known.
    pub scanned: Option<u64>,
}

/// One watcher in one round, with so many pairs.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Who.
    pub watcher: Watcher,
    /// Pairs.
    pub pairs: usize,
    /// Counted from 0.
    pub round: usize,
    /// Its runs; none if it failed.
    pub runs: Vec<Run>,
    /// Why it cannot, if it cannot.
    pub failure: Option<String>,
}

/// All rounds.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// In the order measured.
    pub cells: Vec<Cell>,
    /// It ended before its time.
    pub interrupted: bool,
}

/// Measures all rounds. Who cannot watch so many is told so, and the others go on. `begun` is told how many
/// cells were before one that begins, and its name.
///
/// # Errors
/// [`Error::Start`] if so many pairs cannot be made.
///
/// # Blocking
/// For the whole time.
pub fn run(
    options: &Options,
    interrupt: &Interrupt,
    begun: &mut dyn FnMut(usize, &str),
) -> Result<Outcome, Error> {
    let most = options.pairs.iter().max().copied().unwrap_or_default();
    if options.active > options.pairs.iter().min().copied().unwrap_or_default() {
        return Err(Error::Start("-a: there are not so many pairs".to_owned()));
    }
    if options.active.checked_add(options.writes).is_none() {
        return Err(Error::Start(format!(
            "-w {}: with the {} of -a these are more bytes than can be counted",
            options.writes, options.active
        )));
    }
    // Both ends, and a copy of the watched end for tasks, which own their sockets. A number from
    // where the other ends start on is refused if the limit is below that.
    let most = (most as u64).saturating_mul(3);
    machine::allow_descriptors(most.saturating_add(UNWATCHED_FD_MIN as u64))?;
    let mut outcome = Outcome::default();
    for number in &options.pairs {
        let pairs = Pairs::new(*number)
            .map(Rc::new)
            .map_err(|error| Error::Start(format!("cannot make {number} pairs: {error}")))?;
        for round in 0..options.rounds {
            for watcher in &options.watchers {
                let (name, rounds) = (watcher.name(), options.rounds);
                let name = format!("{name} of {number} pairs, round {}/{rounds}", round + 1);
                begun(outcome.cells.len(), &name);
                let runs = runs(*watcher, &pairs, options, interrupt);
                if interrupt.is_set() {
                    outcome.interrupted = true;
                    return Ok(outcome);
                }
                let (runs, failure) = match runs {
                    Ok(runs) => (runs, None),
                    Err(error) => (Vec::new(), Some(error.to_string())),
                };
                outcome.cells.push(Cell {
                    watcher: *watcher,
                    pairs: *number,
                    round,
                    runs,
                    failure,
                });
            }
        }
    }
    Ok(outcome)
}

/// The runs of one watcher. Setting it up is not counted, and only one watches at a time: each
/// that does is told of every byte.
fn runs(
    watcher: Watcher,
    pairs: &Rc<Pairs>,
    options: &Options,
    interrupt: &Interrupt,
) -> io::Result<Vec<Run>> {
    let mut runs = match watcher {
        Watcher::Select => watch::runs(&mut watch::Select::new(pairs)?, pairs, options, interrupt),
        Watcher::Poll => watch::runs(&mut watch::Poll::new(pairs), pairs, options, interrupt),
        Watcher::EpollLevel | Watcher::EpollEdge => {
            let mut epoll = watch::Epoll::new(pairs, watcher == Watcher::EpollEdge)?;
            watch::runs(&mut epoll, pairs, options, interrupt)
        }
        Watcher::HybridTokens => {
            watch::runs(&mut engine::Tokens::new(pairs)?, pairs, options, interrupt)
        }
        Watcher::Hybrid => engine::runs(pairs, options, interrupt),
    }?;
    // The first one warms caches.
    runs.drain(..1.min(runs.len()));
    Ok(runs)
}

#[cfg(test)]
mod tests;
