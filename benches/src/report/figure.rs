//! The figures of a measurement that tables show and that medians and ratios are taken of.

use crate::load::Measurement;
use crate::table::{count, duration, or_dash, table};
use crate::tally::Summary;

/// One figure of a `T`.
#[derive(Clone, Copy)]
pub(super) struct Figure<T = Measurement> {
    /// Above its column.
    pub(super) title: &'static str,
    /// In JSON.
    pub(super) name: &'static str,
    pub(super) of: fn(&T) -> Option<f64>,
    pub(super) show: fn(f64) -> String,
}

fn hot(one: &Measurement) -> Option<&Summary> {
    one.classes.first().filter(|class| !class.is_idle())
}

fn cold(one: &Measurement) -> Option<&Summary> {
    one.classes.get(1).filter(|class| !class.is_idle())
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

fn megabytes(rate: f64) -> String {
    format!("{:.1}", rate / 1e6)
}

pub(super) const fn figure<T>(
    title: &'static str,
    name: &'static str,
    of: fn(&T) -> Option<f64>,
    show: fn(f64) -> String,
) -> Figure<T> {
    Figure {
        title,
        name,
        of,
        show,
    }
}

const REQUESTS: Figure = figure(
    "requests/s",
    "hot_requests_per_second",
    |one| hot(one).map(|class| class.rate),
    count,
);
const BYTES: Figure = figure(
    "MB/s",
    "hot_bytes_per_second",
    |one| hot(one).map(|class| class.bytes as f64 / one.seconds),
    megabytes,
);
const P50: Figure = figure(
    "p50",
    "hot_p50_seconds",
    |one| hot(one).map(|class| class.latency.p50),
    duration,
);
const P90: Figure = figure(
    "p90",
    "hot_p90_seconds",
    |one| hot(one).map(|class| class.latency.p90),
    duration,
);
const P99: Figure = figure(
    "p99",
    "hot_p99_seconds",
    |one| hot(one).map(|class| class.latency.p99),
    duration,
);
const P999: Figure = figure(
    "p99.9",
    "hot_p99_9_seconds",
    |one| hot(one).map(|class| class.latency.p999),
    duration,
);
const MAX: Figure = figure(
    "max",
    "hot_max_seconds",
    |one| hot(one).map(|class| class.latency.max),
    duration,
);
const COLD_REQUESTS: Figure = figure(
    "cold/s",
    "cold_requests_per_second",
    |one| cold(one).map(|class| class.rate),
    count,
);
const COLD_P50: Figure = figure(
    "cold p50",
    "cold_p50_seconds",
    |one| cold(one).map(|class| class.latency.p50),
    duration,
);
const DISK: Figure = figure(
    "disk MB/s",
    "server_disk_bytes_per_second",
    |one| Some(one.usage.server_disk_bytes? as f64 / one.seconds),
    megabytes,
);
const CPU: Figure = figure(
    "cpu/request",
    "server_cpu_seconds_per_request",
    Measurement::cpu_per_request,
    |seconds| format!("{:.1}us", seconds * 1e6),
);
const SERVER: Figure = figure(
    "server",
    "server_cpu_share",
    |one| Some(one.share(one.usage.server?)),
    percent,
);
const CLIENT: Figure = figure(
    "client",
    "client_cpu_share",
    |one| Some(one.share(one.usage.client)),
    percent,
);

/// The columns of `ambidex-bench http`.
pub(super) const HTTP: [Figure; 10] = [
    REQUESTS, BYTES, P50, P90, P99, P999, MAX, CPU, SERVER, CLIENT,
];

/// The columns of `ambidex-bench mixed`.
pub(super) const MIXED: [Figure; 12] = [
    Figure {
        title: "hot/s",
        ..REQUESTS
    },
    P50,
    P90,
    P99,
    P999,
    MAX,
    COLD_REQUESTS,
    COLD_P50,
    DISK,
    CPU,
    SERVER,
    CLIENT,
];

/// A table of `figures`, a line for each label with the text of each.
pub(super) struct Sheet<'a, T = Measurement> {
    figures: &'a [Figure<T>],
    rows: Vec<Vec<String>>,
}

impl<'a, T> Sheet<'a, T> {
    pub(super) fn new(figures: &'a [Figure<T>]) -> Sheet<'a, T> {
        let titles = figures.iter().map(|figure| figure.title.to_owned());
        Sheet {
            figures,
            rows: vec![std::iter::once(String::new()).chain(titles).collect()],
        }
    }

    /// Adds a line; what has no value is a dash, and a line without any is left out.
    pub(super) fn line(&mut self, label: String, value: impl Fn(&Figure<T>) -> Option<f64>) {
        self.line_shown(label, value, |figure, value| (figure.show)(value));
    }

    /// Adds a line of ratios.
    pub(super) fn ratios(&mut self, label: String, value: impl Fn(&Figure<T>) -> Option<f64>) {
        self.line_shown(label, value, |_, ratio| format!("{ratio:.3}"));
    }

    fn line_shown(
        &mut self,
        label: String,
        value: impl Fn(&Figure<T>) -> Option<f64>,
        show: impl Fn(&Figure<T>, f64) -> String,
    ) {
        if self.figures.iter().all(|figure| value(figure).is_none()) {
            return;
        }
        let text = |figure| or_dash(value(figure), |value| show(figure, value));
        let cells = self.figures.iter().map(text);
        self.rows
            .push(std::iter::once(label).chain(cells).collect());
    }

    pub(super) fn text(&self) -> String {
        table(&self.rows)
    }
}
