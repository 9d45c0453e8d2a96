//! The engine inside other loops: mio's and tokio's.
#![allow(clippy::disallowed_methods)] // A hang guard needs the time.

use std::io::{Read, Write};
use std::net::TcpStream as Blocking;
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use ambidex::net::TcpListener;
use ambidex::{Engine, Handle, JoinHandle, disk::File};
use mio::unix::SourceFd;
use tokio::io::unix::AsyncFd;

const HANG_GUARD: Duration = Duration::from_secs(30);

/// A task that needs everything: a socket from another thread, a file, a timer, remote work.
fn errand(io: &Handle) -> JoinHandle<usize> {
    let own = io.clone();
    io.spawn(async move {
        let listener = TcpListener::bind(own.net(), ([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || {
            let mut client = Blocking::connect(address).unwrap();
            client.write_all(b"ping").unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer.len()
        });
        let (stream, _) = own.accept(&listener).await.unwrap();
        let mut buffer = [0; 16];
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 4);
        let file = File::open(own.disk(), "/proc/self/status").await.unwrap();
        let (result, content) = file.read_at(Vec::with_capacity(256), 0).await;
        assert_eq!(result.unwrap(), 256);
        own.sleep(Duration::from_millis(2)).await;
        stream.write_all(&content).await.unwrap();
        drop(stream);
        let joined = own.spawn_blocking(move || client.join().unwrap()).await;
        joined.unwrap()
    })
}

#[test]
fn inside_mio_everything_goes_on() {
    let mut engine = Engine::new().unwrap();
    let task = errand(&engine.handle());
    let mut outer = mio::Poll::new().unwrap();
    let fd = engine.as_fd().as_raw_fd();
    // mio is edge-triggered: turn until there is nothing to do.
    let mut source = SourceFd(&fd);
    let registry = outer.registry();
    registry
        .register(&mut source, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    let mut events = mio::Events::with_capacity(8);
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < HANG_GUARD, "the engine has stopped");
        let pause = engine.turn_without_sleep().unwrap();
        if task.is_finished() {
            break;
        }
        outer
            .poll(&mut events, Some(pause.unwrap_or(HANG_GUARD)))
            .unwrap();
    }
    assert_eq!(engine.run(async |_| task.await.unwrap()).unwrap(), 256);
}

#[test]
fn inside_tokio_everything_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let nested = async {
        let mut engine = Engine::new().unwrap();
        let task = errand(&engine.handle());
        let epoll = engine.as_fd().try_clone_to_owned().unwrap();
        #[expect(
            deprecated,
            reason = "its successor is an unsafe fn; an owned descriptor is safe"
        )]
        let fd = AsyncFd::new(epoll).unwrap();
        loop {
            let pause = engine.turn_without_sleep().unwrap();
            if task.is_finished() {
                break;
            }
            let ready = fd.readable();
            if let Ok(guard) = tokio::time::timeout(pause.unwrap_or(HANG_GUARD), ready).await {
                guard.unwrap().clear_ready();
            }
        }
        engine.run(async |_| task.await.unwrap()).unwrap()
    };
    let guarded = runtime.block_on(async { tokio::time::timeout(HANG_GUARD, nested).await });
    assert_eq!(guarded.expect("the engine has stopped"), 256);
}

#[test]
fn a_nested_engine_with_nothing_to_do_says_for_how_long() {
    let mut engine = Engine::new().unwrap();
    let io = engine.handle();
    while engine.turn_without_sleep().unwrap() == Some(Duration::ZERO) {}
    assert_eq!(engine.turn_without_sleep().unwrap(), None);
    let sleeper = io.spawn({
        let io = io.clone();
        async move { io.sleep(Duration::from_secs(1000)).await }
    });
    let pause = engine.turn_without_sleep().unwrap().expect("a deadline");
    assert!(pause > Duration::from_secs(900), "{pause:?}");
    sleeper.abort();
}
