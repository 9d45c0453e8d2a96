//! Results as one page: plots, tables, and what each was measured on and with.

mod html;
mod markdown;
mod plots;
mod svg;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::results::{self, Results, Round};

pub use html::html;
pub use markdown::markdown;

/// Leaves of an unknown result that are shown.
const LEAVES_MAX: usize = 500;

/// What one file of results comes to.
struct Section {
    title: String,
    /// Name and value: machine, kernel, commit, command.
    context: Vec<(String, String)>,
    /// What a reader must know.
    remarks: Vec<String>,
    plots: Vec<Plot>,
    table: Vec<Vec<String>>,
}

/// Something drawn.
enum Plot {
    Lines(Lines),
    Bars(Bars),
}

/// How values become places along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Axis {
    /// By powers of ten.
    Log,
    /// Percentiles by their nines: 0, 90, 99, 99.9...
    Nines,
}

/// Curves in one plot.
struct Lines {
    title: String,
    x: (Axis, &'static str),
    /// Always by powers of ten.
    y: &'static str,
    series: Vec<(String, Vec<(f64, f64)>)>,
}

/// Bars from 0.
struct Bars {
    title: String,
    bars: Vec<(String, f64)>,
    /// A line to compare with.
    mark: Option<f64>,
}

impl Section {
    fn of(results: &Results) -> Section {
        let rounds = results.rounds();
        let known = !rounds.is_empty();
        Section {
            title: format!("{}: {}", results.kind, results.path.display()),
            context: context(results),
            remarks: remarks(results, &rounds),
            plots: plots::of(results, &rounds),
            table: if known {
                medians(&rounds)
            } else {
                leaves(&results.value)
            },
        }
    }
}

fn context(results: &Results) -> Vec<(String, String)> {
    let machine = &results.value["machine"];
    let gibibytes = machine["memory_bytes"]
        .as_f64()
        .map_or("?".to_owned(), |bytes| {
            format!("{:.0}", bytes / f64::from(1 << 30))
        });
    let machine = format!(
        "{} x {}, {gibibytes} GiB",
        results::text(&machine["processors"]),
        results::text(&machine["processor"])
    );
    let parameters = results.parameters();
    let fields = parameters.as_object().into_iter().flatten();
    let fields = fields.filter(|(_, value)| !value.is_null());
    let fields = fields.map(|(name, value)| format!("{name} {}", results::text(value)));
    let parameters = fields.collect::<Vec<String>>().join(", ");
    let rows = [
        ("command", results.command()),
        ("parameters", parameters),
        ("machine", machine),
        ("kernel", format!("Linux {}", results.text("kernel"))),
        ("commit", results.text("commit")),
        ("ambidex-bench", results.text("version")),
        ("started", started(&results.value["started_unix"])),
    ];
    let rows = rows.into_iter().filter(|(_, value)| !value.is_empty());
    rows.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Date and time of a second since 1970, in UTC.
fn started(unix: &Value) -> String {
    let Some(seconds) = unix.as_u64() else {
        return String::new();
    };
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    time.map_or(String::new(), httpdate::fmt_http_date)
}

fn remarks(results: &Results, rounds: &[Round]) -> Vec<String> {
    let mut remarks = Vec::new();
    if results.is_interrupted() {
        remarks.push("Interrupted: this is a part of what was asked for.".to_owned());
    }
    if let Some(error) = results.value["error"].as_str() {
        remarks.push(format!(
            "It failed, and this is what was measured before: {error}"
        ));
    }
    for round in rounds {
        if let Some(why) = &round.failure {
            let (group, number) = (&round.group, round.number + 1);
            remarks.push(format!("{group}, round {number}, does not count: {why}"));
        }
    }
    remarks
}

/// A line for each group, a column for each figure.
fn medians(rounds: &[Round]) -> Vec<Vec<String>> {
    let names = rounds.iter().flat_map(|round| &round.figures);
    let names = results::distinct(names.map(|figure| figure.name.as_str()));
    let mut titles = vec!["medians".to_owned()];
    titles.extend(names.iter().map(|name| (*name).to_owned()));
    let mut table = vec![titles];
    for group in results::groups(rounds) {
        let mut row = vec![group.to_owned()];
        let values = names
            .iter()
            .map(|name| results::median_of(rounds, group, name));
        row.extend(values.map(|value| value.map_or("-".to_owned(), number)));
        table.push(row);
    }
    table
}

/// All there is of a result that nobody knows.
fn leaves(value: &Value) -> Vec<Vec<String>> {
    fn walk(value: &Value, path: String, table: &mut Vec<Vec<String>>) {
        match value {
            _ if table.len() > LEAVES_MAX => {}
            Value::Object(fields) => {
                for (name, field) in fields {
                    walk(field, format!("{path}.{name}"), table);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, format!("{path}[{index}]"), table);
                }
            }
            leaf => {
                let path = path.trim_start_matches('.').to_owned();
                table.push(vec![path, results::text(leaf)]);
            }
        }
    }
    let mut table = vec![vec!["field".to_owned(), "value".to_owned()]];
    walk(value, String::new(), &mut table);
    table
}

/// Three digits that matter, thousands apart.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => crate::table::count(value),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        size if size >= 0.1 => format!("{value:.3}"),
        size if size >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}
