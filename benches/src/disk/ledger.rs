//! What each block of a job's stretch should hold, and which are in flight.

/// Nobody knows which generation.
const UNKNOWN: u64 = u64::MAX;
/// A write is in flight.
const WRITTEN: u16 = u16::MAX;

/// Kept from run to run, for `--verify`.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    generations: Vec<u64>,
    /// Reads in flight, or [`WRITTEN`].
    in_flight: Vec<u16>,
    /// Writes of this run.
    dirty: Vec<u32>,
    /// Generations of this process begin after this one: none is like that of an earlier one.
    base: u64,
}

impl Ledger {
    /// Of `blocks` blocks, all of generation `known` if that is known.
    pub(super) fn new(blocks: u64, known: Option<u64>, base: u64) -> Ledger {
        Ledger {
            generations: vec![known.unwrap_or(UNKNOWN); blocks as usize],
            in_flight: vec![0; blocks as usize],
            dirty: Vec::new(),
            base,
        }
    }

    /// What `block` should hold, if that is known.
    pub(super) fn generation(&self, block: u64) -> Option<u64> {
        Some(self.generations[block as usize]).filter(|generation| *generation != UNKNOWN)
    }

    /// The first block from `block` on that may be read or written now: what is written while it is
    /// read or written may hold either content afterwards.
    pub(super) fn begin(&mut self, block: u64, write: bool) -> Option<u64> {
        let length = self.in_flight.len() as u64;
        let mut around = (block..length).chain(0..block);
        let found = around.find(|block| match self.in_flight[*block as usize] {
            0 => true,
            WRITTEN => false,
            _ => !write,
        })?;
        let entry = &mut self.in_flight[found as usize];
        *entry = if write { WRITTEN } else { *entry + 1 };
        Some(found)
    }

    /// The generation that a write of `block` is to bring.
    pub(super) fn next_generation(&self, block: u64) -> u64 {
        self.generation(block).unwrap_or(0).max(self.base) + 1
    }

    pub(super) fn read(&mut self, block: u64) {
        self.in_flight[block as usize] -= 1;
    }

    pub(super) fn wrote(&mut self, block: u64, generation: u64) {
        self.in_flight[block as usize] = 0;
        self.generations[block as usize] = generation;
        // So many blocks at most: u32 counts 2 TiB of the smallest ones.
        self.dirty.push(block as u32);
    }

    /// A write that failed: the block may hold anything.
    pub(super) fn lost(&mut self, block: u64) {
        self.in_flight[block as usize] = 0;
        self.generations[block as usize] = UNKNOWN;
    }

    /// The blocks written since this was asked last, each once.
    pub(super) fn take_dirty(&mut self) -> Vec<u32> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_is_left_alone() {
        let mut ledger = Ledger::new(3, Some(0), 10);
        assert_eq!(ledger.begin(1, true), Some(1));
        assert_eq!(ledger.begin(1, true), Some(2), "the next one");
        assert_eq!(ledger.begin(1, false), Some(0), "and round");
        assert_eq!(ledger.begin(0, false), Some(0), "read by two");
        assert_eq!(ledger.begin(0, true), None, "all are in flight");
        ledger.wrote(2, ledger.next_generation(2));
        assert_eq!(ledger.generation(2), Some(11));
        assert_eq!(ledger.next_generation(2), 12);
        ledger.lost(1);
        assert_eq!(ledger.generation(1), None);
        ledger.wrote(2, 12);
        assert_eq!(ledger.take_dirty(), [2]);
        assert!(ledger.take_dirty().is_empty());
    }
}
