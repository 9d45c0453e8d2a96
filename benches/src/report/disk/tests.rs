//! What is told of runs that nobody made.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::disk::Pattern;
use crate::rusage::Rusage;

fn options(engines: &[IoEngine]) -> Options {
    Options {
        place: Place::Filename("blocks".into()),
        size: None,
        rw: Pattern::RandRead,
        rwmixread: 50,
        bs: 4096,
        iodepth: 32,
        iodepth_batch: 1,
        numjobs: 1,
        direct: true,
        sync: false,
        sync_every: None,
        runtime: Duration::from_secs(2),
        number_ios: None,
        engines: engines.to_vec(),
        rounds: 1,
        seed: 0,
        gtod_reduce: false,
        verify: false,
        overwrite: false,
        invalidate: false,
    }
}

fn run(engine: IoEngine, round: usize, ios: u64) -> Run {
    let mut lat = Histogram::new(3).expect("three digits");
    lat.record_n(80_000, ios).expect("in range");
    Run {
        engine,
        round,
        seconds: 2.0,
        read: Tally {
            ios,
            bytes: ios * 4096,
            lat,
        },
        write: Tally::default(),
        sync: Tally::default(),
        used: Rusage {
            user: Duration::from_millis(500),
            system: Duration::from_millis(1000),
            voluntary: 90,
            involuntary: 10,
            ..Rusage::default()
        },
        calls: Some(250),
        verified: 0,
        failure: None,
        interrupted: false,
    }
}

fn reported(engines: &[IoEngine], runs: Vec<Run>, look: impl FnOnce(&Disk)) {
    look(&Disk {
        context: &Context::new(UNIX_EPOCH),
        options: &options(engines),
        series: &Series {
            path: "blocks".into(),
            temporary: false,
            interrupted: runs.iter().any(|run| run.interrupted),
            runs,
        },
    });
}

#[test]
fn names_and_units_are_those_of_fio() {
    let runs = vec![run(IoEngine::Hybrid, 0, 1000)];
    reported(&[IoEngine::Hybrid], runs, |report| {
        let json = report.to_json();
        let job = &json["jobs"][0];
        assert_eq!(job["read"]["iops"], 500.0);
        assert_eq!(job["read"]["bw_bytes"], 2_048_000);
        assert_eq!(job["read"]["bw"], 2000);
        assert_eq!(job["read"]["runtime"], 2000);
        assert_eq!(job["read"]["lat_ns"]["N"], 1000);
        assert!(job["read"]["lat_ns"]["percentile"]["99.900000"].is_u64());
        assert_eq!(job["write"]["total_ios"], 0);
        assert_eq!(
            (&job["usr_cpu"], &job["sys_cpu"]),
            (&json!(25.0), &json!(50.0))
        );
        assert_eq!(job["ctx"], 100);
        assert_eq!(job["cpu_us_per_io"], 1500.0);
        assert_eq!(job["ctx_per_io"], 0.1);
        assert_eq!(job["syscalls_per_io"], 0.25);
        assert_eq!(json["summary"][0]["read"]["iops"], 500.0);
    });
}

#[test]
fn nothing_done_is_unknown_not_nan() {
    let mut nothing = run(IoEngine::Tokio, 0, 0);
    nothing.calls = None;
    reported(&[IoEngine::Tokio], vec![nothing], |report| {
        let job = &report.to_json()["jobs"][0];
        assert!(job["cpu_us_per_io"].is_null() && job["read"]["lat_ns"].is_null());
        assert!(job["syscalls_per_io"].is_null());
        assert!(report.to_table().contains('-'));
    });
}

#[test]
fn rounds_are_put_together_by_their_medians_and_ratios_by_pairs() {
    let rates = [(1000, 500), (10, 5), (1020, 510)];
    let pair = |(round, (first, second))| {
        [
            run(IoEngine::Uring, round, first),
            run(IoEngine::Pread, round, second),
        ]
    };
    let runs = rates.into_iter().enumerate().flat_map(pair).collect();
    reported(&[IoEngine::Uring, IoEngine::Pread], runs, |report| {
        let json = report.to_json();
        assert_eq!(json["jobs"].as_array().map(Vec::len), Some(6));
        assert_eq!(json["summary"][0]["read"]["iops"], 500.0);
        assert_eq!(json["summary"][1]["iops_ratio"], 0.5);
        let text = report.to_table();
        assert!(text.contains("/uring") && text.contains("0.500"), "{text}");
    });
}

#[test]
fn what_ended_it_is_said_beside_what_was_measured() {
    let mut failed = run(IoEngine::Pread, 0, 700);
    failed.failure = Some("the disk is full".to_owned());
    failed.interrupted = true;
    reported(&[IoEngine::Pread], vec![failed], |report| {
        let json = report.to_json();
        assert_eq!(json["error"], "the disk is full");
        assert_eq!(json["interrupted"], true);
        assert_eq!(json["jobs"][0]["read"]["total_ios"], 700);
        let text = report.to_table();
        assert!(text.contains("ended early") && text.contains("interrupted after 2.0 s"));
        assert!(
            text.contains("the disk is full") && text.contains("350"),
            "{text}"
        );
    });
}
