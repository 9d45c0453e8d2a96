//! G1, G3, G6 and G7 of whatever changes files, on a real FUSE mount whose daemon fails, interrupts, falls short, runs
//! full or hangs: results are exact, what was given up is cleaned up, other files do not notice. On both backends.

#[path = "fuse_files/daemon.rs"]
mod daemon;
#[path = "fuse_files/ends.rs"]
mod ends;
#[path = "fuse_files/faults.rs"]
mod faults;
#[path = "fuse_files/hung.rs"]
mod hung;
#[path = "fuse_files/requests.rs"]
mod requests;
#[path = "fuse_files/sound.rs"]
mod sound;
#[path = "fuse_files/tree.rs"]
mod tree;

use ambidex_tests::bench::Bench;
use ambidex_tests::rig::{fuse, skipped};
use ambidex_tests::sim::{backends, turn_until};

use daemon::Mount;

const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// A mount and a bench on each backend; none, and a word about it, where FUSE is missing. After the test, nothing is in
/// flight and no file is open.
fn each(test: &str, run: impl Fn(&Mount, &mut Bench)) {
    if let Some(reason) = fuse::missing() {
        return skipped(test, &reason);
    }
    for choice in backends(test) {
        let mount = Mount::new().expect("a mount");
        let mut bench = Bench::at(choice, mount.path());
        run(&mount, &mut bench);
        turn_until(&mut bench.ring, "what is left", |ring| !ring.is_busy());
        mount.wait_closed();
        let counters = bench.ring.counters();
        assert_eq!((counters.stale, counters.bugs), (0, 0), "{choice:?}");
    }
}
