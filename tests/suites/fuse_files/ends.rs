//! A ring that ends while its mount hangs (G8).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ambidex::clock::{Clock, Real};
use ambidex_tests::bench::Bench;
use ambidex_tests::rig::{fuse, skipped};
use ambidex_tests::sim::{HANG, backends, turn, turn_until};

use crate::daemon::{Mount, Op};

#[test]
fn a_ring_that_ends_waits_for_no_close_on_a_hung_mount() {
    if let Some(reason) = fuse::missing() {
        return skipped("closes that hang at the end", &reason);
    }
    for choice in backends("closes that hang at the end") {
        let mount = Mount::new().expect("a mount");
        let mut bench = Bench::at(choice, mount.path());
        let files: Vec<_> = (0..40)
            .map(|at| bench.create(&format!("{at}"), b""))
            .collect();
        mount.hold(Op::Flush);
        drop(files);
        turn_until(&mut bench.ring, "as many as the mount may have", |_| {
            mount.held() == 32
        });
        turn(&mut bench.ring);
        let over = AtomicBool::new(false);
        let hung = thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let begun = Real.now();
                while !over.load(Ordering::SeqCst) && Real.now() < begun + HANG {
                    thread::yield_now();
                }
                let hung = !over.load(Ordering::SeqCst);
                mount.release();
                hung
            });
            bench.ring.shut_down();
            over.store(true, Ordering::SeqCst);
            watcher.join().expect("the watcher")
        });
        assert!(!hung, "{choice:?}: the end waits for the daemon");
    }
}
