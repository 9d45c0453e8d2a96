//! The program as a user has it: what it leaves behind when it is interrupted, and what becomes of
//! its results.

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Sender};
use std::thread;

use common::{GLANCE, INTERRUPTED, PROGRAM, Running, complaint, json, run, skipped};
use rustix::process::Signal;

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
    let mut running = Running::start(&[
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
    for _ in 0..100 {
        requests.recv().unwrap();
    }
    running.signal(Signal::INT);
    let output = running.finish();
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

/// Processor time of a process, in ticks; proc_pid_stat(5).
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|time| time.parse::<u64>().unwrap()).sum()
}

#[test]
fn an_interrupt_ends_scale_in_the_middle_of_a_run() {
    for engine in ["poll", "hybrid-tokens", "hybrid"] {
        let words = ["scale", "-n", "10", "-w", "1000000000000", "--json"];
        let mut running = Running::start(&[&words[..], &["--engine", engine]].concat());
        let pid = running.child().id();
        // More than it takes to begin the first run, which takes days.
        while ticks(pid) < 8 {
            assert!(running.child().try_wait().unwrap().is_none(), "{engine}");
            thread::sleep(GLANCE);
        }
        running.signal(Signal::INT);
        let output = running.finish();
        assert_eq!(output.status.code(), Some(INTERRUPTED), "{engine}");
        let result = json(&output);
        assert_eq!(result["interrupted"], true);
        assert_eq!(result["cells"].as_array().map(Vec::len), Some(0));
    }
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
fn a_bar_is_drawn_on_a_terminal_only() {
    let url = server(mpsc::channel().0);
    let arguments = format!("http {url} --rounds 2 --runtime 0.2 --warm-up 0");
    // The first thing that is drawn.
    let name = "round 1/2";
    let words: Vec<&str> = arguments.split(' ').collect();
    assert!(!complaint(&run(&words)).contains(name));
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{PROGRAM} {arguments}"), "/dev/null"]);
    match script.env("TERM", "xterm").output() {
        Err(error) => skipped(
            "a_bar_is_drawn_on_a_terminal_only",
            &format!("script: {error}"),
        ),
        Ok(output) => {
            let drawn = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && drawn.contains(name), "{drawn}");
        }
    }
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
        (&["scale", "-w", "18446744073709551615"], "-w"),
        (&["mixed", "--server-pid", "1"], "ours are known"),
        (&["mixed", "--url", "http://127.0.0.1:1/"], "--directory"),
    ] {
        let output = run(arguments);
        let complaint = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(told), "{arguments:?}: {complaint}");
    }
}
