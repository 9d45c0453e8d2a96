//! A deadline that gives the buffer back: in time, too late, and in between, on a clock that the test turns.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use ambidex::disk::{Choice, File, Outcome};
use ambidex::{Engine, Handle, JoinHandle};
use ambidex_tests::loops::{builder, engines, run_on};
use ambidex_tests::rig::fuse::{CACHED, Pace, Rig, Script, missing};
use ambidex_tests::sim::clock::Turned;
use ambidex_tests::sim::{Patience, backends, skip};
use tempfile::TempDir;

/// So many operations of one remote mount are worked on at a time.
const LANE: usize = 32;
const LIMIT: Duration = Duration::from_secs(10);
const ROOM: usize = 4096;

type Read = (std::io::Result<usize>, Vec<u8>);

/// An engine on a clock that stands still, and a file whose reads are held. Asks until `test` says no.
fn scenes(test: &'static str) -> impl Iterator<Item = (Engine, Rc<Turned>, Rig, TempDir)> {
    backends(test)
        .into_iter()
        .filter_map(move |choice| scene(test, choice))
}

fn scene(test: &str, choice: Choice) -> Option<(Engine, Rc<Turned>, Rig, TempDir)> {
    if let Some(reason) = missing() {
        skip(test, &reason);
        return None;
    }
    let at = tempfile::tempdir().expect("a directory");
    let held = Script::new(vec![7; ROOM]).read(Pace::Held).direct();
    let rig = Rig::mount(at.path(), CACHED, vec![("file", held)]).expect("a mount");
    let clock = Turned::new();
    let engine = builder(choice).clock(clock.clone()).build();
    Some((engine.expect("an engine"), clock, rig, at))
}

async fn until(io: &Handle, what: &str, mut done: impl FnMut() -> bool) {
    let patience = Patience::new();
    while !done() {
        io.yield_now().await;
        patience.check(what);
    }
}

/// Counts how often `future` is polled.
async fn counted<T>(polls: Rc<Cell<u32>>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
    .await
}

/// A task that reads until [`LIMIT`], and how often its read was polled.
fn reader(io: &Handle, file: &Rc<File>) -> (JoinHandle<Outcome<Read>>, Rc<Cell<u32>>) {
    let (own, file, polls) = (io.clone(), Rc::clone(file), Rc::new(Cell::new(0)));
    let seen = Rc::clone(&polls);
    let task = async move {
        let read = counted(seen, file.read_at(Vec::with_capacity(ROOM), 0));
        own.deadline(LIMIT, read).await
    };
    (io.spawn(task), polls)
}

async fn open(io: &Handle, at: &TempDir) -> Rc<File> {
    let file = File::open(io.disk(), at.path().join("file")).await;
    Rc::new(file.expect("open"))
}

#[test]
fn what_ends_in_time_is_completed_with_its_buffer() {
    for mut engine in engines("in time") {
        run_on(&mut engine, async |io| {
            let file = File::open(io.disk(), "/proc/self/status").await;
            let file = file.expect("open");
            for limit in [LIMIT, Duration::MAX] {
                let read = file.read_at(Vec::with_capacity(64), 0);
                match io.deadline(limit, read).await {
                    Outcome::Completed((result, buffer)) => {
                        assert_eq!(result.expect("read"), 64);
                        assert_eq!(buffer.len(), 64);
                    }
                    Outcome::Cancelled(_) => panic!("there was time"),
                }
            }
        });
    }
}

#[test]
fn a_future_without_operations_completes_however_late() {
    for mut engine in engines("no operations") {
        run_on(&mut engine, async |io| {
            let slow = io.sleep(Duration::from_millis(5));
            let outcome = io.deadline(Duration::ZERO, slow).await;
            assert_eq!(outcome, Outcome::Completed(()));
        });
    }
}

#[test]
fn what_would_begin_after_the_deadline_is_not_begun() {
    for mut engine in engines("too late") {
        run_on(&mut engine, async |io| {
            let file = File::open(io.disk(), "/proc/self/status").await;
            let file = file.expect("open");
            let late = async {
                io.sleep(Duration::from_millis(5)).await;
                file.read_at(Vec::with_capacity(64), 0).await
            };
            let Outcome::Cancelled((result, buffer)) = io.deadline(Duration::ZERO, late).await
            else {
                panic!("it began too late");
            };
            let errno = result.expect_err("not begun").raw_os_error();
            assert_eq!((errno, buffer.capacity()), (Some(libc::ECANCELED), 64));
        });
    }
}

#[test]
fn a_read_that_queues_behind_its_mount_is_cancelled_and_gives_the_buffer_back() {
    for (mut engine, clock, rig, at) in scenes("queued") {
        run_on(&mut engine, async |io| {
            let file = open(&io, &at).await;
            let hung: Vec<_> = (0..LANE)
                .map(|_| {
                    let file = Rc::clone(&file);
                    io.spawn(async move { file.read_at(Vec::with_capacity(ROOM), 0).await.0 })
                })
                .collect();
            until(&io, "a full mount", || rig.held() == LANE).await;
            let (queued, polls) = reader(&io, &file);
            until(&io, "a read that waits", || polls.get() > 0).await;
            clock.turn(LIMIT);
            until(&io, "its deadline", || queued.is_finished()).await;
            let Outcome::Cancelled((result, buffer)) = queued.await.expect("it ends") else {
                panic!("nothing was read");
            };
            let errno = result.expect_err("cancelled").raw_os_error();
            assert_eq!((errno, buffer.capacity()), (Some(libc::ECANCELED), ROOM));
            assert_eq!(
                rig.counts("file").reads,
                LANE,
                "the daemon never heard of it"
            );
            // Those that were there keep their places and their answers.
            rig.release();
            for read in hung {
                assert_eq!(read.await.expect("it ends").expect("read"), ROOM);
            }
        });
    }
}

#[test]
fn a_read_that_the_daemon_works_on_is_waited_for_beyond_the_deadline() {
    for (mut engine, clock, rig, at) in scenes("at work") {
        run_on(&mut engine, async |io| {
            let file = open(&io, &at).await;
            let (running, polls) = reader(&io, &file);
            until(&io, "a read at work", || rig.held() == 1).await;
            let before = polls.get();
            clock.turn(LIMIT);
            // Calling back looks at the read once more.
            until(&io, "its deadline", || polls.get() > before).await;
            for _ in 0..50 {
                io.yield_now().await;
            }
            assert!(!running.is_finished(), "its buffer is still lent");
            rig.release();
            until(&io, "its end", || running.is_finished()).await;
            let Outcome::Completed((result, buffer)) = running.await.expect("it ends") else {
                panic!("it was carried out");
            };
            assert_eq!(result.expect("read"), ROOM);
            assert_eq!(buffer, vec![7; ROOM]);
        });
    }
}

#[test]
fn a_deadline_that_is_given_up_itself_abandons_the_read() {
    for (mut engine, _clock, rig, at) in scenes("given up") {
        run_on(&mut engine, async |io| {
            let file = open(&io, &at).await;
            let (running, _) = reader(&io, &file);
            until(&io, "a read at work", || rig.held() == 1).await;
            running.abort();
            until(&io, "an abandoned read", || io.tasks() == 0).await;
            assert_eq!(io.disk().in_flight(), 1, "the kernel has the buffer");
            rig.release();
            until(&io, "its end", || io.disk().in_flight() == 0).await;
        });
    }
}
