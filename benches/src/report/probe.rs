//! The report of `ambidex-bench probe`.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::Context;
use crate::probe::{Findings, Nowait, Reads};

/// The result of `ambidex-bench probe`.
///
/// In JSON `path`, `filesystem`, `place`, `io_uring` (`denied`), `hot` and `cold` (null if not
/// measured; `count`, `inside`, `workers`, `submit_us`, `submit_max_us`, `answer_us`,
/// `device_reads`, `verdict`), `nowait` (`works`, `always_there`, `unsupported` or null), `direct`
/// (`opens`, `memory_align`, `offset_align`) and `advice`: `about`, `finding`, `advice` of each.
#[derive(Clone, Debug)]
pub struct Probe<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was looked at.
    pub path: &'a Path,
    /// What was found.
    pub findings: &'a Findings,
}

impl Probe<'_> {
    /// As JSON; see [`Probe`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let found = self.findings;
        let reads = |reads: &Option<Reads>, is_cold| reads.map(|reads| to_json(&reads, is_cold));
        let nowait = found.nowait.map(|nowait| match nowait {
            Nowait::Works => "works",
            Nowait::AlwaysThere => "always_there",
            Nowait::Unsupported => "unsupported",
        });
        let advice: Vec<Value> = found
            .advice()
            .iter()
            .map(|one| json!({"about": one.about, "finding": one.finding, "advice": one.advice}))
            .collect();
        let mut report = self.context.to_json("probe", false);
        for (name, value) in [
            ("path", json!(self.path)),
            ("filesystem", json!(found.filesystem)),
            ("place", json!(found.place)),
            ("io_uring", json!({"denied": found.uring_denied})),
            ("hot", json!(reads(&found.hot, false))),
            ("cold", json!(reads(&found.cold, true))),
            ("nowait", json!(nowait)),
            (
                "direct",
                json!({
                    "opens": found.direct_opens,
                    "memory_align": found.direct.map(|asked| asked.memory),
                    "offset_align": found.direct.map(|asked| asked.offset),
                }),
            ),
            ("advice", json!(advice)),
        ] {
            report.insert(name.to_owned(), value);
        }
        Value::Object(report)
    }

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let found = self.findings;
        let kind = found.filesystem.as_deref().unwrap_or("unknown filesystem");
        let mut text = self.context.line();
        let _ = writeln!(
            text,
            "{}: {kind}, to the engine {}",
            self.path.display(),
            found.place
        );
        for one in found.advice() {
            let _ = writeln!(text, "{:<11} {}", one.about, one.finding);
            let _ = writeln!(text, "{:<11} {}", "", one.advice);
        }
        text
    }
}

fn to_json(reads: &Reads, is_cold: bool) -> Value {
    let us = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    json!({
        "count": reads.count,
        "inside": reads.inside,
        "workers": reads.workers,
        "submit_us": us(reads.submit),
        "submit_max_us": us(reads.submit_max),
        "answer_us": us(reads.whole),
        "device_reads": reads.device_reads,
        "verdict": reads.verdict(is_cold).name(),
    })
}
