//! The loop inside another: its descriptor tells of everything, so the outer one may sleep on it.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use ambidex::Poll;
use ambidex::disk::{File, Op, OpenOptions};
use ambidex::net::event::UserEvent;
use ambidex::net::{Events as OuterEvents, Interest, Mode, Poller, Token};
use ambidex::poll::{Event, Events};
use ambidex_tests::sim::{HANG, Patience, backends};

use super::{Hands, TOKEN, open, poll_by, poll_on};

/// An outer loop that watches `poll`.
struct Outer {
    poller: Poller,
    events: OuterEvents,
}

impl Outer {
    fn new(poll: &Poll, mode: Mode) -> Outer {
        let poller = Poller::new().expect("a set");
        let registered = poller.register(poll.as_fd(), Token(0), Interest::READABLE, mode);
        registered.expect("registered");
        Outer {
            poller,
            events: OuterEvents::with_capacity(4),
        }
    }

    /// Whether there is something to do within `pause`.
    fn wait(&mut self, pause: Duration) -> bool {
        while let Err(error) = self.poller.wait(&mut self.events, Some(pause)) {
            // io_uring interrupts waits of its thread as a matter of course.
            assert_eq!(error.raw_os_error(), Some(libc::EINTR));
        }
        self.events.iter().count() > 0
    }

    /// The next events of `poll`, waited for here.
    fn next(&mut self, poll: &mut Poll) -> Vec<Event> {
        let mut events = Events::with_capacity(4);
        loop {
            let pause = poll.poll_without_sleep(&mut events).expect("the loop");
            if !events.is_empty() {
                assert_eq!(pause, Some(Duration::ZERO), "there may be more");
                return events.drain().collect();
            }
            if pause != Some(Duration::ZERO) {
                let told = self.wait(pause.unwrap_or(HANG));
                assert!(told || pause.is_some(), "a wake was lost");
            }
        }
    }
}

/// Turns `poll` until it has nothing to do; for how long.
fn idle(poll: &mut Poll) -> Option<Duration> {
    let mut events = Events::with_capacity(4);
    loop {
        let pause = poll.poll_without_sleep(&mut events).expect("the loop");
        assert!(events.is_empty(), "{events:?}");
        if pause != Some(Duration::ZERO) {
            return pause;
        }
    }
}

#[test]
fn no_completion_is_lost_between_the_look_and_the_sleep() {
    for choice in backends("nested completions") {
        for mode in [Mode::Level, Mode::Edge] {
            let poll = &mut poll_on(choice, 8);
            // Remote, so that a thread answers whenever it likes.
            let file = open(poll, &OpenOptions::new(), "/proc/self/stat").expect("open");
            let mut outer = Outer::new(poll, mode);
            for round in 0..500 {
                for _ in 0..=round % 3 {
                    let op = Op::read_at(&file, Vec::with_capacity(8), 0);
                    poll.submit(TOKEN, op).expect("begun");
                }
                let mut left = round % 3 + 1;
                while left > 0 {
                    left -= outer.next(poll).len();
                }
            }
        }
    }
}

#[test]
fn no_call_of_another_thread_is_lost_between_the_look_and_the_sleep() {
    const CALLS: u64 = 5000;
    for mode in [Mode::Level, Mode::Edge] {
        let poll = &mut Poll::new().expect("a loop");
        let user = UserEvent::new(poll.net()).expect("a user event");
        let notifier = user.notifier();
        poll.add(TOKEN, user);
        let caller = thread::spawn(move || {
            for _ in 0..CALLS {
                notifier.notify();
                thread::yield_now();
            }
        });
        let (mut outer, mut counted) = (Outer::new(poll, mode), 0);
        while counted < CALLS {
            for event in outer.next(poll) {
                let Event::User { count, .. } = event else {
                    panic!("{event:?}");
                };
                counted += count;
            }
        }
        caller.join().expect("the caller");
        assert_eq!(counted, CALLS);
    }
}

#[test]
fn readiness_and_timers_reach_the_outer_loop() {
    for mode in [Mode::Level, Mode::Edge] {
        let poll = &mut Poll::new().expect("a loop");
        let mut outer = Outer::new(poll, mode);
        let (here, mut there) = UnixStream::pair().expect("a pair");
        let registry = poll.registry();
        registry
            .register(&here, Token(1), Interest::READABLE, Mode::Edge)
            .expect("registered");
        for _ in 0..100 {
            assert_eq!(idle(poll), None);
            there.write_all(b"x").expect("room");
            assert_eq!(outer.next(poll)[0].token(), Token(1));
            poll.set_timer(Token(2), Duration::from_micros(50), None);
            assert_eq!(outer.next(poll)[0].token(), Token(2));
        }
    }
}

#[test]
fn the_pause_is_until_the_next_timer() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, net) = poll_by(&clock);
    assert_eq!(idle(&mut poll), None);
    poll.set_timer(TOKEN, Duration::from_secs(5), None);
    assert_eq!(idle(&mut poll), Some(Duration::from_secs(5)));
    clock.advance(Duration::from_secs(2));
    assert_eq!(idle(&mut poll), Some(Duration::from_secs(3)));
    assert!(
        net.take_pauses()
            .iter()
            .all(|pause| *pause == Some(Duration::ZERO)),
        "it slept"
    );
}

/// Between two looks the outer loop's own events may lead to anything.
#[test]
fn what_is_begun_while_the_outer_loop_is_about_to_sleep_wakes_it() {
    for choice in backends("begun before the sleep") {
        let poll = &mut poll_on(choice, 4);
        let mut outer = Outer::new(poll, Mode::Level);
        let mut told = |poll: &mut Poll, token: u64| {
            assert!(
                outer.wait(Duration::ZERO),
                "the outer loop sleeps on work: {token}"
            );
            assert_eq!(outer.next(poll)[0].token(), Token(token));
            // What was opened is closed meanwhile, and that rings too.
            let patience = Patience::new();
            idle(poll);
            while poll.disk().in_flight() > 0 || outer.wait(Duration::ZERO) {
                idle(poll);
                patience.check("silence");
            }
        };
        idle(poll);
        let op = Op::open(poll.disk(), &OpenOptions::new(), "/proc/self/stat");
        poll.submit(Token(1), op).expect("begun");
        told(poll, 1);
        poll.set_timer(Token(2), Duration::ZERO, None);
        told(poll, 2);
        let user = UserEvent::new(poll.net()).expect("a user event");
        user.notifier().notify();
        poll.add(Token(3), user);
        told(poll, 3);
    }
}

#[test]
fn a_cancel_while_the_outer_loop_is_about_to_sleep_wakes_it() {
    for choice in backends("cancelled before the sleep") {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("a FIFO");
        let options = ambidex::disk::Options {
            choice,
            workers_max: 1,
            ..Default::default()
        };
        let builder = ambidex::Engine::builder().disk(options);
        let poll = &mut builder.build_poll().expect("a loop");
        let mut outer = Outer::new(poll, Mode::Level);
        // The only worker hangs in an open without a writer; the next waits for it.
        let first = Op::open(poll.disk(), &OpenOptions::new(), &path);
        poll.submit(Token(1), first).expect("begun");
        idle(poll);
        let next = Op::open(poll.disk(), &OpenOptions::new(), "/proc/self/stat");
        let id = poll.submit(Token(2), next).expect("begun");
        idle(poll);
        poll.cancel(id);
        assert!(
            outer.wait(Duration::ZERO),
            "the outer loop sleeps on an answer"
        );
        assert_eq!(outer.next(poll)[0].token(), Token(2));

        // The same by a future: its own waker is the only one that could tell.
        let handle = poll.disk().clone();
        let opening = handle.cancellable(File::open(&handle, "/proc/self/stat"));
        let (canceller, mut opening) = (opening.canceller(), pin!(opening));
        assert!(ambidex_tests::sim::poll_once(opening.as_mut()).is_pending());
        poll.set_timer(Token(3), Duration::ZERO, None);
        assert_eq!(outer.next(poll)[0].token(), Token(3));
        idle(poll);
        canceller.cancel();
        assert!(
            outer.wait(Duration::ZERO),
            "the outer loop sleeps on an answer"
        );
        idle(poll);
        assert!(ambidex_tests::sim::poll_once(opening.as_mut()).is_ready());
        let mut both = std::fs::OpenOptions::new();
        let _writer = both.read(true).write(true).open(&path).expect("a FIFO");
        assert_eq!(outer.next(poll)[0].token(), Token(1));
    }
}
