//! Which block is next, and what is done with it.

use super::{Options, Pattern, SyncEvery};
use crate::cold::words;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Sync { data_only: bool },
}

/// What is next. The same for the same seed, whoever does it.
pub(super) struct Plan {
    rw: Pattern,
    /// Of 2^32: a random number below it is a read.
    reads_below: u64,
    blocks: u64,
    left: u64,
    position: u64,
    sync_every: Option<SyncEvery>,
    writes_unsynced: u64,
    random: Box<dyn Iterator<Item = u64> + Send>,
}

impl Plan {
    /// Of job `index`, which has `blocks` blocks.
    pub(super) fn new(options: &Options, index: usize, blocks: u64) -> Plan {
        Plan {
            rw: options.rw,
            reads_below: (u64::from(options.rwmixread) << 32) / 100,
            blocks,
            left: options.number_ios.unwrap_or(u64::MAX),
            position: 0,
            sync_every: options.sync_every,
            writes_unsynced: 0,
            random: Box::new(words(options.seed.wrapping_add((index as u64) << 16))),
        }
    }

    /// What and which block; for a sync, none. `None` after the last.
    pub(super) fn next(&mut self) -> Option<(Kind, u64)> {
        if let Some(every) = self.sync_every
            && self.writes_unsynced >= every.writes
        {
            self.writes_unsynced = 0;
            let data_only = every.data_only;
            return Some((Kind::Sync { data_only }, 0));
        }
        self.left = self.left.checked_sub(1)?;
        let block = if self.rw.is_random() {
            // Multiply and shift, so that no operation waits for a division.
            let word = self.random.next().unwrap_or_default();
            ((u128::from(word) * u128::from(self.blocks)) >> 64) as u64
        } else {
            let block = self.position;
            self.position = if block + 1 == self.blocks {
                0
            } else {
                block + 1
            };
            block
        };
        let kind = self.kind();
        self.writes_unsynced += u64::from(kind == Kind::Write);
        Some((kind, block))
    }

    fn kind(&mut self) -> Kind {
        let is_read = match (self.rw.reads(), self.rw.writes()) {
            (true, true) => self.random.next().unwrap_or_default() >> 32 < self.reads_below,
            (reads, _) => reads,
        };
        if is_read { Kind::Read } else { Kind::Write }
    }
}
