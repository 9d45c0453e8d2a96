//! Known traps of epoll, of io_uring and of loops on both, each proven absent: those that no other suite proves.
//! The page docs/src/traps.md has them all, with the test for each.

#[path = "traps/clock.rs"]
mod clock;
#[path = "traps/fairness.rs"]
mod fairness;
#[path = "traps/hosts.rs"]
mod hosts;
#[path = "traps/hyper.rs"]
mod hyper;
#[path = "traps/loans.rs"]
mod loans;
#[path = "traps/page.rs"]
mod page;
#[path = "traps/wakes.rs"]
mod wakes;

use std::fs;
use std::path::PathBuf;

use ambidex_tests::loops::pattern;
use tempfile::TempDir;

/// A place on a disk.
const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// How often: `quick` under plain `cargo test`, `many` under `AMBIDEX_PROVE`.
fn times(quick: usize, many: usize) -> usize {
    match std::env::var_os("AMBIDEX_PROVE") {
        None => quick,
        Some(_) => many,
    }
}

/// A directory in `place` with a file `data` of `length` bytes.
fn directory(place: &str, length: usize) -> (TempDir, PathBuf) {
    let directory = TempDir::new_in(place).expect("a directory");
    let path = directory.path().join("data");
    fs::write(&path, pattern(length)).expect("a file");
    (directory, path)
}
