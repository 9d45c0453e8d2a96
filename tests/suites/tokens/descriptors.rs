//! Registered descriptors: an event goes to whoever is registered now, none is lost, and all have their turn.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ambidex::Poll;
use ambidex::disk::{Op, OpenOptions};
use ambidex::net::{Interest, Mode, Readiness, Token};
use ambidex::poll::{Event, Events};
use ambidex_tests::loops::errno;
use ambidex_tests::sim::{Patience, backends};

use super::{TOKEN, none, one, open, poll_on, some};

/// A connection whose other end has something for this one.
fn talking() -> (UnixStream, UnixStream) {
    let (here, mut there) = UnixStream::pair().expect("a pair");
    here.set_nonblocking(true).expect("nonblocking");
    there.write_all(b"x").expect("room");
    (here, there)
}

/// A quiet connection that takes over the number of `old`, which is closed with that. Other tests of this process open
/// files meanwhile, so the next number is anybody's.
fn successor(old: UnixStream) -> (UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().expect("a pair");
    here.set_nonblocking(true).expect("nonblocking");
    let mut number = OwnedFd::from(old);
    rustix::io::dup2(&here, &mut number).expect("the number is used again");
    (number.into(), there)
}

fn watch(poll: &Poll, fd: &UnixStream, token: Token, mode: Mode) {
    let registry = poll.registry();
    registry
        .register(fd, token, Interest::READABLE, mode)
        .expect("registered");
}

fn ready(event: &Event) -> (Token, Readiness) {
    match event {
        Event::Ready { token, readiness } => (*token, *readiness),
        other => panic!("only descriptors are registered: {other:?}"),
    }
}

#[test]
fn in_level_mode_with_room_for_one_event_all_have_their_turn_and_no_queue_grows() {
    const FDS: u64 = 50;
    let mut poll = Poll::new().expect("a loop");
    let mut streams: Vec<_> = (0..FDS).map(|_| talking()).collect();
    for (at, (here, _)) in streams.iter().enumerate() {
        watch(&poll, here, Token(at as u64), Mode::Level);
    }
    let mut turns: HashMap<Token, u64> = HashMap::new();
    for _ in 0..10 * FDS {
        let event = &some(&mut poll, 1)[0];
        *turns.entry(ready(event).0).or_default() += 1;
    }
    let (least, most) = (turns.values().min(), turns.values().max());
    assert_eq!(
        (turns.len() as u64, least, most),
        (FDS, Some(&10), Some(&10))
    );

    for (here, _) in &mut streams {
        assert_eq!(here.read(&mut [0; 8]).expect("a byte"), 1);
    }
    // What was seen before may come still, once for each: what would come for longer was queued many times.
    let (mut events, mut late) = (Events::with_capacity(1), 0);
    while poll.poll(&mut events, Some(Duration::ZERO)).is_ok() && !events.is_empty() {
        late += events.drain().count() as u64;
        assert!(late <= FDS, "the queue has grown");
    }
}

#[test]
fn in_edge_mode_with_room_for_one_event_no_edge_is_lost() {
    const FDS: usize = 300;
    let mut poll = Poll::new().expect("a loop");
    // More than one wait fetches.
    let mut streams: Vec<_> = (0..FDS).map(|_| talking()).collect();
    for (at, (here, _)) in streams.iter().enumerate() {
        watch(&poll, here, Token(at as u64), Mode::Edge);
    }
    for _ in 0..3 {
        let mut left: HashMap<_, _> = (0..FDS).map(|at| (Token(at as u64), ())).collect();
        while !left.is_empty() {
            let event = &some(&mut poll, 1)[0];
            let (token, readiness) = ready(event);
            assert!(
                readiness.is_readable() && left.remove(&token).is_some(),
                "{token:?}"
            );
            let (here, _) = &mut streams[token.0 as usize];
            assert_eq!(here.read(&mut [0; 8]).expect("a byte"), 1);
        }
        none(&mut poll);
        for (_, there) in &mut streams {
            there.write_all(b"y").expect("room");
        }
    }
}

#[test]
fn two_edges_before_anybody_looks_are_one_event_of_both() {
    let mut poll = Poll::new().expect("a loop");
    let ahead = [talking(), talking()];
    for (here, _) in &ahead {
        watch(&poll, here, Token(1), Mode::Edge);
    }
    let (here, there) = talking();
    let both = Interest::READABLE | Interest::WRITABLE;
    let registry = poll.registry();
    registry
        .register(&here, Token(2), both, Mode::Edge)
        .expect("registered");
    // Seen with the others, for which there was room; its peer goes before the loop looks again.
    assert_eq!(ready(&some(&mut poll, 1)[0]).0, Token(1));
    drop(there);
    assert_eq!(ready(&some(&mut poll, 1)[0]).0, Token(1));
    let (token, all) = ready(&one(&mut poll));
    assert_eq!(token, Token(2));
    assert!(all.is_readable() && all.is_writable() && all.is_read_closed());
    none(&mut poll);
}

#[test]
fn an_event_of_a_description_that_was_left_behind_reaches_no_stranger() {
    let mut poll = Poll::new().expect("a loop");
    let (here, mut there) = UnixStream::pair().expect("a pair");
    watch(&poll, &here, Token(1), Mode::Edge);
    // The duplicate keeps it in the set; epoll(7), Q6.
    let _duplicate = here.try_clone().expect("a duplicate");
    let (first, _one) = successor(here);
    watch(&poll, &first, Token(2), Mode::Edge);
    let (second, mut other) = UnixStream::pair().expect("a pair");
    watch(&poll, &second, Token(3), Mode::Edge);
    let stale = poll.net().stale_events();
    there.write_all(b"x").expect("room");
    none(&mut poll);
    assert_eq!(poll.net().stale_events(), stale + 1, "it is counted");
    other.write_all(b"x").expect("room");
    assert_eq!(ready(&one(&mut poll)).0, Token(3));
}

#[test]
fn with_room_for_one_event_no_kind_starves_another() {
    for choice in backends("kinds") {
        let poll = &mut poll_on(choice, 4);
        let file = open(poll, &OpenOptions::new(), "/proc/self/stat");
        let file = file.expect("open");
        let (here, _there) = talking();
        watch(poll, &here, Token(1), Mode::Level);
        poll.set_timer(Token(2), Duration::ZERO, Some(Duration::from_nanos(1)));
        // Two for each event, so there is always one more of them.
        let read = |poll: &mut Poll| {
            let op = Op::read_at(&file, Vec::with_capacity(8), 0);
            let _ = poll.submit(Token(3), op);
        };
        let (mut seen, patience) = (HashMap::new(), Patience::new());
        while seen.len() < 3 || seen.values().any(|count| *count < 20) {
            read(poll);
            read(poll);
            let event = &some(poll, 1)[0];
            *seen.entry(event.token()).or_insert(0) += 1;
            patience.check(&format!("an event of each kind: {seen:?}"));
        }
    }
}

#[test]
fn what_was_deregistered_between_wait_and_delivery_is_not_told_of() {
    let mut poll = Poll::new().expect("a loop");
    let (first, second) = (talking(), talking());
    watch(&poll, &first.0, Token(1), Mode::Edge);
    watch(&poll, &second.0, Token(2), Mode::Edge);
    // Both were seen by the wait; there was room for one.
    let told = ready(&some(&mut poll, 1)[0]).0;
    let other = if told == Token(1) {
        &second.0
    } else {
        &first.0
    };
    poll.registry().deregister(other).expect("registered");
    // Its successor in the table hears of itself only.
    let (quiet, mut peer) = UnixStream::pair().expect("a pair");
    watch(&poll, &quiet, Token(3), Mode::Edge);
    none(&mut poll);
    peer.write_all(b"x").expect("room");
    assert_eq!(ready(&one(&mut poll)).0, Token(3));
}

#[test]
fn a_number_used_again_after_a_close_without_a_word_belongs_to_the_new_owner() {
    let mut poll = Poll::new().expect("a loop");
    for round in 0..20 {
        let (first, second) = (talking(), talking());
        watch(&poll, &first.0, Token(1), Mode::Edge);
        watch(&poll, &second.0, Token(1), Mode::Edge);
        // One is told of, the other waits in the loop: closed now, it must not reach its successor.
        some(&mut poll, 1);
        drop((first.1, second.1));
        let (quiet, mut peer) = successor(first.0);
        let (other, _kept) = successor(second.0);
        let token = Token(100 + round);
        watch(&poll, &quiet, token, Mode::Edge);
        // The other may be told of still: nobody has said that it is gone.
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO))
            .expect("the loop");
        assert!(events.drain().all(|event| event.token() != token));
        peer.write_all(b"x").expect("room");
        assert_eq!(ready(&one(&mut poll)).0, token);
        watch(&poll, &other, token, Mode::Edge);
        poll.registry().deregister(&quiet).expect("registered");
        poll.registry().deregister(&other).expect("registered");
        assert!(poll.registry().is_empty(), "closed numbers pile up");
    }
}

#[test]
fn each_misuse_of_the_registry_is_the_kernels_error_and_changes_nothing() {
    let mut poll = Poll::new().expect("a loop");
    let (here, _there) = talking();
    let stranger = UnixStream::pair().expect("a pair").0;
    let registry = poll.registry().clone();
    watch(&poll, &here, TOKEN, Mode::Level);
    let register = |fd: &dyn AsFd, token| {
        errno(&registry.register(fd.as_fd(), token, Interest::READABLE, Mode::Level))
    };
    assert_eq!(register(&here, Token(8)), Some(libc::EEXIST));
    assert_eq!(errno(&registry.deregister(&stranger)), Some(libc::ENOENT));
    let reregistered = registry.reregister(&stranger, TOKEN, Interest::READABLE, Mode::Edge);
    assert_eq!(errno(&reregistered), Some(libc::ENOENT));
    let regular = std::fs::File::open("/proc/self/exe").expect("open");
    assert_eq!(register(&regular, Token(9)), Some(libc::EPERM));
    assert_eq!(registry.len(), 1);
    assert_eq!(ready(&one(&mut poll)).0, TOKEN);
    registry.deregister(&here).expect("registered");
    assert_eq!(errno(&registry.deregister(&here)), Some(libc::ENOENT));
    assert!(registry.is_empty());
    none(&mut poll);
}

#[test]
fn a_number_closed_without_a_word_can_be_deregistered_by_no_stranger() {
    let mut poll = Poll::new().expect("a loop");
    let (here, there) = talking();
    watch(&poll, &here, Token(1), Mode::Level);
    drop(there);
    let (stranger, mut peer) = successor(here);
    let registry = poll.registry().clone();
    let changed = registry.reregister(&stranger, Token(2), Interest::READABLE, Mode::Level);
    assert_eq!(errno(&changed), Some(libc::ENOENT));
    assert_eq!(errno(&registry.deregister(&stranger)), Some(libc::ENOENT));
    none(&mut poll);
    peer.write_all(b"x").expect("room");
    watch(&poll, &stranger, Token(3), Mode::Level);
    assert_eq!((ready(&one(&mut poll)).0, registry.len()), (Token(3), 1));
}

#[test]
fn reregistering_changes_token_and_interest_of_what_was_seen_before_too() {
    let mut poll = Poll::new().expect("a loop");
    let (first, second) = (talking(), talking());
    watch(&poll, &first.0, Token(1), Mode::Edge);
    watch(&poll, &second.0, Token(1), Mode::Edge);
    some(&mut poll, 1);
    // One of the two waits in the loop, seen to be readable. Nobody asks for that any more.
    for (here, token) in [(&first.0, Token(2)), (&second.0, Token(3))] {
        let registry = poll.registry();
        let changed = registry.reregister(here, token, Interest::WRITABLE, Mode::Edge);
        changed.expect("registered");
    }
    let mut told: Vec<_> = some(&mut poll, 8).iter().map(ready).collect();
    told.sort_by_key(|(token, _)| *token);
    let expected = [Token(2), Token(3)].map(|token| (token, Readiness::WRITABLE));
    assert_eq!(told, expected);
    none(&mut poll);
}

#[test]
fn a_oneshot_descriptor_is_told_of_once_until_it_is_armed_again() {
    let mut poll = Poll::new().expect("a loop");
    let (here, mut there) = talking();
    watch(&poll, &here, TOKEN, Mode::Oneshot);
    assert_eq!(ready(&one(&mut poll)).0, TOKEN);
    there.write_all(b"more").expect("room");
    none(&mut poll);
    let registry = poll.registry();
    let armed = registry.reregister(&here, Token(8), Interest::READABLE, Mode::Oneshot);
    armed.expect("registered");
    assert_eq!(ready(&one(&mut poll)).0, Token(8));
    none(&mut poll);
}
