//! The program as a user has it: what it leaves behind when it is interrupted, and what becomes of
//! its results.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, Sender};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_ambidex-bench");
const INTERRUPTED: i32 = 130;

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {told}"))
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Answers every request alike, and tells of each.
fn server(news: Sender<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, news) = (stream.unwrap(), news.clone());
            thread::spawn(move || answer(stream, &news));
        }
    });
    format!("http://{address}/")
}

fn answer(mut stream: TcpStream, news: &Sender<()>) -> io::Result<()> {
    let mut piece = [0; 4096];
    while let 1.. = stream.read(&mut piece)? {
        let _ = news.send(());
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
    }
    Ok(())
}

/// A result with two rounds.
fn measure(url: &str, connections: &str, into: &Path) {
    let output = run(&[
        "http",
        url,
        "--connections",
        connections,
        "--rounds",
        "2",
        "--runtime",
        "0.1",
        "--warm-up",
        "0",
        "--json",
    ]);
    assert!(output.status.success(), "{}", complaint(&output));
    fs::write(into, &output.stdout).unwrap();
}

#[test]
fn an_interrupted_round_is_kept_and_marked() {
    let (news, requests) = mpsc::channel();
    let url = server(news);
    let mut child = Command::new(PROGRAM);
    child.args([
        "http",
        &url,
        "--rounds",
        "3",
        "--runtime",
        "600",
        "--warm-up",
        "0",
        "--json",
    ]);
    let child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..100 {
        requests.recv().unwrap();
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(INTERRUPTED));
    let result = json(&output);
    assert_eq!(result["interrupted"], true);
    assert_eq!(result["cells"].as_array().map(Vec::len), Some(1));
    let cell = &result["cells"][0];
    assert!(
        cell["failure"]
            .as_str()
            .unwrap()
            .starts_with("interrupted after"),
        "{cell}"
    );
    assert!(cell["hot"]["requests"].as_u64().unwrap() > 50, "{cell}");
    let table = complaint(&output);
    assert!(
        table.contains("round 1 does not count: interrupted after"),
        "{table}"
    );
}

#[test]
fn an_interrupted_mix_leaves_no_server_and_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let (script, record) = (dir.path().join("serve"), dir.path().join("record"));
    let text = format!(
        "#!/bin/sh\necho \"$$ $2\" > {}\nkill -INT $PPID\nexec {PROGRAM} \"$@\"\n",
        record.display()
    );
    let script = script.to_str().unwrap();
    // By a process of its own: while a child that another test starts has our descriptors, what we have
    // open for writing cannot be run.
    let mut writing = Command::new("sh");
    writing.args([
        "-c",
        "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"",
        "sh",
        &text,
        script,
    ]);
    assert!(writing.status().unwrap().success());
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

#[test]
fn results_become_a_page_and_a_comparison() {
    let dir = tempfile::tempdir().unwrap();
    let url = server(mpsc::channel().0);
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [a, b, c, page] = ["a.json", "b.json", "c.json", "page.html"].map(at);
    for (path, connections) in [(&a, "2"), (&b, "2"), (&c, "3")] {
        measure(&url, connections, Path::new(path));
    }
    let output = run(&["report", &a, &b, "--output", &page]);
    assert!(output.status.success(), "{}", complaint(&output));
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("<svg") && text.contains(&url), "{text}");
    let output = run(&["report", &a, "--markdown"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("| http |"));
    let compared = json(&run(&["compare", &a, &b, "--json"]));
    assert_eq!(compared["rows"][0]["figure"], "requests/s");
    assert_eq!(compared["rows"][0]["rounds"], 2);
    let refused = run(&["compare", &a, &c]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(complaint(&refused).contains("connections is 2 in one and 3 in the other"));
}

#[test]
fn what_is_no_result_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs::write(&path, "hello").unwrap();
    let output = run(&["report", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let told = complaint(&output);
    assert!(
        told.contains("notes.txt: no result of ambidex-bench"),
        "{told}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn bad_combinations_are_refused_with_a_reason() {
    for (arguments, told) in [
        (
            &[
                "http",
                "http://127.0.0.1:1/",
                "--rate",
                "5",
                "--pipeline",
                "2",
            ][..],
            "--pipeline",
        ),
        (
            &[
                "http",
                "http://127.0.0.1:1/",
                "--no-keepalive",
                "--pipeline",
                "2",
            ],
            "--pipeline",
        ),
        (&["http", "http://127.0.0.1:1/", "--zipf", "1"], "--paths"),
        (
            &["http", "http://127.0.0.1:1/"],
            "is the server running there?",
        ),
        (&["mixed", "--server-pid", "1"], "ours are known"),
        (&["mixed", "--url", "http://127.0.0.1:1/"], "--directory"),
    ] {
        let output = run(arguments);
        let complaint = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(told), "{arguments:?}: {complaint}");
    }
}
