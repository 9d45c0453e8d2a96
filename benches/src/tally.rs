//! What one class of clients has seen.

use std::fmt::Display;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The shortest latency told apart from others.
const LATENCY_MIN_NS: u64 = 100;
/// An hour; what takes longer counts as that.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// Counts of one class of clients within the measured time.
#[derive(Debug)]
pub struct Tally {
    requests: u64,
    bytes: u64,
    failures: u64,
    first_failure: Option<String>,
    latency: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let latency = Histogram::new_with_bounds(LATENCY_MIN_NS, LATENCY_MAX_NS, 3);
        Tally {
            requests: 0,
            bytes: 0,
            failures: 0,
            first_failure: None,
            latency: latency.expect("constant bounds that the crate allows"),
        }
    }
}

impl Tally {
    /// A request was answered well, with so many bytes.
    pub fn answered(&mut self, bytes: u64, took: Duration) {
        self.requests += 1;
        self.bytes += bytes;
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.latency.saturating_record(nanoseconds);
    }

    /// A request, or an attempt to connect, failed.
    pub fn failed(&mut self, failure: &dyn Display) {
        self.failures += 1;
        self.first_failure
            .get_or_insert_with(|| failure.to_string());
    }

    /// What it comes to, after `seconds`. `waiting` are the ages of requests without an answer yet.
    #[must_use]
    pub fn summary(&self, seconds: f64, waiting: &[Duration]) -> Summary {
        let oldest = waiting.iter().max().copied().unwrap_or_default();
        let at = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e9;
        Summary {
            requests: self.requests,
            bytes: self.bytes,
            errors: self.failures,
            first_error: self.first_failure.clone(),
            rate: self.requests as f64 / seconds,
            latency: Latency {
                mean: self.latency.mean() / 1e9,
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                // A stall that outlasts the round would else be seen by nobody.
                max: at(1.0).max(oldest.as_secs_f64()),
            },
            unfinished: waiting.len(),
        }
    }
}

/// Latencies in seconds, from before the request is sent to the last byte of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// The average.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// One in ten is slower.
    pub p90: f64,
    /// One in a hundred is slower.
    pub p99: f64,
    /// One in a thousand is slower.
    pub p999: f64,
    /// The slowest; also of those that had waited that long when the round ended.
    pub max: f64,
}

/// A class of clients in figures.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Requests answered well within the measured time.
    pub requests: u64,
    /// Bytes of their answers, heads included.
    pub bytes: u64,
    /// Requests and connects that failed.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Requests a second.
    pub rate: f64,
    /// Latencies of the answered requests.
    pub latency: Latency,
    /// Requests still waiting when the time was over: not errors.
    pub unfinished: usize,
}

impl Summary {
    /// As JSON, latencies in microseconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Latency {
            mean,
            p50,
            p90,
            p99,
            p999,
            max,
        } = self.latency;
        json!({
            "requests": self.requests,
            "bytes": self.bytes,
            "errors": self.errors,
            "first_error": self.first_error,
            "requests_per_second": self.rate,
            "unfinished": self.unfinished,
            "latency_us": {
                "mean": mean * 1e6,
                "p50": p50 * 1e6,
                "p90": p90 * 1e6,
                "p99": p99 * 1e6,
                "p99_9": p999 * 1e6,
                "max": max * 1e6,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: u64 = 300;

    fn close(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 0.002
    }

    #[test]
    fn rates_and_percentiles_are_those_of_the_answers() {
        let mut tally = Tally::default();
        for milliseconds in 1..=1000 {
            tally.answered(ANSWER, Duration::from_millis(milliseconds));
        }
        let summary = tally.summary(2.0, &[]);
        assert_eq!((summary.requests, summary.bytes), (1000, 300_000));
        assert!(close(summary.rate, 500.0));
        let latency = summary.latency;
        assert!(
            close(latency.p50, 0.5) && close(latency.p99, 0.99),
            "{latency:?}"
        );
        assert!(
            close(latency.max, 1.0) && close(latency.mean, 0.5005),
            "{latency:?}"
        );
    }

    #[test]
    fn a_request_that_still_waits_is_the_slowest_but_no_error() {
        let mut tally = Tally::default();
        tally.answered(ANSWER, Duration::from_millis(1));
        let waiting = [Duration::from_secs(3), Duration::from_micros(1)];
        let summary = tally.summary(5.0, &waiting);
        assert!(close(summary.latency.max, 3.0));
        assert!(close(summary.latency.p50, 0.001));
        assert_eq!((summary.errors, summary.unfinished), (0, 2));
    }

    #[test]
    fn nothing_measured_is_zero_not_nan() {
        let summary = Tally::default().summary(1.0, &[]);
        assert_eq!(summary.latency, Latency::default());
        assert!(summary.to_json()["latency_us"]["p50"].is_number());
    }

    #[test]
    fn the_first_failure_is_kept() {
        let mut tally = Tally::default();
        tally.failed(&"status 503");
        tally.failed(&"status 404");
        let summary = tally.summary(1.0, &[]);
        assert_eq!(summary.errors, 2);
        assert_eq!(summary.first_error.as_deref(), Some("status 503"));
    }
}
