//! Two results of one command side by side, round against round.

use serde_json::{Value, json};

use crate::Error;
use crate::results::{self, Figure, Results};
use crate::statistics::{Ratio, median, ratio_interval};
use crate::table::table;

/// One figure of one group in both results.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub group: String,
    /// Which figure.
    pub figure: String,
    /// The medians in the first and in the second.
    pub medians: (f64, f64),
    /// The second to the first.
    pub ratio: Ratio,
}

/// What the comparison says, and what it leaves out.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Each figure that both have.
    pub rows: Vec<Row>,
    /// What a reader must know.
    pub remarks: Vec<String>,
}

/// Compares `second` with `first`.
///
/// # Errors
/// [`Error::Start`] with the reason if they are not comparable.
pub fn compare(first: &Results, second: &Results) -> Result<Comparison, Error> {
    let refused = |why: String| {
        let (one, other) = (first.path.display(), second.path.display());
        Error::Start(format!("{one} and {other} are not comparable: {why}"))
    };
    if first.kind != second.kind {
        return Err(refused(format!(
            "one is of {}, the other of {}",
            first.kind, second.kind
        )));
    }
    if let Some(why) = difference(&first.parameters(), &second.parameters()) {
        return Err(refused(why));
    }
    let (one, other) = (first.rounds(), second.rounds());
    let mut comparison = Comparison::default();
    for group in results::groups(&one) {
        let of_group = one.iter().filter(|round| round.group == group);
        let names = of_group.flat_map(|round| &round.figures);
        for figure in results::distinct(names.map(|figure| figure.name.as_str())) {
            let pairs = paired(
                &results::values(&one, group, figure),
                &results::values(&other, group, figure),
            );
            let (unders, overs): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            let Some(ratio) = ratio_interval(&overs, &unders) else {
                continue;
            };
            comparison.rows.push(Row {
                group: group.to_owned(),
                figure: figure.to_owned(),
                medians: (
                    median(&unders).unwrap_or_default(),
                    median(&overs).unwrap_or_default(),
                ),
                ratio,
            });
        }
    }
    if comparison.rows.is_empty() {
        return Err(refused(
            "they have no round of the same thing that counts".to_owned(),
        ));
    }
    comparison.remarks = remarks(first, second);
    Ok(comparison)
}

/// The first parameter that differs.
fn difference(one: &Value, other: &Value) -> Option<String> {
    let (Some(fields), Some(others)) = (one.as_object(), other.as_object()) else {
        return (one != other).then(|| "their parameters differ".to_owned());
    };
    let names = fields.keys().chain(others.keys());
    let differs = |name: &&String| fields.get(*name) != others.get(*name);
    names.into_iter().find(differs).map(|name| {
        let value = |fields: &serde_json::Map<String, Value>| {
            fields
                .get(name)
                .map_or("missing".to_owned(), Value::to_string)
        };
        format!(
            "{name} is {} in one and {} in the other",
            value(fields),
            value(others)
        )
    })
}

/// The values of rounds that both have.
fn paired(one: &[(u64, f64)], other: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let pairs = one.iter().filter_map(|(round, value)| {
        let found = other.iter().find(|(number, _)| number == round)?;
        Some((*value, found.1))
    });
    pairs.collect()
}

fn remarks(first: &Results, second: &Results) -> Vec<String> {
    let mut remarks = Vec::new();
    for (name, what) in [("machine", "machines"), ("kernel", "kernels")] {
        if first.value[name] != second.value[name] {
            remarks.push(format!("measured on different {what}"));
        }
    }
    for results in [first, second] {
        let rounds = results.rounds();
        let left_out = rounds
            .iter()
            .filter(|round| round.failure.is_some())
            .count();
        let path = results.path.display();
        if left_out > 0 {
            remarks.push(format!("{path}: {left_out} rounds do not count"));
        }
        if results.is_interrupted() {
            remarks.push(format!("{path}: interrupted, the rounds so far"));
        }
    }
    remarks
}

impl Row {
    /// What may be said: nothing, if the interval has 1 in it.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        let Some((low, high)) = self.ratio.interval else {
            return "one round says nothing";
        };
        match (low > 1.0, high < 1.0, Figure::is_rate(&self.figure)) {
            (true, _, true) | (_, true, false) => "better",
            (true, _, false) | (_, true, true) => "worse",
            _ => "no difference seen",
        }
    }
}

impl Comparison {
    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let titles = ["", "A", "B", "B/A", "95 %", "rounds", ""];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        for row in &self.rows {
            let interval = row.ratio.interval;
            let interval = interval.map_or("-".to_owned(), |(low, high)| {
                format!("{low:.3} to {high:.3}")
            });
            rows.push(vec![
                format!("{}: {}", row.group, row.figure),
                format!("{:.2}", row.medians.0),
                format!("{:.2}", row.medians.1),
                format!("{:.3}", row.ratio.ratio),
                interval,
                row.ratio.pairs.to_string(),
                row.verdict().to_owned(),
            ]);
        }
        let mut text = table(&rows);
        for remark in &self.remarks {
            text += &format!("{remark}\n");
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            json!({
                "group": row.group,
                "figure": row.figure,
                "a_median": row.medians.0,
                "b_median": row.medians.1,
                "ratio": row.ratio.ratio,
                "low": row.ratio.interval.map(|(low, _)| low),
                "high": row.ratio.interval.map(|(_, high)| high),
                "rounds": row.ratio.pairs,
                "verdict": row.verdict(),
            })
        });
        json!({"schema": 1, "tool": "ambidex-bench", "kind": "compare",
            "rows": rows.collect::<Vec<Value>>(), "remarks": self.remarks})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples;

    fn row<'a>(comparison: &'a Comparison, figure: &str) -> &'a Row {
        comparison
            .rows
            .iter()
            .find(|row| row.figure == figure)
            .unwrap()
    }

    #[test]
    fn rounds_are_paired_by_their_number() {
        // The machine changes by ten, the second is twice as fast in each round.
        let first = samples::http(&[100.0, 1000.0, 50.0], None);
        let second = samples::http(&[200.0, 2000.0, 100.0], None);
        let compared = compare(&first, &second).unwrap();
        let rate = row(&compared, "requests/s");
        assert!((rate.ratio.ratio - 2.0).abs() < 1e-9, "{rate:?}");
        assert_eq!((rate.ratio.pairs, rate.verdict()), (3, "better"));
        assert_eq!(row(&compared, "p99 us").verdict(), "better");
        let back = compare(&second, &first).unwrap();
        assert_eq!(row(&back, "requests/s").verdict(), "worse");
    }

    #[test]
    fn noise_is_no_difference_and_one_round_says_nothing() {
        let first = samples::http(&[100.0, 110.0, 90.0], None);
        let second = samples::http(&[110.0, 90.0, 100.0], None);
        let compared = compare(&first, &second).unwrap();
        assert_eq!(row(&compared, "requests/s").verdict(), "no difference seen");
        let single = samples::http(&[100.0], None);
        let compared = compare(&single, &second).unwrap();
        assert_eq!(
            row(&compared, "requests/s").verdict(),
            "one round says nothing"
        );
    }

    #[test]
    fn a_round_that_does_not_count_has_no_pair() {
        let first = samples::http(&[100.0, 100.0, 100.0], None);
        let second = samples::http(&[100.0, 100.0, 1.0], Some("the server was lost"));
        let compared = compare(&first, &second).unwrap();
        let rate = row(&compared, "requests/s");
        assert_eq!((rate.ratio.pairs, rate.ratio.ratio), (2, 1.0));
        assert_eq!(compared.remarks, ["http.json: 1 rounds do not count"]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_the_reason() {
        let first = samples::http(&[100.0], None);
        let refused = |second: &Results| compare(&first, second).unwrap_err().to_string();
        assert!(refused(&samples::scale()).contains("one is of http, the other of scale"));
        let mut second = samples::http(&[100.0], None);
        second.value["options"]["url"] = "http://elsewhere/".into();
        assert!(compare(&first, &second).is_ok(), "where is not what");
        second.value["options"]["connections"] = 9.into();
        let told = refused(&second);
        assert!(
            told.contains("connections is 8 in one and 9 in the other"),
            "{told}"
        );
        let none = samples::http(&[100.0], Some("interrupted"));
        assert!(refused(&none).contains("no round"), "nothing counts");
    }
}
