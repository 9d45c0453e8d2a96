//! One script of behaviours, run on the simulated kernels and on the real one: what the simulation shows of the engine is
//! worth as much as it is like Linux.
//!
//! A behaviour is a small script over a seam that notes down what happened, as text, and what Linux makes of it. Each
//! kernel that notes down something else is declared in `conformance/divergences.rs`, with the reason why it does not
//! matter. What diverges undeclared fails, and what is declared and does not diverge fails too.

#[path = "conformance/divergences.rs"]
mod divergences;
#[path = "conformance/files.rs"]
mod files;
#[path = "conformance/judge.rs"]
mod judge;
#[path = "conformance/seam.rs"]
mod seam;
#[path = "conformance/sockets.rs"]
mod sockets;
#[path = "conformance/text.rs"]
mod text;

use std::io::Write;
use std::path::Path;

use ambidex_tests::rig::loopfs::{Filesystem, LoopFs};
use ambidex_tests::rig::skipped;
use ambidex_tests::sim::backends;
use judge::Record;

/// Runs in a directory of each filesystem, by its name: of all under `AMBIDEX_PROVE`, else of one on a disk and one in
/// memory.
fn each_place(mut run: impl FnMut(&Path, &'static str)) {
    let mounted: &[Filesystem] = match std::env::var_os("AMBIDEX_PROVE") {
        None => &[Filesystem::Ext4],
        Some(_) => &[
            Filesystem::Ext4,
            Filesystem::Xfs,
            Filesystem::Btrfs,
            Filesystem::Overlay,
        ],
    };
    for filesystem in mounted.iter().copied() {
        match LoopFs::mount(filesystem) {
            Ok(mount) => run(&mount.path(), filesystem.name()),
            Err(error) => skipped(&format!("conformance on {filesystem}"), &error.to_string()),
        }
    }
    run(Path::new("/dev/shm"), "tmpfs");
}

#[test]
fn the_simulated_kernels_do_what_linux_does_but_for_what_is_declared() {
    let mut record = Record::default();
    files::simulated(&mut record);
    seam::simulated(&mut record);
    each_place(|place, filesystem| {
        for choice in backends("conformance") {
            files::real(&mut record, place, filesystem, choice);
            seam::real(&mut record, place, filesystem, choice);
        }
    });
    sockets::run(&mut record);
    let failures = record.judge(divergences::DECLARED, divergences::NOT_SIMULATED);
    assert!(
        failures.is_empty(),
        "{} wrong:\n{}",
        failures.len(),
        failures.join("\n")
    );
    // Past the test harness: `tests/prove` reads it.
    let _ = writeln!(
        std::io::stderr(),
        "PROVED conformance: {} behaviours on {} kernels/filesystems, {} declared divergences, {} behaviours not simulated",
        record.behaviours(),
        record.kernels(),
        divergences::DECLARED.len(),
        divergences::NOT_SIMULATED.len(),
    );
}
