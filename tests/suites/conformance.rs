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

use judge::Record;

/// Whether all is run, or what takes a second.
fn is_proof() -> bool {
    std::env::var_os("AMBIDEX_PROVE").is_some()
}

#[test]
fn the_simulated_kernels_do_what_linux_does_but_for_what_is_declared() {
    let mut record = Record::default();
    files::run(&mut record);
    seam::run(&mut record);
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
