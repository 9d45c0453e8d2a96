//! Hot sockets and a cold disk at once: what each costs the other, on one server or several.
//!
//! Each round measures for each server four conditions one after the other, so that each has
//! neighbours in time to be compared with:
//!
//! - A: hot clients, and the clients of cold files, which now are warm, on a disk without limit;
//! - B: the same on evicted files, with the disk slowed down if that was asked for;
//! - C: hot clients alone;
//! - D: the clients of evicted files alone, on the disk of B.

pub mod server;
pub mod site;
#[cfg(test)]
mod tests;

use std::cell::Cell as Shared;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ambidex::Engine;

use crate::Error;
use crate::cold::{Evicted, Files, Once, Rotation};
use crate::interrupt::Interrupt;
use crate::load::{self, Ask, Class, Measurement, Supply, Window};
use crate::parse::Url;
use crate::slow_disk::{Means, SlowDisk, Slowness};
use crate::usage::Meter;

pub use server::Server;
pub use site::Site;

/// Files that are warm where cold ones are asked for once.
const WARM_FILES: usize = 64;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The servers.
    pub targets: Vec<Target>,
    /// The cold files, as this machine names them.
    pub files: Files,
    /// How many hot clients.
    pub hot_connections: usize,
    /// How many cold clients.
    pub cold_connections: usize,
    /// The least time between two requests of cold clients, warm or cold.
    pub cold_interval: Option<Duration>,
    /// How long each condition is measured.
    pub window: Window,
    /// How many rounds.
    pub rounds: usize,
    /// What is measured of each server in each round, in this order.
    pub conditions: Vec<Condition>,
    /// Cold files are there, nobody has looked at them, and each is asked for once; warm ones are the first
    /// 64.
    pub once: bool,
    /// How slow the disk is in conditions B and D.
    pub slow_disk: Option<Slowness>,
    /// What is to slow it; the first that this machine allows, if not given.
    pub slow_disk_by: Option<Means>,
}

/// A server to be measured.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is called in tables.
    pub name: String,
    /// What hot clients ask for.
    pub hot: Url,
    /// The directory of the cold files, as the server names it.
    pub cold: Url,
    /// Its processes.
    pub pids: Vec<u32>,
}

impl Target {
    /// A server that has `hot.bin` and `cold/` below `prefix`.
    #[must_use]
    pub fn of_site(name: &str, prefix: &Url, pids: Vec<u32>) -> Target {
        Target {
            name: name.to_owned(),
            hot: prefix.join("hot.bin"),
            cold: prefix.join("cold/"),
            pids,
        }
    }
}

/// What goes on at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A: hot clients and clients of files that are in memory.
    Warm,
    /// B: hot clients and clients of files that are not.
    Cold,
    /// C: hot clients.
    Alone,
    /// D: clients of files that are not in memory.
    ColdAlone,
}

impl Condition {
    /// All of them, in the order of a round.
    pub const ALL: [Condition; 4] = [
        Condition::Warm,
        Condition::Cold,
        Condition::Alone,
        Condition::ColdAlone,
    ];

    /// Its letter.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Condition::Warm => "A",
            Condition::Cold => "B",
            Condition::Alone => "C",
            Condition::ColdAlone => "D",
        }
    }
}

/// One condition of one round.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The name of its server.
    pub target: String,
    /// Counted from 0.
    pub round: usize,
    /// What was measured.
    pub condition: Condition,
    /// What was seen: hot clients first, then cold ones if there were any.
    pub measurement: Measurement,
}

/// All rounds.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// In the order measured, also those that do not count.
    pub cells: Vec<Cell>,
    /// It ended before its time.
    pub interrupted: bool,
    /// Why it ended before its time, if not for that.
    pub failure: Option<String>,
    /// What slowed the disk, if it was to be slow.
    pub slow_disk_by: Option<Means>,
}

/// A server, as it is measured.
struct Bench<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    target: &'a Target,
    address: SocketAddr,
    cold_address: SocketAddr,
    hot: Ask,
    slow_disk: Option<SlowDisk>,
    /// The number of the next file that is asked for once.
    next: Rc<Shared<usize>>,
    /// It was lost: nothing is to be measured any more.
    lost: bool,
}

/// Measures all rounds. What was measured before something failed is kept. `begun` is told how many cells
/// were before one that begins, and its name.
///
/// # Errors
/// [`Error::Start`] before anything was measured.
///
/// # Blocking
/// For the whole time.
pub fn run(
    options: &Options,
    interrupt: &Interrupt,
    begun: &mut dyn FnMut(usize, &str),
) -> Result<Outcome, Error> {
    let mut engine = load::engine()?;
    if !options.once {
        options.files.create_missing(interrupt)?;
    }
    let slow_disks = slow_disks(options)?;
    let mut outcome = Outcome {
        slow_disk_by: slow_disks.iter().flatten().map(SlowDisk::means).next(),
        ..Outcome::default()
    };
    let targets = options.targets.iter().zip(slow_disks);
    let benches =
        targets.map(|(target, disk)| Bench::new(&mut engine, options, target, disk, interrupt));
    let mut benches: Vec<Bench<'_>> = benches.collect::<Result<_, _>>()?;
    // Who asks for each file once shares the count with all others.
    let next = Rc::new(Shared::new(WARM_FILES));
    for bench in &mut benches {
        bench.next = Rc::clone(&next);
    }
    let ended = rounds(&mut engine, &mut benches, &mut outcome.cells, begun);
    outcome.failure = ended.err().map(|error| error.to_string());
    outcome.interrupted = interrupt.is_set();
    Ok(outcome)
}

/// One for each target, or none.
fn slow_disks(options: &Options) -> Result<Vec<Option<SlowDisk>>, Error> {
    if options.slow_disk.is_none() {
        return Ok(options.targets.iter().map(|_| None).collect());
    }
    let targets: Vec<&[u32]> = options.targets.iter().map(|one| &one.pids[..]).collect();
    let disks = SlowDisk::for_each(&targets, &options.files.dir, options.slow_disk_by)?;
    Ok(disks.into_iter().map(Some).collect())
}

fn rounds(
    engine: &mut Engine,
    benches: &mut [Bench<'_>],
    cells: &mut Vec<Cell>,
    begun: &mut dyn FnMut(usize, &str),
) -> Result<(), Error> {
    let rounds = benches.first().map_or(0, |bench| bench.options.rounds);
    // Also those of servers that were lost.
    let mut number = 0..;
    for round in 0..rounds {
        for bench in &mut *benches {
            for condition in bench.options.conditions.iter().copied() {
                let number = number.next().unwrap_or_default();
                if bench.lost || bench.interrupt.is_set() {
                    continue;
                }
                let (name, letter) = (&bench.target.name, condition.letter());
                begun(
                    number,
                    &format!("{name} {letter}, round {}/{rounds}", round + 1),
                );
                let measurement = bench.measure(engine, condition)?;
                bench.lost = measurement.failure.is_some();
                cells.push(Cell {
                    target: bench.target.name.clone(),
                    round,
                    condition,
                    measurement,
                });
            }
        }
    }
    Ok(())
}

impl<'a> Bench<'a> {
    fn new(
        engine: &mut Engine,
        options: &'a Options,
        target: &'a Target,
        slow_disk: Option<SlowDisk>,
        interrupt: &'a Interrupt,
    ) -> Result<Bench<'a>, Error> {
        let address = load::resolve(&target.hot)?;
        let cold_address = load::resolve(&target.cold)?;
        let hot = load::preflight(engine, address, &target.hot)?;
        let first = target.cold.join(&options.files.name(0));
        if !interrupt.is_set() {
            let cold = load::preflight(engine, cold_address, &first)?;
            if cold.length != options.files.size {
                return Err(Error::Start(format!(
                    "http://{}{} has {} bytes, the file in {} has {}: does the server serve that directory?",
                    first.authority,
                    first.target,
                    cold.length,
                    options.files.dir.display(),
                    options.files.size
                )));
            }
        }
        Ok(Bench {
            options,
            interrupt,
            target,
            address,
            cold_address,
            hot: Ask {
                request: target.hot.request().into(),
                length: hot.length,
                content: None,
                ticket: 0,
            },
            slow_disk,
            next: Rc::default(),
            lost: false,
        })
    }

    fn measure(&self, engine: &mut Engine, condition: Condition) -> Result<Measurement, Error> {
        let files = &self.options.files;
        let asks = || files.asks(&self.target.cold);
        let hot = match condition {
            Condition::ColdAlone => 0,
            _ => self.options.hot_connections,
        };
        match condition {
            Condition::Warm if self.options.once => {
                let warm = asks().into_iter().take(WARM_FILES).collect();
                self.run_clients(engine, hot, Some(Rc::new(Rotation::new(warm))), None)
            }
            Condition::Cold | Condition::ColdAlone if self.options.once => {
                let supply = Rc::new(Once::new(asks(), Rc::clone(&self.next)));
                let slow = self.options.slow_disk;
                let mut measured = self.run_clients(engine, hot, Some(supply), slow)?;
                if measured.failure.is_none() && self.next.get() >= files.count {
                    measured.failure = Some(format!("{} cold files were too few", files.count));
                }
                Ok(measured)
            }
            Condition::Warm => {
                files.warm_all(self.interrupt)?;
                let supply = Rc::new(Rotation::new(asks()));
                self.run_clients(engine, hot, Some(supply), None)
            }
            Condition::Cold | Condition::ColdAlone => {
                files.evict_all(self.interrupt)?;
                let supply = Evicted::start(files, asks())?;
                let cold: Rc<dyn Supply> = supply.clone();
                let reads = self.reads();
                let measured = self.run_clients(engine, hot, Some(cold), self.options.slow_disk);
                supply.finish()?;
                let mut measured = measured?;
                if measured.failure.is_none() {
                    measured.failure = self.passed_by(&measured, reads);
                }
                Ok(measured)
            }
            Condition::Alone => self.run_clients(engine, hot, None, None),
        }
    }

    /// Reads that came to the slow disk so far, if it counts them.
    fn reads(&self) -> Option<u64> {
        self.slow_disk.as_ref().and_then(SlowDisk::reads)
    }

    /// Why `measured` is not of the slow disk, which had `before` reads before it: a server may keep
    /// files open, or live in another mount namespace.
    fn passed_by(&self, measured: &Measurement, before: Option<u64>) -> Option<String> {
        let cold = measured.classes.last()?;
        if cold.requests == 0 || before.is_none() || before != self.reads() {
            return None;
        }
        Some(format!(
            "cold requests were answered, and no read came to the slow disk: does the server see the \
             mount on {}, and open files anew?",
            self.options.files.dir.display()
        ))
    }

    /// Runs `hot` hot clients, and others that ask for what `cold` supplies, on a disk as slow as
    /// `slowness`.
    fn run_clients(
        &self,
        engine: &mut Engine,
        hot: usize,
        cold: Option<Rc<dyn Supply>>,
        slowness: Option<Slowness>,
    ) -> Result<Measurement, Error> {
        let options = self.options;
        let mut classes = vec![Class::new(self.address, hot, Rc::new(self.hot.clone()))];
        if let Some(supply) = cold {
            let class = Class::new(self.cold_address, options.cold_connections, supply);
            classes.push(class.paced(options.cold_interval));
        }
        if let (Some(slow_disk), Some(slowness)) = (&self.slow_disk, slowness) {
            let limited = slow_disk.limit(slowness);
            limited.map_err(|error| Error::Run(format!("cannot limit the disk: {error}")))?;
        }
        // Lifted before clients finish, or their last answers would take as long as all others.
        let lift = || {
            if let Some(slow_disk) = &self.slow_disk {
                let _ = slow_disk.limit(Slowness::NONE);
            }
        };
        let meter = Meter::new(&self.target.pids);
        load::measure(
            engine,
            classes,
            options.window,
            &meter,
            self.interrupt,
            lift,
        )
    }
}
