//! Whether a client takes its answer fast enough. Pure: time is an argument.

use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::limits::Limits;

/// How fast one client takes one answer.
///
/// Only waiting for the client counts: a slow disk must not be blamed on it. And only whole
/// windows are judged, because the kernel takes bytes in bursts.
pub(crate) struct Pace {
    rate_min: u64,
    window: Duration,
    waited: Duration,
    taken_bytes: u64,
}

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Pace {
        Pace {
            rate_min: limits.min_rate.unwrap_or(0),
            window: limits.write_timeout,
            waited: Duration::ZERO,
            taken_bytes: 0,
        }
    }

    /// The client took so many bytes.
    pub(crate) fn taken(&mut self, bytes: usize) {
        self.taken_bytes += bytes as u64;
    }

    /// The client was waited for.
    ///
    /// # Errors
    /// `TimedOut` if it took too little during the window that ends here.
    pub(crate) fn waited(&mut self, time: Duration) -> io::Result<()> {
        self.waited += time;
        if self.waited < self.window {
            return Ok(());
        }
        let due = u128::from(self.rate_min) * self.waited.as_millis() / 1000;
        let taken = u128::from(self.taken_bytes);
        (self.waited, self.taken_bytes) = (Duration::ZERO, 0);
        if taken < due {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(min_rate: Option<u64>) -> Pace {
        Pace::new(&Limits {
            min_rate,
            write_timeout: Duration::from_secs(10),
            ..Limits::default()
        })
    }

    #[test]
    fn a_client_is_judged_over_whole_windows() {
        // Bytes taken and seconds waited, in turn; whether it is cut off at the end.
        let cases: &[(&[(usize, u64)], bool)] = &[
            (&[(0, 9)], false),
            (&[(0, 10)], true),
            (&[(999, 10)], true),
            (&[(1000, 10)], false),
            (&[(0, 9), (1100, 2)], false),
            (&[(0, 9), (1099, 2)], true),
            // What was taken in one window does not pay for the next.
            (&[(1_000_000, 10), (0, 10)], true),
            (&[(1_000_000, 10), (1000, 10)], false),
        ];
        for (steps, cut) in cases {
            let mut pace = pace(Some(100));
            let verdicts: Vec<_> = steps
                .iter()
                .map(|(bytes, seconds)| {
                    pace.taken(*bytes);
                    pace.waited(Duration::from_secs(*seconds)).is_err()
                })
                .collect();
            assert_eq!(verdicts.last(), Some(cut), "{steps:?}");
        }
    }

    #[test]
    fn without_a_rate_nobody_is_too_slow() {
        let mut pace = pace(None);
        assert!(pace.waited(Duration::from_secs(3600)).is_ok());
    }
}
