//! The ring on a kernel that fails on demand: nothing is lost, everything is retried or reported as the table says,
//! and under random schedules every operation ends in one result or one abandonment (G1 to G6).

#[path = "fake_kernel/crowd.rs"]
mod crowd;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ambidex::disk::retry::{Kind, RETRIES_MAX, Verdict, judge};
use ambidex::disk::{File, OpenOptions, Options, ReadFlags, Ring};
use ambidex::{Engine, Report};
use ambidex_tests::sim::disk::{Control, CountedBuf, Disk, fake};
use ambidex_tests::sim::rng::schedules;
use ambidex_tests::sim::{Bell, HANG, drive, poll_once, turn};
use crowd::Crowd;

const TRANSIENT: [i32; 4] = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// A ring on a fake kernel with one file, `data`.
fn rig(sq_entries: usize, cq_entries: usize) -> (Ring, Control) {
    let (kernel, control) = fake(sq_entries, cq_entries, 1);
    control.file("data", content(4096));
    let options = Options {
        remote_max: 1,
        ..Options::default()
    };
    (Ring::with_kernel(Box::new(kernel), &options), control)
}

fn open(ring: &mut Ring) -> File {
    open_with(ring, OpenOptions::new(), "data")
}

fn open_with(ring: &mut Ring, options: OpenOptions, name: &str) -> File {
    let handle = ring.handle();
    drive(ring, options.open(&handle, name)).expect("open")
}

#[test]
fn an_enter_that_fails_loses_nothing_and_every_read_resolves_right() {
    for errno in TRANSIENT {
        for sq_entries in [1, 4, 64] {
            let (mut ring, control) = rig(sq_entries, 64);
            let file = open(&mut ring);
            control.script_enters([errno; 5]);
            let mut reads: Vec<_> = (0..40u64)
                .map(|at| Box::pin(file.read_at(Vec::with_capacity(16), at * 16)))
                .collect();
            for read in &mut reads {
                assert!(poll_once(read.as_mut()).is_pending());
            }
            for (at, read) in reads.into_iter().enumerate() {
                let (result, buffer) = drive(&mut ring, read);
                assert_eq!(result.expect("read"), 16);
                assert_eq!(buffer, content(4096)[at * 16..at * 16 + 16]);
            }
            assert_eq!(ring.counters().enter_retries, 5);
            assert_eq!(ring.counters().submitted, control.seen().taken);
            assert_eq!((ring.counters().stale, ring.in_flight()), (0, 0));
        }
    }
}

#[test]
fn an_enter_that_fails_for_good_is_reported_and_keeps_what_is_queued() {
    let (mut ring, control) = rig(4, 4);
    let file = open(&mut ring);
    control.script_enters([libc::EEXIST]);
    let mut read = Box::pin(file.read_at(Vec::with_capacity(16), 0));
    assert!(poll_once(read.as_mut()).is_pending());
    let error = ring.submit().expect_err("another thread's ring");
    assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
    assert_eq!(drive(&mut ring, read).0.expect("read"), 16);
}

/// Has the fake answer one operation of `kind` with `results` first.
fn answered(kind: Kind, results: &[i32]) -> io::Result<()> {
    let (mut ring, control) = rig(4, 4);
    control.disk(if kind == Kind::Status {
        Disk::Remote
    } else {
        Disk::Local
    });
    control.symlink("dir/link", "data");
    let file = match kind {
        Kind::Open => None,
        Kind::Name | Kind::Look => Some(open_with(&mut ring, OpenOptions::new(), "dir")),
        _ => Some(open_with(&mut ring, OpenOptions::new().write(), "data")),
    };
    control.script_answers(results.iter().copied());
    let read = |file: File, flags| async move {
        let (result, buffer) = file.read_at_with(Vec::with_capacity(8), 0, flags).await;
        assert!(buffer.capacity() >= 8, "the buffer comes back in any case");
        result.map(drop)
    };
    let handle = ring.handle();
    drive(&mut ring, async move {
        match (kind, file) {
            (Kind::Open, _) => File::open(&handle, "data").await.map(drop),
            (Kind::Read, Some(file)) => read(file, ReadFlags::default()).await,
            (Kind::ReadNoWait, Some(file)) => read(file, ReadFlags::NOWAIT).await,
            (Kind::Status, Some(file)) => file.metadata().await.map(drop),
            (Kind::Close, Some(file)) => file.close().await,
            (Kind::Write, Some(file)) => file.write_at(vec![1; 8], 0).await.0.map(drop),
            (Kind::Append, Some(file)) => file.append(vec![1; 8]).await.0.map(drop),
            (Kind::Change, Some(file)) => file.sync_all().await,
            (Kind::Name, Some(dir)) => dir.at("link").unlink().await,
            (Kind::Look, Some(dir)) => dir.at("link").read_link().await.map(drop),
            (Kind::Transfer, Some(file)) => file.copy_range(0, &file, 8, 1).await.map(drop),
            (_, _) => unreachable!("all kinds but enter"),
        }
    })
}

const KINDS: [Kind; 11] = [
    Kind::Append,
    Kind::Write,
    Kind::Change,
    Kind::Name,
    Kind::Look,
    Kind::Transfer,
    Kind::Read,
    Kind::ReadNoWait,
    Kind::Open,
    Kind::Status,
    Kind::Close,
];

#[test]
fn every_errno_is_retried_or_reported_unchanged_as_the_table_judges() {
    for kind in KINDS {
        // What only a broken rule explains fails an assertion instead.
        let explicable = |errno: &i32| judge(kind, *errno) != Verdict::Bug;
        // A copy that the kernel cannot make is made through memory.
        let instead = [libc::EXDEV, libc::EOPNOTSUPP, libc::ENOSYS];
        let another = |errno: &i32| kind == Kind::Transfer && instead.contains(errno);
        let told = (1..=133).filter(|errno| *errno != libc::ECANCELED);
        for errno in told.filter(explicable).filter(|errno| !another(errno)) {
            let answer = answered(kind, &[-errno]).map_err(|error| error.raw_os_error());
            match judge(kind, errno) {
                Verdict::Retry => assert_eq!(answer, Ok(()), "{kind:?} {errno}"),
                _ => assert_eq!(answer, Err(Some(errno)), "{kind:?} {errno}"),
            }
        }
    }
}

/// Once: a second time it is the answer of the thread that was to do it instead, as it is where a thread does it from the
/// start.
#[test]
fn what_is_given_up_unasked_is_done_again() {
    let given_up = [-libc::ECANCELED; 2];
    for kind in KINDS {
        let by_thread = matches!(kind, Kind::Open | Kind::Status);
        let retried = judge(kind, libc::ECANCELED) == Verdict::Retry;
        assert_eq!(retried, kind != Kind::Close);
        let once = answered(kind, &given_up[..1]);
        assert_eq!(once.is_ok(), retried && !by_thread, "{kind:?}: {once:?}");
        let twice = answered(kind, &given_up).map_err(|error| error.raw_os_error());
        assert_eq!(twice, Err(Some(libc::ECANCELED)), "{kind:?}");
    }
}

#[test]
fn after_as_many_retries_as_allowed_the_errno_is_reported() {
    for kind in [
        Kind::Read,
        Kind::Write,
        Kind::Look,
        Kind::Open,
        Kind::Status,
    ] {
        let enough = vec![-libc::EINTR; usize::from(RETRIES_MAX)];
        assert!(answered(kind, &enough).is_ok(), "{kind:?}");
        let too_many = [enough, vec![-libc::EINTR]].concat();
        let error = answered(kind, &too_many).expect_err("too often");
        assert_eq!(error.raw_os_error(), Some(libc::EINTR), "{kind:?}");
    }
}

#[test]
fn a_read_of_a_memory_file_is_retried_by_the_same_table() {
    let (mut ring, control) = rig(4, 4);
    control.disk(Disk::Memory);
    let file = open(&mut ring);
    control.script_answers([-libc::EINTR]);
    let (result, _) = drive(&mut ring, file.read_at(Vec::with_capacity(8), 0));
    assert_eq!(result.expect("read"), 8);
}

#[test]
fn a_completion_that_nobody_asked_for_is_counted_and_changes_nothing() {
    let (mut ring, control) = rig(4, 4);
    let file = open(&mut ring);
    control.hang(true);
    let mut read = Box::pin(file.read_at(Vec::with_capacity(8), 0));
    assert!(poll_once(read.as_mut()).is_pending());
    turn(&mut ring);
    let mine = control.working()[0];
    for user_data in [0, u64::MAX, mine ^ (1 << 32), mine ^ 1, mine ^ (1 << 60)] {
        control.inject(user_data, 8);
    }
    turn(&mut ring);
    assert_eq!((ring.counters().stale, ring.in_flight()), (5, 1));
    control.hang(false);
    assert!(control.finish_one());
    assert_eq!(drive(&mut ring, read).0.expect("read"), 8);
}

#[test]
fn while_enter_fails_the_ring_does_not_spin_on_deferred_completions() {
    let (mut ring, control) = rig(4, 4);
    let file = open(&mut ring);
    control.defer_all(true);
    control.hang(true);
    let mut reads: Vec<_> = (0..2)
        .map(|_| Box::pin(file.read_at(Vec::with_capacity(8), 0)))
        .collect();
    assert!(poll_once(reads[0].as_mut()).is_pending());
    ring.submit().expect("submit");
    assert!(control.finish_one());
    assert!(poll_once(reads[1].as_mut()).is_pending());
    control.script_enters([libc::EAGAIN; 200]);
    let before = control.seen().enters;
    turn(&mut ring);
    let enters = control.seen().enters - before;
    assert!(
        enters < 10,
        "one submit and one reap entered {enters} times in vain"
    );
}

#[test]
fn what_is_deferred_behind_a_batch_costs_no_enter_and_keeps_the_ring_from_sleeping() {
    let (mut ring, control) = rig(4, 8);
    let file = open(&mut ring);
    control.hang(true);
    let mut reads: Vec<_> = (0..2)
        .map(|_| Box::pin(file.read_at(Vec::with_capacity(8), 0)))
        .collect();
    for read in &mut reads {
        assert!(poll_once(read.as_mut()).is_pending());
    }
    ring.submit().expect("submit");
    assert!(control.finish_one());
    control.defer_all(true);
    assert!(control.finish_one());
    let before = control.seen().enters;
    assert_eq!(ring.reap(64).expect("reap"), 1);
    assert_eq!(control.seen().enters, before, "the next submission is one");
    assert!(ring.wants_enter() && !ring.arm());
    assert_eq!(ring.reap(64).expect("reap"), 1, "there is none to ride on");
    assert_eq!(control.seen().enters, before + 1);
}

#[test]
fn answers_that_wake_nobody_do_not_send_the_loop_to_sleep_on_those_behind_them() {
    // More than one turn reaps.
    const ABANDONED: usize = 1500;
    let (kernel, control) = fake(2048, 2048, 1);
    control.file("data", content(64));
    let mut engine = Engine::builder()
        .disk_kernel(Box::new(kernel))
        .build()
        .expect("an engine");
    let sleeps = engine.run(async |io| {
        let file = File::open(io.disk(), "data").await.expect("open");
        control.hang(true);
        let read = || Box::pin(file.read_at(Vec::with_capacity(8), 0));
        let mut abandoned: Vec<_> = (0..ABANDONED).map(|_| read()).collect();
        for read in &mut abandoned {
            assert!(poll_once(read.as_mut()).is_pending());
        }
        io.yield_now().await;
        drop(abandoned);
        while control.finish_one() {}
        control.hang(false);
        let before = io.metrics().sleeps;
        io.timeout(HANG, read())
            .await
            .expect("hangs")
            .0
            .expect("read");
        io.metrics().sleeps - before
    });
    assert_eq!(sleeps.expect("the loop"), 0);
    assert_eq!(control.seen().in_flight_max, ABANDONED + 1);
}

#[test]
fn a_flag_with_nothing_behind_it_stops_neither_reaping_nor_ending() {
    // The kernel raises it after adding the work; an enter in between leaves it up (Linux 6.18).
    let (kernel, control) = fake(4, 8, 1);
    control.file("data", content(64));
    control.stale_flag(true);
    let mut engine = Engine::builder()
        .disk_kernel(Box::new(kernel))
        .build()
        .expect("an engine");
    let length = engine.run(async |io| {
        let file = File::open(io.disk(), "data").await?;
        io.sleep(Duration::from_millis(1)).await;
        file.read_at(Vec::with_capacity(64), 0).await.0
    });
    assert_eq!(length.expect("the loop").expect("read"), 64);
    let before = control.seen().enters;
    assert_eq!(
        engine.shut_down(Duration::from_secs(1000)),
        Report::default()
    );
    assert!(control.seen().enters - before < 20, "it spun");
}

#[test]
fn a_stalled_engine_enters_again_without_a_doorbell_and_without_spinning() {
    for errno in TRANSIENT {
        let (kernel, control) = fake(1, 8, 1);
        control.file("data", content(64));
        let mut engine = Engine::builder()
            .disk_kernel(Box::new(kernel))
            .build()
            .expect("an engine");
        let length = engine.run(async |io| {
            control.script_enters([errno; 20]);
            let file = File::open(io.disk(), "data").await?;
            file.read_at(Vec::with_capacity(64), 0).await.0
        });
        assert_eq!(length.expect("the loop").expect("read"), 64);
        let seen = control.seen();
        assert!(seen.enters < 40, "20 failures, {} enters", seen.enters);
    }
}

#[test]
fn a_close_that_waits_for_its_hung_mount_does_not_keep_the_loop_awake() {
    let (kernel, control) = fake(8, 8, 1);
    control.file("data", content(64));
    control.disk(Disk::Remote);
    let options = Options {
        remote_max: 1,
        ..Options::default()
    };
    let builder = Engine::builder()
        .disk(options)
        .disk_kernel(Box::new(kernel));
    let mut engine = builder.build().expect("an engine");
    let turns = engine.run(async |io| {
        let first = File::open(io.disk(), "data").await.expect("open");
        let second = File::open(io.disk(), "data").await.expect("open");
        control.hang(true);
        let hung = io.spawn(async move { first.read_at(Vec::with_capacity(8), 0).await.0 });
        io.yield_now().await;
        drop(second);
        let before = io.metrics().turns;
        io.sleep(Duration::from_millis(50)).await;
        let turns = io.metrics().turns - before;
        control.hang(false);
        control.finish_one();
        io.timeout(HANG, hung)
            .await
            .expect("in time")
            .expect("a result")
            .expect("read");
        turns
    });
    let turns = turns.expect("the loop");
    assert!(turns < 100, "{turns} turns while it only waits");
}

#[test]
fn an_engine_that_ends_with_a_hung_operation_sleeps_until_its_patience_is_over() {
    let (kernel, control) = fake(8, 8, 1);
    control.file("data", content(64));
    let mut engine = Engine::builder()
        .disk_kernel(Box::new(kernel))
        .build()
        .expect("an engine");
    let task = engine.run(async |io| {
        let file = File::open(io.disk(), "data").await.expect("open");
        control.hang(true);
        let mut task =
            Box::pin(io.spawn(async move { file.read_at(Vec::with_capacity(8), 0).await.0 }));
        io.yield_now().await;
        // The main future waits for a task that will be cancelled: its waker rings when nobody runs it any more.
        std::future::poll_fn(|cx| {
            assert!(task.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        io.yield_now().await;
        Some(task)
    });
    let task = task.expect("the loop");
    let before = control.seen().waits;
    let report = engine.shut_down(Duration::from_millis(50));
    assert_eq!((report.tasks_cancelled, report.operations_given_up), (1, 1));
    let waits = control.seen().waits - before;
    assert!(waits < 100, "it woke {waits} times");
    drop(task);
}

#[test]
fn a_hung_mount_leaves_credits_for_others_however_small_the_ring() {
    let (kernel, control) = fake(4, 4, 1);
    control.file("data", content(64));
    let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
    let local = open(&mut ring);
    control.disk(Disk::Remote);
    let remote = open(&mut ring);
    control.hang(true);
    let mut hung: Vec<_> = (0..8)
        .map(|_| Box::pin(remote.read_at(Vec::with_capacity(8), 0)))
        .collect();
    for read in &mut hung {
        assert!(poll_once(read.as_mut()).is_pending());
    }
    turn(&mut ring);
    control.hang(false);
    let mut read = Box::pin(local.read_at(Vec::with_capacity(8), 0));
    let stuck = control.working().len();
    for _ in 0..100 {
        if poll_once(read.as_mut()).is_ready() {
            return;
        }
        turn(&mut ring);
    }
    panic!(
        "{stuck} reads of one hung mount hold all {} credits",
        ring.capabilities().cq_entries
    );
}

#[test]
fn closes_that_wait_for_a_credit_do_not_keep_the_loop_awake() {
    let (kernel, control) = fake(4, 4, 1);
    control.file("data", content(64));
    control.disk(Disk::Remote);
    let mut engine = Engine::builder()
        .disk_kernel(Box::new(kernel))
        .build()
        .expect("an engine");
    let turns = engine.run(async |io| {
        let mut remote = Vec::new();
        for _ in 0..3 {
            remote.push(File::open(io.disk(), "data").await.expect("open"));
        }
        control.disk(Disk::Local);
        let local = File::open(io.disk(), "data").await.expect("open");
        control.hang(true);
        for _ in 0..4 {
            let local = local.clone();
            io.spawn(async move { drop(local.read_at(Vec::with_capacity(8), 0).await) })
                .detach();
        }
        io.yield_now().await;
        io.yield_now().await;
        assert_eq!(io.disk().in_flight(), 4, "all credits are taken");
        drop(remote);
        let before = io.metrics().turns;
        io.sleep(Duration::from_millis(50)).await;
        let turns = io.metrics().turns - before;
        control.hang(false);
        while control.finish_one() {}
        while control.descriptors() > 1 {
            io.yield_now().await;
        }
        turns
    });
    let turns = turns.expect("the loop");
    assert!(turns < 100, "{turns} turns while it only waits");
}

#[test]
fn a_mount_that_is_always_busy_closes_its_files_all_the_same() {
    let (mut ring, control) = rig(8, 8);
    control.disk(Disk::Remote);
    let files: Vec<_> = (0..5).map(|_| open(&mut ring)).collect();
    let file = open(&mut ring);
    // One place, and always somebody who waits for it.
    let mut reads: Vec<_> = (0..2)
        .map(|_| Box::pin(file.read_at(Vec::with_capacity(8), 0)))
        .collect();
    for read in &mut reads {
        assert!(poll_once(read.as_mut()).is_pending());
    }
    drop(files);
    for _ in 0..100 {
        turn(&mut ring);
        for read in &mut reads {
            if poll_once(read.as_mut()).is_ready() {
                *read = Box::pin(file.read_at(Vec::with_capacity(8), 0));
                assert!(poll_once(read.as_mut()).is_pending());
            }
        }
    }
    assert_eq!(control.descriptors(), 1, "only the file in use is open");
}

#[test]
fn a_buffer_is_lent_while_the_kernel_has_it_and_freed_after() {
    let (mut ring, control) = rig(4, 4);
    let (file, alive) = (open(&mut ring), Rc::new(Cell::new(0)));
    control.hang(true);
    let bell = Bell::new();
    let waker = bell.waker();
    let mut read = Box::pin(file.read_at(CountedBuf::new(64, &alive), 0));
    assert!(
        read.as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    turn(&mut ring);
    drop(read);
    assert_eq!((alive.get(), ring.in_flight()), (1, 1));
    assert!(control.finish_one());
    turn(&mut ring);
    assert_eq!((alive.get(), ring.in_flight()), (0, 0));
}

#[test]
fn under_random_schedules_every_operation_ends_once_and_nothing_leaks() {
    schedules("whole ring", 0x0A1D_0005, 20_000, |rng| {
        let mut crowd = Crowd::new(rng);
        crowd.run(rng);
        crowd.finish();
    });
}
