//! Which block is next, and what has been counted.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Options, Pattern};
use crate::cold::words;

/// The shortest latency told apart from others.
const LAT_MIN_NS: u64 = 10;
/// An hour; what takes longer counts as that.
const LAT_MAX_NS: u64 = 3_600_000_000_000;

/// Which block is next. The same for the same seed, whoever reads.
pub(super) struct Plan {
    rw: Pattern,
    bs: u64,
    blocks: u64,
    left: u64,
    position: u64,
    random: Box<dyn Iterator<Item = u64>>,
}

impl Plan {
    pub(super) fn new(options: &Options, blocks: u64) -> Plan {
        Plan {
            rw: options.rw,
            bs: options.bs,
            blocks,
            left: options.number_ios.unwrap_or(u64::MAX),
            position: 0,
            random: Box::new(words(options.seed)),
        }
    }

    /// The offset of the next read; `None` after the last.
    pub(super) fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let block = match self.rw {
            Pattern::Read => {
                let block = self.position;
                self.position = (block + 1) % self.blocks;
                block
            }
            // Multiply and shift, so that no read waits for a division.
            Pattern::RandRead => {
                let word = self.random.next().unwrap_or_default();
                ((u128::from(word) * u128::from(self.blocks)) >> 64) as u64
            }
        };
        Some(block * self.bs)
    }
}

/// What has been counted so far.
pub(super) struct Count {
    pub(super) total_ios: u64,
    pub(super) io_bytes: u64,
    pub(super) lat: Histogram<u64>,
}

impl Default for Count {
    fn default() -> Count {
        let lat = Histogram::new_with_bounds(LAT_MIN_NS, LAT_MAX_NS, 3);
        Count {
            total_ios: 0,
            io_bytes: 0,
            lat: lat.expect("constant bounds that the crate allows"),
        }
    }
}

impl Count {
    /// A read of `length` bytes has ended, after `took` if that was measured.
    pub(super) fn read(&mut self, length: usize, took: Option<Duration>) {
        self.total_ios += 1;
        self.io_bytes += length as u64;
        if let Some(took) = took {
            let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.lat.saturating_record(nanoseconds);
        }
    }
}
