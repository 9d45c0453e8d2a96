//! The report of `ambidex-bench suite`.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::Context;
use crate::suite::{Bound, Cell, Finding, Options, Outcome, Row, Verdict};
use crate::table::{count, or_dash, table};

/// From this share of a processor on, the client rather than the server may have been measured.
const BUSY_SHARE: f64 = 0.97;

/// The result of `ambidex-bench suite`.
///
/// In JSON: `options` (what was asked for), `cells` and `summary`. A cell has `row`, `who`, `round`,
/// `figures` (names and numbers) and `failure`: why it does not count, or null. `summary` has an object for
/// each goal: `row`, `work`, `name`, `figure`, `of` (whose), `to` (to whose it is a ratio: the best of
/// these; none if it is the figure itself), `best` (which that was), `goal` (`at_most` or `at_least`;
/// null if it is told for comparison), `value` (the median of `rounds`), `ours` and `theirs` (medians of the
/// figure itself), `verdict` (`hit`, `miss`, `told`, `not measured`) and `reason` (why not).
#[derive(Clone, Debug)]
pub struct Suite<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked for.
    pub options: &'a Options,
    /// What was seen.
    pub outcome: &'a Outcome,
}

impl Suite<'_> {
    fn findings(&self) -> Vec<Finding> {
        self.outcome.findings(&self.options.rows)
    }

    /// As JSON; see [`Suite`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let options = self.options;
        let mut report = self.context.to_json("suite", self.outcome.interrupted);
        let asked = json!({
            "rows": options.rows,
            "rounds": options.rounds,
            "warm_up": options.window.warm_up.as_secs_f64(),
            "runtime": options.window.runtime.as_secs_f64(),
            "server_core": options.processors.map(|one| one.server),
            "client_core": options.processors.map(|one| one.client),
            "idle_connections": options.idle_connections,
            "rest": options.rest.as_secs_f64(),
        });
        report.insert("options".to_owned(), asked);
        let cells = self.outcome.cells.iter().map(cell);
        report.insert("cells".to_owned(), cells.collect());
        let findings = self.findings();
        report.insert("summary".to_owned(), findings.iter().map(finding).collect());
        Value::Object(report)
    }

    /// Titles, and a line for each goal.
    fn lines(&self) -> Vec<Vec<String>> {
        let titles = [
            "#",
            "work",
            "figure",
            "to reach",
            "measured",
            "rounds",
            "ours, theirs",
            "",
        ];
        let mut lines = vec![titles.map(str::to_owned).to_vec()];
        let mut last = None;
        for finding in self.findings() {
            let is_first = last.replace(finding.row) != Some(finding.row);
            lines.push(line(&finding, is_first));
        }
        lines
    }

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let mut text = self.context.line() + &table(&self.lines());
        for cell in &self.outcome.cells {
            if let Some(why) = &cell.failure {
                let Cell {
                    row, who, round, ..
                } = cell;
                let _ = writeln!(
                    text,
                    "row {row}, {who}, round {}, does not count: {why}",
                    round + 1
                );
            }
        }
        text + &self.remarks()
    }

    /// For a page of documentation.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.lines().iter().enumerate() {
            let _ = writeln!(text, "| {} |", line.join(" | "));
            if index == 0 {
                let _ = writeln!(text, "|{}", "---|".repeat(line.len()));
            }
        }
        text
    }

    /// Whose limit was measured, and whether all of it was.
    fn remarks(&self) -> String {
        let mut text = String::new();
        let share = |cell: &Cell| cell.figure(crate::suite::CLIENT);
        let busy = |cell: &&Cell| share(cell).is_some_and(|share| share > BUSY_SHARE);
        let mut named = Vec::new();
        for cell in self.outcome.cells.iter().filter(busy) {
            let name = format!("row {}, {}", cell.row, cell.who);
            if !named.contains(&name) {
                named.push(name);
            }
        }
        if !named.is_empty() {
            let named = named.join("; ");
            let _ = writeln!(
                text,
                "the client was busy all the time, the server may be faster: {named}"
            );
        }
        if self.outcome.interrupted {
            text += "interrupted: the rounds so far\n";
        }
        text
    }
}

fn cell(cell: &Cell) -> Value {
    let figures = cell.figures.iter();
    let figures: Map<String, Value> = figures
        .map(|figure| (figure.name.clone(), figure.value.into()))
        .collect();
    json!({
        "row": cell.row,
        "who": cell.who,
        "round": cell.round,
        "figures": figures,
        "failure": cell.failure,
    })
}

fn work(row: u8) -> &'static str {
    let rows = Row::all();
    let found = rows.iter().find(|one| one.number == row);
    found.map_or("", |row| row.work)
}

fn finding(finding: &Finding) -> Value {
    let goal = &finding.goal;
    let bound = match goal.bound {
        None => Value::Null,
        Some(Bound::AtMost(most)) => json!({"at_most": most}),
        Some(Bound::AtLeast(least)) => json!({"at_least": least}),
    };
    let (verdict, reason) = match &finding.verdict {
        Verdict::Hit => ("hit", None),
        Verdict::Miss => ("miss", None),
        Verdict::Told => ("told", None),
        Verdict::NotMeasured(why) => ("not measured", Some(why)),
    };
    json!({
        "row": finding.row,
        "work": work(finding.row),
        "name": goal.name,
        "figure": goal.figure,
        "of": goal.of,
        "to": goal.to,
        "best": finding.best,
        "goal": bound,
        "value": finding.value,
        "rounds": finding.rounds,
        "ours": finding.ours,
        "theirs": finding.theirs,
        "verdict": verdict,
        "reason": reason,
    })
}

fn line(finding: &Finding, is_first: bool) -> Vec<String> {
    let goal = &finding.goal;
    let (number, work) = match is_first {
        true => (finding.row.to_string(), work(finding.row).to_owned()),
        false => Default::default(),
    };
    let bound = match goal.bound {
        None => "-".to_owned(),
        Some(Bound::AtMost(most)) => format!("<= {}", number_of(most)),
        Some(Bound::AtLeast(least)) => format!(">= {}", number_of(least)),
    };
    let verdict = match &finding.verdict {
        Verdict::Hit => "hit".to_owned(),
        Verdict::Miss => "**miss**".to_owned(),
        Verdict::Told => String::new(),
        Verdict::NotMeasured(why) => format!("not measured: {why}"),
    };
    let sides = match (finding.ours, finding.theirs, &finding.best) {
        (Some(ours), Some(theirs), Some(best)) => {
            format!("{}, {} ({best})", number_of(ours), number_of(theirs))
        }
        (Some(ours), ..) if !goal.to.is_empty() => number_of(ours),
        _ => "-".to_owned(),
    };
    let name = goal.name.clone();
    let value = or_dash(finding.value, number_of);
    vec![
        number,
        work,
        name,
        bound,
        value,
        range(&finding.rounds),
        sides,
        verdict,
    ]
}

/// How many rounds counted, and their least and most.
fn range(rounds: &[f64]) -> String {
    if rounds.is_empty() {
        return "0".to_owned();
    }
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!(
        "{}: {} to {}",
        rounds.len(),
        number_of(least),
        number_of(most)
    )
}

/// Three digits that matter.
fn number_of(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => count(value),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
