//! For how long a poll sleeps: never longer than asked, never shorter without an event, whatever interrupts it.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ambidex::disk::{File, Op, OpenOptions};
use ambidex::net::Token;
use ambidex::poll::Events;
use ambidex::{Engine, Poll};
use ambidex_tests::sim::disk::fake;
use ambidex_tests::sim::{HANG, Patience, backends, poll_once};
use rustix::process::{Signal, kill_process};

use super::{Hands, TOKEN, complete, none, poll_by, poll_on, some};

const MS: Duration = Duration::from_millis(1);

#[test]
fn interrupted_waits_go_on_for_what_is_left_and_no_longer() {
    // Each look at the clock takes as long.
    let clock = Hands::new(MS / 4);
    let (mut poll, net) = poll_by(&clock);
    net.script_waits([libc::EINTR; 15]);
    let (before, asked) = (clock.elapsed(), 10 * MS);
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, Some(asked))
        .expect("EINTR is no error");
    assert!(
        events.is_empty() && clock.elapsed() >= before + asked,
        "too early"
    );
    let pauses: Vec<_> = net.take_pauses().into_iter().map(Option::unwrap).collect();
    assert!(pauses.len() > 15 && poll.metrics().interrupted == 15);
    assert!(pauses.is_sorted_by(|one, next| one > next), "{pauses:?}");
    assert!(
        pauses[0] < asked && pauses[pauses.len() - 1] == Duration::ZERO,
        "{pauses:?}"
    );
}

#[test]
fn an_interrupted_wait_for_ever_waits_for_ever() {
    let clock = Hands::new(MS);
    let (mut poll, net) = poll_by(&clock);
    net.script_waits([libc::EINTR; 20]);
    poll.set_timer(TOKEN, 30 * MS, None);
    let mut events = Events::with_capacity(8);
    poll.poll(&mut events, None).expect("EINTR is no error");
    assert_eq!(events.len(), 1);
    assert!(clock.elapsed() >= 30 * MS, "too early");
    let pauses: Vec<_> = net.take_pauses().into_iter().map(Option::unwrap).collect();
    assert!(pauses.iter().all(|pause| *pause <= 30 * MS), "{pauses:?}");
}

#[test]
fn a_storm_of_signals_ends_no_poll_before_its_time() {
    let heard = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&heard))
        .expect("a handler");
    let over = Arc::new(AtomicBool::new(false));
    // kill(2) of a thread's id prefers that thread.
    let (target, told) = (rustix::thread::gettid(), Arc::clone(&over));
    let storm = std::thread::spawn(move || {
        while !told.load(Ordering::SeqCst) {
            kill_process(target, Signal::USR1).expect("kill");
            std::thread::yield_now();
        }
    });
    let patience = Patience::new();
    while !heard.load(Ordering::SeqCst) {
        std::thread::yield_now();
        patience.check("the storm");
    }
    let mut poll = Poll::new().expect("a loop");
    let mut events = Events::with_capacity(8);
    for pause in [Duration::ZERO, MS, 20 * MS] {
        let before = poll.now();
        poll.poll(&mut events, Some(pause))
            .expect("EINTR is no error");
        assert!(
            events.is_empty() && poll.now() >= before + pause,
            "too early"
        );
    }
    over.store(true, Ordering::SeqCst);
    storm.join().expect("the storm");
}

#[test]
fn a_poll_of_no_time_never_sleeps() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, net) = poll_by(&clock);
    let mut events = Events::with_capacity(1);
    let mut look = |poll: &mut Poll| {
        poll.poll(&mut events, Some(Duration::ZERO))
            .expect("the loop");
        let pauses = net.take_pauses();
        assert!(pauses == [Some(Duration::ZERO)], "{pauses:?}");
    };
    look(&mut poll);
    poll.set_timer(Token(1), Duration::MAX, None);
    look(&mut poll);
    poll.set_timer(Token(2), Duration::ZERO, None);
    poll.set_timer(Token(3), Duration::ZERO, None);
    look(&mut poll);
    let op = Op::open(poll.disk(), &OpenOptions::new(), "/proc/self/stat");
    poll.submit(Token(4), op).expect("begun");
    for _ in 0..10 {
        look(&mut poll);
    }
}

#[test]
fn a_poll_sleeps_until_its_time_or_the_next_timer_whichever_is_first() {
    let clock = Hands::new(Duration::ZERO);
    for (timer, timeout, first) in [(1, 2, 1), (2, 1, 1)] {
        let (mut poll, net) = poll_by(&clock);
        poll.set_timer(TOKEN, timer * MS, None);
        // The time is over as soon as the wait is: the test's clock stands still meanwhile.
        net.script_waits([0, libc::EBADF]);
        let mut events = Events::with_capacity(1);
        let waited = poll.poll(&mut events, Some(timeout * MS));
        assert_eq!(
            waited.expect_err("on purpose").raw_os_error(),
            Some(libc::EBADF)
        );
        assert_eq!(net.take_pauses(), [Some(first * MS); 2]);
    }
}

#[test]
fn a_wake_without_an_event_ends_no_poll() {
    for choice in backends("no event") {
        let poll = &mut poll_on(choice, 4);
        // Its completion rings the same bell, and is nobody's event.
        let handle = poll.disk().clone();
        let mut opening = pin!(File::open(&handle, "/proc/self/stat"));
        assert!(poll_once(opening.as_mut()).is_pending());
        let (before, mut events) = (poll.now(), Events::with_capacity(4));
        let patience = Patience::new();
        while poll.disk().in_flight() > 0 {
            poll.poll(&mut events, Some(MS)).expect("the loop");
            assert!(events.is_empty());
            patience.check("the open");
        }
        assert!(poll.now() >= before + MS, "too early");
        assert!(poll_once(opening.as_mut()).is_ready());
    }
}

#[test]
fn what_happens_while_a_poll_ends_is_told_by_it() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, _) = poll_by(&clock);
    poll.set_timer(Token(1), Duration::ZERO, None);
    let mut events = Events::with_capacity(4);
    poll.poll(&mut events, Some(Duration::ZERO))
        .expect("the loop");
    assert_eq!(events.len(), 1, "its time was over at the last look");
    // With room for one, the others are there at once with the next, without a sleep between.
    for token in 2..5 {
        poll.set_timer(Token(token), Duration::ZERO, None);
    }
    let told: Vec<_> = (2..5).map(|_| some(&mut poll, 1)[0].token().0).collect();
    assert_eq!(told, [2, 3, 4]);
}

#[test]
fn who_was_refused_for_the_credit_of_a_close_hears_when_it_is_free() {
    // A close has no event of its own.
    const LATE: Token = Token(9);
    for nested in [false, true] {
        let (kernel, control) = fake(1, 1, 1);
        control.file("data", vec![1; 64]);
        let built = Engine::builder().disk_kernel(Box::new(kernel)).build_poll();
        let poll = &mut built.expect("a loop");
        let open = |poll: &Poll| Op::open(poll.disk(), &OpenOptions::new(), "data");
        let op = open(poll);
        poll.submit(TOKEN, op).expect("a credit");
        drop(complete(poll).into_file().expect("open"));
        control.hang(true);
        none(poll);
        let refused = poll
            .submit(TOKEN, open(poll))
            .expect_err("the close holds the credit");
        assert_eq!(refused.error.kind(), ErrorKind::WouldBlock);
        none(poll);
        control.hang(false);
        assert!(control.finish_one(), "the close");
        poll.set_timer(LATE, HANG, None);
        let mut events = Events::with_capacity(8);
        if nested {
            let pause = poll.poll_without_sleep(&mut events).expect("the loop");
            assert_eq!(pause, Some(Duration::ZERO));
        } else {
            poll.poll(&mut events, None).expect("the loop");
        }
        assert!(events.is_empty(), "the wait was for the timer: {events:?}");
        poll.submit(TOKEN, refused.op).expect("a credit");
        control.hang(false);
        assert!(complete(poll).into_file().is_ok());
    }
}
