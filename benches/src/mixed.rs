//! Hot sockets and a cold disk at once: what each costs the other.
//!
//! Each round measures three conditions one after the other, so that each has neighbours in time to
//! be compared with:
//!
//! - A: hot clients, and the clients of cold files, which now are warm, on a disk without limit;
//! - B: the same on evicted files, with the disk slowed down if that was asked for;
//! - C: hot clients alone.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ambidex::Engine;

use crate::Error;
use crate::cold::{Evicted, Files, Rotation};
use crate::interrupt::Interrupt;
use crate::load::{self, Ask, Class, Measurement, Supply, Window};
use crate::parse::Url;
use crate::slow_disk::SlowDisk;
use crate::usage::Meter;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// What hot clients ask for.
    pub hot: Url,
    /// The directory of the cold files, as the server names it.
    pub cold: Url,
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
    /// The server's processes.
    pub server_pids: Vec<u32>,
    /// Reads a second that the disk does in condition B.
    pub slow_disk: Option<u64>,
}

/// What beside the hot clients goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A: clients of files that are in memory.
    Warm,
    /// B: clients of files that are not.
    Cold,
    /// C: nothing.
    Alone,
}

impl Condition {
    /// All of them, in the order of a round.
    pub const ALL: [Condition; 3] = [Condition::Warm, Condition::Cold, Condition::Alone];

    /// Its letter.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Condition::Warm => "A",
            Condition::Cold => "B",
            Condition::Alone => "C",
        }
    }
}

/// One condition of one round.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Counted from 0.
    pub round: usize,
    /// What was measured.
    pub condition: Condition,
    /// What was seen: hot clients first, then cold ones if there were any.
    pub measurement: Measurement,
}

/// All rounds.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// In the order measured. An interrupted cell is not among them.
    pub cells: Vec<Cell>,
    /// It ended before its time.
    pub interrupted: bool,
}

struct Bench<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    engine: Engine,
    address: SocketAddr,
    cold_address: SocketAddr,
    hot: Ask,
    slow_disk: Option<SlowDisk>,
}

/// Measures all rounds.
///
/// # Errors
/// [`Error::Start`] before anything was measured, else [`Error::Run`].
///
/// # Blocking
/// For the whole time.
pub fn run(options: &Options, interrupt: &Interrupt) -> Result<Outcome, Error> {
    let mut bench = Bench::new(options, interrupt)?;
    let mut cells = Vec::new();
    for round in 0..options.rounds {
        for condition in Condition::ALL {
            let measurement = bench.measure(condition)?;
            if interrupt.is_set() {
                return Ok(Outcome {
                    cells,
                    interrupted: true,
                });
            }
            progress(options, round, condition, &measurement);
            cells.push(Cell {
                round,
                condition,
                measurement,
            });
        }
    }
    Ok(Outcome {
        cells,
        interrupted: false,
    })
}

/// A line a cell, for whoever watches.
fn progress(options: &Options, round: usize, condition: Condition, measurement: &Measurement) {
    let rate = measurement.classes.first().map_or(0.0, |hot| hot.rate);
    if io::stderr().is_terminal() {
        let (round, rounds) = (round + 1, options.rounds);
        eprintln!(
            "round {round}/{rounds} {}: {rate:.0} hot/s",
            condition.letter()
        );
    }
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, interrupt: &'a Interrupt) -> Result<Bench<'a>, Error> {
        let mut engine = load::engine()?;
        let address = load::resolve(&options.hot)?;
        let cold_address = load::resolve(&options.cold)?;
        let hot = load::preflight(&mut engine, address, &options.hot)?;
        options.files.create_missing(interrupt)?;
        let first = options.cold.join(&Files::name(0));
        if !interrupt.is_set() {
            let cold = load::preflight(&mut engine, cold_address, &first)?;
            if cold.length != options.files.size {
                return Err(Error::Start(format!(
                    "http://{}{} has {} bytes, the file in {} has {}: is --cold-url that directory?",
                    first.authority,
                    first.target,
                    cold.length,
                    options.files.dir.display(),
                    options.files.size
                )));
            }
        }
        let around = |_| SlowDisk::around(&options.server_pids, Path::new(&options.files.dir));
        Ok(Bench {
            options,
            interrupt,
            engine,
            address,
            cold_address,
            hot: Ask {
                request: options.hot.request().into(),
                length: hot.length,
                content: None,
                ticket: 0,
            },
            slow_disk: options.slow_disk.map(around).transpose()?,
        })
    }

    fn measure(&mut self, condition: Condition) -> Result<Measurement, Error> {
        let files = &self.options.files;
        let asks = || files.asks(&self.options.cold);
        match condition {
            Condition::Warm => {
                files.warm_all(self.interrupt)?;
                let supply = Rc::new(Rotation::new(asks()));
                self.run_clients(Some(supply), None)
            }
            Condition::Cold => {
                files.evict_all(self.interrupt)?;
                let supply = Evicted::start(files, asks())?;
                let cold: Rc<dyn Supply> = supply.clone();
                let measured = self.run_clients(Some(cold), self.options.slow_disk);
                supply.finish()?;
                measured
            }
            Condition::Alone => self.run_clients(None, None),
        }
    }

    /// Runs hot clients, and others that ask for what `cold` supplies, on a disk limited to `iops`.
    fn run_clients(
        &mut self,
        cold: Option<Rc<dyn Supply>>,
        iops: Option<u64>,
    ) -> Result<Measurement, Error> {
        let options = self.options;
        let hot = Rc::new(self.hot.clone());
        let mut classes = vec![Class::new(self.address, options.hot_connections, hot)];
        if let Some(supply) = cold {
            let class = Class::new(self.cold_address, options.cold_connections, supply);
            classes.push(class.paced(options.cold_interval));
        }
        if let (Some(slow_disk), Some(iops)) = (&self.slow_disk, iops) {
            let limited = slow_disk.limit(iops);
            limited.map_err(|error| Error::Run(format!("cannot limit the disk: {error}")))?;
        }
        // Lifted before clients finish, or their last answers would take as long as all others.
        let lift = || {
            if let Some(slow_disk) = &self.slow_disk {
                let _ = slow_disk.limit(0);
            }
        };
        let meter = Meter::new(&options.server_pids);
        load::measure(
            &mut self.engine,
            classes,
            options.window,
            &meter,
            self.interrupt,
            lift,
        )
    }
}
