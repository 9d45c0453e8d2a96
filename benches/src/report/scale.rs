//! The report of `ambidex-bench scale`.

use serde_json::{Value, json};

use super::Context;
use super::figure::{Figure, Sheet, figure};
use crate::scale::{Cell, Options, Outcome, Run, Watcher};
use crate::statistics::median;

/// The result of `ambidex-bench scale`.
///
/// In JSON: `options` (`active`, `writes`, `runs`, `rounds`), `cells` (`watcher`, `pairs`, `round`,
/// `failure`, and `runs` with `took_us`, `cpu_us`, `events`, `waits`, `scanned`) and `summary`, an object for
/// each watcher and number of pairs with `watcher`, `pairs` and the medians over all runs:
/// `us_per_event`, `cpu_us_per_event`, `scanned_per_event`, `events_per_wait`.
#[derive(Clone, Debug)]
pub struct Scale<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked for.
    pub options: &'a Options,
    /// What was seen.
    pub outcome: &'a Outcome,
}

const FIGURES: [Figure<Run>; 4] = [
    figure(
        "us/event",
        "us_per_event",
        |run| Some(run.took.as_secs_f64() * 1e6 / run.events as f64),
        |us| format!("{us:.2}"),
    ),
    figure(
        "cpu us/event",
        "cpu_us_per_event",
        |run| Some(run.cpu.as_secs_f64() * 1e6 / run.events as f64),
        |us| format!("{us:.2}"),
    ),
    figure(
        "scanned/event",
        "scanned_per_event",
        |run| Some(run.scanned? as f64 / run.events as f64),
        |scanned| format!("{scanned:.2}"),
    ),
    figure(
        "events/wait",
        "events_per_wait",
        |run| Some(run.events as f64 / run.waits as f64),
        |events| format!("{events:.2}"),
    ),
];

impl Scale<'_> {
    fn cells(&self, watcher: Watcher, pairs: usize) -> impl Iterator<Item = &Cell> {
        let cells = self.outcome.cells.iter();
        cells.filter(move |cell| cell.watcher == watcher && cell.pairs == pairs)
    }

    fn median(&self, watcher: Watcher, pairs: usize, figure: &Figure<Run>) -> Option<f64> {
        let runs = self.cells(watcher, pairs).flat_map(|cell| &cell.runs);
        median(&runs.filter_map(figure.of).collect::<Vec<f64>>())
    }

    /// Each number of pairs with each watcher.
    fn rows(&self) -> impl Iterator<Item = (usize, Watcher)> {
        let pairs = self.options.pairs.iter();
        pairs.flat_map(|pairs| {
            self.options
                .watchers
                .iter()
                .map(|watcher| (*pairs, *watcher))
        })
    }

    /// As JSON; see [`Scale`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let options = self.options;
        let mut report = self.context.to_json("scale", self.outcome.interrupted);
        let asked = json!({
            "active": options.active,
            "writes": options.writes,
            "runs": options.runs,
            "rounds": options.rounds,
        });
        report.insert("options".to_owned(), asked);
        let cells = self.outcome.cells.iter().map(cell_json).collect();
        report.insert("cells".to_owned(), Value::Array(cells));
        let row = |(pairs, watcher): (usize, Watcher)| {
            let mut row = json!({"watcher": watcher.name(), "pairs": pairs});
            for figure in &FIGURES {
                row[figure.name] = self.median(watcher, pairs, figure).into();
            }
            row
        };
        let rows = self.rows().map(row).collect();
        report.insert("summary".to_owned(), Value::Array(rows));
        Value::Object(report)
    }

    /// For people: a block for each number of pairs.
    #[must_use]
    pub fn to_table(&self) -> String {
        let options = self.options;
        let mut sheet = Sheet::new(&FIGURES);
        for (pairs, watcher) in self.rows() {
            let label = format!("{pairs} pairs, {}", watcher.name());
            sheet.line(label, |figure| self.median(watcher, pairs, figure));
        }
        let mut text = self.context.line();
        text += &format!(
            "{} active, {} writes, medians of {} rounds of {} runs\n",
            options.active, options.writes, options.rounds, options.runs
        );
        text += &sheet.text();
        for (pairs, watcher) in self.rows() {
            let why = self
                .cells(watcher, pairs)
                .find_map(|cell| cell.failure.as_deref());
            if let Some(why) = why {
                text += &format!("{pairs} pairs, {}: {why}\n", watcher.name());
            }
        }
        if self.outcome.interrupted {
            text += "interrupted: the rounds so far\n";
        }
        text
    }
}

fn cell_json(cell: &Cell) -> Value {
    let run = |run: &Run| {
        json!({
            "took_us": run.took.as_secs_f64() * 1e6,
            "cpu_us": run.cpu.as_secs_f64() * 1e6,
            "events": run.events,
            "waits": run.waits,
            "scanned": run.scanned,
        })
    };
    json!({
        "watcher": cell.watcher.name(),
        "pairs": cell.pairs,
        "round": cell.round,
        "failure": cell.failure,
        "runs": cell.runs.iter().map(run).collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn medians_are_of_all_runs_and_a_failure_has_none() {
        let run = |us| Run {
            took: Duration::from_micros(us),
            cpu: Duration::from_micros(us / 2),
            events: 100,
            waits: 50,
            scanned: Some(1000),
        };
        let cell = |watcher, round, runs: &[u64]| Cell {
            watcher,
            pairs: 10,
            round,
            runs: runs.iter().copied().map(run).collect(),
            failure: runs.is_empty().then(|| "it cannot".to_owned()),
        };
        let report = Scale {
            context: &Context::new(UNIX_EPOCH),
            options: &Options {
                watchers: vec![Watcher::Select, Watcher::Poll],
                pairs: vec![10],
                active: 1,
                writes: 99,
                runs: 2,
                rounds: 2,
            },
            outcome: &Outcome {
                cells: vec![
                    cell(Watcher::Poll, 0, &[100, 200]),
                    cell(Watcher::Select, 0, &[]),
                    cell(Watcher::Poll, 1, &[300, 900]),
                ],
                interrupted: false,
            },
        };
        let json = report.to_json();
        assert!(json["summary"][0]["us_per_event"].is_null());
        assert_eq!(json["summary"][1]["us_per_event"], 2.5);
        assert_eq!(json["summary"][1]["cpu_us_per_event"], 1.25);
        assert_eq!(json["summary"][1]["scanned_per_event"], 10.0);
        assert_eq!(json["summary"][1]["events_per_wait"], 2.0);
        let text = report.to_table();
        assert!(text.contains("10 pairs, select: it cannot"), "{text}");
    }
}
