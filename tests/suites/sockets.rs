//! Sockets on the real kernel, through the engine: everything arrives, everybody who waits is woken, nobody else is,
//! and what goes wrong is told as it is (G2, G4, G6).

#[path = "sockets/epoll.rs"]
mod epoll;

use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ambidex::net::{Reactor, TcpListener, TcpStream, Token};
use ambidex::{Engine, Handle};
use ambidex_tests::loops::{ANY_PORT, pair, pattern, run, run_on};
use ambidex_tests::sim::net::FakeNet;
use ambidex_tests::sim::{Bell, poll_once};
use rustix::net::{SendFlags, sockopt};

/// What is possible at once has stalled if it has not happened by then.
const STALL: Duration = Duration::from_secs(10);

/// Both ends of a connection, the first on `reactor`, and a word about readiness to begin with: nothing.
fn quiet(reactor: &Reactor) -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind(ANY_PORT).expect("bind");
    let client =
        std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (
        TcpStream::from_std(&reactor.handle(), server).expect("fcntl"),
        client,
    )
}

async fn read_all(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 5000]);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(all),
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 3000];
    loop {
        match stream.read(&mut buffer).await.expect("read") {
            0 => return,
            length => stream.write_all(&buffer[..length]).await.expect("write"),
        }
    }
}

#[test]
fn a_mebibyte_comes_back_through_the_smallest_send_buffers() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        for stream in [&client, &server] {
            sockopt::set_socket_send_buffer_size(stream, 1).expect("SO_SNDBUF");
        }
        let echo = io.spawn(echo(server));
        let (client, sent) = (Rc::new(client), Rc::new(pattern(1 << 20)));
        let (writer, data) = (Rc::clone(&client), Rc::clone(&sent));
        let writing = io.spawn(async move {
            writer.write_all(&data).await.expect("write");
            writer.shutdown(Shutdown::Write).expect("shutdown");
        });
        assert!(read_all(&client).await.expect("read") == *sent);
        writing.await.expect("written");
        echo.await.expect("echoed");
    });
}

#[test]
fn all_tasks_that_wait_for_one_stream_are_woken() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let server = Rc::new(server);
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let server = Rc::clone(&server);
                io.spawn(async move {
                    assert!(poll_once(pin!(server.read(&mut [0; 1]))).is_pending());
                    server.readable().await.expect("readable").is_readable()
                })
            })
            .collect();
        io.yield_now().await;
        io.yield_now().await;
        client.write_all(b"x").await.expect("write");
        for task in tasks {
            assert!(task.await.expect("woken"));
        }
        assert_eq!(
            server.read(&mut [0; 8]).await.expect("read"),
            1,
            "waiting takes nothing"
        );
    });
}

#[test]
fn dropping_a_stream_wakes_who_waited_for_it_and_nobody_else() {
    let mut reactor = Reactor::new().expect("a reactor");
    let ((kept, _other), (dropped, _end)) = (quiet(&reactor), quiet(&reactor));
    let (own, foreign) = (Bell::new(), Bell::new());
    for (stream, bell) in [(&kept, &own), (&dropped, &foreign)] {
        let waker = bell.waker();
        let mut cx = Context::from_waker(&waker);
        assert!(stream.poll_read(&mut cx, &mut [0; 8]).is_pending());
    }
    while reactor.turn(Some(Duration::ZERO)).expect("turn").events > 0 {}
    for (stream, bell) in [(&kept, &own), (&dropped, &foreign)] {
        bell.take();
        let waker = bell.waker();
        let mut cx = Context::from_waker(&waker);
        assert!(stream.poll_read(&mut cx, &mut [0; 8]).is_pending());
    }
    drop(dropped);
    assert_eq!(foreign.take(), 1, "no waiter sleeps on what is gone");
    reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert!(!own.has_rung());
    assert_eq!(
        (reactor.handle().sources(), reactor.handle().stale_events()),
        (1, 0)
    );
}

#[test]
fn an_event_of_a_closed_stream_never_reaches_the_next_owner_of_its_slot_and_number() {
    let net = Rc::new(FakeNet::default());
    let mut reactor = Reactor::with_kernel(net.clone()).expect("a reactor");
    let read = |stream: &TcpStream, bell: &Arc<Bell>| {
        let waker = bell.waker();
        stream
            .poll_read(&mut Context::from_waker(&waker), &mut [0; 8])
            .is_pending()
    };
    let (old, _end) = quiet(&reactor);
    assert!(read(&old, &Bell::new()));
    reactor.flush();
    let stale = net.last_token().expect("registered");
    drop(old);
    let (new, _end) = quiet(&reactor);
    let bell = Bell::new();
    assert!(read(&new, &bell));
    reactor.flush();
    assert_ne!(net.last_token(), Some(stale));
    reactor.turn(Some(Duration::ZERO)).expect("turn");
    bell.take();
    read(&new, &bell);
    net.inject((libc::EPOLLIN | libc::EPOLLHUP) as u32, stale);
    let calls = net.transfers();
    assert_eq!(reactor.turn(Some(Duration::ZERO)).expect("turn").events, 1);
    assert!(!bell.has_rung() && read(&new, &bell));
    assert_eq!(
        (reactor.handle().stale_events(), net.transfers()),
        (1, calls)
    );
}

#[test]
fn an_event_of_a_doorbell_that_is_not_there_rings_no_other() {
    let net = Rc::new(FakeNet::default());
    let mut reactor = Reactor::with_kernel(net.clone()).expect("a reactor");
    let (bell, _end) = io::pipe().expect("a pipe");
    let doorbell = reactor.watch(bell.as_fd()).expect("a doorbell");
    let token = net.last_token().expect("registered").0;
    for wrong in [token + 1, token + 64, token + (1 << 32)] {
        net.inject(libc::EPOLLIN as u32, Token(wrong));
    }
    let turn = reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert!(!turn.rang(doorbell));
    assert_eq!((turn.events, reactor.handle().stale_events()), (3, 3));
    net.inject(libc::EPOLLIN as u32, Token(token));
    let turn = reactor.turn(Some(Duration::ZERO)).expect("turn");
    assert!(turn.rang(doorbell));
}

#[test]
fn after_half_a_close_the_other_half_goes_on() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        client.write_all(b"question").await.expect("write");
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(read_all(&server).await.expect("read"), b"question");
        assert_eq!(server.read(&mut [0; 8]).await.expect("the end stays"), 0);
        server.write_all(b"answer").await.expect("write");
        drop(server);
        assert_eq!(read_all(&client).await.expect("read"), b"answer");
        assert!(client.write(b"x").await.is_err(), "shut down here");
    });
}

#[test]
fn a_reset_is_an_error_for_readers_and_writers_that_wait_and_come() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let server = Rc::new(server);
        let waiting = Rc::clone(&server);
        let reader = io.spawn(async move { waiting.read(&mut [0; 8]).await });
        let waiting = Rc::clone(&server);
        let writer = io.spawn(async move {
            loop {
                if let Err(error) = waiting.write(&[0; 65536]).await {
                    return error;
                }
            }
        });
        io.yield_now().await;
        io.yield_now().await;
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).expect("SO_LINGER");
        drop(client);
        let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        let read = reader.await.expect("woken");
        let wrote = writer.await.expect("woken");
        // Whoever comes first collects the reset; the other finds the stream closed.
        assert!(kinds.contains(&wrote.kind()), "{wrote}");
        assert!(
            matches!(&read, Err(error) if kinds.contains(&error.kind())) || matches!(read, Ok(0))
        );
        assert!(
            wrote.kind() == kinds[0] || read.is_err(),
            "a reset was hidden"
        );
        assert_eq!(
            server.write(b"x").await.expect_err("gone").kind(),
            ErrorKind::BrokenPipe
        );
    });
}

#[test]
fn a_connection_that_is_refused_says_so() {
    run(async |io| {
        let address = {
            let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
            listener.local_addr().expect("bound")
        };
        let error = TcpStream::connect(io.net(), address)
            .await
            .expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(io.net().sources(), 0);
    });
}

fn engine_on(net: &Rc<FakeNet>) -> Engine {
    Engine::builder()
        .net_kernel(net.clone())
        .build()
        .expect("an engine")
}

#[test]
fn accepting_survives_shortages_and_connections_that_died_in_the_queue() {
    let net = Rc::new(FakeNet::default());
    run_on(&mut engine_on(&net), async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            net.script_accepts([libc::ECONNABORTED, errno, libc::EINTR]);
            let _client = std::net::TcpStream::connect(address).expect("connect");
            io.accept(&listener).await.expect("through the shortage");
        }
        net.script_accepts([libc::EMFILE]);
        let _client = std::net::TcpStream::connect(address).expect("connect");
        let error = listener
            .accept()
            .await
            .expect_err("the listener itself reports it");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert!(listener.accept().await.is_ok());
    });
}

#[test]
fn any_number_of_dead_connections_does_not_end_the_accepting() {
    let net = Rc::new(FakeNet::default());
    run_on(&mut engine_on(&net), async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        net.script_accepts([libc::ECONNABORTED; 200]);
        let _client = std::net::TcpStream::connect(listener.local_addr().expect("bound"));
        io.accept(&listener)
            .await
            .expect("only an error of the listener ends it");
    });
}

#[test]
fn interruptions_and_false_alarms_are_not_the_users_concern() {
    let net = Rc::new(FakeNet::default());
    run_on(&mut engine_on(&net), async |io| {
        let (client, server) = pair(&io).await;
        net.script_transfers([libc::EINTR, libc::EINTR]);
        client.write_all(b"x").await.expect("write");
        net.script_transfers([libc::EINTR]);
        assert_eq!(server.read(&mut [0; 8]).await.expect("read"), 1);
        watched(&io, &server).await;
        let before = io.metrics().interrupted;
        net.script_waits([libc::EINTR; 5]);
        // Readable, says epoll, and then there is nothing: the next byte must still come through.
        net.inject(libc::EPOLLIN as u32, net.last_token().expect("registered"));
        let reader = io.spawn(async move { server.read(&mut [0; 8]).await });
        for _ in 0..10 {
            io.yield_now().await;
        }
        assert_eq!(io.metrics().interrupted - before, 5);
        assert!(!reader.is_finished());
        client.write_all(b"y").await.expect("write");
        assert_eq!(reader.await.expect("woken").expect("read"), 1);
    });
}

#[test]
fn a_thousand_connections_at_once_each_get_their_own() {
    const COUNT: usize = 1000;
    run(async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        let inner = io.clone();
        let server = io.spawn(async move {
            for _ in 0..COUNT {
                let (stream, _) = inner.accept(&listener).await.expect("accept");
                inner.spawn(echo(stream)).detach();
            }
        });
        let clients: Vec<_> = (0..COUNT)
            .map(|name| {
                let net = io.net().clone();
                io.spawn(async move {
                    let stream = TcpStream::connect(&net, address).await.expect("connect");
                    let sent = pattern(name + 1);
                    stream.write_all(&sent).await.expect("write");
                    stream.shutdown(Shutdown::Write).expect("shutdown");
                    assert!(read_all(&stream).await.expect("read") == sent, "{name}");
                })
            })
            .collect();
        for client in clients {
            client.await.expect("a client");
        }
        server.await.expect("the server");
        while io.tasks() > 0 {
            io.yield_now().await;
        }
        assert_eq!((io.net().sources(), io.net().stale_events()), (0, 0));
    });
}

/// Has `stream` watched, and everything known of it that is to be known.
async fn watched(io: &Handle, stream: &TcpStream) {
    assert!(poll_once(pin!(stream.read(&mut [0; 8]))).is_pending());
    let _ = io
        .timeout(Duration::from_millis(1), stream.readable())
        .await;
}

#[test]
fn a_vectored_write_of_more_parts_than_the_kernel_takes_does_not_stall_the_next() {
    run(async |io| {
        let (client, _server) = pair(&io).await;
        watched(&io, &client).await;
        let parts = vec![IoSlice::new(b"x"); 2000];
        let sent = client.write_vectored(&parts).await.expect("write");
        assert!(sent > 0);
        let next = io.timeout(STALL, client.write(b"y")).await;
        assert!(
            next.is_ok(),
            "after {sent} of 2000 bytes, and room for more, a write waits for ever"
        );
    });
}

#[test]
fn urgent_data_does_not_hide_what_comes_after_it() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        watched(&io, &server).await;
        client.write_all(b"abc").await.expect("write");
        rustix::net::send(&client, b"!", SendFlags::OOB).expect("send");
        client.write_all(b"def").await.expect("write");
        // All of it is there before the first read.
        io.sleep(Duration::from_millis(5)).await;
        let (mut all, mut buffer) = (Vec::new(), [0; 64]);
        while all.len() < 6 {
            let read = io.timeout(STALL, server.read(&mut buffer)).await;
            let length = read.unwrap_or_else(|_| panic!("waits for ever after {all:?}"));
            all.extend_from_slice(&buffer[..length.expect("read")]);
        }
        assert_eq!(all, b"abcdef");
    });
}

#[test]
fn a_read_dropped_in_time_loses_no_byte() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let sent = pattern(20_000);
        let data = sent.clone();
        let inner = io.clone();
        let writer = io.spawn(async move {
            for chunk in data.chunks(97) {
                client.write_all(chunk).await.expect("write");
                inner.yield_now().await;
            }
        });
        let (mut all, mut buffer) = (Vec::new(), [0; 64]);
        while all.len() < sent.len() {
            let polled = {
                let mut read = pin!(server.read(&mut buffer));
                // Now and then it is given up at its first poll, or its second.
                match poll_once(read.as_mut()) {
                    Poll::Ready(length) => Some(length),
                    Poll::Pending => io.timeout(Duration::from_micros(50), read).await.ok(),
                }
            };
            if let Some(length) = polled {
                all.extend_from_slice(&buffer[..length.expect("read")]);
            }
        }
        writer.await.expect("written");
        assert!(all == sent);
    });
}
