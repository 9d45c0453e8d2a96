//! What a figure was measured on and with.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// What a figure was measured on and with.
#[derive(Clone, Debug)]
pub struct Context {
    command: Vec<String>,
    started: SystemTime,
    kernel: String,
    processor: String,
    processors: usize,
    usable: usize,
    memory_bytes: u64,
    commit: Option<String>,
}

impl Context {
    /// Of this process, which started at `started`.
    #[must_use]
    pub fn new(started: SystemTime) -> Context {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kilobytes = field(&memory, "MemTotal").and_then(|text| {
            let number = text.split(' ').next()?;
            number.parse::<u64>().ok()
        });
        Context {
            command: std::env::args().collect(),
            started,
            kernel: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            processor: field(&cpus, "model name").unwrap_or("unknown").to_owned(),
            processors: cpus
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            usable: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kilobytes.unwrap_or(0) * 1024,
            commit: commit(),
        }
    }

    /// The fields that every report has.
    pub(super) fn to_json(&self, kind: &str, interrupted: bool) -> Map<String, Value> {
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let value = json!({
            "schema": 1,
            "tool": "ambidex-bench",
            "version": env!("CARGO_PKG_VERSION"),
            "kind": kind,
            "interrupted": interrupted,
            "command": self.command,
            "started_unix": started.as_secs(),
            "machine": {
                "processor": self.processor,
                "processors": self.processors,
                "processors_usable": self.usable,
                "memory_bytes": self.memory_bytes,
            },
            "kernel": self.kernel,
            "commit": self.commit,
        });
        match value {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    pub(super) fn line(&self) -> String {
        format!(
            "Linux {}, {} processors ({}), commit {}\n",
            self.kernel,
            self.processors,
            self.processor,
            self.commit.as_deref().unwrap_or("unknown")
        )
    }
}

/// The value of `name: value` or `name\t: value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// The commit of the working directory, with `+` if files differ from it.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changed.is_empty() { "" } else { "+" };
    Some(format!("{head}{mark}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found() {
        let text = "processor\t: 0\nmodel name\t: Intel: fast\nMemTotal:       49460064 kB\n";
        assert_eq!(field(text, "model name"), Some("Intel: fast"));
        assert_eq!(field(text, "MemTotal"), Some("49460064 kB"));
        assert_eq!(field(text, "absent"), None);
    }
}
