//! The twelve rows that say how fast this project is, each measured beside what it is compared with.
//!
//! A row has contestants, which take turns round after round (A B A B), and goals: a figure of one
//! contestant, or its ratio to the same figure of another in the same round. What is told of a goal is the
//! median of the rounds. Where several others stand for one (nginx with sendfile and without), the best of
//! them counts. What cannot be measured here is told with the reason, row by row.
//!
//! Servers run on one processor, clients on another.

mod engines;
mod fio;
mod footprint;
mod goal;
mod ground;
mod hot;
mod idle;
mod isolation;
mod mix;
mod nginx;
mod slow;
mod stage;
#[cfg(test)]
mod tests;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::interrupt::Interrupt;
use crate::load::Window;
use crate::machine;

pub use goal::{Bound, Cell, Finding, Goal, Refusal, Verdict};
pub(crate) use stage::CLIENT;
use stage::Stage;

/// Why a row with a client is not measured on a machine with one processor.
const ONE_PROCESSOR: &str = "there is one processor, and server and client want one each";

/// What our server is called.
const OURS: &str = "ambidex";

/// Where servers and clients run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processors {
    /// The server's.
    pub server: usize,
    /// The client's: this process runs there.
    pub client: usize,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which rows, by their numbers.
    pub rows: Vec<u8>,
    /// How many rounds.
    pub rounds: usize,
    /// How long each contestant is measured in each round.
    pub window: Window,
    /// How often a server is started, to see how long that takes.
    pub starts: usize,
    /// How long a server is watched that has nothing to do.
    pub rest: Duration,
    /// Connections beside the busy ones.
    pub idle_connections: usize,
    /// Cold files of 64 KiB.
    pub cold_files: usize,
    /// Cold files of 4 MiB.
    pub large_files: usize,
    /// Small files that are asked for once each.
    pub names: usize,
    /// Bytes of the file that engines read.
    pub blocks_bytes: u64,
    /// nginx.
    pub nginx: PathBuf,
    /// Our server.
    pub ambidex: PathBuf,
    /// fio.
    pub fio: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Where; `None` if there is only one processor.
    pub processors: Option<Processors>,
    /// Where files are made: a directory of its own there, which is removed.
    pub directory: PathBuf,
}

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Row {
    /// Its number.
    pub number: u8,
    /// What is done.
    pub work: &'static str,
    /// What is wanted.
    goals: fn() -> Vec<Goal>,
    /// Measures it.
    run: fn(&mut Stage<'_>) -> Result<(), Error>,
    /// How many cells that has.
    cells: fn(&Options) -> usize,
    /// Whether server and client are different processes that disturb each other.
    wants_two: bool,
}

impl Row {
    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Row> {
        let ones = [isolation::ROW, idle::ROW, workers::ROW, footprint::ROW];
        let mut rows = [&hot::ROWS[..], &engines::ROWS, &slow::ROWS, &ones].concat();
        rows.sort_by_key(|row| row.number);
        rows
    }

    /// What is wanted of it.
    #[must_use]
    pub fn goals(&self) -> Vec<Goal> {
        (self.goals)()
    }
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// In the order measured, also those that do not count.
    pub cells: Vec<Cell>,
    /// Who could not take part, and why.
    pub refusals: Vec<Refusal>,
    /// It ended before its time.
    pub interrupted: bool,
}

impl Outcome {
    /// What is told of each goal of the rows that were asked for.
    #[must_use]
    pub fn findings(&self, rows: &[u8]) -> Vec<Finding> {
        let asked = Row::all().into_iter();
        let asked = asked.filter(|row| rows.contains(&row.number));
        let goals =
            asked.flat_map(|row| row.goals().into_iter().map(move |goal| (row.number, goal)));
        goals.map(|(row, goal)| goal.judge(row, self)).collect()
    }

    /// Cells that do not count.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let failed = self.cells.iter().filter(|cell| cell.failure.is_some());
        failed.count() as u64
    }
}

/// Who takes part in which row, each once, as the goals name them.
#[must_use]
pub fn contestants(rows: &[u8]) -> Vec<(u8, String)> {
    let mut found = Vec::new();
    for row in Row::all() {
        let goals = row
            .goals()
            .into_iter()
            .filter(|_| rows.contains(&row.number));
        for who in goals.flat_map(|goal| goal.to.into_iter().chain([goal.of])) {
            if !found.contains(&(row.number, who.clone())) {
                found.push((row.number, who));
            }
        }
    }
    found
}

/// How many cells `options` ask for.
#[must_use]
pub fn cells(options: &Options) -> usize {
    let asked = Row::all().into_iter();
    let asked = asked.filter(|row| options.rows.contains(&row.number));
    asked.map(|row| (row.cells)(options)).sum()
}

/// Measures the rows that are asked for. A row that cannot be measured is told in its findings. `begun` is
/// told how many cells were before one that begins, and its name.
///
/// # Errors
/// [`Error::Start`] if there is no place for files, or a processor is not for us.
///
/// # Blocking
/// For the whole time.
pub fn run(
    options: &Options,
    interrupt: &Interrupt,
    begun: &mut dyn FnMut(usize, &str),
) -> Result<Outcome, Error> {
    machine::allow_most_descriptors();
    let mut outcome = Outcome::default();
    let mut before = 0;
    let client: Vec<usize> = options.processors.iter().map(|one| one.client).collect();
    let server: Vec<usize> = options.processors.iter().map(|one| one.server).collect();
    machine::while_on(&server, || ())?;
    for row in Row::all() {
        if !options.rows.contains(&row.number) {
            continue;
        }
        if row.wants_two && options.processors.is_none() {
            outcome
                .refusals
                .push(Refusal::of_row(row.number, ONE_PROCESSOR));
        } else {
            let mut stage = Stage::new(options, interrupt, row.number, before, begun)?;
            let measured = machine::while_on(&client, || (row.run)(&mut stage))?;
            let (cells, refusals) = stage.strike();
            outcome.cells.extend(cells);
            outcome.refusals.extend(refusals);
            if let Err(why) = measured {
                outcome
                    .refusals
                    .push(Refusal::of_row(row.number, &why.to_string()));
            }
        }
        before += (row.cells)(options);
    }
    outcome.interrupted = interrupt.is_set();
    Ok(outcome)
}
