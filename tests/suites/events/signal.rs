//! signalfd. The mask of a thread is looked at in a thread of its own, and signals to the process are sent in a process
//! of its own, which inherits the mask: blocked before any of its threads starts, as the rule says.

use std::env;
use std::fs;
use std::pin::pin;
use std::process::Command;
use std::thread;

use ambidex::Engine;
use ambidex::Handle;
use ambidex::net::event::{BlockedSignals, Child, SignalInfo, Signals, UserEvent};
use ambidex_tests::sim::poll_once;

use super::{NOTHING, run, run_on, turns};

/// Set in the process that a test runs for itself.
const ALONE: &str = "AMBIDEX_TESTS_ALONE";

/// Runs the test `name` again in a process all of whose threads have `signals` blocked. True in that process.
pub(super) fn alone(name: &str, signals: &[i32]) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let _blocked = BlockedSignals::new(signals).expect("blocked");
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", name]).env(ALONE, "1");
    let output = command.output().expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// Sends `signal` to this process.
fn send(io: &Handle, signal: i32) {
    let me = Child::from_pid(io.net(), std::process::id()).expect("this process");
    me.kill(signal).expect("sent");
}

async fn received(signals: &Signals) -> i32 {
    let info: SignalInfo = signals.recv().await.expect("a signal");
    info.signal
}

/// Which of `signals` the calling thread has blocked.
fn blocked(signals: &[i32]) -> Vec<i32> {
    let status = fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("hexadecimal");
    let is_blocked = |signal: &i32| mask >> (signal - 1) & 1 == 1;
    signals.iter().copied().filter(is_blocked).collect()
}

#[test]
fn a_signal_tells_who_sent_it_and_how() {
    if !alone(
        "signal::a_signal_tells_who_sent_it_and_how",
        &[libc::SIGUSR1, libc::SIGCHLD],
    ) {
        return;
    }
    run(async |io| {
        let signals = Signals::new(io.net(), &[libc::SIGUSR1]).expect("signals");
        send(&io, libc::SIGUSR1);
        let info = signals.recv().await.expect("a signal");
        assert_eq!((info.signal, info.code), (libc::SIGUSR1, libc::SI_USER));
        assert_eq!(info.pid, std::process::id());
        assert_eq!(info.uid, rustix::process::getuid().as_raw());

        let children = Signals::new(io.net(), &[libc::SIGCHLD]).expect("signals");
        let child = Command::new("true").spawn().expect("a process");
        let info = children.recv().await.expect("a signal");
        assert_eq!((info.signal, info.code), (libc::SIGCHLD, libc::CLD_EXITED));
        assert_eq!(info.pid, child.id());
        let child = Child::adopt(io.net(), child).expect("a child");
        assert!(child.wait().await.expect("its status").success());
    });
}

#[test]
fn several_signals_come_through_one_source_and_no_other_does() {
    let all = [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR2];
    if !alone(
        "signal::several_signals_come_through_one_source_and_no_other_does",
        &all,
    ) {
        return;
    }
    run(async |io| {
        let signals = Signals::new(io.net(), &all[..2]).expect("signals");
        for signal in all {
            send(&io, signal);
        }
        let mut seen = [received(&signals).await, received(&signals).await];
        seen.sort_unstable();
        assert_eq!(seen, [libc::SIGHUP, libc::SIGTERM]);
        assert!(io.timeout(NOTHING, signals.recv()).await.is_err());
        let other = Signals::new(io.net(), &all[2..]).expect("signals");
        assert_eq!(received(&other).await, libc::SIGUSR2, "pending before");
    });
}

#[test]
fn a_signal_wakes_a_loop_that_sleeps() {
    if !alone(
        "signal::a_signal_wakes_a_loop_that_sleeps",
        &[libc::SIGUSR1],
    ) {
        return;
    }
    run(async |io| {
        let signals = Signals::new(io.net(), &[libc::SIGUSR1]).expect("signals");
        let pid = std::process::id().to_string();
        let mut sender = Command::new("kill")
            .args(["-USR1", &pid])
            .spawn()
            .expect("kill");
        let info = signals.recv().await.expect("a signal");
        assert_eq!(info.pid, sender.id());
        assert!(sender.wait().expect("kill").success());
    });
}

#[test]
fn standard_signals_coalesce_and_real_time_signals_queue_with_their_values() {
    let real_time = libc::SIGRTMIN() + 3;
    if !alone(
        "signal::standard_signals_coalesce_and_real_time_signals_queue_with_their_values",
        &[libc::SIGUSR1, real_time],
    ) {
        return;
    }
    run(async |io| {
        let signals = Signals::new(io.net(), &[libc::SIGUSR1, real_time]).expect("signals");
        for _ in 0..3 {
            send(&io, libc::SIGUSR1);
        }
        assert_eq!(received(&signals).await, libc::SIGUSR1);
        assert!(io.timeout(NOTHING, signals.recv()).await.is_err());
        let pid = std::process::id().to_string();
        for value in ["5", "6", "7"] {
            let mut kill = Command::new("kill");
            kill.args(["-q", value, "-s", &real_time.to_string(), &pid]);
            assert!(kill.status().expect("kill").success());
        }
        for value in [5, 6, 7] {
            let info = signals.recv().await.expect("a signal");
            assert_eq!((info.signal, info.value), (real_time, value));
            assert_eq!(info.code, libc::SI_QUEUE);
        }
    });
}

#[test]
fn a_signal_is_lost_neither_by_a_dropped_wait_nor_by_a_dropped_source() {
    if !alone(
        "signal::a_signal_is_lost_neither_by_a_dropped_wait_nor_by_a_dropped_source",
        &[libc::SIGUSR1],
    ) {
        return;
    }
    run(async |io| {
        let signals = Signals::new(io.net(), &[libc::SIGUSR1]).expect("signals");
        assert!(poll_once(pin!(signals.recv())).is_pending());
        send(&io, libc::SIGUSR1);
        turns(&io).await;
        drop(signals);
        let signals = Signals::new(io.net(), &[libc::SIGUSR1]).expect("signals");
        assert_eq!(received(&signals).await, libc::SIGUSR1);
    });
}

#[test]
fn two_engines_share_a_signal_and_it_is_received_once() {
    if !alone(
        "signal::two_engines_share_a_signal_and_it_is_received_once",
        &[libc::SIGUSR1],
    ) {
        return;
    }
    let mut engines = [Engine::new().expect("one"), Engine::new().expect("two")];
    let make = |engine: &Engine| Signals::new(engine.handle().net(), &[libc::SIGUSR1]);
    let signals = [make(&engines[0]), make(&engines[1])].map(|it| it.expect("signals"));
    send(&engines[0].handle(), libc::SIGUSR1);
    let signal = run_on(&mut engines[1], async |_| received(&signals[1]).await);
    assert_eq!(signal, libc::SIGUSR1);
    run_on(&mut engines[0], async |io| {
        assert!(io.timeout(NOTHING, signals[0].recv()).await.is_err());
    });
}

#[test]
fn with_threads_started_after_blocking_every_signal_reaches_the_loop() {
    if !alone(
        "signal::with_threads_started_after_blocking_every_signal_reaches_the_loop",
        &[libc::SIGUSR1],
    ) {
        return;
    }
    run(async |io| {
        let event = UserEvent::new(io.net()).expect("an event");
        let signals = Signals::new(io.net(), &[libc::SIGUSR1]).expect("signals");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let notifier = event.notifier();
        let other = thread::spawn(move || {
            notifier.notify();
            // Runs on, with the mask it was born with.
            let _ = stopped.recv();
            blocked(&[libc::SIGUSR1])
        });
        event.notified().await.expect("it runs");
        for _ in 0..100 {
            send(&io, libc::SIGUSR1);
            assert_eq!(received(&signals).await, libc::SIGUSR1);
        }
        drop(stop);
        assert_eq!(other.join().unwrap(), [libc::SIGUSR1]);
    });
}

/// Runs `main` in a thread of its own, and so with a mask of its own.
fn in_a_thread(main: impl FnOnce() + Send + 'static) {
    thread::spawn(main).join().unwrap();
}

const USED: [i32; 3] = [libc::SIGWINCH, libc::SIGURG, libc::SIGCONT];

#[test]
fn the_mask_is_as_it_was_once_the_last_that_blocked_a_signal_is_gone() {
    in_a_thread(|| {
        let engine = Engine::new().expect("an engine");
        let (io, [a, b, c]) = (engine.handle(), USED);
        let first = Signals::new(io.net(), &[a, b]).expect("signals");
        assert_eq!(blocked(&USED), [a, b].to_vec());
        let second = Signals::new(io.net(), &[b, c]).expect("signals");
        let third = BlockedSignals::new(&[b]).expect("blocked");
        drop(first);
        assert_eq!(blocked(&USED).len(), 2, "b and c are still received");
        drop(second);
        assert_eq!(blocked(&USED), [b]);
        drop(third);
        assert!(blocked(&USED).is_empty());
    });
}

#[test]
fn a_signal_that_somebody_else_has_blocked_stays_blocked() {
    in_a_thread(|| {
        // The thread that spawns it blocks, so the new one was born with it.
        let _outer = BlockedSignals::new(&[libc::SIGURG]).expect("blocked");
        in_a_thread(|| {
            drop(BlockedSignals::new(&[libc::SIGURG, libc::SIGWINCH]).expect("blocked"));
            assert_eq!(blocked(&USED), [libc::SIGURG]);
        });
    });
}

#[test]
fn a_source_that_cannot_be_made_leaves_the_mask_alone() {
    in_a_thread(|| {
        let net = std::rc::Rc::new(ambidex_tests::sim::net::FakeNet::default());
        let engine = super::engine_on(&net);
        net.script_creations([libc::EMFILE]);
        let error = Signals::new(engine.handle().net(), &USED).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert!(blocked(&USED).is_empty());
    });
}

#[test]
fn signals_that_cannot_be_events_are_refused_and_the_mask_stays() {
    in_a_thread(|| {
        for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, 0, 32, 65, -1] {
            let error = BlockedSignals::new(&[libc::SIGURG, signal]).expect_err("refused");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&signal.to_string()), "{error}");
        }
        assert!(BlockedSignals::new(&[]).is_err());
        assert!(blocked(&USED).is_empty());
    });
}
