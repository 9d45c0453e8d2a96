//! The scenes of libuv's own tests, written anew for this engine's public API: on the real kernel. Those that other
//! suites play already are named on the page docs/src/traps.md.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use ambidex::net::event::{Changes, Child, UserEvent, Watch};
use ambidex::net::{Interest, Mode, Source, TcpListener, TcpStream, Token};
use ambidex::poll::{Event, Events};
use ambidex::{Engine, JoinHandle, Poll};
use ambidex_tests::alone::alone;
use ambidex_tests::loops::{ANY_PORT, errno, pair, pattern, run, run_on};
use ambidex_tests::sim::clock::Turned;
use ambidex_tests::sim::{HANG, Patience, descriptors, poll_once};
use futures_util::future::join_all;

/// The next events of `poll`.
fn some(poll: &mut Poll) -> Vec<Event> {
    let mut events = Events::with_capacity(64);
    poll.poll(&mut events, Some(HANG)).expect("the loop");
    assert!(!events.is_empty(), "it hangs");
    events.drain().collect()
}

/// spawn_many: SIGCHLD comes once for many children; a pidfd tells of each.
#[test]
fn fifty_children_that_end_at_once_each_tell_their_own_code() {
    run(async |io| {
        let (gate, hold) = io::pipe().expect("a pipe");
        let children: Vec<_> = (0..50)
            .map(|code| {
                let mut command = Command::new("sh");
                command.args(["-c", &format!("read -r line; exit {code}")]);
                command.stdin(gate.try_clone().expect("the same pipe"));
                let child = command.spawn().expect("sh");
                Child::adopt(io.net(), child).expect("a child")
            })
            .collect();
        // The end of their input, for all at the same moment.
        drop((gate, hold));
        let codes = join_all(children.iter().map(Child::wait)).await;
        for (expected, status) in codes.into_iter().enumerate() {
            assert_eq!(status.expect("a status").code(), Some(expected as i32));
        }
    });
}

/// delayed_accept, tcp_close_accept: who has come, spoken and gone before is heard all the same.
#[test]
fn a_connection_that_has_ended_before_it_is_accepted_is_read_to_its_end() {
    run(async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        for _ in 0..10 {
            let mut client = std::net::TcpStream::connect(address).expect("connect");
            client.write_all(b"hello").expect("write");
        }
        for _ in 0..10 {
            let (stream, _) = io.accept(&listener).await.expect("accept");
            let mut buffer = [0; 16];
            assert_eq!(stream.read(&mut buffer).await.expect("read"), 5);
            assert_eq!(stream.read(&mut buffer).await.expect("the end"), 0);
        }
    });
}

/// tcp_close_while_connecting: given up at once, or a turn later.
#[test]
fn an_attempt_to_connect_that_is_dropped_leaves_nothing() {
    if !alone("an_attempt_to_connect_that_is_dropped_leaves_nothing") {
        return;
    }
    run(async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        let before = descriptors("socket:");
        for round in 0..200 {
            let mut attempt = Box::pin(TcpStream::connect(io.net(), address));
            let _ = poll_once(attempt.as_mut());
            if round % 2 == 0 {
                io.yield_now().await;
            }
        }
        // Changes of the epoll set hold a socket until they are answered.
        let patience = Patience::new();
        while descriptors("socket:") > before {
            io.yield_now().await;
            patience.check("the last socket to be closed");
        }
        let client = TcpStream::connect(io.net(), address)
            .await
            .expect("connect");
        client.write_all(b"last").await.expect("write");
        let mut buffer = [0; 8];
        loop {
            let (stream, _) = io.accept(&listener).await.expect("accept");
            if stream
                .read(&mut buffer)
                .await
                .is_ok_and(|length| length > 0)
            {
                break;
            }
        }
        assert_eq!(&buffer[..4], b"last");
    });
}

/// tcp_write_to_half_open_connection, tcp_write_fail.
#[test]
fn writing_to_who_is_gone_is_an_error_and_no_signal() {
    run(async |io| {
        let (here, there) = pair(&io).await;
        there
            .options()
            .set_linger(Some(Duration::ZERO))
            .expect("set");
        drop(there);
        let mut told = Ok(());
        while told.is_ok() {
            told = here.write_all(&[0; 4096]).await;
        }
        let told = errno(&told);
        assert!([Some(libc::ECONNRESET), Some(libc::EPIPE)].contains(&told));
        assert_eq!(errno(&here.write_all(b"x").await), Some(libc::EPIPE));
    });
}

/// tcp_shutdown_after_write, shutdown_eof, shutdown_twice: the end comes behind the bytes.
#[test]
fn what_was_written_before_a_shutdown_arrives_before_the_end() {
    run(async |io| {
        let (here, there) = pair(&io).await;
        let sent = pattern(1 << 20);
        let expected = sent.clone();
        let writing = io.spawn(async move {
            here.write_all(&sent).await.expect("write");
            here.shutdown(Shutdown::Write).expect("shut down");
            let again = here.shutdown(Shutdown::Write);
            assert!(again.is_ok() || errno(&again) == Some(libc::ENOTCONN));
            assert_eq!(errno(&here.write(b"x").await), Some(libc::EPIPE));
            let mut buffer = [0; 16];
            assert_eq!(here.read(&mut buffer).await.expect("the answer"), 4);
            assert_eq!(here.read(&mut buffer).await.expect("the end"), 0);
        });
        let (mut received, mut buffer) = (Vec::new(), vec![0; 10_000]);
        loop {
            match there.read(&mut buffer).await.expect("read") {
                0 => break,
                length => received.extend_from_slice(&buffer[..length]),
            }
        }
        assert!(received == expected, "{} bytes", received.len());
        there.write_all(b"late").await.expect("the other half");
        drop(there);
        writing.await.expect("joined");
    });
}

/// poll_duplicate: two numbers of one socket, each with a source of its own.
#[test]
fn duplicates_of_a_descriptor_are_told_apart_and_outlive_each_other() {
    run(async |io| {
        let (here, mut there) = UnixStream::pair().expect("a pair");
        here.set_nonblocking(true).expect("set");
        let twin = here.try_clone().expect("a duplicate");
        let reads = Source::with(io.net(), here, Interest::READABLE, Mode::Level);
        let both = Source::new(io.net(), twin.into());
        let (reads, both) = (reads.expect("one"), both.expect("the other"));
        let ready = both.ready(Interest::WRITABLE).await.expect("it has room");
        assert!(ready.is_writable());
        there.write_all(b"x").expect("write");
        let (one, other) = futures_util::join!(
            reads.ready(Interest::READABLE),
            both.ready(Interest::READABLE)
        );
        assert!(one.expect("one").is_readable() && other.expect("other").is_readable());
        // The socket lives on, and so does the epoll set's entry of the number that goes, unless it is removed.
        drop(both);
        for _ in 0..10 {
            let ready = reads.ready(Interest::READABLE).await.expect("still");
            assert!(ready.is_readable());
        }
        let before = io.metrics().events;
        io.sleep(Duration::from_millis(5)).await;
        assert_eq!(
            io.metrics().events,
            before,
            "nobody waits, and nothing spins"
        );
    });
}

/// queue_foreach_delete, poll_close: the first that is told of stops all the others.
#[test]
fn whoever_is_told_first_may_stop_all_others_and_itself() {
    const SOURCES: u64 = 16;
    let mut poll = Poll::new().expect("a loop");
    let pairs: Vec<_> = (0..SOURCES)
        .map(|at| {
            let (here, mut there) = UnixStream::pair().expect("a pair");
            there.write_all(b"x").expect("write");
            let registry = poll.registry();
            let registered = registry.register(&here, Token(at), Interest::READABLE, Mode::Level);
            registered.expect("registered");
            (here, there)
        })
        .collect();
    let user = UserEvent::new(poll.net()).expect("an event");
    user.notifier().notify();
    let user = poll.add(Token(100), user);
    let timers: Vec<_> = (0..SOURCES)
        .map(|at| poll.set_timer(Token(200 + at), Duration::ZERO, None))
        .collect();
    // One event has room, so that all but one wait in the loop when the first stops them.
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(HANG)).expect("the loop");
    assert_eq!(events.drain().count(), 1);
    for (here, _) in &pairs {
        poll.registry().deregister(here).expect("deregistered");
    }
    poll.remove(user);
    for timer in timers {
        poll.cancel_timer(timer);
    }
    for _ in 0..4 {
        poll.poll(&mut events, Some(Duration::ZERO)).expect("turn");
        assert!(events.is_empty(), "{events:?}");
    }
}

/// timer_again, timer_start_twice: set anew and stopped from within.
#[test]
fn a_timer_that_is_set_anew_when_it_expires_goes_on_until_it_is_stopped() {
    let mut poll = Poll::new().expect("a loop");
    let mut timer = poll.set_timer(Token(0), Duration::ZERO, None);
    for round in 0..100 {
        let events = some(&mut poll);
        assert!(matches!(
            events[..],
            [Event::Timer { token, expirations: 1 }] if token == Token(round)
        ));
        assert!(!poll.cancel_timer(timer), "it has expired");
        timer = poll.set_timer(Token(round + 1), Duration::ZERO, None);
    }
    assert!(poll.cancel_timer(timer));
    let mut events = Events::with_capacity(4);
    poll.poll(&mut events, Some(Duration::ZERO)).expect("turn");
    assert!(events.is_empty());
}

/// timer_order, with one that stops the next: of those that are due at once, each may still be taken back.
#[test]
fn of_a_thousand_equal_timers_each_may_stop_the_next() {
    const TIMERS: usize = 1_000;
    let clock = Turned::new();
    let engine = Engine::builder().clock(clock.clone()).build();
    run_on(&mut engine.expect("an engine"), async |io| {
        let deadline = io.now() + Duration::from_millis(1);
        let ran = Rc::new(RefCell::new(Vec::new()));
        let tasks = Rc::new(RefCell::new(Vec::<Option<JoinHandle<()>>>::new()));
        let asleep = Rc::new(Cell::new(0));
        for at in 0..TIMERS {
            let (sleep, ran, others) = (io.sleep_until(deadline), ran.clone(), tasks.clone());
            let asleep = asleep.clone();
            let task = io.spawn(async move {
                asleep.set(asleep.get() + 1);
                sleep.await;
                ran.borrow_mut().push(at);
                let next = others.borrow_mut().get_mut(at + 1).and_then(Option::take);
                if let Some(next) = next {
                    next.abort();
                }
            });
            tasks.borrow_mut().push(Some(task));
        }
        // All sleep before the first is due.
        while asleep.get() < TIMERS {
            io.yield_now().await;
        }
        clock.turn(Duration::from_millis(1));
        let last = TIMERS - 2;
        let last = tasks.borrow_mut()[last].take().expect("nobody stops it");
        last.await.expect("joined");
        let expected: Vec<_> = (0..TIMERS).step_by(2).collect();
        assert_eq!(*ran.borrow(), expected, "in order, and without the stopped");
        tasks.take();
    });
}

/// fs_event_close_in_callback, fs_poll after close.
#[test]
fn a_watch_that_is_ended_by_what_it_tells_of_tells_no_more_and_another_begins() {
    run(async |io| {
        let own = tempfile::TempDir::new().expect("a directory");
        for round in 0..20 {
            let watch = Watch::new(io.net()).expect("a watch");
            let id = watch.add(own.path(), Changes::CREATED).expect("added");
            for name in ["a", "b", "c"] {
                let path = own.path().join(format!("{name}{round}"));
                std::fs::write(path, b"").expect("a file");
            }
            let first = watch.next().await.expect("the first");
            assert_eq!(first.name, format!("a{round}").into_bytes());
            if round % 2 == 0 {
                watch.remove(id).expect("removed");
            }
            drop(watch);
        }
        let left = descriptors("inotify");
        assert!(left <= 1, "{left}");
    });
}

/// tcp_close_accept: a listener goes while somebody waits for it and with a connection in its queue.
#[test]
fn a_listener_that_goes_frees_its_port_and_ends_its_queue() {
    run(async |io| {
        let listener = Rc::new(TcpListener::bind(io.net(), ANY_PORT).expect("bind"));
        let address = listener.local_addr().expect("bound");
        let (accepting, listening) = (io.clone(), listener.clone());
        let waiting = io.spawn(async move { accepting.accept(&listening).await.map(drop) });
        io.yield_now().await;
        waiting.abort();
        io.yield_now().await;
        let mut client = std::net::TcpStream::connect(address).expect("connect");
        client.set_read_timeout(Some(HANG)).expect("set");
        drop(Rc::into_inner(listener).expect("nobody else has it"));
        let told = client.read(&mut [0; 1]);
        assert_eq!(errno(&told), Some(libc::ECONNRESET));
        let again = TcpListener::bind(io.net(), address).expect("the port is free");
        let (met, accepted) =
            futures_util::join!(TcpStream::connect(io.net(), address), io.accept(&again));
        assert!(met.is_ok() && accepted.is_ok());
    });
}
