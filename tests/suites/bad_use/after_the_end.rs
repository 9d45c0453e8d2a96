//! Sockets, sources, files and handles that outlive their engine.

use std::fs;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll};
use std::time::Duration;

use ambidex::disk::{Advice, Allocate, File, OpenOptions, Rename, SetAttribute, Splice};
use ambidex::net::event::{Changes, Child, Signals, Timer, UserEvent, Watch};
use ambidex::net::{Interest, Mode, Source, TcpListener, TcpStream, UdpSocket, UnixStream};
use ambidex::{Engine, Handle};
use ambidex_tests::loops::{ANY_PORT, pair};
use ambidex_tests::sim::{Bell, backends, poll_once};

use crate::{DISK, engine, engines};

type Wait = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// A wait for nothing, of each kind that the loop knows.
async fn waits(io: &Handle) -> Vec<(&'static str, Wait)> {
    macro_rules! wait {
        ($name:literal, $kept:expr, |$use:ident| $wait:expr) => {{
            let $use = $kept;
            let wait: Wait = Box::pin(async move {
                // All of it, the other ends included.
                let $use = $use;
                $wait.await.map(drop)
            });
            ($name, wait)
        }};
    }
    let net = io.net();
    let ((one, _peer), (other, _other)) = (pair(io).await, pair(io).await);
    let child = Command::new("cat").stdin(Stdio::piped()).spawn();
    let (reader, writer) = io::pipe().expect("a pipe");
    let level = Source::with(net, reader, Interest::READABLE, Mode::Level);
    let watch = Watch::new(net).expect("a watch");
    watch.add(DISK, Changes::DELETED).expect("watched");
    vec![
        wait!("read", (one, _peer), |it| it.0.read(&mut [0])),
        wait!("readable", (other, _other), |it| async {
            // Of what was presumed ready nothing is known once a read has found nothing.
            assert!(it.0.try_read(&mut [0]).is_none());
            it.0.readable().await
        }),
        wait!("level", (level.expect("a source"), writer), |it| {
            it.0.ready(Interest::READABLE)
        }),
        wait!(
            "accept",
            TcpListener::bind(net, ANY_PORT).expect("bind"),
            |it| it.accept()
        ),
        wait!("udp", UdpSocket::bind(net, ANY_PORT).expect("bind"), |it| {
            async { it.recv(&mut [0]).await }
        }),
        wait!("unix", UnixStream::pair(net).expect("a pair"), |it| it
            .0
            .read(&mut [0])),
        wait!("timer", Timer::new(net).expect("a timer"), |it| it.tick()),
        wait!(
            "signal",
            Signals::new(net, &[libc::SIGURG]).expect("signals"),
            |it| it.recv()
        ),
        wait!(
            "child",
            Child::adopt(net, child.expect("cat")).expect("adopted"),
            |it| it.wait()
        ),
        wait!("watch", watch, |it| it.next()),
        wait!("user", UserEvent::new(net).expect("an event"), |it| it
            .notified()),
    ]
}

fn assert_told(name: &str, polled: Poll<io::Result<()>>) {
    let Poll::Ready(Err(error)) = polled else {
        panic!("{name}: {polled:?}");
    };
    assert!(error.to_string().contains("shut down"), "{name}: {error}");
}

#[test]
fn whoever_waits_when_the_engine_ends_is_woken_and_told() {
    let mut engine = Engine::new().expect("an engine");
    let waits = engine.run(async |io| waits(&io).await).expect("the loop");
    let mut waits: Vec<_> = waits
        .into_iter()
        .map(|(name, wait)| (name, wait, Bell::new()))
        .collect();
    for (name, wait, bell) in &mut waits {
        let polled = wait.as_mut().poll(&mut Context::from_waker(&bell.waker()));
        assert!(polled.is_pending(), "{name}: {polled:?}");
    }
    drop(engine);
    for (name, mut wait, bell) in waits {
        assert!(bell.has_rung(), "{name} sleeps for ever");
        assert_told(name, poll_once(wait.as_mut()));
    }
}

#[test]
fn whoever_begins_to_wait_after_the_engine_has_ended_is_told() {
    let mut engine = Engine::new().expect("an engine");
    let waits = engine.run(async |io| waits(&io).await).expect("the loop");
    let io = engine.handle();
    engine.shut_down(Duration::ZERO);
    for (name, mut wait) in waits {
        assert_told(name, poll_once(wait.as_mut()));
    }
    let made = Timer::new(io.net()).map(drop);
    assert_told("a new timer", Poll::Ready(made));
    let listener = TcpListener::bind(io.net(), ANY_PORT).expect("binding waits for nothing");
    let mut accept = Box::pin(async { io.accept(&listener).await.map(drop) });
    assert_told("a new listener", poll_once(accept.as_mut()));
    let address = listener.local_addr().expect("bound");
    let mut connect = Box::pin(async { TcpStream::connect(io.net(), address).await.map(drop) });
    assert_told("a new stream", poll_once(connect.as_mut()));
}

#[test]
fn after_the_end_a_socket_does_what_need_not_wait() {
    let mut engine = Engine::new().expect("an engine");
    let (here, there) = engine.run(async |io| pair(&io).await).expect("the loop");
    drop(engine);
    let mut write = Box::pin(here.write_all(b"late"));
    assert!(matches!(poll_once(write.as_mut()), Poll::Ready(Ok(()))));
    let mut buffer = [0; 8];
    assert_eq!(
        there.try_read(&mut buffer).expect("bytes").expect("read"),
        4
    );
    assert!(there.try_read(&mut buffer).is_none());
}

/// Every operation of a file but read and open, which `ring_limits` has.
async fn operations(io: &Handle, dir: &File, file: &File) -> Vec<(&'static str, io::Result<()>)> {
    let bytes = || b"x".to_vec();
    let at = |name: &str| dir.at(name);
    let mut stream = file.stream(0..8, 4, 2);
    vec![
        ("write", file.write_at(bytes(), 0).await.0.map(drop)),
        ("append", file.append(bytes()).await.0.map(drop)),
        ("write all", file.write_all_at(bytes(), 0).await.0),
        ("read exact", file.read_exact_at(bytes(), 0).await.0),
        (
            "readv",
            file.read_vectored_at(vec![bytes()], 0).await.0.map(drop),
        ),
        (
            "writev",
            file.write_vectored_at(vec![bytes()], 0).await.0.map(drop),
        ),
        ("sync", file.sync_all().await),
        ("sync data", file.sync_data().await),
        ("sync range", file.sync_range(0, 1).await),
        ("allocate", file.allocate(0, 1, Allocate::default()).await),
        ("hole", file.punch_hole(0, 1).await),
        ("truncate", file.set_len(0).await),
        ("advise", file.advise(0, 1, Advice::Normal).await),
        ("metadata", file.metadata().await.map(drop)),
        ("clone", file.try_clone().map(drop)),
        ("copy", file.copy_range(0, file, 4, 1).await.map(drop)),
        (
            "splice",
            file.splice_to(Some(0), file, None, 1, Splice::default())
                .await
                .map(drop),
        ),
        (
            "tee",
            file.tee_to(file, 1, Splice::default()).await.map(drop),
        ),
        ("stream", stream.next().await.map(drop)),
        ("xattr", file.attribute_value("user.a").await.map(drop)),
        (
            "set xattr",
            file.set_attribute("user.a", bytes(), SetAttribute::Either)
                .await,
        ),
        ("xattrs", file.attribute_names().await.map(drop)),
        ("no xattr", file.remove_attribute("user.a").await),
        (
            "open at",
            OpenOptions::new().open_at(dir, "data").await.map(drop),
        ),
        (
            "open",
            OpenOptions::new().open(io.disk(), "/").await.map(drop),
        ),
        ("read_dir", dir.read_dir().await.map(drop)),
        (
            "rename",
            at("data").rename_to(at("new"), Rename::default()).await,
        ),
        ("link", at("data").hard_link_to(at("new")).await),
        ("symlink", at("new").symlink_to("data").await),
        ("read link", at("new").read_link().await.map(drop)),
        ("mkdir", at("new").create_dir(0o755).await),
        ("rmdir", at("new").remove_dir().await),
        ("unlink", at("data").unlink().await),
    ]
}

#[test]
fn after_the_end_every_operation_of_a_file_says_so_at_once_and_does_nothing() {
    for place in [DISK, "/dev/shm"] {
        for choice in backends("operations after the end") {
            let own = tempfile::tempdir_in(place).expect("a directory");
            fs::write(own.path().join("data"), b"content").expect("a file");
            let mut engine = engine(choice);
            let opened = engine.run(async |io| {
                let dir = OpenOptions::new().directory();
                let dir = dir.open(io.disk(), own.path()).await.expect("open");
                let file = OpenOptions::new().write();
                let file = file.open_at(&dir, "data").await.expect("open");
                let entries = dir.read_dir().await.expect("entries");
                (dir, file, entries)
            });
            let (dir, file, mut entries) = opened.expect("the loop");
            let io = engine.handle();
            engine.shut_down(Duration::from_secs(10));
            let answers = poll_once(Box::pin(operations(&io, &dir, &file)).as_mut());
            let Poll::Ready(mut answers) = answers else {
                panic!("{choice:?}: something waits for ever");
            };
            // Asked twice: an error does not leave it in a state of its own.
            for _ in 0..2 {
                let next = Box::pin(async { entries.next().await.map(drop) });
                let Poll::Ready(next) = poll_once(Box::pin(next).as_mut()) else {
                    panic!("{choice:?}: an entry is waited for");
                };
                answers.push(("next entry", next));
            }
            for (name, answer) in answers {
                let error = answer.expect_err(name).to_string();
                assert!(error.contains("shut down"), "{choice:?}, {name}: {error}");
            }
            let names = fs::read_dir(own.path()).expect("entries").count();
            let content = fs::read(own.path().join("data")).expect("content");
            assert_eq!((names, &content[..]), (1, &b"content"[..]));
        }
    }
}

#[test]
fn a_handle_that_outlives_its_engine_tells_what_it_knows() {
    for (choice, engine) in engines("a handle after the end") {
        let io = engine.handle();
        drop(engine);
        let counts = (io.tasks(), io.net().sources(), io.disk().in_flight());
        assert_eq!(counts, (0, 0, 0), "{choice:?}");
        assert_eq!(io.disk().waiting(), 0);
        assert_eq!(io.metrics().polls, 0);
        assert!(io.now() <= io.now() && !format!("{io:?} {:?}", io.remote()).is_empty());
    }
}
