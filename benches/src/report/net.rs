//! The report of `ambidex-bench net`.

use serde_json::{Map, Value, json};

use super::Context;
use super::echo;
use super::figure::{Figure, Sheet, figure, percent};
use crate::echo::EchoEngine;
use crate::echo::net::{Cell, Options, Outcome};
use crate::statistics::{median, paired_ratio};
use crate::table::{count, duration};

/// From this share of a processor on, the client rather than the server may have been measured.
const BUSY_SHARE: f64 = 0.97;

/// Below this share neither end was busy, though each asks as soon as it is answered: others were.
const IDLE_SHARE: f64 = 0.6;

/// The result of `ambidex-bench net`.
///
/// In JSON: `load` as in [`Echo`](super::Echo), `processors` (server's and client's; null if there is only
/// one), `cells` and `summary`. A cell is a measurement as in [`Echo`](super::Echo) with `engine`, `round`,
/// `failure` (null if it counts) and `server`: what it used and counted (`calls`, `waits`,
/// `scanned`, `events`; null where an engine does not count). `summary` has for each engine the
/// medians over its rounds, and as `E/hybrid` the medians of the rounds' ratios.
#[derive(Clone, Debug)]
pub struct Net<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked for.
    pub options: &'a Options,
    /// What was seen.
    pub outcome: &'a Outcome,
}

/// Messages of a cell that counts, unless there were none.
fn counted(cell: &Cell) -> Option<f64> {
    let messages = cell.outcome.summary.requests as f64;
    (cell.failure.is_none() && messages > 0.0).then_some(messages)
}

/// A latency, if anything was answered.
fn latency(cell: &Cell, value: f64) -> Option<f64> {
    counted(cell).map(|_| value)
}

const fn us(name: &'static str, title: &'static str, of: fn(&Cell) -> Option<f64>) -> Figure<Cell> {
    figure(title, name, of, |us| format!("{us:.2}us"))
}

const FIGURES: [Figure<Cell>; 11] = [
    figure(
        "messages/s",
        "messages_per_second",
        |cell| counted(cell).map(|_| cell.outcome.summary.rate),
        count,
    ),
    figure(
        "p50",
        "p50_seconds",
        |cell| latency(cell, cell.outcome.summary.latency.p50),
        duration,
    ),
    figure(
        "p99",
        "p99_seconds",
        |cell| latency(cell, cell.outcome.summary.latency.p99),
        duration,
    ),
    figure(
        "p99.9",
        "p99_9_seconds",
        |cell| latency(cell, cell.outcome.summary.latency.p999),
        duration,
    ),
    figure(
        "max",
        "max_seconds",
        |cell| latency(cell, cell.outcome.summary.latency.max),
        duration,
    ),
    us("server_cpu_us_per_message", "cpu/message", |cell| {
        Some(cell.server?.rusage.cpu().as_secs_f64() * 1e6 / counted(cell)?)
    }),
    figure(
        "calls/message",
        "server_calls_per_message",
        |cell| {
            let calls = cell
                .server
                .filter(|_| cell.engine.counts_calls())?
                .counts
                .calls;
            Some(calls as f64 / counted(cell)?)
        },
        |calls| format!("{calls:.2}"),
    ),
    figure(
        "scanned/event",
        "server_scanned_per_event",
        |cell| {
            let server = cell.server.filter(|_| cell.engine.scans())?;
            counted(cell).and(server.counts.scanned_per_event())
        },
        |scanned| format!("{scanned:.2}"),
    ),
    figure(
        "switches/message",
        "server_switches_per_message",
        |cell| Some(cell.server?.rusage.ctx() as f64 / counted(cell)?),
        |switches| format!("{switches:.3}"),
    ),
    figure(
        "server",
        "server_cpu_share",
        |cell| Some(cell.server?.rusage.cpu().as_secs_f64() / cell.outcome.seconds),
        percent,
    ),
    figure(
        "client",
        "client_cpu_share",
        |cell| {
            counted(cell).map(|_| cell.outcome.client.cpu().as_secs_f64() / cell.outcome.seconds)
        },
        percent,
    ),
];

impl Net<'_> {
    /// The values of `figure` for `engine`, one for each round; NaN where it has none.
    fn values(&self, engine: EchoEngine, figure: &Figure<Cell>) -> Vec<f64> {
        let cells = self
            .outcome
            .cells
            .iter()
            .filter(|cell| cell.engine == engine);
        let values = cells.map(|cell| (figure.of)(cell).unwrap_or(f64::NAN));
        values.collect()
    }

    fn median(&self, engine: EchoEngine, figure: &Figure<Cell>) -> Option<f64> {
        median(&self.values(engine, figure))
    }

    /// `engine` in relation to the engine of this project.
    fn ratio(&self, engine: EchoEngine, figure: &Figure<Cell>) -> Option<f64> {
        let ours = self.values(EchoEngine::Hybrid, figure);
        paired_ratio(&self.values(engine, figure), &ours)
    }

    /// As JSON; see [`Net`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut report = self.context.to_json("net", self.outcome.interrupted);
        report.insert("load".to_owned(), echo::load(&self.options.load));
        let processors = self.outcome.processors;
        let processors =
            processors.map(|(server, client)| json!({"server": server, "client": client}));
        report.insert("processors".to_owned(), processors.into());
        let cells = self.outcome.cells.iter().map(cell_json).collect();
        report.insert("cells".to_owned(), Value::Array(cells));
        let object = |value: &dyn Fn(&Figure<Cell>) -> Option<f64>| -> Value {
            let fields = FIGURES.iter();
            let fields = fields.map(|figure| (figure.name.to_owned(), value(figure).into()));
            Value::Object(fields.collect())
        };
        let mut summary = Map::new();
        for engine in &self.options.engines {
            summary.insert(
                engine.name(),
                object(&|figure| self.median(*engine, figure)),
            );
            if self.is_compared(*engine) {
                let ratios = object(&|figure| self.ratio(*engine, figure));
                summary.insert(format!("{engine}/hybrid"), ratios);
            }
        }
        report.insert("summary".to_owned(), Value::Object(summary));
        Value::Object(report)
    }

    fn is_compared(&self, engine: EchoEngine) -> bool {
        engine != EchoEngine::Hybrid && self.options.engines.contains(&EchoEngine::Hybrid)
    }

    /// For people: the medians of each engine, and processor time in relation to ours.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut sheet = Sheet::new(&FIGURES);
        for engine in &self.options.engines {
            sheet.line(engine.name(), |figure| self.median(*engine, figure));
        }
        for engine in &self.options.engines {
            if self.is_compared(*engine) {
                sheet.ratios(format!("{engine}/hybrid"), |figure| {
                    self.ratio(*engine, figure)
                });
            }
        }
        let load = &self.options.load;
        let pace = match load.interval {
            Some(interval) => format!("{} messages/s", count(1.0 / interval.as_secs_f64())),
            None => "as fast as answered".to_owned(),
        };
        let mut text = self.context.line();
        text += &format!(
            "{} connections and {} idle, {} bytes, {pace}, medians of {} rounds of {} s\n",
            load.connections,
            load.idle,
            load.size,
            self.options.rounds,
            load.window.runtime.as_secs_f64()
        );
        text += &sheet.text();
        text + &self.remarks()
    }

    /// What limits these figures, a line each.
    fn remarks(&self) -> String {
        let mut text = String::new();
        for cell in &self.outcome.cells {
            if let Some(why) = &cell.failure {
                text += &format!(
                    "{} round {} does not count: {why}\n",
                    cell.engine,
                    cell.round + 1
                );
            }
        }
        if self.outcome.interrupted {
            text += "interrupted: the rounds so far\n";
        }
        if self.outcome.processors.is_none() {
            text += "one processor for both ends: they take time from each other\n";
        }
        let counting = self.outcome.cells.iter();
        let counting = counting.filter(|cell| counted(cell).is_some());
        let client = |cell: &Cell| cell.outcome.client.cpu().as_secs_f64() / cell.outcome.seconds;
        let server = |cell: &Cell| {
            let used = cell
                .server
                .map_or(0.0, |server| server.rusage.cpu().as_secs_f64());
            used / cell.outcome.seconds
        };
        if counting.clone().any(|cell| client(cell) > BUSY_SHARE) {
            text += "the client's processor was busy all the time: rates are limited by the client \
                     too; compare cpu/message\n";
        }
        let is_closed = self.options.load.interval.is_none();
        let is_crowded = |cell: &Cell| client(cell).max(server(cell)) < IDLE_SHARE;
        if is_closed && counting.clone().any(is_crowded) {
            text += "neither end was busy: other programs had the processors; compare cpu/message, \
                     not rates and latencies\n";
        }
        text
    }
}

fn cell_json(cell: &Cell) -> Value {
    let mut value = echo::measurement(&cell.outcome);
    let fields = [
        ("engine", cell.engine.name().into()),
        ("round", cell.round.into()),
        ("failure", cell.failure.clone().into()),
        (
            "server",
            cell.server.map_or(Value::Null, |server| server.to_json()),
        ),
    ];
    for (name, field) in fields {
        value[name] = field;
    }
    let uncounted: &[&str] = match (cell.engine.scans(), cell.engine.counts_calls()) {
        (true, _) => &[],
        (false, true) => &["waits", "scanned", "events", "refused"],
        (false, false) => &["calls", "waits", "scanned", "events", "accepted", "refused"],
    };
    if cell.server.is_some() {
        for name in uncounted {
            value["server"][*name] = Value::Null;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::baselines::Counts;
    use crate::echo::client::{self, Load};
    use crate::echo::net::Sample;
    use crate::load::Window;
    use crate::rusage::Rusage;
    use crate::tally::Summary;

    fn cell(engine: EchoEngine, round: usize, messages: u64, cpu_ms: u64) -> Cell {
        let counts = Counts {
            calls: messages * 3,
            scanned: messages * 8,
            events: messages,
            ..Counts::default()
        };
        let rusage = Rusage {
            system: Duration::from_millis(cpu_ms),
            ..Rusage::default()
        };
        let summary = Summary {
            requests: messages,
            rate: messages as f64 / 2.0,
            ..Summary::default()
        };
        Cell {
            engine,
            round,
            outcome: client::Outcome {
                seconds: 2.0,
                summary,
                ..client::Outcome::default()
            },
            server: Some(Sample { rusage, counts }),
            failure: None,
        }
    }

    fn reported(cells: Vec<Cell>, look: impl FnOnce(&Net)) {
        let window = Window {
            warm_up: Duration::ZERO,
            runtime: Duration::from_secs(2),
        };
        let options = Options {
            engines: vec![EchoEngine::Select, EchoEngine::Hybrid],
            load: Load {
                address: SocketAddr::from(([127, 0, 0, 1], 1)),
                connections: 8,
                idle: 0,
                size: 64,
                interval: None,
                window,
            },
            rounds: 2,
            program: "ambidex-bench".into(),
            processors: None,
        };
        look(&Net {
            context: &Context::new(UNIX_EPOCH),
            options: &options,
            outcome: &Outcome {
                cells,
                processors: Some((0, 1)),
                interrupted: false,
            },
        });
    }

    #[test]
    fn engines_are_compared_round_by_round() {
        let (select, hybrid) = (EchoEngine::Select, EchoEngine::Hybrid);
        let cells = vec![
            cell(select, 0, 1000, 4),
            cell(hybrid, 0, 1000, 2),
            // The machine is ten times slower.
            cell(select, 1, 100, 4),
            cell(hybrid, 1, 100, 2),
        ];
        reported(cells, |report| {
            let json = report.to_json();
            let summary = &json["summary"];
            assert_eq!(summary["select"]["server_calls_per_message"], 3.0);
            assert_eq!(summary["select"]["server_scanned_per_event"], 8.0);
            assert_eq!(summary["select/hybrid"]["server_cpu_us_per_message"], 2.0);
            // The engine does not count what it looks at: unknown is not zero.
            assert!(summary["hybrid"]["server_scanned_per_event"].is_null());
            assert!(json["cells"][1]["server"]["scanned"].is_null());
            assert_eq!(json["cells"][1]["server"]["calls"], 3000);
        });
    }

    #[test]
    fn a_failed_cell_is_kept_and_marked_but_not_counted() {
        let mut failed = cell(EchoEngine::Select, 1, 50, 400);
        failed.failure = Some("the server failed: signal: 9 (SIGKILL)".to_owned());
        let cells = vec![cell(EchoEngine::Select, 0, 1000, 4), failed];
        reported(cells, |report| {
            let json = report.to_json();
            assert_eq!(json["summary"]["select"]["messages_per_second"], 500.0);
            assert_eq!(json["cells"][1]["messages"]["requests"], 50);
            let text = report.to_table();
            assert!(
                text.contains("select round 2 does not count: the server failed"),
                "{text}"
            );
        });
    }
}
