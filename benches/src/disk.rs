//! Reading and writing one file as fio does: a closed loop of so many operations at a time.
//!
//! Names and units are fio's, so that the two can be put side by side: `bs`, `iodepth`, `lat`. Each
//! of the `iodepth` places has a buffer of its own and asks again as soon as it was answered. Every
//! engine is given the same steps by the same [`Options`]; several engines are run in turns.

mod check;
mod contents;
pub(crate) mod engine;
mod gate;
mod job;
mod ledger;
pub(crate) mod plan;
mod series;
mod tally;
pub(crate) mod target;

use std::path::PathBuf;
use std::time::Duration;

use crate::rusage::Rusage;

pub use series::{Series, run};
pub use tally::Tally;

/// Which blocks, and what is done with them; fio's `rw`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Reads, one after the other, and from the start again.
    Read,
    /// Writes, in that order.
    Write,
    /// Reads and writes mixed, in that order.
    ReadWrite,
    /// Reads anywhere, some blocks more than once; fio's `norandommap`.
    RandRead,
    /// Writes anywhere.
    RandWrite,
    /// Reads and writes anywhere.
    RandRw,
}

impl Pattern {
    /// All of them.
    pub const ALL: [Pattern; 6] = [
        Pattern::Read,
        Pattern::Write,
        Pattern::ReadWrite,
        Pattern::RandRead,
        Pattern::RandWrite,
        Pattern::RandRw,
    ];

    /// As fio writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Read => "read",
            Pattern::Write => "write",
            Pattern::ReadWrite => "readwrite",
            Pattern::RandRead => "randread",
            Pattern::RandWrite => "randwrite",
            Pattern::RandRw => "randrw",
        }
    }

    /// Whether blocks are read.
    #[must_use]
    pub fn reads(self) -> bool {
        !matches!(self, Pattern::Write | Pattern::RandWrite)
    }

    /// Whether blocks are written.
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(self, Pattern::Read | Pattern::RandRead)
    }

    fn is_random(self) -> bool {
        matches!(
            self,
            Pattern::RandRead | Pattern::RandWrite | Pattern::RandRw
        )
    }
}

/// Who reads and writes; fio's `ioengine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoEngine {
    /// The engine on io_uring.
    Hybrid,
    /// The engine on threads.
    Threads,
    /// A bare ring by the io-uring crate, without the engine.
    Uring,
    /// io_submit(2), by raw system calls.
    Libaio,
    /// pread(2) and pwrite(2), one at a time; fio's `psync`.
    Pread,
    /// Copies from and to a shared mapping, one at a time.
    Mmap,
    /// tokio: pread(2) and pwrite(2) in `spawn_blocking`.
    Tokio,
    /// monoio on its io_uring driver.
    Monoio,
    /// compio on its io_uring driver.
    Compio,
}

impl IoEngine {
    /// All of them.
    pub const ALL: [IoEngine; 9] = [
        IoEngine::Hybrid,
        IoEngine::Threads,
        IoEngine::Uring,
        IoEngine::Libaio,
        IoEngine::Pread,
        IoEngine::Mmap,
        IoEngine::Tokio,
        IoEngine::Monoio,
        IoEngine::Compio,
    ];

    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            IoEngine::Hybrid => "hybrid",
            IoEngine::Threads => "threads",
            IoEngine::Uring => "uring",
            IoEngine::Libaio => "libaio",
            IoEngine::Pread => "pread",
            IoEngine::Mmap => "mmap",
            IoEngine::Tokio => "tokio",
            IoEngine::Monoio => "monoio",
            IoEngine::Compio => "compio",
        }
    }

    /// Whether a call of it returns when it is done.
    fn is_synchronous(self) -> bool {
        matches!(self, IoEngine::Pread | IoEngine::Mmap)
    }
}

/// Which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This one; made and kept if there is none and the size is known.
    Filename(PathBuf),
    /// One of our own in this directory, removed at the end.
    Directory(PathBuf),
    /// One of our own in `target` or the directory for temporary files, removed at the end.
    Temporary,
}

/// After how many writes the file is synced, and how; fio's `fsync` and `fdatasync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncEvery {
    /// Writes between two syncs.
    pub writes: u64,
    /// fdatasync(2) rather than fsync(2).
    pub data_only: bool,
}

/// What is done to which file, by whom, for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which file.
    pub place: Place,
    /// Bytes of the file that are used; all of it if `None`.
    pub size: Option<u64>,
    /// Which blocks, and what is done with them.
    pub rw: Pattern,
    /// Percent of reads if reads and writes are mixed.
    pub rwmixread: u8,
    /// Bytes of one operation, a multiple of 512.
    pub bs: u64,
    /// Operations at a time, for each job.
    pub iodepth: usize,
    /// So many are submitted at a time, by engines that leave that to us (`uring`, `libaio`); fio's
    /// `iodepth_batch`.
    pub iodepth_batch: usize,
    /// Threads that do the same, each on its own stretch of the file.
    pub numjobs: usize,
    /// Past the page cache: `O_DIRECT`.
    pub direct: bool,
    /// Each write is on the disk when it is answered: `O_SYNC`.
    pub sync: bool,
    /// Syncing between writes.
    pub sync_every: Option<SyncEvery>,
    /// When to stop.
    pub runtime: Duration,
    /// After how many operations of each job to stop, if that is sooner.
    pub number_ios: Option<u64>,
    /// Who, in turns.
    pub engines: Vec<IoEngine>,
    /// Turns of each.
    pub rounds: usize,
    /// The same seed, the same blocks.
    pub seed: u64,
    /// Operations are counted, not timed.
    pub gtod_reduce: bool,
    /// What is read is compared with what was written.
    pub verify: bool,
    /// A file that was there may be written to.
    pub overwrite: bool,
    /// The page cache is emptied of the file before each run. With `direct` it always is.
    pub invalidate: bool,
}

/// What one engine did in one round, and what it took.
#[derive(Clone, Debug)]
pub struct Run {
    /// Who.
    pub engine: IoEngine,
    /// Which round, from 0.
    pub round: usize,
    /// From the first operation's start to the last one's end.
    pub seconds: f64,
    /// Reads.
    pub read: Tally,
    /// Writes.
    pub write: Tally,
    /// Syncs that were asked for one by one.
    pub sync: Tally,
    /// What this process has used meanwhile.
    pub used: Rusage,
    /// System calls of all jobs; `None` if the engine does not count them.
    pub calls: Option<u64>,
    /// Blocks whose contents were compared, those read back at the end included.
    pub verified: u64,
    /// What ended it before its time.
    pub failure: Option<String>,
    /// Somebody ended it before its time.
    pub interrupted: bool,
}

impl Run {
    /// Reads and writes.
    #[must_use]
    pub fn ios(&self) -> u64 {
        self.read.ios + self.write.ios
    }

    /// Bytes of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.read.bytes + self.write.bytes
    }
}

#[cfg(test)]
mod tests;
