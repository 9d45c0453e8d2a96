//! Files whose daemon does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ambidex::disk::File;
use ambidex::{Engine, Handle};
use ambidex_tests::loops::{engines, run_on};
use ambidex_tests::rig::fuse::{CACHED, Pace, Rig, Script, missing};
use ambidex_tests::sim::{HANG, skip};
use tempfile::TempDir;

use super::{Guard, MOMENT, drain, ended};

/// Files whose reads are answered at `pace`. `None`, and a word about it, where there is no FUSE.
fn rig(test: &str, pace: Pace) -> Option<(Rig, TempDir)> {
    if let Some(reason) = missing() {
        skip(test, &reason);
        return None;
    }
    let at = tempfile::tempdir().expect("a directory");
    let script = Script::new(vec![7; 4096]).read(pace).direct();
    let rig = Rig::mount(at.path(), CACHED, vec![("file", script)]).expect("a mount");
    Some((rig, at))
}

/// Reads the file in tasks of their own, and returns once the daemon has all their requests.
fn reads_in_flight(
    engine: &mut Engine,
    rig: &Rig,
    at: &TempDir,
    tasks: usize,
    drops: &Arc<AtomicUsize>,
) {
    let path = at.path().join("file");
    run_on(engine, async |io: Handle| {
        for _ in 0..tasks {
            let (io, path, guard) = (io.clone(), path.clone(), Guard(Arc::clone(drops)));
            let spawner = io.clone();
            let read = async move {
                let _guard = guard;
                let file = File::open(io.disk(), path).await.expect("open");
                let (result, _) = file.read_at(Vec::with_capacity(4096), 0).await;
                assert_eq!(result.expect("read"), 4096);
            };
            spawner.spawn(read).detach();
        }
        while rig.counts("file").reads < tasks {
            io.yield_now().await;
        }
    });
}

#[test]
fn reads_that_hang_are_given_up_at_the_deadline_and_counted() {
    for mut engine in engines("hung reads") {
        let Some((rig, at)) = rig("hung reads", Pace::Held) else {
            return;
        };
        let drops = Arc::new(AtomicUsize::new(0));
        reads_in_flight(&mut engine, &rig, &at, 3, &drops);
        assert_eq!(drain(engine, MOMENT), ended(0, 3, 3));
        assert_eq!(drops.load(Ordering::SeqCst), 3);
    }
}

#[test]
fn without_patience_what_hangs_is_given_up_at_once() {
    for mut engine in engines("hung, zero") {
        let Some((rig, at)) = rig("hung, zero", Pace::Held) else {
            return;
        };
        let drops = Arc::new(AtomicUsize::new(0));
        reads_in_flight(&mut engine, &rig, &at, 2, &drops);
        assert_eq!(drain(engine, Duration::ZERO), ended(0, 2, 2));
    }
}

#[test]
fn reads_that_are_slow_are_waited_for() {
    for mut engine in engines("slow reads") {
        let Some((rig, at)) = rig("slow reads", Pace::After(MOMENT)) else {
            return;
        };
        let drops = Arc::new(AtomicUsize::new(0));
        reads_in_flight(&mut engine, &rig, &at, 3, &drops);
        let report = drain(engine, HANG);
        let (finished, cancelled) = (report.tasks_finished, report.tasks_cancelled);
        // Some may have ended while the daemon was being asked for the rest.
        assert!(finished <= 3 && (cancelled, report.operations_given_up) == (0, 0));
        assert_eq!(drops.load(Ordering::SeqCst), 3);
    }
}

#[test]
fn reads_that_nobody_waits_for_are_waited_for_by_the_end() {
    for mut engine in engines("abandoned reads") {
        let Some((rig, at)) = rig("abandoned reads", Pace::Held) else {
            return;
        };
        let path = at.path().join("file");
        let in_flight = run_on(&mut engine, async |io| {
            let own = io.clone();
            let reader = io.spawn(async move {
                let file = File::open(own.disk(), path).await.expect("open");
                file.read_at(Vec::with_capacity(4096), 0).await.0
            });
            while rig.held() == 0 {
                io.yield_now().await;
            }
            reader.abort();
            while io.tasks() > 0 {
                io.yield_now().await;
            }
            io.disk().in_flight()
        });
        assert_eq!(in_flight, 1, "the kernel still has its buffer");
        // The daemon answers only after the drain has begun.
        let told = engine.handle().remote();
        let release = move |io: Handle| async move {
            io.draining().await;
            rig.release();
        };
        told.spawn(release).expect("there is room");
        assert_eq!(drain(engine, HANG), ended(1, 0, 0));
    }
}
