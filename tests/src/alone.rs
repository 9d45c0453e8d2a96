//! Tests in a process of their own, whose limits, signals, threads and children are nobody else's.

use std::env;
use std::process::Command;

/// Tells the process that a test runs in that it is alone there.
const ALONE: &str = "AMBIDEX_TESTS_ALONE";

/// Whether this is the process that [`alone`] made.
#[must_use]
pub fn is_alone() -> bool {
    env::var_os(ALONE).is_some()
}

/// Runs the test `name` of this suite again in a process of its own. True in that process.
///
/// # Panics
/// If the test fails there.
#[must_use]
pub fn alone(name: &str) -> bool {
    alone_under(&[], name)
}

/// As [`alone`], with the words of `wrapper` before the command.
///
/// # Panics
/// If the test fails there.
#[must_use]
pub fn alone_under(wrapper: &[String], name: &str) -> bool {
    if is_alone() {
        return true;
    }
    let program = env::current_exe().expect("this program");
    let mut command = match wrapper {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.args(["--exact", name]).env(ALONE, "1");
    let output = command.output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{}: {said}{complained}",
        output.status
    );
    assert!(said.contains("1 passed"), "{said}");
    false
}
