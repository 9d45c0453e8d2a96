//! Rigs: the ways these suites make storage slow, broken or absent, and watch what the server does.
//!
//! Each rig says through a `missing()` or an error why this machine cannot run it, so that a suite
//! can skip by name instead of failing on a laptop or in a container.

pub mod blkio;
pub mod cold;
pub mod fuse;
mod group;
pub mod load;
pub mod loopdisk;
pub mod loopfs;
pub mod memory;
pub mod processes;
pub mod strace;

use std::fs;
use std::io::{self, Write};

/// Says on standard error that the test `name` did not run, and why.
pub fn skipped(name: &str, reason: &str) {
    // Not `eprintln!`, which the test runner keeps to itself when a test passes. There is nobody to
    // tell that standard error is closed.
    let _ = writeln!(io::stderr(), "SKIPPED {name}: {reason}");
}

/// The names of the threads of `pid`, the kernel's I/O workers (`iou-...`) among them.
///
/// # Panics
/// When there is no such process.
pub fn thread_names(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it is running");
    // One may have ended meanwhile.
    let names = threads.filter_map(|t| fs::read_to_string(t.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

/// Whether the process `pid` is on its way out: ended, or with a thread that SIGKILL is only waiting to end.
///
/// That is as far as a process gets while the kernel waits for storage on its behalf: exit(2) has been
/// called, but nobody can reap it before the request is answered.
pub fn is_exiting(pid: u32) -> bool {
    const SIGKILL: u64 = 1 << (9 - 1);
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    let statuses = threads.filter_map(|t| fs::read_to_string(t.ok()?.path().join("status")).ok());
    statuses.into_iter().any(|status| {
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let pending = field("SigPnd:\t").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        field("State:\t").is_some_and(|state| state.starts_with('Z'))
            || pending.is_some_and(|mask| mask & SIGKILL != 0)
    })
}
