//! Results for tests, in the words of the commands' own reports.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::Results;

fn envelope(kind: &str, more: Value) -> Results {
    let mut value = json!({
        "schema": 1,
        "tool": "ambidex-bench",
        "version": "0.1.0",
        "kind": kind,
        "interrupted": false,
        "command": ["ambidex-bench", kind],
        "started_unix": 1_700_000_000,
        "machine": {"processor": "p", "processors": 2, "processors_usable": 2, "memory_bytes": 1},
        "kernel": "6.1",
        "commit": "abc",
    });
    for (name, field) in more.as_object().into_iter().flatten() {
        value[name] = field.clone();
    }
    Results {
        path: PathBuf::from(format!("{kind}.json")),
        kind: kind.to_owned(),
        value,
    }
}

fn class(rate: f64) -> Value {
    let p50 = 1e6 / rate;
    json!({
        "requests": rate as u64,
        "errors": 0,
        "requests_per_second": rate,
        "latency_us": {
            "p50": p50, "p99": p50 * 2.0, "p99_9": p50 * 3.0, "max": p50 * 4.0,
            "percentiles": [[0.0, p50 / 2.0], [50.0, p50], [99.0, p50 * 2.0], [100.0, p50 * 4.0]],
        },
    })
}

/// A round of each rate; the last one has failed if a reason is given.
pub(crate) fn http(rates: &[f64], failure: Option<&str>) -> Results {
    let cell = |(round, rate): (usize, &f64)| {
        let failed = failure.filter(|_| round + 1 == rates.len());
        json!({"round": round, "failure": failed, "hot": class(*rate)})
    };
    let cells: Vec<Value> = rates.iter().enumerate().map(cell).collect();
    let options = json!({"url": "http://h/", "connections": 8, "rate": null});
    envelope("http", json!({"options": options, "cells": cells}))
}

/// A round of each rate of the hot class alone, and a tenth of it beside cold files.
pub(crate) fn mixed(rates: &[f64]) -> Results {
    let mut cells = Vec::new();
    for (round, rate) in rates.iter().enumerate() {
        for (condition, rate) in [("B", rate / 10.0), ("C", *rate)] {
            cells.push(json!({
                "round": round, "target": "<ours>", "condition": condition, "hot": class(rate),
            }));
        }
    }
    envelope(
        "mixed",
        json!({"options": {"hot_connections": 2}, "cells": cells}),
    )
}

/// One cell for each number of pairs.
pub(crate) fn scale() -> Results {
    let cell = |(watcher, pairs, us): (&str, u64, f64)| {
        let run = json!({"took_us": us * 10.0, "events": 10, "waits": 5, "scanned": pairs * 10});
        json!({"watcher": watcher, "pairs": pairs, "round": 0, "failure": null, "runs": [run]})
    };
    let cells = [
        ("poll", 100, 2.0),
        ("poll", 1000, 20.0),
        ("epoll", 100, 1.0),
        ("epoll", 1000, 1.0),
    ];
    let cells: Vec<Value> = cells.into_iter().map(cell).collect();
    envelope("scale", json!({"options": {"active": 1}, "cells": cells}))
}

/// One job.
pub(crate) fn disk() -> Results {
    let job = json!({
        "jobname": "hybrid",
        "job options": {"filename": "f", "bs": 4096},
        "read": {
            "total_ios": 10, "iops": 1000.0,
            "lat_ns": {"max": 9000, "percentile": {"50.000000": 1000, "99.000000": 8000}},
        },
        "cpu_us_per_io": 3.0,
    });
    envelope("disk", json!({"jobs": [job]}))
}

/// Of a command that nobody knows.
pub(crate) fn unknown() -> Results {
    envelope("tomorrow", json!({"answer": {"of": [42, "<b>"]}}))
}
