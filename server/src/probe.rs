//! What this kernel and container allow.

use std::fmt::{self, Write};
use std::fs;
use std::io;

use ambidex::disk::{Backend, Capabilities, Choice, Options, Ring};
use serde_json::{Value, json};

/// A limit of getrlimit(2): soft, hard; `None` is unlimited.
pub type Limit = (Option<u64>, Option<u64>);

/// The findings; [`fmt::Display`] is for people, [`Report::to_json`] for programs.
#[derive(Clone, Debug)]
pub struct Report {
    /// The release, as uname(2) gives it.
    pub kernel: String,
    /// What a ring obtains with the choice of `AMBIDEX_DISK`: what `serve` would use.
    pub obtained: Capabilities,
    /// Why io_uring cannot be had; `None` if it can.
    pub uring_denied: Option<String>,
    /// The sysctl `kernel.io_uring_disabled`, if there is one (Linux 6.6).
    pub uring_disabled: Option<String>,
    /// RLIMIT_MEMLOCK in bytes.
    pub memlock: Option<Limit>,
    /// RLIMIT_NOFILE.
    pub nofile: Option<Limit>,
    /// Processors that this process may use.
    pub cpus: usize,
}

impl Report {
    /// Looks around.
    ///
    /// # Errors
    /// A value of `AMBIDEX_DISK` that is none, or too few descriptors for a ring.
    ///
    /// ```
    /// let report = ambidex_server::probe::Report::new()?;
    /// assert!(report.to_json()["kernel"].is_string());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Report> {
        let choice = Choice::from_environment()?;
        let ring = |choice| {
            Ring::new(&Options {
                choice,
                ..Options::default()
            })
        };
        let uring = ring(Choice::Uring);
        let uring_denied = uring.as_ref().err().map(ToString::to_string);
        let obtained = match (choice, uring) {
            (Choice::Auto | Choice::Uring, Ok(ring)) => ring.capabilities().clone(),
            (Choice::Uring, Err(error)) => return Err(error),
            _ => ring(Choice::Threads)?.capabilities().clone(),
        };
        let sysctl = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?;
            Some(text.trim().to_owned())
        };
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Ok(Report {
            kernel: sysctl("osrelease").unwrap_or_else(|| "unknown".to_owned()),
            obtained,
            uring_denied,
            uring_disabled: sysctl("io_uring_disabled"),
            memlock: limit(&limits, "Max locked memory"),
            nofile: limit(&limits, "Max open files"),
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
        })
    }

    /// The findings as JSON, schema version 1.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let limit = |limit: Option<Limit>| limit.map(|(soft, hard)| json!([soft, hard]));
        let operations: serde_json::Map<String, Value> = self
            .obtained
            .operations
            .iter()
            .map(|(name, supported)| ((*name).to_owned(), json!(supported)))
            .collect();
        json!({
            "schema": 1,
            "kernel": self.kernel,
            "backend": self.obtained.backend.to_string(),
            "io_uring": {
                "available": self.uring_denied.is_none(),
                "denied": self.uring_denied,
                "disabled_sysctl": self.uring_disabled,
                "flags": self.obtained.flags,
                "operations": operations,
                "sq_entries": self.obtained.sq_entries,
                "cq_entries": self.obtained.cq_entries,
                "downgrades": self.obtained.downgrades,
            },
            "openat2": self.obtained.openat2,
            "memlock": limit(self.memlock),
            "nofile": limit(self.nofile),
            "cpus": self.cpus,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel      {}", self.kernel)?;
        match &self.uring_denied {
            None => writeln!(f, "io_uring    yes")?,
            Some(why) => writeln!(f, "io_uring    no: {why}")?,
        }
        if let Some(value) = &self.uring_disabled {
            writeln!(f, "  sysctl    kernel.io_uring_disabled = {value}")?;
        }
        if self.obtained.backend == Backend::Uring {
            writeln!(f, "  flags     {}", self.obtained.flags.join(" "))?;
            let mut names = String::new();
            for (name, supported) in &self.obtained.operations {
                write!(
                    names,
                    "{name}{} ",
                    if *supported { "" } else { " (missing)" }
                )?;
            }
            writeln!(f, "  opcodes   {}", names.trim_end())?;
            let Capabilities {
                sq_entries,
                cq_entries,
                ..
            } = self.obtained;
            writeln!(
                f,
                "  queues    {sq_entries} submissions, {cq_entries} completions"
            )?;
        }
        for downgrade in &self.obtained.downgrades {
            writeln!(f, "  note      {downgrade}")?;
        }
        let openat2 = if self.obtained.openat2 {
            "yes: paths are contained by the kernel"
        } else {
            "no: paths are walked, symbolic links are not followed"
        };
        writeln!(f, "openat2     {openat2}")?;
        writeln!(f, "memlock     {}", show(self.memlock, " bytes"))?;
        writeln!(f, "nofile      {}", show(self.nofile, ""))?;
        writeln!(f, "cpus        {}", self.cpus)?;
        write!(f, "backend     {}", self.obtained.backend)
    }
}

fn show(limit: Option<Limit>, unit: &str) -> String {
    let one =
        |value: Option<u64>| value.map_or("unlimited".to_owned(), |value| format!("{value}{unit}"));
    match limit {
        None => "unknown".to_owned(),
        Some((soft, hard)) => format!("{}, at most {}", one(soft), one(hard)),
    }
}

/// A line of /proc/self/limits: name, soft, hard, unit; proc(5).
fn limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace().map(|word| word.parse().ok());
    Some((words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_their_line() {
        let text = "Limit   Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n\
                    Max locked memory  unlimited  8192  bytes\n";
        assert_eq!(
            limit(text, "Max open files"),
            Some((Some(1024), Some(4096)))
        );
        assert_eq!(limit(text, "Max locked memory"), Some((None, Some(8192))));
        assert_eq!(limit(text, "Max cpu time"), None);
    }
}
