//! The epoll set itself: each mode reports as it promises, and each misuse is refused with its own errno.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ambidex::net::{Events, Interest, Mode, Poller, Readiness, Token};

fn wait(poller: &Poller) -> Vec<(Token, Readiness)> {
    let mut events = Events::with_capacity(8);
    poller
        .wait(&mut events, Some(Duration::ZERO))
        .expect("wait");
    events.iter().collect()
}

/// A set that watches one end of a pair for reading in `mode`; the other end.
fn watch(mode: Mode) -> (Poller, UnixStream, UnixStream) {
    let poller = Poller::new().expect("a set");
    let (here, there) = UnixStream::pair().expect("a pair");
    poller
        .register(&here, Token(7), Interest::READABLE, mode)
        .expect("register");
    assert!(wait(&poller).is_empty(), "nothing to read yet");
    (poller, here, there)
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn level_reports_for_as_long_as_there_is_something() {
    for mode in [Mode::Level, Mode::Exclusive] {
        let (poller, mut here, mut there) = watch(mode);
        there.write_all(b"xy").expect("write");
        for _ in 0..3 {
            assert_eq!(wait(&poller), [(Token(7), Readiness::READABLE)]);
        }
        here.read_exact(&mut [0; 2]).expect("read");
        assert!(wait(&poller).is_empty());
    }
}

#[test]
fn edge_reports_once_for_each_arrival() {
    let (poller, here, mut there) = watch(Mode::Edge);
    for _ in 0..3 {
        there.write_all(b"x").expect("write");
        assert_eq!(wait(&poller).len(), 1);
        assert!(wait(&poller).is_empty());
    }
    let interest = Interest::READABLE;
    poller
        .modify(&here, Token(8), interest, Mode::Edge)
        .expect("modify");
    assert_eq!(
        wait(&poller),
        [(Token(8), Readiness::READABLE)],
        "modifying reports anew"
    );
}

#[test]
fn oneshot_is_silent_until_it_is_armed_again() {
    let (poller, here, mut there) = watch(Mode::Oneshot);
    there.write_all(b"x").expect("write");
    assert_eq!(wait(&poller).len(), 1);
    there.write_all(b"y").expect("write");
    assert!(wait(&poller).is_empty());
    let armed = poller.modify(&here, Token(9), Interest::READABLE, Mode::Oneshot);
    armed.expect("modify");
    assert_eq!(wait(&poller), [(Token(9), Readiness::READABLE)]);
    assert!(wait(&poller).is_empty());
}

#[test]
fn exclusive_tells_some_of_the_sets_that_watch_and_cannot_be_modified() {
    let (first, here, mut there) = watch(Mode::Exclusive);
    let second = Poller::new().expect("a set");
    second
        .register(&here, Token(8), Interest::READABLE, Mode::Exclusive)
        .expect("register");
    there.write_all(b"x").expect("write");
    assert!(wait(&first).len() + wait(&second).len() > 0);
    for mode in [Mode::Exclusive, Mode::Level] {
        let modified = first.modify(&here, Token(7), Interest::READABLE, mode);
        assert_eq!(errno(modified), Some(libc::EINVAL), "{mode:?}");
    }
    first.deregister(&here).expect("deregister");
    first
        .register(&here, Token(7), Interest::READABLE, Mode::Level)
        .expect("register");
    let modified = first.modify(&here, Token(7), Interest::READABLE, Mode::Exclusive);
    assert_eq!(errno(modified), Some(libc::EINVAL));
}

#[test]
fn every_interest_and_mode_may_be_registered() {
    for mode in [Mode::Level, Mode::Edge, Mode::Oneshot, Mode::Exclusive] {
        let interests = [
            Interest::READABLE,
            Interest::WRITABLE,
            Interest::READABLE | Interest::WRITABLE,
            Interest::READABLE | Interest::PRIORITY,
        ];
        for interest in interests {
            let (poller, (here, there)) = (
                Poller::new().expect("a set"),
                UnixStream::pair().expect("a pair"),
            );
            poller
                .register(&here, Token(1), interest, mode)
                .expect("register");
            drop(there);
            let [(_, readiness)] = wait(&poller)[..] else {
                panic!("{mode:?}: a hang-up is always reported")
            };
            assert!(
                readiness.is_readable() && readiness.is_writable() && readiness.is_read_closed()
            );
            assert!(readiness.is_write_closed(), "{mode:?} {readiness:?}");
        }
    }
}

#[test]
fn misuse_is_refused_with_the_errno_of_the_manual() {
    let (poller, here, there) = watch(Mode::Level);
    let (interest, mode) = (Interest::READABLE, Mode::Level);
    let register = |fd| poller.register(fd, Token(1), interest, mode);
    assert_eq!(errno(register(&here)), Some(libc::EEXIST));
    let modified = poller.modify(&there, Token(1), interest, mode);
    assert_eq!(errno(modified), Some(libc::ENOENT));
    assert_eq!(errno(poller.deregister(&there)), Some(libc::ENOENT));
    poller.deregister(&here).expect("deregister");
    assert_eq!(errno(poller.deregister(&here)), Some(libc::ENOENT));
    for path in ["/proc/self/exe", "/"] {
        let file = File::open(path).expect("open");
        let registered = poller.register(&file, Token(1), interest, mode);
        assert_eq!(
            errno(registered),
            Some(libc::EPERM),
            "{path} cannot be watched"
        );
    }
}

#[test]
fn a_set_nests_in_another() {
    let (inner, _here, mut there) = watch(Mode::Level);
    let outer = Poller::new().expect("a set");
    outer
        .register(&inner, Token(3), Interest::READABLE, Mode::Level)
        .expect("register");
    assert!(wait(&outer).is_empty());
    there.write_all(b"x").expect("write");
    assert_eq!(wait(&outer), [(Token(3), Readiness::READABLE)]);
}

#[test]
fn more_events_than_there_is_room_for_follow_with_the_next_wait() {
    let poller = Poller::new().expect("a set");
    let pairs: Vec<_> = (0..10)
        .map(|_| UnixStream::pair().expect("a pair"))
        .collect();
    for (name, (here, there)) in pairs.iter().enumerate() {
        poller
            .register(here, Token(name as u64), Interest::READABLE, Mode::Edge)
            .expect("register");
        (&mut &*there).write_all(b"x").expect("write");
    }
    let mut events = Events::with_capacity(4);
    let mut seen = Vec::new();
    for expected in [4, 4, 2, 0] {
        poller
            .wait(&mut events, Some(Duration::ZERO))
            .expect("wait");
        assert_eq!(events.iter().count(), expected);
        seen.extend(events.iter().map(|(token, _)| token.0));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..10).collect::<Vec<_>>());
}
