//! Any descriptor as a source: each mode reports as it promises, the ways of ending are told apart, and a source that
//! nobody waits for leaves the loop asleep (G2, G4).

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ambidex::net::{Direction, Interest, Mode, Reactor, Readiness, Source, TcpListener};
use ambidex::{Engine, Handle};
use ambidex_tests::loops::{ANY_PORT, errno, run, run_on};
use ambidex_tests::sim::poll_once;
use rustix::net::{SendFlags, sockopt};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;

/// A pipe whose reading end is watched in `mode`.
fn pipe(io: &Handle, mode: Mode) -> (Source, PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&reader, true).expect("FIONBIO");
    let copy = reader.try_clone().expect("dup");
    let source = Source::with(io.net(), reader, READ, mode).expect("a source");
    (source, copy, writer)
}

fn take(mut reader: &PipeReader) {
    reader.read_exact(&mut [0; 1]).expect("read");
}

/// Lets the kernel tell all that it has to tell.
async fn settle(io: &Handle) {
    for _ in 0..4 {
        io.yield_now().await;
    }
}

async fn silent(io: &Handle, source: &Source, interest: Interest) -> bool {
    let mut ready = pin!(source.ready(interest));
    let at_once = poll_once(ready.as_mut()).is_pending();
    settle(io).await;
    at_once && poll_once(ready).is_pending()
}

#[test]
fn an_edge_source_tells_of_it_until_cleared_and_then_only_of_a_new_edge() {
    run(async |io| {
        let (source, _reader, mut writer) = pipe(&io, Mode::Edge);
        writer.write_all(b"a").expect("write");
        for _ in 0..2 {
            let told = source.ready(READ).await.expect("ready");
            assert_eq!(told, Readiness::READABLE);
        }
        source.clear(READ);
        assert!(silent(&io, &source, READ).await, "still there, but told");
        writer.write_all(b"b").expect("write");
        source.ready(READ).await.expect("a new edge");
    });
}

#[test]
fn a_level_source_tells_of_it_for_as_long_as_it_holds() {
    run(async |io| {
        let (source, reader, mut writer) = pipe(&io, Mode::Level);
        writer.write_all(b"ab").expect("write");
        for _ in 0..3 {
            let told = source.ready(READ).await.expect("ready");
            assert_eq!(told, Readiness::READABLE);
        }
        take(&reader);
        source.ready(READ).await.expect("one is left");
        take(&reader);
        assert!(silent(&io, &source, READ).await);
    });
}

#[test]
fn a_level_source_that_nobody_waits_for_leaves_the_loop_asleep() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let source = Source::with(&reactor.handle(), reader, READ, Mode::Level).expect("a source");
    writer.write_all(b"x").expect("write");
    let turn = |reactor: &mut Reactor| reactor.turn(Some(Duration::ZERO)).expect("turn").events;
    for _ in 0..3 {
        assert_eq!(turn(&mut reactor), 0, "nobody has asked yet");
    }
    for _ in 0..2 {
        let mut ready = pin!(source.ready(READ));
        assert!(poll_once(ready.as_mut()).is_pending());
        assert_eq!(turn(&mut reactor), 1);
        for _ in 0..3 {
            assert_eq!(turn(&mut reactor), 0, "told, and not asked again");
        }
        assert!(poll_once(ready).is_ready());
    }
}

#[test]
fn both_directions_of_a_level_source_are_told_each_to_its_own() {
    run(async |io| {
        let (here, mut there) = UnixStream::pair().expect("a pair");
        let source = Source::with(io.net(), here, READ | WRITE, Mode::Level).expect("a source");
        let source = Rc::new(source);
        let waiting = Rc::clone(&source);
        let reader = io.spawn(async move { waiting.ready(READ).await });
        for _ in 0..3 {
            let told = source.ready(WRITE).await.expect("room");
            assert_eq!(told, Readiness::WRITABLE);
        }
        settle(&io).await;
        assert!(!reader.is_finished());
        there.write_all(b"x").expect("write");
        let told = reader.await.expect("woken").expect("ready");
        assert_eq!(told, Readiness::READABLE);
    });
}

#[test]
fn a_level_source_reads_through_its_own_operation_as_an_edge_source_does() {
    for mode in [Mode::Level, Mode::Edge] {
        run(async |io| {
            let (source, reader, mut writer) = pipe(&io, mode);
            let source = Rc::new(source);
            let waiting = Rc::clone(&source);
            let task = io.spawn(async move {
                let mut all = Vec::new();
                while all.len() < 3 {
                    let mut one = [0; 1];
                    let read = waiting.io(Direction::Read, |_, _| (&reader).read(&mut one));
                    assert_eq!(read.await.expect("read"), 1);
                    all.push(one[0]);
                }
                all
            });
            for byte in b"abc" {
                writer.write_all(&[*byte]).expect("write");
                settle(&io).await;
            }
            assert_eq!(task.await.expect("read"), b"abc");
        });
    }
}

#[test]
fn a_oneshot_source_tells_once_until_it_is_armed_again() {
    run(async |io| {
        let (source, reader, mut writer) = pipe(&io, Mode::Oneshot);
        writer.write_all(b"a").expect("write");
        source.ready(READ).await.expect("once");
        writer.write_all(b"b").expect("write");
        assert!(silent(&io, &source, READ).await);
        source.rearm(READ).expect("rearm");
        let told = source.ready(READ).await.expect("what is there is told");
        assert_eq!(told, Readiness::READABLE);
        take(&reader);
        take(&reader);
        source.rearm(READ).expect("rearm");
        assert!(silent(&io, &source, READ).await, "nothing is there");
        writer.write_all(b"c").expect("write");
        settle(&io).await;
        take(&reader);
        source.rearm(READ).expect("rearm");
        assert!(silent(&io, &source, READ).await, "what nobody took is over");
        writer.write_all(b"d").expect("write");
        source.ready(READ).await.expect("once more");
    });
}

#[test]
fn a_wait_that_is_dropped_takes_no_readiness_along() {
    run(async |io| {
        for mode in [Mode::Edge, Mode::Level, Mode::Oneshot, Mode::Exclusive] {
            let (source, _reader, mut writer) = pipe(&io, mode);
            assert!(poll_once(pin!(source.ready(READ))).is_pending());
            writer.write_all(b"a").expect("write");
            settle(&io).await;
            assert_eq!(
                source.ready(READ).await.expect("ready"),
                Readiness::READABLE
            );
        }
    });
}

#[test]
fn what_would_never_come_is_refused() {
    run(async |io| {
        let (source, _reader, _writer) = pipe(&io, Mode::Edge);
        let write = source.ready(WRITE).await;
        assert_eq!(errno(&write), Some(libc::EINVAL));
        let operation = source.io(Direction::Write, |_, _| Ok(())).await;
        assert_eq!(errno(&operation), Some(libc::EINVAL));
        assert_eq!(errno(&source.rearm(READ)), Some(libc::EINVAL));
        let copy = source.as_fd().try_clone_to_owned().expect("dup");
        let urgent = Interest::READABLE | Interest::PRIORITY;
        let exclusive = Source::with(io.net(), copy, urgent, Mode::Exclusive);
        assert_eq!(errno(&exclusive), Some(libc::EINVAL));
        let file = fs::File::open("/proc/self/exe").expect("a file");
        for mode in [Mode::Edge, Mode::Level, Mode::Oneshot, Mode::Exclusive] {
            let file = file.try_clone().expect("dup");
            let source = Source::with(io.net(), file, READ, mode);
            assert_eq!(errno(&source), Some(libc::EPERM), "{mode:?}");
        }
        assert_eq!(io.net().sources(), 1);
    });
}

#[test]
fn the_end_of_the_peers_sending_a_hang_up_and_an_error_are_told_apart() {
    run(async |io| {
        for mode in [Mode::Edge, Mode::Level, Mode::Oneshot] {
            // RDHUP: the peer has shut down its side.
            let (here, there) = UnixStream::pair().expect("a pair");
            let source = Source::with(io.net(), here, READ, mode).expect("a source");
            there.shutdown(Shutdown::Write).expect("shutdown");
            let told = source.ready(READ).await.expect("ready");
            assert!(told.is_read_closed() && !told.is_write_closed() && !told.is_error());
            // HUP: the peer is gone.
            let (here, there) = UnixStream::pair().expect("a pair");
            let source = Source::with(io.net(), here, READ, mode).expect("a source");
            drop(there);
            let told = source.ready(READ).await.expect("ready");
            assert!(told.is_read_closed() && told.is_write_closed() && !told.is_error());
            // HUP without data to read: the last writer of a pipe is gone.
            let (source, _reader, writer) = pipe(&io, mode);
            drop(writer);
            let told = source.ready(READ).await.expect("ready");
            assert!(told.is_write_closed() && !told.is_error());
            // ERR: the last reader of a pipe is gone.
            let (reader, writer) = io::pipe().expect("a pipe");
            let source = Source::with(io.net(), writer, WRITE, mode).expect("a source");
            drop(reader);
            let told = source.ready(WRITE).await.expect("ready");
            assert!(told.is_error() && !told.is_write_closed());
        }
    });
}

/// Both ends of a TCP connection.
fn tcp() -> (StdStream, StdStream) {
    let listener = StdListener::bind(ANY_PORT).expect("bind");
    let client = StdStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (client, server)
}

#[test]
fn a_reset_is_an_error_and_a_hang_up() {
    run(async |io| {
        let (client, server) = tcp();
        let source = Source::with(io.net(), server, READ, Mode::Edge).expect("a source");
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("SO_LINGER");
        drop(client);
        let told = source.ready(READ).await.expect("ready");
        assert!(told.is_error() && told.is_read_closed() && told.is_write_closed());
    });
}

#[test]
fn urgent_data_is_told_to_who_asks_for_it_and_not_as_something_to_read() {
    run(async |io| {
        for mode in [Mode::Edge, Mode::Level] {
            let (client, server) = tcp();
            let both = READ | Interest::PRIORITY;
            let source = Source::with(io.net(), server, both, mode).expect("a source");
            rustix::net::send(&client, b"!", SendFlags::OOB).expect("send");
            let told = source.ready(Interest::PRIORITY).await.expect("ready");
            assert_eq!(told, Readiness::PRIORITY);
            // The mark itself counts as something to read for the kernel: only PRI was asked for.
            rustix::net::send(&client, b"x", SendFlags::empty()).expect("send");
            let told = source.ready(READ).await.expect("ready");
            assert_eq!(told, Readiness::READABLE);
        }
    });
}

#[test]
fn a_dropped_source_wakes_nobody_else_and_leaves_no_event_behind() {
    let mut engine = Engine::new().expect("an engine");
    run_on(&mut engine, async |io| {
        for mode in [Mode::Edge, Mode::Level, Mode::Oneshot, Mode::Exclusive] {
            let (source, reader, mut writer) = pipe(&io, mode);
            assert!(poll_once(pin!(source.ready(READ))).is_pending());
            // The description lives on in the copy.
            drop(source);
            writer.write_all(b"x").expect("write");
            settle(&io).await;
            drop(reader);
        }
        assert_eq!((io.net().sources(), io.net().stale_events()), (0, 0));
    });
}

/// The flags with which `reactor` watches `number`; proc_pid_fdinfo(5).
fn registered(reactor: &Reactor, number: i32) -> u32 {
    let path = format!("/proc/self/fdinfo/{}", reactor.as_fd().as_raw_fd());
    let info = fs::read_to_string(path).expect("/proc");
    let words = info
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = words
        .into_iter()
        .find(|words| words.first() == Some(&"tfd:") && words[1] == number.to_string());
    u32::from_str_radix(line.expect("registered")[3], 16).expect("flags")
}

#[test]
fn a_shared_listener_is_registered_exclusively_and_by_edge() {
    let reactor = Reactor::new().expect("a reactor");
    let listener = StdListener::bind(ANY_PORT).expect("bind");
    let listener = TcpListener::shared(&reactor.handle(), listener).expect("shared");
    let flags = registered(&reactor, listener.as_fd().as_raw_fd());
    for flag in [libc::EPOLLEXCLUSIVE, libc::EPOLLET, libc::EPOLLIN] {
        assert_ne!(flags & flag as u32, 0, "{flags:x} has no {flag:x}");
    }
}

#[test]
fn every_connection_of_a_listener_shared_by_two_loops_is_accepted_once() {
    const COUNT: usize = 100;
    let listener = StdListener::bind(ANY_PORT).expect("bind");
    let address = listener.local_addr().expect("bound");
    let (accepted, accepts) = mpsc::channel();
    let loops: Vec<_> = (0..2)
        .map(|_| {
            let (listener, accepted) = (listener.try_clone().expect("dup"), accepted.clone());
            thread::spawn(move || {
                run(async |io| {
                    let listener = TcpListener::shared(io.net(), listener).expect("shared");
                    loop {
                        let (stream, peer) = io.accept(&listener).await.expect("accept");
                        let mut end = [0; 1];
                        // A connection that says something is the sign to go.
                        if stream.read(&mut end).await.expect("read") == 1 {
                            return;
                        }
                        accepted.send(peer).expect("the test waits");
                    }
                });
            })
        })
        .collect();
    let mut peers: Vec<_> = (0..COUNT)
        .map(|_| {
            let stream = StdStream::connect(address).expect("connect");
            stream.local_addr().expect("bound")
        })
        .collect();
    let wait = || {
        accepts
            .recv_timeout(ambidex_tests::sim::HANG)
            .expect("lost")
    };
    let mut told: Vec<_> = (0..COUNT).map(|_| wait()).collect();
    peers.sort();
    told.sort();
    assert!(peers == told);
    for _ in &loops {
        let mut stream = StdStream::connect(address).expect("connect");
        stream.write_all(b"!").expect("write");
    }
    for one in loops {
        one.join().expect("a loop");
    }
    assert!(accepts.try_recv().is_err(), "accepted twice");
}
