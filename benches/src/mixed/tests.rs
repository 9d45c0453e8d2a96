//! A run against a server of this process's own, which is left in the middle.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::tally::Summary;

const HOT_BYTES: usize = 100;

/// Serves `hot.bin` and cold files of 4 KiB from memory; closes everything once told to.
fn server(dead: Arc<AtomicBool>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, dead) = (stream.unwrap(), Arc::clone(&dead));
            thread::spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut piece) {
                    if dead.load(Ordering::SeqCst) {
                        return;
                    }
                    let is_hot = piece[..length].starts_with(b"GET /hot.bin");
                    let body = vec![b'x'; if is_hot { HOT_BYTES } else { 4096 }];
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream
                        .write_all(&[head.as_bytes(), &body].concat())
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    format!("http://{address}").parse().unwrap()
}

fn options(dir: &Path, targets: Vec<Target>) -> Options {
    Options {
        targets,
        files: Files {
            dir: dir.to_owned(),
            count: 20,
            size: 4096,
            nested: false,
        },
        hot_connections: 2,
        cold_connections: 2,
        cold_interval: None,
        window: Window {
            warm_up: Duration::ZERO,
            runtime: Duration::from_millis(100),
        },
        rounds: 2,
        conditions: Condition::ALL.to_vec(),
        once: false,
        slow_disk: None,
        slow_disk_by: None,
    }
}

#[test]
fn each_class_is_measured_with_and_without_the_other() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let url = server(Arc::default());
    let targets = ["one", "two"].map(|name| Target::of_site(name, &url, Vec::new()));
    let mut names = Vec::new();
    let outcome = run(
        &options(dir.path(), targets.to_vec()),
        &Interrupt::default(),
        &mut |number, name| {
            assert_eq!(number, names.len());
            names.push(name.to_owned());
        },
    )
    .unwrap();
    assert_eq!(names.len(), 16);
    assert_eq!(names[5], "two B, round 1/2");
    assert_eq!(
        (outcome.cells.len(), outcome.failure.as_deref()),
        (16, None)
    );
    for (index, cell) in outcome.cells.iter().enumerate() {
        // Interleaved: all conditions of a target, then the next target, then the next round.
        assert_eq!(cell.round, index / 8);
        assert_eq!(cell.target, ["one", "two"][index / 4 % 2]);
        let asked = cell
            .measurement
            .classes
            .iter()
            .map(|class| !class.is_idle());
        let expected: &[bool] = match cell.condition {
            Condition::Warm | Condition::Cold => &[true, true],
            Condition::Alone => &[true],
            Condition::ColdAlone => &[false, true],
        };
        assert_eq!(asked.collect::<Vec<bool>>(), expected, "{cell:?}");
        assert_eq!(cell.measurement.errors(), 0, "{cell:?}");
    }
}

#[test]
fn what_was_measured_before_a_server_died_is_kept_and_the_others_go_on() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let (dead, alive) = (Arc::default(), Arc::default());
    let (dying, other) = (server(Arc::clone(&dead)), server(alive));
    let targets = [("dying", &dying), ("other", &other)]
        .map(|(name, url)| Target::of_site(name, url, Vec::new()));
    let options = options(dir.path(), targets.to_vec());
    let interrupt = Interrupt::default();
    let mut engine = load::engine().unwrap();
    options.files.create_missing(&interrupt).unwrap();
    let mut benches: Vec<Bench<'_>> = options
        .targets
        .iter()
        .map(|target| Bench::new(&mut engine, &options, target, None, &interrupt).unwrap())
        .collect();
    dead.store(true, Ordering::SeqCst);
    let mut cells = Vec::new();
    rounds(&mut engine, &mut benches, &mut cells, &mut |_, _| ()).unwrap();
    let of = |name| cells.iter().filter(move |cell| cell.target == name);
    let failures: Vec<&str> = of("dying")
        .filter_map(|cell| cell.measurement.failure.as_deref())
        .collect();
    assert_eq!(
        failures.len(),
        1,
        "measured once, and never again: {failures:?}"
    );
    assert!(
        failures[0].starts_with("the server was lost"),
        "{failures:?}"
    );
    assert_eq!(of("other").count(), 8);
    assert!(of("other").all(|cell| cell.measurement.failure.is_none()));
}

#[test]
fn a_file_that_goes_ends_it_and_is_named() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let url = server(Arc::default());
    let options = options(dir.path(), vec![Target::of_site("one", &url, Vec::new())]);
    let interrupt = Interrupt::default();
    let mut engine = load::engine().unwrap();
    options.files.create_missing(&interrupt).unwrap();
    let mut bench =
        Bench::new(&mut engine, &options, &options.targets[0], None, &interrupt).unwrap();
    std::fs::remove_file(dir.path().join("cold-00007.bin")).unwrap();
    let mut cells = Vec::new();
    let benches = std::slice::from_mut(&mut bench);
    let ended = rounds(&mut engine, benches, &mut cells, &mut |_, _| ());
    let told = ended.unwrap_err().to_string();
    assert!(told.contains("cold-00007.bin"), "{told}");
}

#[test]
fn a_server_that_does_not_read_from_the_slow_disk_is_not_measured_on_it() {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let url = server(Arc::default());
    let options = Options {
        slow_disk: Some(Slowness::Reads(1000)),
        slow_disk_by: Some(Means::Fuse),
        ..options(dir.path(), vec![Target::of_site("one", &url, Vec::new())])
    };
    let interrupt = Interrupt::default();
    options.files.create_missing(&interrupt).unwrap();
    let disk = match slow_disks(&options) {
        Ok(mut disks) => disks.pop().flatten(),
        Err(error) => return println!("SKIPPED a server beside the slow disk: {error}"),
    };
    let mut engine = load::engine().unwrap();
    let target = &options.targets[0];
    let bench = Bench::new(&mut engine, &options, target, disk, &interrupt).unwrap();
    let mut measured = Measurement {
        classes: vec![Summary::default(), Summary::default()],
        ..Measurement::default()
    };
    let before = bench.reads();
    assert_eq!(
        bench.passed_by(&measured, before),
        None,
        "nobody was answered"
    );
    measured.classes[1].requests = 1;
    let told = bench.passed_by(&measured, before).unwrap();
    assert!(told.contains("no read came to the slow disk"), "{told}");
    // Read through the mount.
    std::fs::read(dir.path().join("cold-00003.bin")).unwrap();
    assert_eq!(bench.passed_by(&measured, before), None);
}
