//! Reading one file as fio does: a closed loop of so many reads at a time.
//!
//! Names and units are fio's, so that the two can be put side by side: `bs`, `iodepth`, `lat`. Each
//! of the `iodepth` readers has a buffer of its own and asks again as soon as it was answered.

mod job;
mod plan;
mod pread;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use ambidex::disk::Choice;
use hdrhistogram::Histogram;

use crate::Error;
use crate::interrupt::Interrupt;
use crate::rusage::Rusage;

/// The most memory for buffers.
const MEMORY_MAX: u64 = 4 << 30;

/// Which blocks are read; fio's `rw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// One after the other, and from the start again.
    Read,
    /// Anywhere, some more than once; fio's `norandommap`.
    RandRead,
}

/// Who reads; fio's `ioengine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoEngine {
    /// The engine on io_uring.
    Hybrid,
    /// The engine on threads.
    Threads,
    /// pread(2) in a loop, one at a time whatever `iodepth` says; fio's `psync`.
    Pread,
}

impl Pattern {
    /// As fio writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Read => "read",
            Pattern::RandRead => "randread",
        }
    }
}

impl IoEngine {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            IoEngine::Hybrid => "hybrid",
            IoEngine::Threads => "threads",
            IoEngine::Pread => "pread",
        }
    }
}

/// What is read, by whom, for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file; made if there is none and `size` is known.
    pub filename: PathBuf,
    /// Bytes of the file that are read; all of it if `None`.
    pub size: Option<u64>,
    /// Which blocks are read.
    pub rw: Pattern,
    /// Bytes of one read, whole pages of 4 KiB.
    pub bs: u64,
    /// Reads at a time.
    pub iodepth: usize,
    /// Past the page cache: `O_DIRECT`.
    pub direct: bool,
    /// When to stop.
    pub runtime: Duration,
    /// After how many reads to stop, if that is sooner.
    pub number_ios: Option<u64>,
    /// Who reads.
    pub engine: IoEngine,
    /// The same seed, the same blocks.
    pub seed: u64,
    /// Reads are counted, not timed.
    pub gtod_reduce: bool,
}

/// What was read and what it took.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From the first read's start to the last one's end.
    pub seconds: f64,
    /// Reads.
    pub total_ios: u64,
    /// Bytes of them.
    pub io_bytes: u64,
    /// Nanoseconds from before a read was asked for until its buffer was back. Empty if reads were
    /// not timed.
    pub lat: Histogram<u64>,
    /// What this process has used meanwhile.
    pub used: Rusage,
    /// It ended before its time.
    pub interrupted: bool,
}

/// Makes the file if it is missing, and reads.
///
/// # Errors
/// [`Error::Start`] for what cannot be read so, [`Error::Run`] for a read that failed.
pub fn run(options: &Options, interrupt: &Interrupt) -> Result<Outcome, Error> {
    let memory = options.bs.saturating_mul(options.iodepth as u64);
    if memory > MEMORY_MAX {
        let text = format!("iodepth times bs is {memory} bytes of memory: ask for less");
        return Err(Error::Start(text));
    }
    let blocks = target::blocks(options)?;
    match options.engine {
        IoEngine::Hybrid => job::run(options, Choice::Uring, blocks, interrupt),
        IoEngine::Threads => job::run(options, Choice::Threads, blocks, interrupt),
        IoEngine::Pread => pread::run(options, blocks, interrupt),
    }
}

#[cfg(test)]
mod tests;
