//! The program as a user starts it.

#![allow(dead_code, reason = "no suite needs all of it")]

use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_ambidex-bench");
pub(crate) const INTERRUPTED: i32 = 130;
/// How often to look for what nobody tells of.
pub(crate) const GLANCE: Duration = Duration::from_millis(5);
/// What has not ended by then never does.
const GUARD: Duration = Duration::from_secs(60);

/// A run of the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", complaint(output)))
}

/// What it said on standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Says that a test did not run, past the capture of a test that passes.
pub(crate) fn skipped(test: &str, reason: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {reason}");
}

/// Writes a program. By a process of its own: while a child that another test starts has our descriptors,
/// what we have open for writing cannot be run.
pub(crate) fn script(path: &Path, text: &str) {
    let mut writing = Command::new("sh");
    let words = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
    writing.args(["-c", words, "sh", text]).arg(path);
    assert!(writing.status().unwrap().success());
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A run that goes on, and that ends with the test.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Running {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(Some(command.spawn().unwrap()))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Writes a program. By a process of its own: while a child that another test starts has our descriptors,
    /// what we have open for writing cannot be run.
    pub(crate) fn script(path: &Path, text: &str) {
        let mut writing = Command::new("sh");
        let words = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
        writing.args(["-c", words, "sh", text]).arg(path);
        assert!(writing.status().unwrap().success());
    }

    pub(crate) fn signal(&mut self, number: Signal) {
        signal(self.child().id(), number);
    }

    /// Waits until it has ended by itself.
    pub(crate) fn finish(mut self) -> Output {
        let child = self.0.take().unwrap();
        let (id, (sender, receiver)) = (child.id(), mpsc::channel());
        thread::spawn(move || sender.send(child.wait_with_output()));
        let ended = receiver.recv_timeout(GUARD);
        if ended.is_err() {
            signal(id, Signal::KILL);
        }
        ended.expect("it goes on").unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // The test has failed already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
