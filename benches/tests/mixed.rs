//! `ambidex-bench mixed` as a user has it: on servers of its own, on a disk that is slowed, and what it
//! leaves behind.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use common::{GLANCE, INTERRUPTED, PROGRAM, Running, complaint, json, run, skipped};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::Signal;

#[test]
fn an_interrupted_mix_leaves_no_server_and_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let (script, record) = (dir.path().join("serve"), dir.path().join("record"));
    let text = format!(
        "#!/bin/sh\necho \"$$ $2\" > {}\nkill -INT $PPID\nexec {PROGRAM} \"$@\"\n",
        record.display()
    );
    common::script(&script, &text);
    let script = script.to_str().unwrap();
    let output = run(&["mixed", "--serve", script, "--engine", "threads", "--json"]);
    assert_eq!(
        output.status.code(),
        Some(INTERRUPTED),
        "{}",
        complaint(&output)
    );
    assert_eq!(json(&output)["interrupted"], true);
    let record = fs::read_to_string(record).unwrap();
    let (pid, site) = record.trim().split_once(' ').unwrap();
    assert!(
        site.contains("/ambidex-bench-") && !Path::new(site).exists(),
        "{site}"
    );
    assert!(
        !Path::new("/proc").join(pid).exists(),
        "the server lives: {pid}"
    );
}

#[test]
fn our_own_server_is_measured_without_being_told_of_any() {
    let output = run(&[
        "mixed",
        "--rounds",
        "1",
        "--runtime",
        "0.1",
        "--warm-up",
        "0",
        "--cold-files",
        "20",
        "--engine",
        "threads",
        "--json",
    ]);
    assert!(output.status.success(), "{}", complaint(&output));
    let result = json(&output);
    let cells = result["cells"].as_array().unwrap();
    let letters: Vec<&str> = cells
        .iter()
        .map(|cell| cell["condition"].as_str().unwrap())
        .collect();
    assert_eq!(letters, ["A", "B", "C", "D"]);
    assert!(
        cells
            .iter()
            .all(|cell| cell["target"] == "threads" && cell["failure"].is_null())
    );
    // A busy machine may not answer in so short a time, but all were asked.
    let cold = &cells[1]["cold"];
    let asked = ["requests", "unfinished"].map(|name| cold[name].as_u64().unwrap());
    assert!(asked.iter().sum::<u64>() > 0, "{cold}");
    assert!(cells[0]["server_cpu_seconds"].is_number(), "{}", cells[0]);
}

/// Reads a second of a slow disk.
const IOPS: f64 = 20.0;

/// A directory to be served, and to be mounted in.
struct Stage(tempfile::TempDir);

impl Stage {
    fn new() -> Stage {
        Stage(tempfile::tempdir_in("/var/tmp").unwrap())
    }

    fn cold(&self) -> PathBuf {
        self.0.path().join("cold")
    }

    fn is_mounted(&self) -> bool {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(&format!(" {} ", self.cold().display()))
    }

    /// The words of `mixed` on a disk that FUSE slows, with these besides.
    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let directory = self.0.path().to_str().unwrap();
        let mut all = vec!["mixed", "--directory", directory, "--engine", "threads"];
        all.extend(["--slow-disk", "20", "--slow-disk-by", "fuse"]);
        all.extend(["--warm-up", "0", "--cold-files", "50", "--json"]);
        all.extend(more);
        all
    }

    /// A run that goes on for long, once its mount is there.
    fn mounted(&self, test: &str) -> Option<Running> {
        let mut running = Running::start(&self.arguments(&["--rounds", "1000"]));
        while !self.is_mounted() {
            if running.child().try_wait().unwrap().is_some() {
                let output = running.finish();
                assert!(lacks_fuse(test, &output), "{}", complaint(&output));
                return None;
            }
            thread::sleep(GLANCE);
        }
        Some(running)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // That of a run that was killed.
        if self.is_mounted() {
            let _ = unmount(self.cold(), UnmountFlags::DETACH);
        }
    }
}

/// Whether this machine has no FUSE, which is said.
fn lacks_fuse(test: &str, output: &Output) -> bool {
    let told = complaint(output);
    let lacks = told.contains("--slow-disk cannot be had");
    if lacks {
        skipped(test, told.trim());
    }
    lacks
}

#[test]
fn fuse_slows_cold_reads_and_is_gone_after_it() {
    let stage = Stage::new();
    let output = run(&stage.arguments(&["--rounds", "1", "--runtime", "1"]));
    if lacks_fuse("fuse_slows_cold_reads_and_is_gone_after_it", &output) {
        return;
    }
    assert!(output.status.success(), "{}", complaint(&output));
    assert!(!stage.is_mounted());
    assert!(stage.cold().join("cold-00049.bin").exists());
    let result = json(&output);
    assert_eq!(result["options"]["slow_disk_by"], "fuse");
    assert!(complaint(&output).contains("20 reads/s in B and D, by fuse"));
    let cells = result["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4);
    for cell in cells.iter().filter(|cell| cell["condition"] != "C") {
        let answered = cell["cold"]["requests"].as_f64().unwrap();
        // No less than a read for each, and no faster than it is allowed: a slow machine answers fewer.
        let most = cell["seconds"].as_f64().unwrap() * IOPS + 1.0;
        let is_slowed = cell["condition"] != "A";
        assert!(
            !is_slowed || answered <= most,
            "{answered} of {most}: {cell}"
        );
    }
}

#[test]
fn an_interrupt_takes_the_mount_away() {
    let stage = Stage::new();
    let Some(mut running) = stage.mounted("an_interrupt_takes_the_mount_away") else {
        return;
    };
    running.signal(Signal::INT);
    let output = running.finish();
    let told = complaint(&output);
    assert_eq!(output.status.code(), Some(INTERRUPTED), "{told}");
    assert_eq!(json(&output)["interrupted"], true);
    assert!(!stage.is_mounted());
}

#[test]
fn what_a_killed_run_left_mounted_is_named() {
    let stage = Stage::new();
    let Some(mut running) = stage.mounted("what_a_killed_run_left_mounted_is_named") else {
        return;
    };
    running.signal(Signal::KILL);
    running.finish();
    assert!(stage.is_mounted());
    let output = run(&stage.arguments(&[]));
    assert_eq!(output.status.code(), Some(2));
    let told = complaint(&output);
    let expected = format!("umount {}", stage.cold().display());
    assert!(told.contains(&expected), "{told}");
}
