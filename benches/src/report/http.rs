//! The report of `ambidex-bench http`.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::figure::{self, Figure, Sheet};
use super::{Context, remarks};
use crate::http::{Options, Outcome};
use crate::statistics::median;

/// The result of `ambidex-bench http`.
///
/// In JSON: `options` (what was asked for), `cells`, a measurement for each round with `round`, whose
/// one class of clients is `hot`, and `summary`: the medians of those that count.
#[derive(Clone, Debug)]
pub struct Http<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked for.
    pub options: &'a Options,
    /// What was seen.
    pub outcome: &'a Outcome,
}

impl Http<'_> {
    fn median(&self, figure: &Figure) -> Option<f64> {
        let counted = self
            .outcome
            .rounds
            .iter()
            .filter(|one| one.failure.is_none());
        median(&counted.filter_map(figure.of).collect::<Vec<f64>>())
    }

    /// Failures of all rounds.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.outcome.rounds.iter().map(|one| one.errors()).sum()
    }

    fn options(&self) -> Value {
        let options = self.options;
        json!({
            "url": format!("http://{}{}", options.url.authority, options.url.target),
            "connections": options.connections,
            "rate": options.interval.map(|interval| 1.0 / interval.as_secs_f64()),
            "keep_alive": options.keep_alive,
            "pipeline": options.pipeline,
            "paths": self.outcome.paths,
            "zipf": options.zipf,
            "verify": options.verify.is_some(),
            "seed": options.seed,
            "warm_up": options.window.warm_up.as_secs_f64(),
            "runtime": options.window.runtime.as_secs_f64(),
        })
    }

    /// As JSON; see [`Http`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut report = self.context.to_json("http", self.outcome.interrupted);
        report.insert("options".to_owned(), self.options());
        let cells = self.outcome.rounds.iter().enumerate().map(|(round, one)| {
            let mut cell = one.to_json();
            cell["round"] = round.into();
            cell
        });
        report.insert("cells".to_owned(), cells.collect());
        let medians = figure::HTTP
            .iter()
            .map(|figure| (figure.name.to_owned(), self.median(figure).into()));
        let medians: Map<String, Value> = medians.collect();
        report.insert("summary".to_owned(), medians.into());
        Value::Object(report)
    }

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let rounds = &self.outcome.rounds;
        let mut sheet = Sheet::new(&figure::HTTP);
        for (round, one) in rounds.iter().enumerate() {
            sheet.line(format!("http round {}", round + 1), |figure| {
                (figure.of)(one)
            });
        }
        if rounds.len() > 1 {
            sheet.line("http median".to_owned(), |figure| self.median(figure));
        }
        let mut text = self.context.line() + &sheet.text();
        for (round, one) in rounds.iter().enumerate() {
            let class = one.classes.first();
            if let Some((class, due)) = class.and_then(|class| Some((class, class.due?))) {
                let _ = writeln!(
                    text,
                    "round {}: of {due} requests that were due {} were not answered in time",
                    round + 1,
                    class.unfinished
                );
            }
            if let Some(why) = &one.failure {
                let _ = writeln!(text, "round {} does not count: {why}", round + 1);
            }
        }
        if self.options.interval.is_some() {
            text += "latencies count from when a request was due\n";
        }
        text + &remarks(rounds.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::load::{Measurement, Window};
    use crate::tally::Summary;

    #[test]
    fn a_round_that_does_not_count_is_kept_and_marked() {
        let round = |rate, failure: Option<&str>| Measurement {
            seconds: 1.0,
            classes: vec![Summary {
                rate,
                due: Some(500),
                unfinished: 3,
                ..Summary::default()
            }],
            failure: failure.map(str::to_owned),
            ..Measurement::default()
        };
        let options = Options {
            url: "http://h/x".parse().unwrap(),
            connections: 8,
            interval: Some(Duration::from_millis(2)),
            keep_alive: true,
            pipeline: 1,
            paths: None,
            zipf: None,
            verify: None,
            seed: 0,
            window: Window {
                warm_up: Duration::ZERO,
                runtime: Duration::from_secs(1),
            },
            rounds: 2,
            server_pids: Vec::new(),
        };
        let report = Http {
            context: &Context::new(UNIX_EPOCH),
            options: &options,
            outcome: &Outcome {
                rounds: vec![
                    round(500.0, None),
                    round(7.0, Some("interrupted after 0.1 s")),
                ],
                paths: 1,
                interrupted: true,
            },
        };
        let json = report.to_json();
        assert_eq!(json["interrupted"], true);
        assert_eq!(json["summary"]["hot_requests_per_second"], 500.0);
        assert_eq!(json["cells"][1]["failure"], "interrupted after 0.1 s");
        assert_eq!(json["cells"][1]["hot"]["requests_per_second"], 7.0);
        assert_eq!(json["options"]["rate"], 500.0);
        let text = report.to_table();
        for expected in [
            "round 2 does not count: interrupted",
            "of 500 requests that were due 3",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
