//! Signals, children, watches and user events as events of a loop.

use std::fs;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ambidex::Poll;
use ambidex::disk::{Op, OpenOptions};
use ambidex::net::event::{Change, Changes, Child, Signals, UserEvent, Watch};
use ambidex::net::{Interest, Mode, Token};
use ambidex::poll::{Event, Events, Origin};
use ambidex_tests::sim::{Patience, backends};

use super::{Hands, TOKEN, none, one, poll_by, poll_on, some};

/// A child that runs until its standard input is closed.
fn cat() -> std::process::Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("cat")
}

/// Sent to this thread alone; ignored where nobody asks for it.
fn raise() {
    signal_hook::low_level::raise(libc::SIGWINCH).expect("raised");
}

#[test]
fn all_kinds_of_events_come_in_one_loop_each_with_its_token() {
    for choice in backends("all kinds") {
        let poll = &mut poll_on(choice, 4);
        let directory = tempfile::tempdir().expect("a directory");
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let registry = poll.registry();
        let (_, writable) = std::io::pipe().expect("a pipe");
        drop(reader);
        let registered = registry.register(&writable, Token(0), Interest::WRITABLE, Mode::Edge);
        registered.expect("registered");
        let op = Op::open(poll.disk(), &OpenOptions::new(), "/proc/self/stat");
        poll.submit(Token(1), op).expect("begun");
        poll.set_timer(Token(2), Duration::ZERO, None);
        let signals = Signals::new(poll.net(), &[libc::SIGWINCH]).expect("signals");
        poll.add(Token(3), signals);
        raise();
        let child = Child::adopt(poll.net(), cat()).expect("a child");
        child.kill(libc::SIGKILL).expect("kill");
        poll.add(Token(4), child);
        let watch = Watch::new(poll.net()).expect("a watch");
        watch.add(directory.path(), Changes::CREATED).expect("add");
        poll.add(Token(5), watch);
        fs::write(directory.path().join("new"), "x").expect("a file");
        let user = UserEvent::new(poll.net()).expect("a user event");
        user.notifier().notify();
        poll.add(Token(6), user);

        let (mut seen, patience) = (Vec::new(), Patience::new());
        while seen.len() < 7 {
            seen.extend(some(poll, 2));
            patience.check(&format!("all kinds: {seen:?}"));
        }
        seen.sort_by_key(Event::token);
        for (at, event) in seen.iter().enumerate() {
            assert_eq!(event.token(), Token(at as u64), "{seen:?}");
        }
        assert!(matches!(&seen[0], Event::Ready { readiness, .. } if readiness.is_writable()));
        assert!(matches!(&seen[1], Event::Complete(complete) if complete.result().is_ok()));
        assert!(matches!(&seen[2], Event::Timer { expirations: 1, .. }));
        assert!(
            matches!(&seen[3], Event::Signal { signal, .. } if signal.signal == libc::SIGWINCH)
        );
        assert!(matches!(&seen[4], Event::Exit { status, .. } if !status.success()));
        assert!(
            matches!(&seen[5], Event::Watch { change, .. } if change.change == Change::Created)
        );
        assert!(matches!(&seen[6], Event::User { count: 1, .. }));
        drop(seen);
        none(poll);
    }
}

#[test]
fn a_source_that_was_removed_is_silent_and_goes_on_where_it_is_added_again() {
    let mut poll = Poll::new().expect("a loop");
    let user = Rc::new(UserEvent::new(poll.net()).expect("a user event"));
    let notifier = user.notifier();
    let id = poll.add(Token(1), Rc::clone(&user));
    notifier.notify();
    assert!(matches!(
        one(&mut poll),
        Event::User {
            token: Token(1),
            count: 1
        }
    ));
    notifier.notify();
    let removed = poll.remove(id).expect("it was there");
    assert!(poll.remove(id).is_none(), "once");
    none(&mut poll);
    notifier.notify();
    none(&mut poll);
    // Its place goes to another, which hears nothing of it.
    let other = UserEvent::new(poll.net()).expect("a user event");
    let calls_other = other.notifier();
    let other = poll.add(Token(2), other);
    none(&mut poll);
    poll.add(Token(3), removed);
    assert!(matches!(
        one(&mut poll),
        Event::User {
            token: Token(3),
            count: 2
        }
    ));
    notifier.notify();
    calls_other.notify();
    let mut tokens: Vec<_> = some(&mut poll, 8)
        .iter()
        .map(|event| event.token().0)
        .collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [2, 3]);
    assert!(poll.remove(other).is_some());
}

#[test]
fn events_of_a_source_that_wait_in_the_loop_go_with_it() {
    let mut poll = Poll::new().expect("a loop");
    let users: Vec<_> = (0..3)
        .map(|_| UserEvent::new(poll.net()).expect("a user event"))
        .collect();
    users.iter().for_each(|user| user.notifier().notify());
    let ids: Vec<_> = users
        .into_iter()
        .zip(1..)
        .map(|(user, token)| poll.add(Token(token), user))
        .collect();
    // With room for one, two are known to have something and wait.
    assert_eq!(some(&mut poll, 1)[0].token(), Token(1));
    let user = poll.remove(ids[1]).expect("it waits");
    assert_eq!(one(&mut poll).token(), Token(3));
    none(&mut poll);
    poll.add(Token(4), user);
    assert!(matches!(
        one(&mut poll),
        Event::User {
            token: Token(4),
            count: 1
        }
    ));
}

#[test]
fn a_child_that_has_ended_is_told_of_once_and_gone() {
    let mut poll = Poll::new().expect("a loop");
    for _ in 0..3 {
        let mut process = cat();
        let input = process.stdin.take();
        let child = Rc::new(Child::adopt(poll.net(), process).expect("a child"));
        let id = poll.add(TOKEN, Rc::clone(&child));
        none(&mut poll);
        drop(input);
        let exit = one(&mut poll);
        assert!(matches!(exit, Event::Exit { token: TOKEN, status } if status.success()));
        assert!(poll.remove(id).is_none(), "it is gone");
        assert_eq!(Rc::strong_count(&child), 1, "and nothing holds it");
        none(&mut poll);
    }
}

#[test]
fn a_source_that_fails_says_so_once_and_is_gone() {
    let clock = Hands::new(Duration::ZERO);
    let (mut poll, net) = poll_by(&clock);
    let directory = tempfile::tempdir().expect("a directory");
    let watch = Rc::new(Watch::new(poll.net()).expect("a watch"));
    watch.add(directory.path(), Changes::ALL).expect("add");
    let id = poll.add(TOKEN, Rc::clone(&watch));
    none(&mut poll);
    net.script_looks([libc::EIO]);
    fs::write(directory.path().join("new"), "x").expect("a file");
    let mut events = Events::with_capacity(4);
    let patience = Patience::new();
    while events.is_empty() {
        poll.poll(&mut events, Some(Duration::ZERO))
            .expect("the loop");
        patience.check("the failure");
    }
    let failed: Vec<_> = events.drain().collect();
    assert!(
        matches!(&failed[..], [Event::Failed { token: TOKEN, error }] if error.raw_os_error() == Some(libc::EIO)),
        "{failed:?}"
    );
    assert!(poll.remove(id).is_none() && Rc::strong_count(&watch) == 1);
    none(&mut poll);
    // The watch itself is as it was.
    poll.add(Token(8), watch);
    assert!(matches!(
        some(&mut poll, 1)[0],
        Event::Watch {
            token: Token(8),
            ..
        }
    ));
}

#[test]
fn sources_that_always_have_something_take_turns() {
    let mut poll = Poll::new().expect("a loop");
    let users: Vec<_> = (0..3)
        .map(|_| UserEvent::new(poll.net()).expect("a user event"))
        .collect();
    let notifiers: Vec<_> = users.iter().map(UserEvent::notifier).collect();
    for (user, token) in users.into_iter().zip(0..) {
        poll.add(Token(token), user);
    }
    let mut seen = [0; 3];
    for _ in 0..30 {
        notifiers.iter().for_each(|notifier| notifier.notify());
        seen[some(&mut poll, 1)[0].token().0 as usize] += 1;
    }
    assert_eq!(seen, [10; 3]);
}

#[test]
fn no_call_of_another_thread_is_lost_while_the_loop_sleeps_and_wakes() {
    const CALLS: u64 = 20_000;
    let mut poll = Poll::new().expect("a loop");
    let user = UserEvent::new(poll.net()).expect("a user event");
    let notifier = user.notifier();
    poll.add(TOKEN, Origin::from(user));
    let caller = thread::spawn(move || {
        for call in 0..CALLS {
            notifier.notify();
            if call % 3 == 0 {
                thread::yield_now();
            }
        }
    });
    let mut counted = 0;
    while counted < CALLS {
        for event in some(&mut poll, 8) {
            match event {
                Event::User { count, .. } => counted += count,
                other => panic!("{other:?}"),
            }
        }
    }
    caller.join().expect("the caller");
    assert_eq!(counted, CALLS);
    none(&mut poll);
}
