//! Somebody else's program checks our path to the disk: fio, unmodified, writes blocks with checksums by libaio, which
//! the shim carries out on the engine, reads them back and verifies each. On both backends, by both faces.

#[path = "fio/calls.rs"]
mod calls;
#[path = "fio/job.rs"]
mod job;
// What is preloaded, to be called without fio.
#[path = "../shim/lib.rs"]
#[expect(unreachable_pub, reason = "as a library it is reached")]
mod shim;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use ambidex::disk::Choice;
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{built, finish};
use ambidex_tests::sim::backends;
use serde_json::Value;
use tempfile::TempDir;

use job::Job;

static SHIM: LazyLock<String> = LazyLock::new(|| {
    let target = ["--example", "libaio_shim"];
    let path = built(&target, "libaio_shim");
    path.to_str().expect("a path in UTF-8").to_owned()
});

/// How far the suite goes: bytes of each job's file.
fn size() -> &'static str {
    match std::env::var("AMBIDEX_PROVE").as_deref() {
        Ok("long") => "64m",
        Ok("ci") => "6m",
        _ => "192k",
    }
}

/// The value of `AMBIDEX_DISK`.
fn name(backend: Choice) -> &'static str {
    match backend {
        Choice::Uring => "uring",
        Choice::Threads => "threads",
        Choice::Auto => "auto",
    }
}

/// What fio and the shim say of one run.
struct Run {
    output: Output,
    /// About each job, in JSON.
    told: String,
    /// What the shims counted, all contexts together.
    tally: BTreeMap<String, u64>,
    backends: Vec<String>,
}

impl Run {
    /// Has fio do `jobs` in `folder`, with these further variables.
    fn new(folder: &Path, backend: Choice, jobs: &[Job], envs: &[(&str, &str)]) -> Run {
        let text: String = jobs.iter().map(Job::text).collect();
        fs::write(folder.join("jobs"), text).expect("a file of jobs");
        let tally = TempDir::new().expect("a directory");
        let mut command = Command::new("fio");
        command
            .current_dir(folder)
            // A pipe would not hold all that it says.
            .args(["--output-format=json", "--output=told", "jobs"])
            .env("LD_PRELOAD", &*SHIM)
            .env("AMBIDEX_DISK", name(backend))
            .env("AMBIDEX_SHIM_TALLY", tally.path())
            .envs(envs.iter().copied());
        let output = finish(&mut command);
        let mut run = Run {
            output,
            told: fs::read_to_string(folder.join("told")).unwrap_or_default(),
            tally: BTreeMap::new(),
            backends: Vec::new(),
        };
        for entry in fs::read_dir(tally.path()).expect("our directory") {
            run.add(&fs::read_to_string(entry.expect("an entry").path()).expect("a tally"));
        }
        run
    }

    /// The first line is the backend, each other a name and a count.
    fn add(&mut self, text: &str) {
        let mut lines = text.lines();
        self.backends.extend(lines.next().map(str::to_owned));
        for line in lines {
            let (name, count) = line.split_once(' ').expect("a name and a count");
            let count: u64 = count.parse().expect("a count");
            *self.tally.entry(name.to_owned()).or_default() += count;
        }
    }

    /// What fio tells of each job; what it says before is for people.
    fn jobs(&self) -> Vec<Value> {
        let json = self.told.find('{').map_or("", |start| &self.told[start..]);
        let told: Value = serde_json::from_str(json).expect("fio's JSON");
        told["jobs"].as_array().expect("a list of jobs").clone()
    }

    fn count(&self, name: &str) -> u64 {
        self.tally.get(name).copied().unwrap_or(0)
    }

    /// Checks that all went well and by the shim. Tells how many blocks were verified.
    fn verified(&self, backend: Choice, expected: &[Job]) -> u64 {
        assert!(self.output.status.success(), "{:?}", self.output);
        let jobs = self.jobs();
        assert_eq!(jobs.len(), expected.len());
        let (mut reads, mut writes, mut verified) = (0, 0, 0);
        for (told, job) in jobs.iter().zip(expected) {
            assert_eq!(told["error"], 0, "{told}");
            let ios = |direction: &str| told[direction]["total_ios"].as_u64().expect("a count");
            // Each block that was written has been read back; a job that only reads verifies all.
            let of_job = if job.writes() {
                ios("write")
            } else {
                ios("read")
            };
            assert!(of_job > 0 || job.lays_out(), "{told}");
            assert!(job.lays_out() || ios("read") >= of_job, "{told}");
            verified += if job.lays_out() { 0 } else { of_job };
            reads += ios("read");
            writes += ios("write");
        }
        assert_eq!(self.backends, vec![name(backend); expected.len()]);
        assert_eq!((self.count("reads"), self.count("writes")), (reads, writes));
        for nothing in ["failed", "stale", "bugs"] {
            assert_eq!(self.count(nothing), 0, "{nothing}: {:?}", self.tally);
        }
        verified
    }
}

fn has_fio(test: &str) -> bool {
    let found = Command::new("fio").arg("--version").output();
    if let Err(error) = &found {
        skipped(test, &format!("fio: {error}"));
    }
    found.is_ok()
}

#[test]
fn fio_finds_each_block_as_it_wrote_it() {
    if !has_fio("fio") {
        return;
    }
    let memory = TempDir::new_in("/dev/shm").ok();
    if memory.is_none() {
        skipped("fio on a filesystem in memory", "there is no /dev/shm");
    }
    let jobs = job::matrix(size(), memory.as_ref().map(TempDir::path));
    let (mut verified, mut runs, mut bytes) = (0, 0, 0);
    for backend in backends("fio") {
        for face in ["token", "task"] {
            let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let run = Run::new(
                folder.path(),
                backend,
                &jobs,
                &[("AMBIDEX_SHIM_FACE", face)],
            );
            verified += run.verified(backend, &jobs);
            bytes += run.count("bytes");
            runs += 1;
        }
    }
    let (jobs, mebibytes) = (runs * jobs.len(), bytes >> 20);
    // Past the test harness, for tests/prove.
    let _ = writeln!(
        std::io::stderr(),
        "PROVED fio: {jobs} jobs, {verified} blocks verified, {mebibytes} MiB moved, {runs} runs",
    );
}

#[test]
fn fio_notices_a_byte_that_was_flipped_and_a_write_that_was_lost() {
    if !has_fio("fio with faults") {
        return;
    }
    let both = [Job::new("randwrite", 8)];
    let apart = job::pair("randread", 8, "direct=1", "128k");
    for backend in backends("fio with faults") {
        for (face, fault, jobs) in [
            ("token", "flip", &both[..]),
            ("task", "flip", &apart),
            ("token", "drop", &both),
        ] {
            let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let envs = [("AMBIDEX_SHIM_FACE", face), ("AMBIDEX_SHIM_FAULT", fault)];
            let run = Run::new(folder.path(), backend, jobs, &envs);
            assert!(!run.output.status.success(), "{fault}: {:?}", run.output);
            let said = String::from_utf8_lossy(&run.output.stderr);
            assert!(said.contains("verify"), "{fault}: {said}");
            assert!(run.count("reads") > 0, "by the shim");
        }
    }
}
