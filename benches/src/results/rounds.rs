//! What each command calls a round, and where its figures are.

use serde_json::Value;

use super::{Results, text};

/// One round of one group: an engine, a target under a condition, a number of descriptors.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// What was measured.
    pub group: String,
    /// Counted from 0.
    pub number: u64,
    /// Why it does not count, or `None` if it does.
    pub failure: Option<String>,
    /// What came out.
    pub figures: Vec<Figure>,
    /// The latencies.
    pub curves: Vec<Curve>,
}

/// A figure of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// With its unit.
    pub name: String,
    /// Finite.
    pub value: f64,
}

/// Latencies of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Of what: curves of the same name are drawn together.
    pub name: String,
    /// Percentile and microseconds.
    pub points: Vec<(f64, f64)>,
}

impl Figure {
    /// Whether more of it is better.
    #[must_use]
    pub fn is_rate(name: &str) -> bool {
        name.ends_with("/s") || name.ends_with("IOPS")
    }
}

impl Round {
    /// The figure of that name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        let found = self.figures.iter().find(|figure| figure.name == name);
        found.map(|figure| figure.value)
    }

    fn of(cell: &Value, group: String) -> Round {
        let failure = ["failure", "error"]
            .iter()
            .find_map(|name| cell[*name].as_str());
        let interrupted = (cell["interrupted"] == true).then_some("interrupted");
        Round {
            group,
            number: cell["round"].as_u64().unwrap_or(0),
            failure: failure.or(interrupted).map(str::to_owned),
            ..Round::default()
        }
    }

    fn push(&mut self, name: impl Into<String>, value: &Value) {
        if let Some(value) = value.as_f64().filter(|value| value.is_finite()) {
            let name = name.into();
            self.figures.push(Figure { name, value });
        }
    }

    /// A class of clients whose figures and curves get `prefix`.
    fn class(&mut self, class: &Value, prefix: &str, each: &str) {
        if class["requests"].as_u64().unwrap_or(0) == 0 && class["errors"].is_null() {
            return;
        }
        self.push(format!("{prefix}{each}/s"), &class["requests_per_second"]);
        let latency = &class["latency_us"];
        for (name, field) in [
            ("p50", "p50"),
            ("p99", "p99"),
            ("p99.9", "p99_9"),
            ("max", "max"),
        ] {
            self.push(format!("{prefix}{name} us"), &latency[field]);
        }
        for (name, field) in [
            ("latency", "latency_us"),
            ("uncorrected latency", "uncorrected_latency_us"),
        ] {
            let points = class[field]["percentiles"].as_array().into_iter().flatten();
            let points = points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)));
            self.curve(format!("{prefix}{name}"), points.collect());
        }
    }

    fn curve(&mut self, name: String, points: Vec<(f64, f64)>) {
        if !points.is_empty() {
            self.curves.push(Curve { name, points });
        }
    }
}

pub(super) fn of(results: &Results) -> Vec<Round> {
    let (list, round): (&str, fn(&Value) -> Round) = match results.kind.as_str() {
        "http" => ("cells", http),
        "mixed" => ("cells", mixed),
        "net" => ("cells", net),
        "scale" => ("cells", scale),
        "suite" => ("cells", suite),
        "disk" => ("jobs", disk),
        "echo" => return vec![net(&results.value["measurement"])],
        _ => return Vec::new(),
    };
    let cells = results.value[list].as_array().into_iter().flatten();
    cells.map(round).collect()
}

fn http(cell: &Value) -> Round {
    let mut round = Round::of(cell, "http".to_owned());
    round.class(&cell["hot"], "", "requests");
    round.push("server cpu us/request", &cell["server_cpu_us_per_request"]);
    round
}

fn mixed(cell: &Value) -> Round {
    let target = text(&cell["target"]);
    let group = format!("{target} {}", text(&cell["condition"]));
    let mut round = Round::of(cell, group.trim().to_owned());
    round.class(&cell["hot"], "hot ", "requests");
    round.class(&cell["cold"], "cold ", "requests");
    round.push("server cpu us/request", &cell["server_cpu_us_per_request"]);
    round
}

fn net(cell: &Value) -> Round {
    let engine = cell["engine"].as_str().unwrap_or("echo");
    let mut round = Round::of(cell, engine.to_owned());
    let messages = &cell["messages"];
    round.class(messages, "", "messages");
    let count = messages["requests"].as_f64().unwrap_or(0.0);
    let server = &cell["server"];
    let cpu = server["user_us"].as_f64().zip(server["system_us"].as_f64());
    for (name, total) in [
        (
            "server cpu us/message",
            cpu.map(|(user, system)| user + system),
        ),
        ("server calls/message", server["calls"].as_f64()),
    ] {
        if let Some(total) = total.filter(|_| count > 0.0) {
            round.push(name, &(total / count).into());
        }
    }
    round
}

fn scale(cell: &Value) -> Round {
    let group = format!("{}, {} pairs", text(&cell["watcher"]), text(&cell["pairs"]));
    let mut round = Round::of(cell, group);
    let runs = cell["runs"].as_array();
    let total = |field: &str| -> Option<f64> {
        let values = runs?.iter().map(|run| run[field].as_f64());
        values.sum()
    };
    let events = total("events").filter(|events| *events > 0.0);
    for (name, field) in [("us/event", "took_us"), ("scanned/event", "scanned")] {
        if let Some((total, events)) = total(field).zip(events) {
            round.push(name, &(total / events).into());
        }
    }
    round
}

fn suite(cell: &Value) -> Round {
    let group = format!("{} {}", text(&cell["row"]), text(&cell["who"]));
    let mut round = Round::of(cell, group);
    for (name, value) in cell["figures"].as_object().into_iter().flatten() {
        round.push(name, value);
    }
    round
}

fn disk(job: &Value) -> Round {
    let engine = job["engine"].as_str().or(job["jobname"].as_str());
    let mut round = Round::of(job, engine.unwrap_or("disk").to_owned());
    for kind in ["read", "write"] {
        let part = &job[kind];
        if part["total_ios"].as_u64().unwrap_or(0) == 0 {
            continue;
        }
        round.push(format!("{kind} IOPS"), &part["iops"]);
        let percentiles = part["lat_ns"]["percentile"]
            .as_object()
            .into_iter()
            .flatten();
        let points =
            percentiles.filter_map(|(at, ns)| Some((at.parse().ok()?, ns.as_f64()? / 1e3)));
        let mut points: Vec<(f64, f64)> = points.collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        points.extend(part["lat_ns"]["max"].as_f64().map(|ns| (100.0, ns / 1e3)));
        for (name, at) in [
            ("p50", 50.0),
            ("p99", 99.0),
            ("p99.9", 99.9),
            ("max", 100.0),
        ] {
            if let Some((_, us)) = points.iter().find(|(one, _)| *one == at) {
                round.push(format!("{kind} {name} us"), &(*us).into());
            }
        }
        round.curve(format!("{kind} latency"), points);
    }
    for (name, field) in [
        ("cpu us/io", "cpu_us_per_io"),
        ("switches/io", "ctx_per_io"),
        ("calls/io", "syscalls_per_io"),
    ] {
        round.push(name, &job[field]);
    }
    round
}
