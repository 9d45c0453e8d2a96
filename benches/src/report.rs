//! What came out: a table for people, JSON for programs.
//!
//! # The JSON, schema 1
//!
//! Every report has `schema` (1; it grows by fields only, anything else is another number), `tool`,
//! `version`, `command` (the arguments), `started_unix` (seconds), `machine`, `kernel`, `commit` (of
//! the working directory; null outside a git repository), `kind` and `interrupted`.
//!
//! A *measurement* has `seconds`, one object for each class of clients (`hot`, `cold`) with
//! `requests`, `bytes`, `errors`, `first_error`, `requests_per_second`, `unfinished` and
//! `latency_us` (`mean`, `p50`, `p90`, `p99`, `p99_9`, `p99_99`, `max`, and `percentiles`, a curve of
//! pairs). In an open loop that counts from when a request was due, `due` is how many were, and
//! `uncorrected_latency_us` counts from when they were sent. Then `server_cpu_seconds`,
//! `server_cpu_us_per_request`, `server_disk_bytes` (null if unknown), `client_cpu_seconds` and `failure`:
//! why it does not count (interrupted, the server was lost), or null.
//!
//! - `kind: "http"`: see [`Http`].
//! - `kind: "mixed"`: see [`Mixed`].
//! - `kind: "disk"`: `jobs`, in fio's names and units, and `summary`, see [`Disk`].
//! - `kind: "probe"`: see [`Probe`].
//! - `kind: "echo"` and `kind: "net"`: see [`Echo`] and [`Net`].
//! - `kind: "scale"`: see [`Scale`].
//! - `kind: "suite"`: see [`Suite`].

mod context;
mod disk;
mod echo;
mod figure;
mod http;
mod mixed;
mod net;
mod probe;
mod scale;
mod suite;

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::load::Measurement;

pub use context::Context;
pub use disk::Disk;
pub use echo::Echo;
pub use http::Http;
pub use mixed::Mixed;
pub use net::Net;
pub use probe::Probe;
pub use scale::Scale;
pub use suite::Suite;

/// From this share of a processor on, the client rather than the server may have been measured.
const BUSY_SHARE: f64 = 0.97;

impl Measurement {
    fn requests(&self) -> u64 {
        self.classes.iter().map(|class| class.requests).sum()
    }

    /// Failures of all classes.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.classes.iter().map(|class| class.errors).sum()
    }

    /// The server's processor time for each request of any class, in seconds.
    pub(super) fn cpu_per_request(&self) -> Option<f64> {
        let time = self.usage.server?.as_secs_f64();
        Some(time / self.requests() as f64).filter(|seconds| seconds.is_finite())
    }

    pub(super) fn share(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.seconds
    }

    pub(super) fn to_json(&self) -> Value {
        let server = self.usage.server.map(|time| time.as_secs_f64());
        let mut value = json!({
            "seconds": self.seconds,
            "server_cpu_seconds": server,
            "server_cpu_us_per_request": self.cpu_per_request().map(|seconds| seconds * 1e6),
            "server_disk_bytes": self.usage.server_disk_bytes,
            "client_cpu_seconds": self.usage.client.as_secs_f64(),
            "failure": self.failure,
        });
        for (name, class) in ["hot", "cold"].iter().zip(&self.classes) {
            if !class.is_idle() {
                value[name] = class.to_json();
            }
        }
        value
    }
}

/// What errors there were and whose limit was measured, a line each.
fn remarks<'a>(measurements: impl Iterator<Item = &'a Measurement> + Clone) -> String {
    let mut text = String::new();
    let errors: u64 = measurements.clone().map(Measurement::errors).sum();
    if errors > 0 {
        let mut classes = measurements.clone().flat_map(|one| &one.classes);
        let first = classes.find_map(|class| class.first_error.as_deref());
        let first = first.unwrap_or("unknown");
        let _ = writeln!(text, "{errors} requests failed; the first: {first}");
    }
    let most = measurements.map(|one| one.share(one.usage.client));
    let most = most.fold(0.0, f64::max);
    if most > BUSY_SHARE {
        let percent = most * 100.0;
        let _ = writeln!(
            text,
            "the client used {percent:.0}% of a processor: the server may be faster than this"
        );
    }
    text
}
