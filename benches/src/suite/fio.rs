//! fio, as a reference for disks.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Error;

/// What is read.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One file.
    File(PathBuf),
    /// The files `0`, `1` and on in a directory, so many.
    Numbered(PathBuf, usize),
}

/// Random reads by its io_uring engine.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) place: Place,
    /// Of each file.
    pub(super) bytes: u64,
    pub(super) block_bytes: u64,
    pub(super) depth: usize,
    pub(super) direct: bool,
    pub(super) runtime: Duration,
}

impl Job {
    fn arguments(&self) -> Vec<String> {
        let (mut words, files) = match &self.place {
            Place::File(file) => (vec![format!("--filename={}", file.display())], 1),
            Place::Numbered(directory, count) => {
                let words = [
                    format!("--directory={}", directory.display()),
                    "--filename_format=$filenum".to_owned(),
                    format!("--nrfiles={count}"),
                ];
                (words.to_vec(), *count as u64)
            }
        };
        words.extend([
            "--name=suite".to_owned(),
            format!("--size={}", self.bytes * files),
            format!("--filesize={}", self.bytes),
            format!("--bs={}", self.block_bytes),
            format!("--iodepth={}", self.depth),
            format!("--direct={}", u8::from(self.direct)),
            format!("--runtime={}", self.runtime.as_secs_f64()),
        ]);
        let more = [
            "--rw=randread",
            "--ioengine=io_uring",
            "--thread",
            "--file_service_type=random",
            "--random_generator=tausworthe64",
            "--output-format=json",
        ];
        words.extend(more.map(str::to_owned));
        if self.direct {
            // As long as it takes, some blocks more than once.
            words.extend(["--time_based", "--norandommap"].map(str::to_owned));
        }
        words
    }
}

/// Reads a second. What is not direct reads each block once at most.
pub(super) fn run(program: &Path, job: &Job) -> Result<f64, Error> {
    let failed = |why: String| Error::Run(format!("{}: {why}", program.display()));
    let output = Command::new(program).args(job.arguments()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last = said.lines().last().unwrap_or("it said nothing");
        return Err(failed(format!("{}: {last}", output.status)));
    }
    iops(&output.stdout).ok_or_else(|| failed("its output has no rate".to_owned()))
}

/// What it says before its JSON is a warning.
fn iops(output: &[u8]) -> Option<f64> {
    let start = output.iter().position(|byte| *byte == b'{')?;
    let report: Value = serde_json::from_slice(&output[start..]).ok()?;
    let iops = report["jobs"][0]["read"]["iops"].as_f64()?;
    Some(iops).filter(|iops| *iops > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_before_the_report_is_passed_over() {
        let report = b"fio: this is slow\n{\"jobs\": [{\"read\": {\"iops\": 12.5}}]}";
        assert_eq!(iops(report), Some(12.5));
        assert_eq!(iops(b"{\"jobs\": []}"), None);
        assert_eq!(iops(b"no"), None);
        assert_eq!(iops(b"{\"jobs\": [{\"read\": {\"iops\": 0}}]}"), None);
    }

    #[test]
    fn several_files_are_one_job() {
        let job = Job {
            place: Place::Numbered("/a".into(), 2),
            bytes: 4096,
            block_bytes: 4096,
            depth: 32,
            direct: false,
            runtime: Duration::from_millis(1500),
        };
        let words = job.arguments();
        for expected in [
            "--directory=/a",
            "--nrfiles=2",
            "--size=8192",
            "--runtime=1.5",
            "--direct=0",
        ] {
            assert!(
                words.iter().any(|word| word == expected),
                "{expected} in {words:?}"
            );
        }
        assert!(!words.iter().any(|word| word == "--time_based"));
    }
}
