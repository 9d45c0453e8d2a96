//! The report of `ambidex-bench echo-client`.

use serde_json::{Value, json};

use super::Context;
use super::figure::percent;
use crate::echo::client::{Load, Outcome};
use crate::table::{count, duration, table};

/// The result of `ambidex-bench echo-client`.
///
/// In JSON: `load` (`connections`, `idle`, `size`, `rate`; null is a closed loop) and `measurement`
/// with `seconds`, `client_cpu_seconds` and `messages`, an object like that of a class of clients
/// whose requests are messages.
#[derive(Clone, Debug)]
pub struct Echo<'a> {
    /// On what.
    pub context: &'a Context,
    /// What was asked.
    pub load: &'a Load,
    /// What was seen.
    pub outcome: &'a Outcome,
}

/// What was asked of a server.
pub(super) fn load(load: &Load) -> Value {
    json!({
        "connections": load.connections,
        "idle": load.idle,
        "size": load.size,
        "rate": load.interval.map(|interval| 1.0 / interval.as_secs_f64()),
    })
}

/// What a client saw.
pub(super) fn measurement(outcome: &Outcome) -> Value {
    json!({
        "seconds": outcome.seconds,
        "client_cpu_seconds": outcome.client.cpu().as_secs_f64(),
        "messages": outcome.summary.to_json(),
    })
}

impl Echo<'_> {
    /// As JSON; see [`Echo`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut report = self.context.to_json("echo", self.outcome.interrupted);
        report.insert("load".to_owned(), load(self.load));
        report.insert("measurement".to_owned(), measurement(self.outcome));
        Value::Object(report)
    }

    /// For people.
    #[must_use]
    pub fn to_table(&self) -> String {
        let (outcome, summary) = (self.outcome, &self.outcome.summary);
        let latency = &summary.latency;
        let used = outcome.client.cpu().as_secs_f64() / outcome.seconds;
        let columns = [
            ("", "echo".to_owned()),
            ("messages/s", count(summary.rate)),
            ("p50", duration(latency.p50)),
            ("p90", duration(latency.p90)),
            ("p99", duration(latency.p99)),
            ("p99.9", duration(latency.p999)),
            ("max", duration(latency.max)),
            ("client", percent(used)),
        ];
        let titles = columns.iter().map(|(title, _)| (*title).to_owned());
        let texts = columns.iter().map(|(_, text)| text.clone());
        let rows = [titles.collect::<Vec<_>>(), texts.collect()];
        let mut text = self.context.line() + &table(&rows);
        if outcome.interrupted {
            text += &format!("ended after {:.1} s\n", outcome.seconds);
        }
        if let Some(first) = &summary.first_error {
            text += &format!("{} connections lost; the first: {first}\n", summary.errors);
        }
        text
    }
}
