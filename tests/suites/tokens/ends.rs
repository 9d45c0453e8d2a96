//! What nobody takes, and what is in flight when the loop ends: nothing is freed too early, and nothing is left.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ambidex::disk::{Complete, Op, OpenOptions, Pool};
use ambidex::disk::{File, Options, Ring};
use ambidex::poll::{Event, Events};
use ambidex::{Engine, Poll};
use ambidex_tests::sim::disk::{CountedBuf, fake};
use ambidex_tests::sim::{backends, descriptors, drive, turn_until};
use tempfile::TempDir;

use super::{TOKEN, carry_out, open, poll_on, some};

fn data() -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("data");
    fs::write(&path, [7; 100]).expect("a file");
    (directory, path)
}

fn opened(directory: &TempDir) -> usize {
    descriptors(&directory.path().to_string_lossy())
}

/// Turns the loop until nothing is in flight.
fn settle(poll: &mut Poll) {
    let mut events = Events::with_capacity(8);
    while poll.poll(&mut events, Some(Duration::ZERO)).is_ok() && poll.disk().in_flight() > 0 {}
}

#[test]
fn a_complete_that_nobody_reads_closes_its_file_and_returns_its_buffer() {
    for choice in backends("unread") {
        let (directory, path) = data();
        let poll = &mut poll_on(choice, 4);
        let open_op = Op::open(poll.disk(), &OpenOptions::new(), &path);
        let unread = carry_out(poll, open_op);
        assert_eq!(opened(&directory), 1, "the kernel has opened it");
        drop(unread);
        settle(poll);
        assert_eq!(opened(&directory), 0);

        let pool = Pool::new(1, 4096);
        let file = open(poll, &OpenOptions::new(), &path).expect("open");
        let taken = pool.try_take().expect("it is free");
        let unread = carry_out(poll, Op::read_at(&file, taken, 0));
        assert_eq!(pool.free(), 0);
        drop(unread);
        assert_eq!(pool.free(), 1);
    }
}

#[test]
fn events_that_are_not_drained_are_released_by_the_next_poll() {
    for choice in backends("not drained") {
        let (directory, path) = data();
        let poll = &mut poll_on(choice, 4);
        let op = Op::open(poll.disk(), &OpenOptions::new(), &path);
        poll.submit(TOKEN, op).expect("begun");
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, None).expect("the loop");
        assert_eq!((events.len(), opened(&directory)), (1, 1));
        poll.poll(&mut events, Some(Duration::ZERO))
            .expect("the loop");
        settle(poll);
        assert_eq!((events.len(), opened(&directory)), (0, 0));
    }
}

#[test]
fn a_complete_outlives_its_loop() {
    for choice in backends("after the end") {
        let (directory, path) = data();
        let alive = Rc::new(Cell::new(0));
        let mut poll = poll_on(choice, 4);
        let file = open(&mut poll, &OpenOptions::new(), &path).expect("open");
        let buffer = CountedBuf::new(64, &alive);
        let read = carry_out(&mut poll, Op::read_at(&file, buffer, 0));
        let open_op = Op::open(poll.disk(), &OpenOptions::new(), &path);
        let late = carry_out(&mut poll, open_op);
        let open_op = Op::open(poll.disk(), &OpenOptions::new(), &path);
        let unread = carry_out(&mut poll, open_op);
        assert_eq!(poll.shut_down(Duration::from_secs(10)), 0);
        let (result, buffer) = read.into_read::<CountedBuf>().expect("a read");
        assert_eq!((result.expect("read"), buffer.filled()), (64, &[7; 64][..]));
        assert!(
            late.into_file().is_err(),
            "there is no ring for it any more"
        );
        drop(unread);
        assert_eq!(opened(&directory), 1);
        drop((file, buffer));
        assert_eq!((alive.get(), opened(&directory)), (0, 0));
    }
}

#[test]
fn a_loop_that_ends_with_completes_untaken_releases_them() {
    for choice in backends("untaken") {
        let (directory, path) = data();
        let (alive, pool) = (Rc::new(Cell::new(0)), Pool::new(1, 4096));
        let mut poll = poll_on(choice, 4);
        let file = open(&mut poll, &OpenOptions::new(), &path).expect("open");
        for op in [
            Op::read_at(&file, CountedBuf::new(64, &alive), 0),
            Op::read_at(&file, pool.try_take().expect("free"), 0),
            Op::open(poll.disk(), &OpenOptions::new(), &path),
        ] {
            poll.submit(TOKEN, op).expect("begun");
        }
        drop(file);
        let patience = ambidex_tests::sim::Patience::new();
        let mut events = Events::with_capacity(1);
        while poll.disk().in_flight() > 0 {
            // One of the three is taken at most by each.
            poll.poll(&mut events, Some(Duration::ZERO))
                .expect("the loop");
            patience.check("the operations");
            if !events.is_empty() {
                break;
            }
        }
        drop(poll);
        drop(events);
        assert_eq!(
            (alive.get(), pool.free(), opened(&directory)),
            (0, 1, 0),
            "{choice:?}"
        );
    }
}

#[test]
fn a_ring_that_ends_with_completes_untaken_releases_them() {
    for choice in backends("untaken on a ring") {
        for shut_down_before in [false, true] {
            let (directory, path) = data();
            let alive = Rc::new(Cell::new(0));
            let mut ring = ambidex_tests::sim::ring(choice, 4);
            let handle = ring.handle();
            let file = drive(&mut ring, File::open(&handle, &path)).expect("open");
            let read = Op::read_at(&file, CountedBuf::new(64, &alive), 0);
            handle.begin(1, read).expect("begun");
            let again = Op::open(&handle, &OpenOptions::new(), &path);
            handle.begin(2, again).expect("begun");
            drop(file);
            turn_until(&mut ring, "both", |ring| ring.in_flight() == 0);
            assert!(ring.has_complete() && opened(&directory) == 2);
            if shut_down_before {
                assert_eq!(ring.shut_down(), 0);
                assert!(ring.take_complete().is_some(), "they can be taken still");
            }
            drop((ring, handle));
            assert_eq!((alive.get(), opened(&directory)), (0, 0), "{choice:?}");
        }
    }
}

#[test]
fn what_was_not_begun_when_the_ring_ends_answers_that_it_was_given_up() {
    for choice in backends("queued at the end") {
        let (_directory, path) = data();
        let alive = Rc::new(Cell::new(0));
        let mut ring = ambidex_tests::sim::ring(choice, 4);
        let handle = ring.handle();
        let file = drive(&mut ring, File::open(&handle, &path)).expect("open");
        let read = Op::read_at(&file, CountedBuf::new(64, &alive), 0);
        handle.begin(1, read).expect("begun");
        assert_eq!(ring.shut_down(), 0);
        let complete = ring.take_complete().expect("its end");
        let (result, buffer) = complete.into_read::<CountedBuf>().expect("a read");
        assert_eq!(
            result.expect_err("not begun").raw_os_error(),
            Some(libc::ECANCELED)
        );
        drop(buffer);
        let late = handle.begin(2, Op::read_at(&file, CountedBuf::new(64, &alive), 0));
        let refused = late.expect_err("the ring has ended");
        assert!(refused.op.into_buffer::<CountedBuf>().is_ok());
        assert!(ring.take_complete().is_none() && alive.get() == 0);
    }
}

/// On a kernel that never answers: the only way to be sure that it holds the memory.
#[test]
fn what_the_kernel_holds_when_the_loop_ends_is_never_freed() {
    let (kernel, control) = fake(4, 4, 0x0A1D_0010);
    control.file("data", vec![7; 100]);
    let options = Options::default();
    let mut ring = Ring::with_kernel(Box::new(kernel), &options);
    let handle = ring.handle();
    let file = drive(&mut ring, File::open(&handle, "data")).expect("open");
    let alive = Rc::new(Cell::new(0));
    control.hang(true);
    for token in 0..3 {
        let op = Op::read_at(&file, CountedBuf::new(64, &alive), 0);
        handle.begin(token, op).expect("begun");
    }
    ring.submit().expect("submit");
    assert_eq!(ring.shut_down(), 3);
    assert!(ring.take_complete().is_none(), "it has not ended");
    drop((ring, handle, file));
    assert_eq!(alive.get(), 3, "freed while lent");
}

#[test]
fn a_loop_dropped_with_operations_in_flight_waits_for_them() {
    for choice in backends("in flight at the end") {
        let (directory, path) = data();
        let alive = Rc::new(Cell::new(0));
        let mut poll = poll_on(choice, 8);
        let file = open(&mut poll, &OpenOptions::new(), &path).expect("open");
        for _ in 0..4 {
            let op = Op::read_at(&file, CountedBuf::new(64, &alive), 0);
            poll.submit(TOKEN, op).expect("begun");
            let op = Op::open(poll.disk(), &OpenOptions::new(), &path);
            poll.submit(TOKEN, op).expect("begun");
        }
        drop(file);
        assert_eq!(alive.get(), 4);
        drop(poll);
        assert_eq!((alive.get(), opened(&directory)), (0, 0), "{choice:?}");
    }
}

/// A read that ends, and how.
fn read(complete: Complete) -> usize {
    let (result, _) = complete.into_read::<Vec<u8>>().expect("a read");
    result.expect("read")
}

#[test]
fn an_engine_and_a_loop_of_tokens_count_the_same_work_alike() {
    const READS: u64 = 20;
    for choice in backends("metrics") {
        let (_directory, path) = data();
        let by_token = count_by_token(choice, &path, READS);
        let options = Options {
            choice,
            ..Options::default()
        };
        let mut engine = Engine::builder().disk(options).build().expect("an engine");
        let by_future = engine.run(async |io| {
            let file = File::open(io.disk(), &path).await.expect("open");
            for _ in 0..READS {
                let (result, _) = file.read_at(Vec::with_capacity(64), 0).await;
                assert_eq!(result.expect("read"), 64);
            }
            io.yield_now().await;
            io.metrics()
        });
        let by_future = by_future.expect("the loop");
        assert_eq!(by_token, (by_future.submitted, by_future.completed));
        assert_eq!(by_token, (READS + 1, READS + 1));
        assert!(by_future.turns > 0 && by_future.enters > 0);
    }
}

fn count_by_token(choice: ambidex::disk::Choice, path: &Path, reads: u64) -> (u64, u64) {
    let mut poll = poll_on(choice, 256);
    let file = open(&mut poll, &OpenOptions::new(), path).expect("open");
    for _ in 0..reads {
        let op = Op::read_at(&file, Vec::with_capacity(64), 0);
        poll.submit(TOKEN, op).expect("begun");
        for event in some(&mut poll, 4) {
            let Event::Complete(complete) = event else {
                panic!("{event:?}");
            };
            assert_eq!(read(complete), 64);
        }
    }
    let metrics = poll.metrics();
    assert!(metrics.turns > 0 && metrics.enters > 0);
    (metrics.submitted, metrics.completed)
}
