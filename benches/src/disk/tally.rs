//! What has been counted.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The shortest latency told apart from others.
const LAT_MIN_NS: u64 = 10;
/// An hour; what takes longer counts as that.
const LAT_MAX_NS: u64 = 3_600_000_000_000;

/// Operations of one kind.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many.
    pub ios: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Nanoseconds from before an operation was asked for until its buffer was back. Empty if they
    /// were not timed.
    pub lat: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let lat = Histogram::new_with_bounds(LAT_MIN_NS, LAT_MAX_NS, 3);
        Tally {
            ios: 0,
            bytes: 0,
            lat: lat.expect("constant bounds that the crate allows"),
        }
    }
}

impl Tally {
    /// An operation of `length` bytes has ended, after `took` if that was measured.
    pub(super) fn record(&mut self, length: usize, took: Option<Duration>) {
        self.ios += 1;
        self.bytes += length as u64;
        if let Some(took) = took {
            let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.lat.saturating_record(nanoseconds);
        }
    }

    /// What another job has counted.
    pub(super) fn add(&mut self, other: &Tally) {
        self.ios += other.ios;
        self.bytes += other.bytes;
        self.lat += &other.lat;
    }
}
