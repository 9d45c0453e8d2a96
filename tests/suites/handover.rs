//! Sockets that go to another engine: handed over, or spread by the kernel. Nothing that was received is lost, and what
//! is refused comes back.

#[path = "handover/crowd.rs"]
mod crowd;

use std::future::pending;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::mpsc;
use std::time::Duration;

use ambidex::net::socket::{Messages, Socket, Streams};
use ambidex::net::{TcpStream, UdpSocket, UnixDatagram, UnixSeqpacket, UnixStream};
use ambidex::{Engine, Handle, RemoteError};
use ambidex_tests::loops::{ANY_PORT, engines, pair, run_on};
use ambidex_tests::sim::poll_once;

/// As many as an engine lets wait to be adopted.
const ARRIVALS_MAX: usize = 4096;

fn two(test: &str) -> impl Iterator<Item = (Engine, Engine)> {
    engines(test).map(|engine| (engine, Engine::new().expect("an engine")))
}

async fn echo<P: Streams>(_io: Handle, socket: Socket<P>) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = socket.read(&mut buffer).await {
        socket.write_all(&buffer[..length]).await.expect("write");
    }
}

async fn echo_messages<P: Messages>(_io: Handle, socket: Socket<P>) {
    let mut buffer = [0; 64];
    loop {
        let received = socket.recv(&mut buffer).await.expect("receive");
        let answer = &buffer[..received.length];
        socket.send(answer).await.expect("send");
    }
}

/// The next `length` bytes that `client` gets.
fn read_on<P: Streams>(engine: &mut Engine, client: &Socket<P>, length: usize) -> Vec<u8> {
    run_on(engine, async |_| {
        let mut bytes = vec![0; length];
        let mut have = 0;
        while have < length {
            let more = client.read(&mut bytes[have..]).await.expect("read");
            assert_ne!(more, 0, "the end came early");
            have += more;
        }
        bytes
    })
}

/// Turns `engine` until it has nothing to run.
fn settle(engine: &mut Engine) {
    run_on(engine, async |io| {
        for _ in 0..20 {
            io.yield_now().await;
        }
    });
}

#[test]
fn bytes_received_before_are_read_by_the_new_engine() {
    for (mut old, mut new) in two("received before") {
        let (sender, receiver) = mpsc::channel();
        let client = run_on(&mut old, async |io| {
            let (client, server) = pair(&io).await;
            // In the epoll set, with an event seen and some of the bytes taken.
            client.write_all(b"hello").await.expect("write");
            let mut two = [0; 2];
            server.readable().await.expect("readable");
            assert_eq!(server.read(&mut two).await.expect("read"), 2);
            let serve = async move |_io, server: TcpStream| {
                let mut buffer = [0; 16];
                let length = server.read(&mut buffer).await.expect("read");
                sender.send(buffer[..length].to_vec()).expect("asked for");
                server.write_all(b"bye").await.expect("write");
            };
            let handed = new.handle().remote().hand_over(io.net(), server, serve);
            handed.expect("handed over");
            client
        });
        settle(&mut new);
        assert_eq!(receiver.recv().expect("served"), b"llo");
        assert_eq!(read_on(&mut old, &client, 3), b"bye");
    }
}

#[test]
fn a_socket_that_somebody_waited_for_goes_too_at_each_stage_of_its_registration() {
    for stage in ["never waited", "listed", "in the set"] {
        for (mut old, mut new) in two(stage) {
            let client = run_on(&mut old, async |io| {
                let (client, server) = pair(&io).await;
                if stage != "never waited" {
                    let mut byte = [0];
                    let mut read = pin!(server.read(&mut byte));
                    assert!(poll_once(read.as_mut()).is_pending());
                    if stage == "in the set" {
                        let waited = io.timeout(Duration::from_millis(1), read).await;
                        assert!(waited.is_err());
                    }
                }
                let remote = new.handle().remote();
                remote
                    .hand_over(io.net(), server, echo)
                    .expect("handed over");
                client.write_all(b"after").await.expect("write");
                client
            });
            settle(&mut new);
            assert_eq!(read_on(&mut old, &client, 5), b"after", "{stage}");
        }
    }
}

#[test]
fn sockets_of_every_kind_are_handed_over() {
    for (mut old, mut new) in two("every kind") {
        let remote = new.handle().remote();
        let (tcp, udp, stream, datagram, packets) = run_on(&mut old, async |io| {
            let (tcp, there) = pair(&io).await;
            remote.hand_over(io.net(), there, echo).expect("TCP");
            let udp = UdpSocket::bind(io.net(), ANY_PORT).expect("bind");
            let there = UdpSocket::bind(io.net(), ANY_PORT).expect("bind");
            udp.connect(&there.local_addr().expect("bound"))
                .expect("connect");
            there
                .connect(&udp.local_addr().expect("bound"))
                .expect("connect");
            remote
                .hand_over(io.net(), there, echo_messages)
                .expect("UDP");
            let (stream, there) = UnixStream::pair(io.net()).expect("a pair");
            remote.hand_over(io.net(), there, echo).expect("stream");
            let (datagram, there) = UnixDatagram::pair(io.net()).expect("a pair");
            let handed = remote.hand_over(io.net(), there, echo_messages);
            handed.expect("datagrams");
            let (packets, there) = UnixSeqpacket::pair(io.net()).expect("a pair");
            let handed = remote.hand_over(io.net(), there, echo_messages);
            handed.expect("seqpacket");
            tcp.write_all(b"tcp").await.expect("write");
            udp.send(b"udp").await.expect("send");
            stream.write_all(b"stream").await.expect("write");
            datagram.send(b"datagram").await.expect("send");
            packets.send(b"packets").await.expect("send");
            (tcp, udp, stream, datagram, packets)
        });
        settle(&mut new);
        assert_eq!(read_on(&mut old, &tcp, 3), b"tcp");
        assert_eq!(read_on(&mut old, &stream, 6), b"stream");
        assert_eq!(receive_on(&mut old, &udp), "udp");
        assert_eq!(receive_on(&mut old, &datagram), "datagram");
        assert_eq!(receive_on(&mut old, &packets), "packets");
    }
}

/// The next message that `client` gets.
fn receive_on<P: Messages>(engine: &mut Engine, client: &Socket<P>) -> String {
    run_on(engine, async |_| {
        let mut buffer = [0; 64];
        let received = client.recv(&mut buffer).await.expect("receive");
        String::from_utf8_lossy(&buffer[..received.length]).into_owned()
    })
}

/// Hands one end to an engine that refuses it with `kind`, and goes on using what came back.
fn is_refused_and_goes_on(old: &mut Engine, remote: &ambidex::Remote, kind: ErrorKind) {
    run_on(old, async |io| {
        let (client, server) = pair(&io).await;
        client.write_all(b"before").await.expect("write");
        server.readable().await.expect("readable");
        let handed = remote.hand_over(io.net(), server, async |_io, _socket| {
            panic!("it was refused");
        });
        let error = handed.expect_err("it is refused");
        assert_eq!(error.error.kind(), kind);
        let inner = error.error.get_ref().expect("a reason");
        assert!(inner.is::<RemoteError>());
        let server = error.socket.expect("it comes back");
        let mut buffer = [0; 16];
        let length = server.read(&mut buffer).await.expect("read");
        assert_eq!(&buffer[..length], b"before");
        // It waits on the old engine again.
        let (read, written) =
            futures_util::join!(server.read(&mut buffer), client.write_all(b"after"));
        written.expect("write");
        assert_eq!(&buffer[..read.expect("read")], b"after");
    });
}

#[test]
fn an_engine_that_is_full_gives_the_socket_back() {
    for (mut old, new) in two("full") {
        let remote = new.handle().remote();
        for _ in 0..ARRIVALS_MAX {
            remote.spawn(|_| async {}).expect("there is room");
        }
        is_refused_and_goes_on(&mut old, &remote, ErrorKind::WouldBlock);
    }
}

#[test]
fn an_engine_that_has_ended_gives_the_socket_back() {
    for (mut old, new) in two("closed") {
        let remote = new.handle().remote();
        drop(new);
        is_refused_and_goes_on(&mut old, &remote, ErrorKind::BrokenPipe);
    }
}

#[test]
fn an_engine_that_ends_before_it_adopted_a_socket_closes_it() {
    for (mut old, new) in two("never adopted") {
        let client = run_on(&mut old, async |io| {
            let (client, server) = pair(&io).await;
            let remote = new.handle().remote();
            remote
                .hand_over(io.net(), server, echo)
                .expect("handed over");
            client
        });
        drop(new);
        let end = run_on(&mut old, async |_| client.read(&mut [0; 8]).await);
        assert_eq!(end.expect("the end"), 0);
    }
}

#[test]
fn serving_that_panics_closes_its_socket_and_harms_no_other() {
    for (mut old, mut new) in two("panics") {
        let (bad, good) = run_on(&mut old, async |io| {
            let remote = new.handle().remote();
            let (bad, there) = pair(&io).await;
            let panics = async |_io, _socket: TcpStream| panic!("on purpose");
            remote
                .hand_over(io.net(), there, panics)
                .expect("handed over");
            let (good, there) = pair(&io).await;
            remote
                .hand_over(io.net(), there, echo)
                .expect("handed over");
            good.write_all(b"still").await.expect("write");
            (bad, good)
        });
        settle(&mut new);
        let end = run_on(&mut old, async |_| bad.read(&mut [0; 8]).await);
        assert_eq!(end.expect("the end"), 0);
        assert_eq!(read_on(&mut old, &good, 5), b"still");
    }
}

#[test]
fn a_socket_can_go_on_and_come_home() {
    for (mut old, mut new) in two("and back") {
        let home = old.handle().remote();
        let client = run_on(&mut old, async |io| {
            let (client, server) = pair(&io).await;
            let back = async move |io: Handle, server: TcpStream| {
                let handed = home.hand_over(io.net(), server, echo);
                handed.expect("handed back");
            };
            let remote = new.handle().remote();
            remote
                .hand_over(io.net(), server, back)
                .expect("handed over");
            client.write_all(b"home").await.expect("write");
            client
        });
        settle(&mut new);
        assert_eq!(read_on(&mut old, &client, 4), b"home");
    }
}

#[test]
fn a_socket_of_a_task_that_was_dropped_with_its_engine_is_closed() {
    for (mut old, mut new) in two("dropped") {
        let client = run_on(&mut old, async |io| {
            let (client, server) = pair(&io).await;
            let remote = new.handle().remote();
            let keeps = async |_io, _socket: TcpStream| pending().await;
            remote
                .hand_over(io.net(), server, keeps)
                .expect("handed over");
            client
        });
        settle(&mut new);
        let report = new.drain(Duration::ZERO).expect("the loop");
        assert_eq!(report.tasks_cancelled, 1);
        let end = run_on(&mut old, async |_| client.read(&mut [0; 8]).await);
        assert_eq!(end.expect("the end"), 0);
    }
}
