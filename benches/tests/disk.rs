//! `ambidex-bench disk` and `probe` as they are run: exit status, output, what is left behind.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use serde_json::Value;

/// Longer than anything here takes, on any machine.
const HANG: Duration = Duration::from_secs(60);

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn bench(arguments: &[&str], dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ambidex-bench"));
    command.args(arguments).current_dir(dir);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str], dir: &Path) -> Output {
    bench(arguments, dir).output().expect("it runs")
}

fn json(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

/// Bytes that the process has read by system calls; proc_pid_io(5).
fn read_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Real.now();
    while !is_so() {
        assert!(Real.now() - start < HANG, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends a process, so that it does not outlast a failed assertion.
struct Ended(Option<Child>);

impl Ended {
    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("it was not taken")
    }

    fn output(mut self) -> Output {
        let child = self.0.take().expect("it was not taken");
        child.wait_with_output().expect("it ends")
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", name, &pid]).status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn a_signal_ends_it_and_what_was_measured_is_told() {
    for name in ["INT", "TERM"] {
        let dir = directory();
        let arguments = [
            "disk",
            "--directory",
            ".",
            "--size",
            "1m",
            "--runtime",
            "600",
            "--engine",
            "pread,mmap",
            "--json",
        ];
        let child = bench(&arguments, dir.path()).spawn().expect("it runs");
        let mut child = Ended(Some(child));
        // Nothing but the measured reads reads so much.
        until("it reads", || {
            let ended = child.child().try_wait().expect("it is ours").is_some();
            assert!(!ended, "it ended by itself");
            read_bytes(child.child().id()) > 8 << 20
        });
        signal(child.child(), name);
        let output = child.output();
        assert_eq!(output.status.code(), Some(130), "{name}");
        let report = json(&output);
        assert_eq!(report["interrupted"], true);
        let jobs = report["jobs"].as_array().expect("jobs");
        assert_eq!(jobs.len(), 1, "the others were not begun");
        assert_eq!(jobs[0]["interrupted"], true);
        assert!(jobs[0]["read"]["total_ios"].as_u64() > Some(1000));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("interrupted after"), "{told}");
        assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
    }
}

#[test]
fn a_wrong_byte_is_a_failure_that_names_file_and_offset() {
    let dir = directory();
    let arguments = [
        "disk",
        "--filename",
        "blocks",
        "--size",
        "64k",
        "--rw",
        "read",
        "--number_ios",
        "16",
        "--engine",
        "pread",
        "--verify",
        "--json",
    ];
    let first = output(&arguments, dir.path());
    assert_eq!(first.status.code(), Some(0));
    assert_eq!(json(&first)["jobs"][0]["verified_blocks"], 16);
    let path = dir.path().join("blocks");
    let mut bytes = fs::read(&path).expect("the file was kept");
    bytes[5000] ^= 1;
    fs::write(&path, &bytes).expect("the file");
    let second = output(&arguments, dir.path());
    assert_eq!(second.status.code(), Some(1));
    let report = json(&second);
    let told = report["error"].as_str().expect("a reason");
    assert!(
        told.contains("blocks") && told.contains("offset 5000"),
        "{told}"
    );
    assert_eq!(report["jobs"][0]["read"]["total_ios"], 2, "until then");
}

#[test]
fn what_cannot_be_asked_for_is_refused_in_one_line() {
    let dir = directory();
    for (arguments, reason) in [
        (
            &["disk", "--engine", "pread", "--iodepth", "2"][..],
            "--numjobs",
        ),
        (
            &["disk", "--filename", "a", "--directory", "b"],
            "cannot be used with",
        ),
        (&["disk", "--engine", "psync"], "hybrid"),
        (&["disk", "--rw", "trim"], "randrw"),
        (
            &["disk", "--rw", "write", "--fsync", "1", "--fdatasync", "1"],
            "cannot be used with",
        ),
        (&["disk", "--engine", "pread,uring,pread"], "once"),
        (
            &["disk", "--filename", "new", "--size", "1k", "--bs", "4k"],
            "one block",
        ),
        (&["probe", "absent"], "absent"),
    ] {
        let output = output(arguments, dir.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(reason), "{told}");
        let left = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "{arguments:?}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
}

#[test]
fn a_probe_says_something_about_each_way_of_reading() {
    let dir = directory();
    let probed = output(&["probe", ".", "--json"], dir.path());
    assert_eq!(probed.status.code(), Some(0));
    let report = json(&probed);
    assert_eq!(
        (&report["kind"], &report["schema"]),
        (&"probe".into(), &1.into())
    );
    let advice = report["advice"].as_array().expect("sentences");
    let about: Vec<&str> = advice
        .iter()
        .filter_map(|one| one["about"].as_str())
        .collect();
    assert_eq!(about, ["hot read", "cold read", "RWF_NOWAIT", "O_DIRECT"]);
    let table = String::from_utf8_lossy(&probed.stderr);
    assert!(about.iter().all(|about| table.contains(about)), "{table}");
}
