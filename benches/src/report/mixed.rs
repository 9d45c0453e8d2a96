//! The report of `ambidex-bench mixed`.

use serde_json::{Map, Value};

use super::figure::{self, Figure, Sheet};
use super::{Context, remarks};
use crate::mixed::{Cell, Condition, Outcome};
use crate::statistics::{median, paired_ratio};

/// The result of `ambidex-bench mixed`.
#[derive(Clone, Debug)]
pub struct Mixed<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was seen.
    pub outcome: &'a Outcome,
}

impl Mixed<'_> {
    /// The values of `figure` under `condition`, one for each round; NaN where it has none.
    fn values(&self, condition: Condition, figure: &Figure) -> Vec<f64> {
        let cells = self.outcome.cells.iter();
        let cells = cells.filter(|cell| cell.condition == condition);
        let values = cells.map(|cell| (figure.of)(&cell.measurement).unwrap_or(f64::NAN));
        values.collect()
    }

    fn median(&self, condition: Condition, figure: &Figure) -> Option<f64> {
        median(&self.values(condition, figure))
    }

    fn ratio(&self, under: Condition, figure: &Figure) -> Option<f64> {
        let over = self.values(Condition::Cold, figure);
        paired_ratio(&over, &self.values(under, figure))
    }

    /// Failures of all cells.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.outcome
            .cells
            .iter()
            .map(|cell| cell.measurement.errors())
            .sum()
    }

    /// As JSON; see the [module](self).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut report = self.context.to_json("mixed", self.outcome.interrupted);
        let cell = |cell: &Cell| {
            let mut value = cell.measurement.to_json();
            value["round"] = cell.round.into();
            value["condition"] = cell.condition.letter().into();
            value
        };
        let cells = self.outcome.cells.iter().map(cell).collect();
        report.insert("cells".to_owned(), Value::Array(cells));
        let object = |value: &dyn Fn(&Figure) -> Option<f64>| -> Value {
            let fields = figure::MIXED
                .iter()
                .map(|figure| (figure.name.to_owned(), value(figure).into()));
            Value::Object(fields.collect())
        };
        let mut summary = Map::new();
        for condition in Condition::ALL {
            let medians = object(&|figure| self.median(condition, figure));
            summary.insert(condition.letter().to_owned(), medians);
        }
        for under in [Condition::Warm, Condition::Alone] {
            let ratios = object(&|figure| self.ratio(under, figure));
            summary.insert(format!("B/{}", under.letter()), ratios);
        }
        report.insert("summary".to_owned(), Value::Object(summary));
        Value::Object(report)
    }

    /// For people: each cell, the medians, the ratios.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut sheet = Sheet::new(&figure::MIXED);
        for cell in &self.outcome.cells {
            let label = format!("{} round {}", cell.condition.letter(), cell.round + 1);
            sheet.line(label, |figure| (figure.of)(&cell.measurement));
        }
        for condition in Condition::ALL {
            let beside = match condition {
                Condition::Warm => "beside warm files",
                Condition::Cold => "beside cold files",
                Condition::Alone => "alone",
            };
            let label = format!("{} median, {beside}", condition.letter());
            sheet.line(label, |figure| self.median(condition, figure));
        }
        for under in [Condition::Warm, Condition::Alone] {
            let label = format!("B/{} median of ratios", under.letter());
            sheet.ratios(label, |figure| self.ratio(under, figure));
        }
        let mut text = self.context.line() + &sheet.text();
        if self.outcome.interrupted {
            text.push_str("interrupted: the rounds so far\n");
        }
        text + &remarks(self.outcome.cells.iter().map(|cell| &cell.measurement))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::load::Measurement;
    use crate::tally::Summary;
    use crate::usage::Usage;

    fn context() -> Context {
        Context::new(UNIX_EPOCH)
    }

    fn cell(round: usize, condition: Condition, requests: u64) -> Cell {
        let class = |requests| Summary {
            requests,
            rate: requests as f64 / 2.0,
            ..Summary::default()
        };
        let mut classes = vec![class(requests)];
        if condition != Condition::Alone {
            classes.push(class(requests / 10));
        }
        let usage = Usage {
            server: Some(Duration::from_secs(1)),
            ..Usage::default()
        };
        Cell {
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
        }
        Outcome {
            cells,
            interrupted: false,
        }
    }

    #[test]
    fn medians_and_ratios_are_those_of_the_rounds() {
        let (context, outcome) = (context(), outcome());
        let report = Mixed {
            context: &context,
            outcome: &outcome,
        };
        let json = report.to_json();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["cells"].as_array().map(Vec::len), Some(9));
        let summary = &json["summary"];
        assert_eq!(summary["A"]["hot_requests_per_second"], 500.0);
        assert_eq!(summary["B/A"]["hot_requests_per_second"], 0.5);
        assert_eq!(summary["B/C"]["hot_requests_per_second"], 0.25);
        assert!(summary["C"]["cold_requests_per_second"].is_null());
        assert!(summary["B/C"]["cold_requests_per_second"].is_null());
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
        outcome.cells[0].measurement.classes[0].errors = 3;
        outcome.cells[0].measurement.classes[0].first_error = Some("status 503".to_owned());
        let report = Mixed {
            context: &context,
            outcome: &outcome,
        };
        let text = report.to_table();
        for expected in [
            "B round 3",
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
