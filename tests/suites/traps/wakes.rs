//! Wakes that get lost, and those that come in vain.

use std::fs;
use std::future::poll_fn;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use ambidex::Handle;
use ambidex::disk::{Backend, File, OpenOptions, Pool};
use ambidex_tests::alone::{alone_under, is_alone};
use ambidex_tests::loops::{builder, engines, pair, run, run_on};
use ambidex_tests::rig::{skipped, strace};
use ambidex_tests::sim::backends;
use ambidex_tests::sim::net::FakeNet;
use futures_util::future::join_all;
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use rustix::fs::{CWD, Mode, mkfifoat};

use crate::{DISK, directory, times};

/// Blocks of the file that is read past the page cache.
const BLOCKS: usize = 64;
const BLOCK: usize = 4096;

/// Reads block `at` past the page cache, so that the disk ends it later and not the submission.
async fn read_block(file: &File, pool: &Pool, at: usize) {
    let block = at % BLOCKS * BLOCK;
    let (result, buffer) = file.read_at(pool.take().await, block as u64).await;
    assert_eq!(result.expect("read"), BLOCK);
    assert_eq!(buffer[0], (block % 251) as u8, "what `pattern` has there");
}

async fn open_direct(io: &Handle, path: &std::path::Path) -> (File, Pool) {
    let file = OpenOptions::new().direct().open(io.disk(), path).await;
    (file.expect("open"), Pool::new(BLOCKS, BLOCK))
}

/// With `DEFER_TASKRUN` the eventfd rings before there is a completion, which comes with the next enter only, twenty
/// at a time; and it may ring again for the same completion.
#[test]
fn defer_taskrun_epoll_wakes() {
    const READS: usize = 500;
    let (_own, path) = directory(DISK, BLOCKS * BLOCK);
    for mut engine in engines("wakes by the disk") {
        run_on(&mut engine, async |io| {
            let (file, pool) = open_direct(&io, &path).await;
            let before = io.metrics();
            for round in 0..READS {
                read_block(&file, &pool, round).await;
            }
            let after = io.metrics();
            assert!(
                after.events - before.events <= READS as u64,
                "one event for each completion at most: {before:?} {after:?}"
            );
            // Now and then one rings while the loop looks; twice for each would be a trap.
            let vain = after.spurious - before.spurious;
            assert!(vain <= READS as u64 / 2, "{vain} waits ended in vain");
            for _ in 0..20 {
                join_all((0..BLOCKS).map(|at| read_block(&file, &pool, at))).await;
            }
        });
    }
}

/// Before Linux 6.1 a completion interrupts the wait of its thread, as if by a signal, again and again.
#[test]
fn without_defer_taskrun_interrupted_waits_neither_end_nor_stretch_anything() {
    let name = "wakes::without_defer_taskrun_interrupted_waits_neither_end_nor_stretch_anything";
    let choice = ambidex::disk::Choice::Uring;
    // Not in the child: it is traced already, and the first ring that it makes is the one that is refused.
    if !is_alone() {
        if let Some(reason) = strace::missing() {
            return skipped(name, &reason);
        }
        if !backends(name).contains(&choice) {
            return;
        }
    }
    for refused in ["1", "1..2"] {
        let inject = format!("inject=io_uring_setup:error=EINVAL:when={refused}");
        let trace = ["-e", "trace=io_uring_setup", "-e", &inject];
        if !alone_under(&strace::wrapper("/dev/null".as_ref(), &trace), name) {
            continue;
        }
        let (_own, path) = directory(DISK, BLOCKS * BLOCK);
        let mut engine = builder(choice).build().expect("an engine");
        return run_on(&mut engine, async |io| {
            let flags = &io.capabilities().flags;
            assert!(!flags.contains(&"DEFER_TASKRUN"), "{flags:?}");
            let (file, pool) = open_direct(&io, &path).await;
            let timers = io.clone();
            let sleeping = io.spawn(async move {
                for _ in 0..20 {
                    let deadline = timers.now() + Duration::from_millis(1);
                    timers.sleep_until(deadline).await;
                    assert!(timers.now() >= deadline);
                }
            });
            for round in 0..500 {
                read_block(&file, &pool, round).await;
            }
            sleeping.await.expect("the timers");
        });
    }
}

/// A completion that comes while the eventfd is disabled, or between the last look and the sleep, rings nobody.
#[test]
fn eventfd_gate_never_loses_wakeup() {
    let rounds = times(2_000, 50_000);
    let (own, data) = directory(DISK, BLOCKS * BLOCK);
    let path = own.path().join("fifo");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    for mut engine in engines("the gate") {
        run_on(&mut engine, async |io| {
            let both = fs::OpenOptions::new().read(true).write(true).open(&path);
            let mut writer = both.expect("a FIFO");
            // By its path: a pipe that comes as a descriptor is read by threads.
            let fifo = File::open(io.disk(), &path).await.expect("open");
            let (file, pool) = open_direct(&io, &data).await;
            let before = io.metrics();
            let asked = Arc::new(AtomicUsize::new(0));
            let ask = Arc::clone(&asked);
            let answering = thread::spawn(move || {
                for round in 1..=rounds {
                    // Not asleep: that would hide the moments that matter.
                    while asked.load(Ordering::SeqCst) < round {
                        thread::yield_now();
                    }
                    // At every distance from the moment when the loop falls asleep.
                    (0..round % 256 * 8).for_each(|_| std::hint::spin_loop());
                    writer.write_all(&[round as u8]).expect("write");
                }
            });
            let mut buffer = Vec::with_capacity(1);
            for round in 1..=rounds {
                ask.store(round, Ordering::SeqCst);
                buffer.clear();
                let (result, back) = fifo.read_at(buffer, 0).await;
                assert_eq!(result.expect("read"), 1);
                assert_eq!(back, [round as u8]);
                buffer = back;
                // And one that ends by an interrupt, whenever the disk likes.
                read_block(&file, &pool, round).await;
            }
            answering.join().expect("the other thread");
            let after = io.metrics();
            assert!(after.sleeps > before.sleeps, "it slept");
            if io.capabilities().backend == Backend::Uring {
                assert_eq!(after.calls_elsewhere, before.calls_elsewhere, "by the ring");
            }
        });
    }
}

/// Completions are looked for in each turn, and not only in those that epoll ended with the doorbell.
#[test]
fn eintr_drains_cq() {
    let (_own, path) = directory(DISK, BLOCKS * BLOCK);
    for choice in backends("interrupted for ever") {
        let net = Rc::new(FakeNet::default());
        let engine = builder(choice).net_kernel(net.clone()).build();
        run_on(&mut engine.expect("an engine"), async |io| {
            let (file, pool) = open_direct(&io, &path).await;
            let before = io.metrics();
            net.interrupt_all_waits();
            for round in 0..100 {
                read_block(&file, &pool, round).await;
            }
            let after = io.metrics();
            assert!(after.interrupted > before.interrupted);
            assert_eq!(after.events, before.events, "no wait told of anything");
        });
    }
}

/// Interrupts this thread ten thousand times a second while it lives.
fn ticking() -> Timer {
    let heard = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(libc::SIGALRM, heard).expect("a handler");
    let event = SigEvent::new(SigevNotify::SigevThreadId {
        signal: Signal::SIGALRM,
        thread_id: rustix::thread::gettid().as_raw_nonzero().get(),
        si_value: 0,
    });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event).expect("a timer");
    let period = TimeSpec::from_duration(Duration::from_micros(100));
    let set = timer.set(Expiration::Interval(period), TimerSetTimeFlags::empty());
    set.expect("it is set");
    timer
}

#[test]
fn ten_thousand_signals_a_second_disturb_neither_disk_nor_sockets_nor_timers() {
    let (_own, path) = directory(DISK, BLOCKS * BLOCK);
    for mut engine in engines("signals") {
        let timer = ticking();
        run_on(&mut engine, async |io| {
            let (file, pool) = open_direct(&io, &path).await;
            let mut round = 0;
            // At least one wait has been interrupted by then.
            while round < 200 || io.metrics().interrupted == 0 {
                let (here, there) = pair(&io).await;
                let mut answer = [0; 4];
                let (sent, read, ()) = futures_util::join!(
                    here.write_all(b"ping"),
                    there.read(&mut answer),
                    read_block(&file, &pool, round),
                );
                sent.expect("write");
                assert_eq!((read.expect("read"), &answer), (4, b"ping"));
                let deadline = io.now() + Duration::from_micros(300);
                io.sleep_until(deadline).await;
                assert!(io.now() >= deadline, "no timer is early");
                round += 1;
            }
        });
        drop(timer);
    }
}

/// Four threads wake one task in bursts; each burst's last wake must be seen, wherever the loop is just then.
#[test]
fn a_million_wakes_of_other_threads_are_all_seen() {
    const THREADS: usize = 4;
    const BURST: usize = 5;
    let rounds = times(5_000, 1_000_000 / THREADS / BURST);
    run(async |io| {
        let count = Arc::new(AtomicUsize::new(0));
        let (mut asks, mut wakers) = (Vec::new(), Vec::new());
        for _ in 0..THREADS {
            let (ask, asked) = mpsc::channel::<Waker>();
            let count = Arc::clone(&count);
            asks.push(ask);
            wakers.push(thread::spawn(move || {
                for waker in asked {
                    for _ in 0..BURST {
                        count.fetch_add(1, Ordering::SeqCst);
                        waker.wake_by_ref();
                    }
                }
            }));
        }
        for round in 1..=rounds {
            let mut told = false;
            let all = poll_fn(|cx| {
                if !std::mem::replace(&mut told, true) {
                    for ask in &asks {
                        ask.send(cx.waker().clone()).expect("it listens");
                    }
                }
                match count.load(Ordering::SeqCst) {
                    seen if seen == round * THREADS * BURST => Poll::Ready(()),
                    _ => Poll::Pending,
                }
            });
            // Were a wake lost, the loop would sleep until the harness's deadline.
            all.await;
        }
        assert!(io.metrics().sleeps > 0, "it slept now and then");
        drop(asks);
        for waker in wakers {
            waker.join().expect("a thread");
        }
    });
}
