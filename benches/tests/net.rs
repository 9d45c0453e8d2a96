//! `ambidex-bench net` when it is interrupted, and when a server dies.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ambidex_bench::echo::client::Load;
use ambidex_bench::echo::net::{self, Options};
use ambidex_bench::echo::{EchoEngine, Running as EchoServer};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::Window;
use common::{GLANCE, INTERRUPTED, PROGRAM, Running, complaint, json};
use rustix::process::Signal;
use serde_json::Value;

/// The processes that `parent` has started; proc_pid_stat(5).
fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        // It may be gone by now.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    pids.filter(is_child).collect()
}

/// Interrupts `net` when it has had so many servers; its cells, and their failures.
fn interrupted(runtime: &str, servers: usize) -> (Value, Vec<Option<String>>) {
    let words = ["net", "--rounds", "1000", "--warm-up", "0", "--json"];
    let more = ["--engine", "epoll-level,poll", "--connections", "4"];
    let arguments = [&words[..], &more, &["--runtime", runtime]].concat();
    let mut running = Running::start(&arguments);
    let mut seen = BTreeSet::new();
    let pid = running.child().id();
    while seen.len() < servers {
        // What it asks of the machine before it begins is not a server.
        let found = children(pid).into_iter().filter(|pid| is_server(*pid));
        seen.extend(found);
        assert!(running.child().try_wait().unwrap().is_none(), "{seen:?}");
        thread::sleep(GLANCE);
    }
    running.signal(Signal::INT);
    let output = running.finish();
    assert_eq!(output.status.code(), Some(INTERRUPTED));
    for pid in seen {
        assert!(!Path::new("/proc").join(pid.to_string()).exists(), "{pid}");
    }
    assert!(complaint(&output).contains("interrupted"));
    let result = json(&output);
    assert_eq!(result["interrupted"], true);
    let cells = result["cells"].as_array().unwrap();
    let failures = cells
        .iter()
        .map(|cell| cell["failure"].as_str().map(str::to_owned));
    (result["cells"].clone(), failures.collect())
}

fn is_server(pid: u32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).contains("echo-server")
}

#[test]
fn an_interrupted_cell_is_kept_and_marked() {
    let (cells, failures) = interrupted("3600", 1);
    assert_eq!(failures.len(), 1, "{cells}");
    let failure = failures[0].as_deref().unwrap();
    assert!(failure.starts_with("interrupted after"), "{failure}");
}

#[test]
fn cells_before_an_interrupt_are_kept_and_count() {
    let (cells, failures) = interrupted("0.2", 4);
    let (counted, marked): (Vec<_>, Vec<_>) = failures.into_iter().partition(Option::is_none);
    assert!(counted.len() >= 3, "{cells}");
    // Between two cells, if it was not in one.
    assert!(marked.len() <= 1, "{cells}");
    let is_marked = |why: &Option<String>| why.as_deref().unwrap().starts_with("interrupted after");
    assert!(marked.iter().all(is_marked), "{cells}");
}

/// What a server has used and counted: nothing yet.
const SAMPLE: &str = r#"{"user_us":0,"system_us":0,"voluntary":0,"involuntary":0,"calls":0,"waits":0,"scanned":0,"events":0,"accepted":0,"refused":0}"#;

#[test]
fn why_a_server_died_is_told_and_the_others_go_on() {
    use EchoEngine::{EpollLevel, Poll, Select, Threads};
    let echo = EchoServer::start(EpollLevel, false).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    // Each dies after the first sample: while it is measured.
    let text = format!(
        "#!/bin/sh
greet() {{ echo listening on {}; read -r _; echo '{SAMPLE}'; }}
case \"$*\" in
*'--engine poll'*) greet; read -r _; echo first >&2; echo 'the disk is on fire' >&2; exit 3 ;;
*'--engine select'*) greet; kill -KILL $$ ;;
*'--engine threads'*) echo 'no such thing' >&2; exit 4 ;;
*) exec {PROGRAM} \"$@\" ;;
esac
",
        echo.address
    );
    common::script(&program, &text);
    let window = Window {
        warm_up: Duration::ZERO,
        runtime: Duration::from_millis(100),
    };
    let options = Options {
        engines: vec![Poll, Select, Threads, EpollLevel],
        load: Load {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            connections: 2,
            idle: 0,
            size: 10,
            interval: None,
            window,
        },
        rounds: 1,
        program,
        processors: None,
    };
    let outcome = net::run(&options, &Interrupt::default(), &mut |_, _| ()).unwrap();
    echo.stop().unwrap();
    let failures = outcome.cells.iter().map(|cell| cell.failure.as_deref());
    let expected = [
        Some("the server ended: exit status: 3; it said: the disk is on fire"),
        Some("the server ended: signal: 9 (SIGKILL)"),
        Some("the server cannot be started: exit status: 4; it said: no such thing"),
        None,
    ];
    assert_eq!(failures.collect::<Vec<_>>(), expected);
    assert!(!outcome.interrupted);
}
