//! Changes of the epoll set: listed, made many at once, in order, each error told to who waits for it, and no
//! descriptor closed while the kernel may still look its number up (G2, G4, G5).

#[path = "changes/list.rs"]
mod list;

use std::fs;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ambidex::net::kernel::Control;
use ambidex::net::{Change, Direction, Interest, Kernel, Mode, Reactor, Source, Token, UnixStream};
use ambidex_tests::loops::errno;
use ambidex_tests::sim::net::FakeNet;
use ambidex_tests::sim::rng::{Weights, schedules};
use ambidex_tests::sim::{Bell, poll_once};
use list::Lists;

const READ: Interest = Interest::READABLE;

fn faked() -> (Reactor, Rc<FakeNet>) {
    let net = Rc::new(FakeNet::default());
    let reactor = Reactor::with_kernel(net.clone()).expect("a reactor");
    (reactor, net)
}

/// A socket that has not waited yet, and its other end.
fn socket(reactor: &Reactor) -> (UnixStream, UnixStream) {
    UnixStream::pair(&reactor.handle()).expect("a pair")
}

/// A pipe whose reading end is watched while somebody waits.
fn level(reactor: &Reactor) -> (Source, PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    let source = Source::with(&reactor.handle(), reader, READ, Mode::Level).expect("a source");
    (source, writer)
}

fn turn(reactor: &mut Reactor) -> usize {
    reactor.turn(Some(Duration::ZERO)).expect("turn").events
}

fn waits(stream: &UnixStream, bell: &std::sync::Arc<Bell>) -> bool {
    let waker = bell.waker();
    let mut cx = Context::from_waker(&waker);
    stream.poll_read(&mut cx, &mut [0; 8]).is_pending()
}

/// The errno that a poll answers.
fn refusal<T>(polled: Poll<io::Result<T>>) -> Option<i32> {
    match polled {
        Poll::Ready(result) => errno(&result),
        Poll::Pending => None,
    }
}

/// What a ring does with `change`, of which the kernel has yet to tell.
fn make(net: &FakeNet, reactor: &Reactor, change: &Change, fd: impl AsFd) {
    let control = match change.operation() {
        libc::EPOLL_CTL_ADD => Control::Add,
        _ => Control::Modify,
    };
    assert_eq!(change.fd(), fd.as_fd().as_raw_fd());
    let ((flags, data), fd) = (change.event(), fd.as_fd());
    net.epoll_ctl(reactor.as_fd(), control, fd, flags, Token(data))
        .expect("epoll_ctl");
}

fn answer(reactor: &mut Reactor, change: &Change, errno: i32) {
    let result = match errno {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    };
    reactor.changed(change.id(), result);
}

/// What `number` leads to; `None` if it is closed.
fn leads_to(number: RawFd) -> Option<String> {
    let link = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

#[test]
fn the_list_says_what_a_simple_list_says() {
    schedules("changes", 0x0A1D_0301, 100_000, |rng| {
        let mut lists = Lists::default();
        let weights = Weights::random(rng);
        for _ in 0..rng.u32(5..80) {
            lists.step(rng, &weights);
        }
        lists.finish();
    });
}

#[test]
fn a_hundred_sockets_that_wait_for_the_first_time_cost_no_call_until_the_flush() {
    let (mut reactor, net) = faked();
    let mut pairs: Vec<_> = (0..100).map(|_| socket(&reactor)).collect();
    let bells: Vec<_> = pairs.iter().map(|_| Bell::new()).collect();
    for _ in 0..2 {
        for ((here, _), bell) in pairs.iter().zip(&bells) {
            assert!(waits(here, bell));
        }
    }
    assert_eq!(net.take_controls(), [], "nothing before the flush");
    assert!(reactor.changes_pending());
    reactor.flush();
    let numbers = pairs
        .iter()
        .map(|(here, _)| (Control::Add, here.as_fd().as_raw_fd()));
    assert_eq!(net.take_controls(), numbers.collect::<Vec<_>>(), "in order");
    reactor.flush();
    let counters = reactor.handle().counters();
    assert_eq!((counters.changes, counters.flushes), (100, 1));
    assert_eq!((counters.controls, counters.waits), (100, 0));
    assert_eq!(counters.operations, 100, "the second poll knows better");
    // Their first events say that they are writable.
    while turn(&mut reactor) > 0 {}
    for (_, there) in &pairs {
        assert!(poll_once(pin!(there.write(b"x"))).is_ready());
    }
    while turn(&mut reactor) > 0 {}
    for ((here, _), bell) in pairs.drain(..).zip(&bells) {
        assert!(bell.has_rung());
        assert!(poll_once(pin!(here.read(&mut [0; 8]))).is_ready());
    }
    assert_eq!(net.take_controls().len(), 100, "removals go at once");
}

#[test]
fn what_is_ready_before_the_flush_is_told_after_it() {
    let (mut reactor, _net) = faked();
    let (here, there) = socket(&reactor);
    let bell = Bell::new();
    assert!(waits(&here, &bell));
    assert!(poll_once(pin!(there.write(b"x"))).is_ready());
    turn(&mut reactor);
    assert!(bell.has_rung() && !waits(&here, &bell));
}

#[test]
fn each_direction_that_waits_is_told_the_error_once_and_the_next_wait_tries_again() {
    for error in [libc::ENOSPC, libc::ENOMEM, libc::EPERM, libc::EEXIST] {
        let (mut reactor, net) = faked();
        let (here, there) = socket(&reactor);
        while matches!(poll_once(pin!(here.write(&[0; 4096]))), Poll::Ready(Ok(_))) {}
        let (reader, writer) = (Bell::new(), Bell::new());
        assert!(waits(&here, &reader));
        let waker = writer.waker();
        let mut write = pin!(here.write(b"x"));
        assert!((write.as_mut().poll(&mut Context::from_waker(&waker))).is_pending());
        net.script_controls([error]);
        reactor.turn(None).expect("it does not sleep over an error");
        assert_eq!((reader.take(), writer.take()), (1, 1));
        assert_eq!(
            refusal(poll_once(pin!(here.read(&mut [0; 8])))),
            Some(error)
        );
        assert!(waits(&here, &reader), "told, and tried again");
        assert_eq!(refusal(poll_once(pin!(here.write(b"x")))), Some(error));
        assert!(poll_once(pin!(there.write(b"x"))).is_ready());
        turn(&mut reactor);
        assert!(reader.has_rung() && !waits(&here, &reader));
    }
}

#[test]
fn an_error_that_stays_reaches_each_wait() {
    let (mut reactor, net) = faked();
    let (here, _there) = socket(&reactor);
    for _ in 0..3 {
        let bell = Bell::new();
        assert!(waits(&here, &bell));
        net.script_controls([libc::ENOSPC]);
        reactor.flush();
        assert_eq!(bell.take(), 1);
        let told = refusal(poll_once(pin!(here.readable())));
        assert_eq!(told, Some(libc::ENOSPC));
    }
    drop(here);
    let controls = net.take_controls();
    assert!(controls.iter().all(|(control, _)| *control == Control::Add));
}

#[test]
fn a_descriptor_that_the_kernel_refuses_tells_each_way_of_waiting() {
    // What epoll cannot watch any more: the registration is gone behind the back.
    let mut reactor = Reactor::new().expect("a reactor");
    let (source, _writer) = level(&reactor);
    let epoll = reactor.as_fd();
    rustix::event::epoll::delete(epoll, source.as_fd()).expect("epoll_ctl");
    for _ in 0..2 {
        let bell = Bell::new();
        let waker = bell.waker();
        let mut cx = Context::from_waker(&waker);
        let gone = Some(libc::ENOENT);
        assert!(source.poll_interest(&mut cx, READ).is_pending());
        reactor.flush();
        assert_eq!(bell.take(), 1);
        assert_eq!(refusal(source.poll_interest(&mut cx, READ)), gone);
        assert!(source.poll_ready(&mut cx, Direction::Read).is_pending());
        reactor.flush();
        assert_eq!(refusal(source.poll_ready(&mut cx, Direction::Read)), gone);
        let operation = || source.io(Direction::Read, |_, _| Ok(()));
        assert!(poll_once(pin!(operation())).is_pending());
        reactor.flush();
        assert_eq!(refusal(poll_once(pin!(operation()))), gone);
    }
}

#[test]
fn a_source_dropped_before_the_flush_leaves_the_list_and_costs_no_call() {
    let (mut reactor, net) = faked();
    let streams: Vec<_> = (0..3).map(|_| socket(&reactor)).collect();
    let bell = Bell::new();
    for (here, _) in &streams {
        assert!(waits(here, &bell));
    }
    let numbers: Vec<_> = (streams.iter())
        .map(|(here, _)| here.as_fd().as_raw_fd())
        .collect();
    let mut streams = streams.into_iter();
    let (first, middle, _last) = (streams.next(), streams.next(), streams.next());
    let target = leads_to(numbers[1]);
    drop(middle);
    assert_ne!(leads_to(numbers[1]), target, "closed");
    reactor.flush();
    let made = [(Control::Add, numbers[0]), (Control::Add, numbers[2])];
    assert_eq!(net.take_controls(), made);
    drop(first);
    assert_eq!(net.take_controls(), [(Control::Remove, numbers[0])]);
}

#[test]
fn a_source_dropped_in_flight_stays_open_until_the_answer() {
    for (error, removed) in [(0, true), (libc::ENOSPC, false), (libc::ECANCELED, false)] {
        let (mut reactor, net) = faked();
        let (here, there) = socket(&reactor);
        let bell = Bell::new();
        assert!(waits(&here, &bell));
        let change = reactor.take_change().expect("listed");
        assert_eq!(change.operation(), libc::EPOLL_CTL_ADD);
        if error == 0 {
            make(&net, &reactor, &change, &here);
        }
        let number = here.as_fd().as_raw_fd();
        let target = leads_to(number);
        drop(here);
        assert_eq!(bell.take(), 1, "no waiter sleeps on what is gone");
        assert_eq!(leads_to(number), target, "still open");
        // Whoever comes next gets its slot, but not its number, and is none of its answer's.
        let (next, _end) = socket(&reactor);
        assert!(waits(&next, &bell));
        assert_ne!(next.as_fd().as_raw_fd(), number);
        answer(&mut reactor, &change, error);
        assert_ne!(leads_to(number), target, "closed");
        let removal = (Control::Remove, number);
        assert_eq!(net.take_controls().contains(&removal), removed);
        assert!(!bell.has_rung());
        assert!(matches!(
            poll_once(pin!(there.read(&mut [0; 8]))),
            Poll::Ready(Ok(0))
        ));
        turn(&mut reactor);
        assert_eq!(reactor.handle().stale_events(), 0);
    }
}

#[test]
fn a_level_source_dropped_while_it_is_armed_leaves_the_set_after_the_answer() {
    for error in [0, libc::ENOMEM] {
        let (mut reactor, net) = faked();
        let (source, mut writer) = level(&reactor);
        let number = source.as_fd().as_raw_fd();
        // The description lives on, and with it a registration that nobody removes.
        let _copy = source.as_fd().try_clone_to_owned().expect("dup");
        assert!(poll_once(pin!(source.ready(READ))).is_pending());
        let change = reactor.take_change().expect("listed");
        assert_eq!(change.operation(), libc::EPOLL_CTL_MOD);
        if error == 0 {
            make(&net, &reactor, &change, &source);
        }
        drop(source);
        net.take_controls();
        answer(&mut reactor, &change, error);
        assert_eq!(net.take_controls().last(), Some(&(Control::Remove, number)));
        writer.write_all(b"x").expect("write");
        assert_eq!(turn(&mut reactor), 0);
    }
}

#[test]
fn an_event_that_comes_before_the_answer_is_told() {
    let (mut reactor, net) = faked();
    let (here, there) = socket(&reactor);
    let bell = Bell::new();
    assert!(waits(&here, &bell));
    let change = reactor.take_change().expect("listed");
    make(&net, &reactor, &change, &here);
    assert!(poll_once(pin!(there.write(b"x"))).is_ready());
    turn(&mut reactor);
    assert!(bell.has_rung() && !waits(&here, &bell));
    reactor.changed(change.id(), Ok(()));
    assert!(!reactor.changes_pending());
}

#[test]
fn a_level_source_stays_level_through_the_list() {
    for taken in [false, true] {
        let (mut reactor, net) = faked();
        let (source, mut writer) = level(&reactor);
        writer.write_all(b"x").expect("write");
        assert_eq!(turn(&mut reactor), 0, "nobody has asked yet");
        net.take_controls();
        for _ in 0..3 {
            let mut ready = pin!(source.ready(READ));
            assert!(poll_once(ready.as_mut()).is_pending());
            assert!(poll_once(ready.as_mut()).is_pending());
            assert_eq!(net.take_controls(), []);
            if taken {
                let change = reactor.take_change().expect("listed");
                make(&net, &reactor, &change, &source);
                answer(&mut reactor, &change, 0);
            }
            assert_eq!(turn(&mut reactor), 1);
            assert_eq!(turn(&mut reactor), 0, "told, and not asked again");
            assert_eq!(net.take_controls().len(), 1);
            assert!(poll_once(ready).is_ready());
        }
    }
}

#[test]
fn of_one_source_one_change_is_in_flight_and_the_later_ones_wait_as_one() {
    let (mut reactor, net) = faked();
    let (here, there) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let both = READ | Interest::WRITABLE;
    let source = Source::with(&reactor.handle(), here, both, Mode::Level).expect("a source");
    assert!(poll_once(pin!(source.ready(READ))).is_pending());
    let change = reactor.take_change().expect("listed");
    assert!(poll_once(pin!(source.ready(Interest::WRITABLE))).is_pending());
    assert!(!reactor.changes_pending() && reactor.take_change().is_none());
    make(&net, &reactor, &change, &source);
    answer(&mut reactor, &change, 0);
    let change = reactor.take_change().expect("its turn");
    let all = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLOUT | libc::EPOLLONESHOT) as u32;
    assert_eq!(change.event().0, all, "the later asks for both");
    make(&net, &reactor, &change, &source);
    answer(&mut reactor, &change, 0);
    assert_eq!(turn(&mut reactor), 1);
    drop(there);
}

#[test]
fn what_goes_back_is_taken_again_in_order() {
    let (mut reactor, _net) = faked();
    let pairs: Vec<_> = (0..4).map(|_| socket(&reactor)).collect();
    for (here, _) in &pairs {
        assert!(waits(here, &Bell::new()));
    }
    let mut taken: Vec<_> = (0..3).map_while(|_| reactor.take_change()).collect();
    // The ring had room for one.
    let made = taken.remove(0);
    taken
        .into_iter()
        .rev()
        .for_each(|change| reactor.give_back(change));
    reactor.changed(
        made.id(),
        Err(io::Error::from_raw_os_error(libc::ECANCELED)),
    );
    assert_eq!(reactor.handle().counters().changes, 0);
    let order = std::iter::from_fn(|| reactor.take_change().map(|change| change.fd()));
    let numbers = pairs.iter().map(|(here, _)| here.as_fd().as_raw_fd());
    assert_eq!(order.collect::<Vec<_>>(), numbers.collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "no such change is in flight")]
fn a_change_is_answered_once() {
    let (mut reactor, _net) = faked();
    let (here, _there) = socket(&reactor);
    assert!(waits(&here, &Bell::new()));
    let change = reactor.take_change().expect("listed");
    reactor.changed(change.id(), Ok(()));
    reactor.changed(change.id(), Ok(()));
}
