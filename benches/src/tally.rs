//! What one class of clients has seen.

use std::fmt::Display;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The shortest latency told apart from others.
const LATENCY_MIN_NS: u64 = 100;
/// An hour; what takes longer counts as that.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;

/// The percentiles of a curve: closer together towards the slow end.
const CURVE: [f64; 20] = [
    0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9,
    99.95, 99.99, 99.999, 100.0,
];

fn histogram() -> Histogram<u64> {
    let made = Histogram::new_with_bounds(LATENCY_MIN_NS, LATENCY_MAX_NS, 3);
    made.expect("constant bounds that the crate allows")
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    histogram.saturating_record(nanoseconds);
}

/// Counts of one class of clients within the measured time.
#[derive(Debug)]
pub struct Tally {
    requests: u64,
    bytes: u64,
    failures: u64,
    first_failure: Option<String>,
    latency: Histogram<u64>,
    /// From sending, where `latency` counts from when the request was due.
    uncorrected: Option<Histogram<u64>>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            requests: 0,
            bytes: 0,
            failures: 0,
            first_failure: None,
            latency: histogram(),
            uncorrected: None,
        }
    }
}

impl Tally {
    /// A request was answered well, with so many bytes.
    pub fn answered(&mut self, bytes: u64, took: Duration) {
        self.requests += 1;
        self.bytes += bytes;
        record(&mut self.latency, took);
    }

    /// The same in an open loop: the time since the request was due, and since it was sent.
    pub fn answered_when_due(&mut self, bytes: u64, since_due: Duration, since_sent: Duration) {
        self.answered(bytes, since_due);
        record(self.uncorrected.get_or_insert_with(histogram), since_sent);
    }

    /// What failed first.
    #[must_use]
    pub fn first_failure(&self) -> Option<String> {
        self.first_failure.clone()
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
        let mut latency = Latency::of(&self.latency);
        // A stall that outlasts the round would else be seen by nobody.
        latency.max = latency.max.max(oldest.as_secs_f64());
        Summary {
            requests: self.requests,
            bytes: self.bytes,
            received: 0,
            errors: self.failures,
            first_error: self.first_failure.clone(),
            rate: self.requests as f64 / seconds,
            latency,
            curve: curve(&self.latency),
            unfinished: waiting.len(),
            due: None,
            uncorrected: self.uncorrected.as_ref().map(|histogram| Distribution {
                latency: Latency::of(histogram),
                curve: curve(histogram),
            }),
        }
    }
}

/// The latency in seconds at each percentile of [`CURVE`]; none of nothing.
fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    let at = |percentile| {
        (
            percentile,
            histogram.value_at_percentile(percentile) as f64 / 1e9,
        )
    };
    let points = CURVE.iter().filter(|_| !histogram.is_empty());
    points.map(|percentile| at(*percentile)).collect()
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
    /// One in ten thousand is slower.
    pub p9999: f64,
    /// The slowest; also of those that had waited that long when the round ended.
    pub max: f64,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e9;
        Latency {
            mean: histogram.mean() / 1e9,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: at(1.0),
        }
    }

    /// In microseconds, with the percentiles of `curve`.
    fn to_json(self, curve: &[(f64, f64)]) -> Value {
        let points = curve
            .iter()
            .map(|(percentile, seconds)| json!([percentile, seconds * 1e6]));
        json!({
            "mean": self.mean * 1e6,
            "p50": self.p50 * 1e6,
            "p90": self.p90 * 1e6,
            "p99": self.p99 * 1e6,
            "p99_9": self.p999 * 1e6,
            "p99_99": self.p9999 * 1e6,
            "max": self.max * 1e6,
            "percentiles": points.collect::<Vec<Value>>(),
        })
    }
}

/// Latencies, and the whole curve of them.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    /// The usual figures.
    pub latency: Latency,
    /// Percentile and seconds.
    pub curve: Vec<(f64, f64)>,
}

/// A class of clients in figures.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Requests answered well within the measured time.
    pub requests: u64,
    /// Bytes of their answers, heads included.
    pub bytes: u64,
    /// Bytes that arrived within the measured time, those of unfinished answers too.
    pub received: u64,
    /// Requests and connects that failed.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Requests a second.
    pub rate: f64,
    /// Latencies of the answered requests; in an open loop since they were due.
    pub latency: Latency,
    /// Percentile and latency in seconds.
    pub curve: Vec<(f64, f64)>,
    /// Requests still waiting when the time was over: not errors.
    pub unfinished: usize,
    /// In an open loop, the requests that were due within the time.
    pub due: Option<u64>,
    /// In an open loop, latencies since the requests were sent, as a closed loop counts them.
    pub uncorrected: Option<Distribution>,
}

impl Summary {
    /// Nobody asked for anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.requests + self.errors == 0 && self.unfinished == 0
    }

    /// As JSON, latencies in microseconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "requests": self.requests,
            "bytes": self.bytes,
            "errors": self.errors,
            "first_error": self.first_error,
            "requests_per_second": self.rate,
            "unfinished": self.unfinished,
            "latency_us": self.latency.to_json(&self.curve),
        });
        if let Some(due) = self.due {
            value["due"] = due.into();
        }
        if let Some(Distribution { latency, curve }) = &self.uncorrected {
            value["uncorrected_latency_us"] = latency.to_json(curve);
        }
        value
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
    fn an_open_loop_has_both_distributions() {
        let mut tally = Tally::default();
        for milliseconds in 1..=100 {
            let waited = Duration::from_millis(100);
            let took = Duration::from_millis(milliseconds);
            tally.answered_when_due(300, waited + took, took);
        }
        let json = tally.summary(1.0, &[]).to_json();
        let p50 = |name: &str| json[name]["p50"].as_f64().unwrap();
        assert!(close(p50("latency_us"), 150_000.0), "{json}");
        assert!(close(p50("uncorrected_latency_us"), 50_000.0), "{json}");
        let curve = json["latency_us"]["percentiles"].as_array().unwrap();
        assert_eq!(curve.len(), CURVE.len());
        assert!(close(curve[9][1].as_f64().unwrap(), 190_000.0), "{json}");
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
