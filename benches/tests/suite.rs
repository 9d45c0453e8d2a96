//! `ambidex-bench suite`: each row is measured or says why not, and nothing is left behind.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::Window;
use ambidex_bench::suite::{self, Finding, Options, Processors, Verdict};
use ambidex_bench::{machine, results};
use common::{GLANCE, INTERRUPTED, PROGRAM, Running, complaint, run, skipped};
use rustix::process::{Signal, geteuid};
use serde_json::Value;

/// Every row in as little time as shows that it works.
fn options(rows: &[u8], directory: &Path) -> Options {
    let processors = match machine::processors()[..] {
        [server, client, ..] => Some(Processors { server, client }),
        _ => None,
    };
    Options {
        rows: rows.to_vec(),
        rounds: 1,
        window: Window {
            warm_up: Duration::ZERO,
            runtime: Duration::from_millis(100),
        },
        starts: 2,
        rest: Duration::from_millis(100),
        idle_connections: 50,
        cold_files: 100,
        large_files: 8,
        names: 600,
        blocks_bytes: 1 << 20,
        nginx: "nginx".into(),
        ambidex: server(),
        fio: "fio".into(),
        program: PROGRAM.into(),
        processors,
        directory: directory.to_owned(),
    }
}

/// `ambidex` if it was built beside us, else our own `serve`, which is the same with one worker.
fn server() -> PathBuf {
    let beside = Path::new(PROGRAM).with_file_name("ambidex");
    if beside.exists() {
        beside
    } else {
        PROGRAM.into()
    }
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").unwrap()
}

/// Measures `rows`; those findings that have a value, others said loudly.
fn measured(test: &str, rows: &[u8]) -> Vec<Finding> {
    let directory = directory();
    let options = options(rows, directory.path());
    let outcome = suite::run(&options, &Interrupt::default(), &mut |_, _| ()).unwrap();
    assert!(is_empty(directory.path()), "files are left");
    let (told, missing): (Vec<Finding>, Vec<Finding>) = outcome
        .findings(rows)
        .into_iter()
        .partition(|finding| finding.value.is_some());
    // All who were not refused had their turns.
    for (row, who) in suite::contestants(rows) {
        let is_refused = |one: &suite::Refusal| one.row == row && one.is_of(&who);
        let has_cell = outcome
            .cells
            .iter()
            .any(|cell| cell.row == row && cell.who == who);
        let refused = outcome.refusals.iter().any(is_refused);
        assert!(has_cell || refused, "row {row}, {who}");
    }
    for finding in missing {
        let Verdict::NotMeasured(why) = &finding.verdict else {
            panic!("{finding:?}");
        };
        assert!(is_this_machines(why), "{}: {why}", finding.goal.name);
        skipped(
            test,
            &format!("row {}, {}: {why}", finding.row, finding.goal.name),
        );
    }
    told
}

/// A reason that lies in the machine: what it lacks, or that it was too busy to answer in so short a time.
fn is_this_machines(why: &str) -> bool {
    let lacking = [
        "No such file or directory",
        "one processor",
        "descriptors at once",
        "needs root",
        "/dev/fuse",
        "not on ext4",
        "loop device",
        "nothing was answered",
        "nothing was read",
        "no round counts",
    ];
    lacking.iter().any(|what| why.contains(what))
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

fn assert_measured(told: &[Finding], rows: &[u8]) {
    for finding in told {
        assert!(rows.contains(&finding.row));
        assert!(
            finding.value.is_some_and(|value| value >= 0.0),
            "{finding:?}"
        );
        assert!(!finding.rounds.is_empty());
    }
}

#[test]
fn files_in_memory_are_measured_beside_nginx() {
    let rows = [1, 2, 3, 7];
    assert_measured(
        &measured("files_in_memory_are_measured_beside_nginx", &rows),
        &rows,
    );
}

#[test]
fn idle_connections_and_workers_are_measured() {
    const NAME: &str = "idle_connections_and_workers_are_measured";
    let mut rows = vec![8, 11];
    if server() == Path::new(PROGRAM) {
        skipped(
            NAME,
            "row 11 needs two workers: cargo build --workspace --bins",
        );
        rows.pop();
    }
    assert_measured(&measured(NAME, &rows), &rows);
}

#[test]
fn cold_files_are_measured_beside_nginx_and_fio() {
    let rows = [4, 6];
    assert_measured(
        &measured("cold_files_are_measured_beside_nginx_and_fio", &rows),
        &rows,
    );
}

#[test]
fn slow_files_of_every_kind_are_measured() {
    assert_measured(
        &measured("slow_files_of_every_kind_are_measured", &[5]),
        &[5],
    );
}

#[test]
fn engines_are_measured() {
    let rows = [9, 10];
    assert_measured(&measured("engines_are_measured", &rows), &rows);
}

#[test]
fn starting_and_resting_are_measured() {
    assert_measured(&measured("starting_and_resting_are_measured", &[12]), &[12]);
}

fn reasons(findings: &[Finding]) -> Vec<&str> {
    let reasons = findings.iter().map(|finding| match &finding.verdict {
        Verdict::NotMeasured(why) => why.as_str(),
        _ => "",
    });
    reasons.collect()
}

#[test]
fn what_is_missing_is_told_and_costs_its_goals_only() {
    let directory = directory();
    let mut options = options(&[1, 10], directory.path());
    options.nginx = "/nowhere/nginx".into();
    options.fio = "/nowhere/fio".into();
    let outcome = suite::run(&options, &Interrupt::default(), &mut |_, _| ()).unwrap();
    let findings = outcome.findings(&options.rows);
    let found = reasons(&findings);
    if options.processors.is_some() {
        assert!(
            found[0].contains("nginx sendfile: /nowhere/nginx: No such file"),
            "{found:?}"
        );
        assert!(
            outcome
                .cells
                .iter()
                .any(|cell| cell.row == 1 && cell.who == "ambidex")
        );
    }
    assert!(
        found[2].contains("fio io_uring, direct: /nowhere/fio: No such file"),
        "{found:?}"
    );
    assert!(found[4].is_empty(), "pread needs no fio: {found:?}");
}

#[test]
fn one_processor_is_too_few_for_two_ends() {
    let directory = directory();
    let mut options = options(&[1, 2, 3, 7, 8, 9, 11], directory.path());
    options.processors = None;
    let outcome = suite::run(&options, &Interrupt::default(), &mut |_, _| ()).unwrap();
    assert!(outcome.cells.is_empty());
    let findings = outcome.findings(&options.rows);
    let found = reasons(&findings);
    assert!(
        found
            .iter()
            .all(|why| why.starts_with("there is one processor")),
        "{found:?}"
    );
}

/// The words of `suite`, for little time.
fn words<'a>(directory: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["suite", "--directory", directory.to_str().unwrap()];
    words.extend(["--ambidex", PROGRAM, "--warm-up", "0"]);
    words.extend(more);
    words
}

#[test]
fn what_is_written_is_read_back_with_the_same_medians() {
    let (directory, outputs) = (directory(), directory());
    let (file, page) = (outputs.path().join("s.json"), outputs.path().join("s.md"));
    let more = ["--rows", "2", "--rounds", "2", "--runtime", "0.2"];
    let into = [
        "--json",
        file.to_str().unwrap(),
        "--markdown",
        page.to_str().unwrap(),
    ];
    let mut arguments = words(directory.path(), &more);
    arguments.extend(into);
    let output = run(&arguments);
    let said = format!(
        "{}{}",
        complaint(&output),
        String::from_utf8_lossy(&output.stdout)
    );
    let read = results::read(&file).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(read.kind, "suite");
    assert_eq!(read.parameters()["rounds"], 2);
    let rounds = read.rounds();
    let goals = read.value["summary"].as_array().unwrap();
    assert_eq!(goals.len(), 1);
    for goal in goals {
        let group = format!("2 {}", goal["of"].as_str().unwrap());
        let median = results::median_of(&rounds, &group, goal["figure"].as_str().unwrap());
        assert_eq!(median, goal["ours"].as_f64(), "{goal}");
        let is_told = ["hit", "miss", "not measured"]
            .iter()
            .any(|word| goal["verdict"] == *word);
        assert!(is_told, "{goal}");
    }
    let page = fs::read_to_string(page).unwrap();
    assert!(
        page.starts_with("| # | work |") && page.contains("| 2 |"),
        "{page}"
    );
}

#[test]
fn bad_words_are_refused_before_anything_is_measured() {
    let directory = directory();
    for (more, told) in [
        (&["--rows", "13"][..], "there is no row"),
        (&["--server-core", "0"], "--client-core"),
        (&["--server-core", "0", "--client-core", "0"], "one each"),
        (
            &["--server-core", "0", "--client-core", "999"],
            "processor 999",
        ),
        (&["--json", "/nowhere/x.json"], "/nowhere/x.json"),
    ] {
        let output = run(&words(directory.path(), more));
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(complaint(&output).contains(told), "{}", complaint(&output));
    }
    let output = run(&["suite", "--directory", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(2));
}

/// The processes whose command line has `word` in it.
fn processes_of(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&words).replace('\0', " "))
    });
    // Not those that measure there.
    let found = lines.filter(|line| line.contains(word) && !line.contains(" suite "));
    found.collect()
}

/// Ends a run of `row` once so many servers are there.
fn ended_midway(row: &str, servers: usize) {
    let (directory, outputs) = (directory(), directory());
    let file = outputs.path().join("s.json");
    let place = directory.path().to_str().unwrap();
    let (rows, json) = (["--rows", row], ["--json", file.to_str().unwrap()]);
    let more = [&rows[..], &["--runtime", "3600"], &json].concat();
    let mut running = Running::start(&words(directory.path(), &more));
    while processes_of(place).len() < servers {
        assert!(running.child().try_wait().unwrap().is_none());
        thread::sleep(GLANCE);
    }
    running.signal(Signal::TERM);
    let output = running.finish();
    let told = complaint(&output);
    assert_eq!(output.status.code(), Some(INTERRUPTED), "{told}");
    assert!(is_empty(directory.path()));
    assert!(processes_of(place).is_empty(), "{:?}", processes_of(place));
    assert!(
        !told.contains("removing") && !told.contains("unmounting"),
        "{told}"
    );
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(result["interrupted"], true);
    let mut verdicts = result["summary"].as_array().unwrap().iter();
    assert!(
        verdicts.all(|goal| goal["verdict"] == "not measured"),
        "{result}"
    );
}

#[test]
fn ended_midway_nothing_is_left() {
    if machine::processors().len() < 2 {
        return skipped("ended_midway_nothing_is_left", "one processor");
    }
    // The last one that starts is nginx, if there is one.
    ended_midway("1", 1 + usize::from(run_nginx()));
}

#[test]
fn mounts_and_groups_are_gone_when_row_five_ends_midway() {
    let test = "mounts_and_groups_are_gone_when_row_five_ends_midway";
    if machine::processors().len() < 2 || !geteuid().is_root() {
        return skipped(test, "it needs root and two processors");
    }
    ended_midway("5", 1);
}

fn run_nginx() -> bool {
    std::process::Command::new("nginx")
        .arg("-v")
        .output()
        .is_ok()
}
