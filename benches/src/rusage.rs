//! What this process has used: getrusage(2).

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// Counters at one moment, or what they grew by between two. All threads count, also those that
/// have ended and those that io_uring has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rusage {
    /// Processor time in user mode. Its sum with `system` is exact, how it is divided is sampled.
    pub user: Duration,
    /// Processor time in the kernel.
    pub system: Duration,
    /// Times that the processor was given up to wait.
    pub voluntary: u64,
    /// Times that it was taken away.
    pub involuntary: u64,
    /// Page faults that needed a device.
    pub majf: u64,
    /// Page faults that did not.
    pub minf: u64,
}

impl Rusage {
    /// Of this process, now.
    #[must_use]
    pub fn now() -> Rusage {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
            unreachable!("getrusage(2) fails only for arguments that are wrong");
        };
        let count = |number| u64::try_from(number).unwrap_or_default();
        Rusage {
            user: duration(usage.user_time()),
            system: duration(usage.system_time()),
            voluntary: count(usage.voluntary_context_switches()),
            involuntary: count(usage.involuntary_context_switches()),
            majf: count(usage.major_page_faults()),
            minf: count(usage.minor_page_faults()),
        }
    }

    /// What was used between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Rusage) -> Rusage {
        Rusage {
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
            majf: self.majf.saturating_sub(earlier.majf),
            minf: self.minf.saturating_sub(earlier.minf),
        }
    }

    /// Processor time in either mode.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }

    /// Context switches of either kind.
    #[must_use]
    pub fn ctx(&self) -> u64 {
        self.voluntary + self.involuntary
    }
}

fn duration(time: TimeVal) -> Duration {
    let seconds = Duration::from_secs(time.tv_sec().try_into().unwrap_or_default());
    seconds + Duration::from_micros(time.tv_usec().try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_never_go_back() {
        let earlier = Rusage::now();
        let later = Rusage::now();
        assert!(later.cpu() >= earlier.cpu() && later.ctx() >= earlier.ctx());
        assert_eq!(earlier.since(&later).ctx(), 0, "not below zero");
    }

    #[test]
    fn microseconds_and_seconds_are_added() {
        let time = TimeVal::new(3, 250_000);
        assert_eq!(duration(time), Duration::from_millis(3250));
    }
}
