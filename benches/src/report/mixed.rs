//! The report of `ambidex-bench mixed`.

use serde_json::{Map, Value, json};

use super::figure::{self, Figure, Sheet};
use super::{Context, remarks};
use crate::mixed::{Cell, Condition, Options, Outcome};
use crate::slow_disk::{Means, Slowness};
use crate::statistics::{median, paired_ratio};

/// What is put in relation to what: B to what each class would be without the other.
const RATIOS: [(Condition, Condition); 3] = [
    (Condition::Cold, Condition::Warm),
    (Condition::Cold, Condition::Alone),
    (Condition::Cold, Condition::ColdAlone),
];

/// The result of `ambidex-bench mixed`.
///
/// In JSON: `options` (what was asked for, and `slow_disk_by`, `blkio` or `fuse`, if the disk was slowed), `targets` (their names and addresses), `error` (why it
/// ended early, or null), `cells`, each a measurement with `target`, `round` and `condition` (A, B, C
/// or D, see [`mixed`](crate::mixed)), and `summary`: for each target the medians over its rounds as
/// `A`, `B`, `C` and `D`, and the medians of the rounds' ratios as `B/A`, `B/C` and `B/D`.
#[derive(Clone, Debug)]
pub struct Mixed<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked for.
    pub options: &'a Options,
    /// What was seen.
    pub outcome: &'a Outcome,
}

fn label((over, under): (Condition, Condition)) -> String {
    format!("{}/{}", over.letter(), under.letter())
}

impl Mixed<'_> {
    /// The values of `figure`, one for each round; NaN where it has none.
    fn values(&self, target: &str, condition: Condition, figure: &Figure) -> Vec<f64> {
        let cells = self.outcome.cells.iter();
        let cells = cells.filter(|cell| cell.target == target && cell.condition == condition);
        let values = cells.map(|cell| {
            let counted = Some(&cell.measurement).filter(|one| one.failure.is_none());
            counted.and_then(figure.of).unwrap_or(f64::NAN)
        });
        values.collect()
    }

    fn median(&self, target: &str, condition: Condition, figure: &Figure) -> Option<f64> {
        median(&self.values(target, condition, figure))
    }

    fn ratio(&self, target: &str, pair: (Condition, Condition), figure: &Figure) -> Option<f64> {
        let over = self.values(target, pair.0, figure);
        paired_ratio(&over, &self.values(target, pair.1, figure))
    }

    fn targets(&self) -> impl Iterator<Item = &str> {
        self.options
            .targets
            .iter()
            .map(|target| target.name.as_str())
    }

    /// Failures of all cells.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let cells = self.outcome.cells.iter();
        let errors: u64 = cells.map(|cell| cell.measurement.errors()).sum();
        errors + u64::from(self.outcome.failure.is_some())
    }

    fn options(&self) -> Value {
        let options = self.options;
        let mut value = json!({
            "cold_files": options.files.count,
            "cold_size": options.files.size,
            "hot_connections": options.hot_connections,
            "cold_connections": options.cold_connections,
            "cold_rate": options.cold_interval.map(|interval| 1.0 / interval.as_secs_f64()),
            "slow_disk": options.slow_disk.map(reads),
            "warm_up": options.window.warm_up.as_secs_f64(),
            "runtime": options.window.runtime.as_secs_f64(),
        });
        // Also how: a figure of one is not to be compared with one of the other.
        if let Some(means) = self.outcome.slow_disk_by {
            value["slow_disk_by"] = means.to_string().into();
        }
        value
    }

    /// What was done to the disk, for people.
    fn slow_disk(&self) -> String {
        let (iops, means) = (self.options.slow_disk.map(reads), self.outcome.slow_disk_by);
        let told = iops.zip(means).map(|(iops, means)| {
            let all = match means {
                Means::Blkio => "",
                Means::Fuse => "; all cold files through that filesystem, in A without delay",
            };
            format!("slow disk: {iops} reads/s in B and D, by {means}{all}\n")
        });
        told.unwrap_or_default()
    }

    /// The medians and ratios of one target.
    fn summary(&self, target: &str) -> Value {
        let object = |value: &dyn Fn(&Figure) -> Option<f64>| -> Value {
            let fields = figure::MIXED
                .iter()
                .map(|figure| (figure.name.to_owned(), value(figure).into()));
            Value::Object(fields.collect())
        };
        let mut summary = Map::new();
        for condition in Condition::ALL {
            let medians = object(&|figure| self.median(target, condition, figure));
            summary.insert(condition.letter().to_owned(), medians);
        }
        for pair in RATIOS {
            summary.insert(
                label(pair),
                object(&|figure| self.ratio(target, pair, figure)),
            );
        }
        Value::Object(summary)
    }

    /// As JSON; see [`Mixed`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut report = self.context.to_json("mixed", self.outcome.interrupted);
        report.insert("options".to_owned(), self.options());
        let targets = self.options.targets.iter().map(|target| {
            let (hot, cold) = (&target.hot, &target.cold);
            json!({
                "name": target.name,
                "hot": format!("http://{}{}", hot.authority, hot.target),
                "cold": format!("http://{}{}", cold.authority, cold.target),
            })
        });
        report.insert("targets".to_owned(), targets.collect());
        report.insert("error".to_owned(), self.outcome.failure.clone().into());
        let cell = |cell: &Cell| {
            let mut value = cell.measurement.to_json();
            value["target"] = cell.target.clone().into();
            value["round"] = cell.round.into();
            value["condition"] = cell.condition.letter().into();
            value
        };
        let cells = self.outcome.cells.iter().map(cell).collect();
        report.insert("cells".to_owned(), cells);
        let summaries = self
            .targets()
            .map(|target| (target.to_owned(), self.summary(target)));
        let summaries: Map<String, Value> = summaries.collect();
        report.insert("summary".to_owned(), summaries.into());
        Value::Object(report)
    }

    /// For people: each cell, the medians, the ratios.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut sheet = Sheet::new(&figure::MIXED);
        for cell in &self.outcome.cells {
            let label = format!(
                "{} {} round {}",
                cell.target,
                cell.condition.letter(),
                cell.round + 1
            );
            sheet.line(label, |figure| (figure.of)(&cell.measurement));
        }
        for target in self.targets() {
            for condition in Condition::ALL {
                let what = match condition {
                    Condition::Warm => "hot beside warm",
                    Condition::Cold => "hot beside cold",
                    Condition::Alone => "hot alone",
                    Condition::ColdAlone => "cold alone",
                };
                let label = format!("{target} {} median, {what}", condition.letter());
                sheet.line(label, |figure| self.median(target, condition, figure));
            }
        }
        for target in self.targets() {
            for pair in RATIOS {
                let label = format!("{target} {} median of ratios", label(pair));
                sheet.ratios(label, |figure| self.ratio(target, pair, figure));
            }
        }
        let mut text = self.context.line() + &self.slow_disk() + &sheet.text();
        for cell in &self.outcome.cells {
            if let Some(why) = &cell.measurement.failure {
                let (target, letter, round) =
                    (&cell.target, cell.condition.letter(), cell.round + 1);
                text += &format!("{target} {letter} round {round} does not count: {why}\n");
            }
        }
        if let Some(why) = &self.outcome.failure {
            text += &format!("ended early: {why}\n");
        }
        if self.outcome.interrupted {
            text += "interrupted: the rounds so far\n";
        }
        text + &remarks(self.outcome.cells.iter().map(|cell| &cell.measurement))
    }
}

/// The limit of a slow disk.
fn reads(slowness: Slowness) -> u64 {
    match slowness {
        Slowness::Reads(number) => number,
        Slowness::Delays { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::cold::Files;
    use crate::load::{Measurement, Window};
    use crate::mixed::Target;
    use crate::tally::Summary;
    use crate::usage::Usage;

    fn context() -> Context {
        Context::new(UNIX_EPOCH)
    }

    fn options() -> Options {
        Options {
            targets: vec![Target::of_site(
                "ours",
                &"http://h".parse().unwrap(),
                Vec::new(),
            )],
            files: Files {
                dir: "cold".into(),
                count: 1,
                size: 1,
                nested: false,
            },
            hot_connections: 1,
            cold_connections: 1,
            cold_interval: None,
            window: Window {
                warm_up: Duration::ZERO,
                runtime: Duration::from_secs(2),
            },
            rounds: 3,
            conditions: Condition::ALL.to_vec(),
            once: false,
            slow_disk: None,
            slow_disk_by: None,
        }
    }

    fn cell(round: usize, condition: Condition, requests: u64) -> Cell {
        let class = |requests| Summary {
            requests,
            rate: requests as f64 / 2.0,
            ..Summary::default()
        };
        let mut classes = vec![match condition {
            Condition::ColdAlone => Summary::default(),
            _ => class(requests),
        }];
        if condition != Condition::Alone {
            classes.push(class(requests / 10));
        }
        let usage = Usage {
            server: Some(Duration::from_secs(1)),
            ..Usage::default()
        };
        Cell {
            target: "ours".to_owned(),
            round,
            condition,
            measurement: Measurement {
                seconds: 2.0,
                classes,
                usage,
                failure: None,
            },
        }
    }

    fn outcome() -> Outcome {
        let mut cells = Vec::new();
        for (round, speed) in [1000, 10, 1200].into_iter().enumerate() {
            cells.push(cell(round, Condition::Warm, speed));
            cells.push(cell(round, Condition::Cold, speed / 2));
            cells.push(cell(round, Condition::Alone, speed * 2));
            cells.push(cell(round, Condition::ColdAlone, speed));
        }
        Outcome {
            cells,
            ..Outcome::default()
        }
    }

    #[test]
    fn medians_and_ratios_are_those_of_the_rounds() {
        let (context, outcome) = (context(), outcome());
        let report = Mixed {
            context: &context,
            options: &options(),
            outcome: &outcome,
        };
        let json = report.to_json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["cells"].as_array().map(Vec::len), Some(12));
        let summary = &json["summary"]["ours"];
        assert_eq!(summary["A"]["hot_requests_per_second"], 500.0);
        assert_eq!(summary["B/A"]["hot_requests_per_second"], 0.5);
        assert_eq!(summary["B/C"]["hot_requests_per_second"], 0.25);
        assert!(summary["C"]["cold_requests_per_second"].is_null());
        assert!(summary["B/C"]["cold_requests_per_second"].is_null());
        // Hot clients that are not there have no rate, and a rate of zero would be one.
        assert!(summary["D"]["hot_requests_per_second"].is_null());
        assert_eq!(summary["B/D"]["cold_requests_per_second"], 0.5);
    }

    #[test]
    fn processor_time_is_shared_by_all_requests() {
        let one = cell(0, Condition::Warm, 1000).measurement;
        let json = one.to_json();
        let per_request = json["server_cpu_us_per_request"].as_f64().unwrap();
        assert!((per_request - 1e6 / 1100.0).abs() < 1e-6);
        assert_eq!(json["cold"]["requests"], 100);
        let nothing = cell(0, Condition::Alone, 0).measurement;
        assert!(nothing.to_json()["server_cpu_us_per_request"].is_null());
    }

    #[test]
    fn the_table_has_every_cell_and_marks_an_interruption() {
        let (context, mut outcome) = (context(), outcome());
        outcome.interrupted = true;
        outcome.failure = Some("cannot evict x".to_owned());
        outcome.cells[4].measurement.failure = Some("the server was lost: y".to_owned());
        outcome.cells[0].measurement.classes[0].errors = 3;
        outcome.cells[0].measurement.classes[0].first_error = Some("status 503".to_owned());
        let report = Mixed {
            context: &context,
            options: &options(),
            outcome: &outcome,
        };
        let text = report.to_table();
        for expected in [
            "ours B round 3",
            "ended early: cannot evict x",
            "ours A round 2 does not count: the server was lost: y",
            "B/C",
            "0.250",
            "interrupted",
            "3 requests failed",
            "status 503",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
