//! Files of a mount that does not answer: what has not reached it is called back, what has is waited for. And the same
//! by token.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

use ambidex::disk::{Choice, File, Op, OpId, OpenOptions, Options, Ring};
use ambidex_tests::rig::fuse::{self, CACHED, Pace, Rig, Script};
use ambidex_tests::sim::disk::CountedBuf;
use ambidex_tests::sim::{HANG, backends, drive, poison, poll_once, skip, turn, turn_until};

use super::{called_back, carried_out, outcome, reading};

/// A ring with one place for each remote mount, and a file of a mount whose reads hang.
///
/// The order of the fields matters: the mount goes first, or the ring would wait for it.
struct Stuck {
    rig: Rig,
    file: File,
    ring: Ring,
    alive: Rc<Cell<usize>>,
    _directory: tempfile::TempDir,
}

impl Stuck {
    fn new(choice: Choice, remote_max: usize) -> Stuck {
        let directory = tempfile::tempdir().expect("a directory");
        let script = Script::new([7; 100]).direct().read(Pace::Held);
        let rig = Rig::mount(directory.path(), CACHED, vec![("held", script)]).expect("a mount");
        let options = Options {
            choice,
            remote_max,
            workers_max: 1,
            ..Options::default()
        };
        let mut ring = poison::ring(&options).expect("a ring");
        let handle = ring.handle();
        let path = directory.path().join("held");
        let file = drive(&mut ring, File::open(&handle, path)).expect("open");
        Stuck {
            rig,
            file,
            ring,
            alive: Rc::default(),
            _directory: directory,
        }
    }

    fn buffer(&self) -> CountedBuf {
        CountedBuf::new(64, &self.alive)
    }

    fn begin(&self, token: u64) -> OpId {
        let op = Op::read_at(&self.file, self.buffer(), 0);
        let begun = self.ring.handle().begin(token, op);
        begun.expect("begun")
    }

    /// The token and the errno of the next that ends.
    fn next(&mut self) -> (u64, Option<i32>) {
        turn_until(&mut self.ring, "an end", Ring::has_complete);
        let complete = self.ring.take_complete().expect("an end");
        (complete.token(), super::errno(&complete.result()))
    }
}

/// On each backend with a mount that hangs, or says why not.
fn each(name: &str, test: impl Fn(Choice)) {
    match fuse::missing() {
        Some(reason) => skip(name, &reason),
        None => backends(name).into_iter().for_each(test),
    }
}

#[test]
fn a_read_that_the_mount_holds_is_waited_for_and_the_ones_behind_it_are_not() {
    each("a held read", |choice| {
        for remote_max in [1, 4] {
            let mut stuck = Stuck::new(choice, remote_max);
            let handle = stuck.ring.handle();
            let mut held = pin!(handle.cancellable(reading(&stuck.file, stuck.buffer())));
            assert!(poll_once(held.as_mut()).is_pending());
            turn(&mut stuck.ring);
            stuck.rig.wait_held(1, HANG);
            // Behind it for the mount's only place, or for the only thread.
            let mut behind = pin!(handle.cancellable(reading(&stuck.file, stuck.buffer())));
            assert!(poll_once(behind.as_mut()).is_pending());
            turn(&mut stuck.ring);
            drop(called_back(outcome(&mut stuck.ring, behind.as_mut())));
            assert_eq!((stuck.alive.get(), stuck.ring.in_flight()), (1, 1));

            assert!(poll_once(pin!(held.as_mut().cancel())).is_pending());
            for _ in 0..10 {
                turn(&mut stuck.ring);
            }
            assert!(
                poll_once(pin!(held.as_mut().cancel())).is_pending(),
                "the kernel has it"
            );
            stuck.rig.release();
            let buffer = carried_out(outcome(&mut stuck.ring, held.as_mut()));
            assert_eq!(buffer.filled(), [7; 64]);
            drop(buffer);
            assert_eq!((stuck.alive.get(), stuck.ring.in_flight()), (0, 0));
        }
    });
}

#[test]
fn by_token_too_each_ends_once_whenever_it_is_called_back() {
    each("held reads by token", |choice| {
        let mut stuck = Stuck::new(choice, 4);
        let handle = stuck.ring.handle();
        let held = stuck.begin(1);
        turn(&mut stuck.ring);
        stuck.rig.wait_held(1, HANG);
        let (at_a_thread, queued) = (stuck.begin(2), {
            turn(&mut stuck.ring);
            stuck.begin(3)
        });
        handle.cancel(queued);
        assert_eq!(stuck.next(), (3, Some(libc::ECANCELED)));
        handle.cancel(at_a_thread);
        assert_eq!(stuck.next(), (2, Some(libc::ECANCELED)));
        handle.cancel(held);
        // Those that have ended, once more: their slots may be another's by now.
        let successor = stuck.begin(4);
        for id in [queued, at_a_thread, queued] {
            handle.cancel(id);
        }
        for _ in 0..10 {
            turn(&mut stuck.ring);
        }
        assert!(!stuck.ring.has_complete() && stuck.ring.in_flight() == 2);
        stuck.rig.release();
        let mut ends = [stuck.next(), stuck.next()];
        ends.sort_unstable();
        assert_eq!(ends, [(1, None), (4, None)]);
        handle.cancel(successor);
        turn(&mut stuck.ring);
        assert!(stuck.ring.take_complete().is_none(), "once");
        assert_eq!((stuck.alive.get(), stuck.ring.in_flight()), (0, 0));
    });
}

#[test]
fn an_open_by_token_that_is_called_back_leaves_no_descriptor() {
    for choice in backends("open by token") {
        let mut ring = ambidex_tests::sim::ring(choice, 4);
        let handle = ring.handle();
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("data");
        std::fs::write(&path, "x").expect("a file");
        for turns in 0..4 {
            let op = Op::open(&handle, &OpenOptions::new(), &path);
            let id = handle.begin(turns, op).expect("begun");
            for _ in 0..turns {
                turn(&mut ring);
                std::thread::yield_now();
            }
            handle.cancel(id);
            handle.cancel(id);
            turn_until(&mut ring, "an end", Ring::has_complete);
            let complete = ring.take_complete().expect("an end");
            let cancelled = super::errno(&complete.result()) == Some(libc::ECANCELED);
            assert!(cancelled || complete.result().is_ok());
            assert!(cancelled || turns > 0, "it was queued");
            drop(complete);
            handle.cancel(id);
            turn_until(&mut ring, "its close", |ring| {
                !ring.is_busy() && !ring.wants_enter()
            });
            assert!(ring.take_complete().is_none(), "once");
            let left = ambidex_tests::sim::descriptors(&directory.path().to_string_lossy());
            assert_eq!(left, 0, "{choice:?}");
        }
    }
}
