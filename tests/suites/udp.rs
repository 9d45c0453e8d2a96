//! UDP: messages whole, senders known, errors of the network told, batches in one call (G2, G6).

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use ambidex::Handle;
use ambidex::net::UdpSocket;
use ambidex::net::udp::{BATCH_MAX, Incoming, Outgoing};
use ambidex_tests::loops::{ANY_PORT, errno, faked, pattern, run, run_on};
use ambidex_tests::sim::poll_once;

fn bound(io: &Handle) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(io.net(), ANY_PORT).expect("bind");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// Two sockets that are each other's peer.
fn pair(io: &Handle) -> (UdpSocket, UdpSocket) {
    let ((one, here), (other, there)) = (bound(io), bound(io));
    one.connect(&there).expect("connect");
    other.connect(&here).expect("connect");
    (one, other)
}

#[test]
fn a_message_comes_whole_with_its_sender() {
    run(async |io| {
        let ((one, here), (other, there)) = (bound(&io), bound(&io));
        assert_eq!(one.send_to(b"hello", &there).await.expect("send"), 5);
        let mut buffer = [0; 64];
        let (received, from) = other.recv_from(&mut buffer).await.expect("receive");
        assert_eq!((&buffer[..received.length], from), (&b"hello"[..], here));
        assert!(!received.truncated);
        other.send_to(b"", &here).await.expect("send nothing");
        let (received, from) = one.recv_from(&mut buffer).await.expect("receive");
        assert_eq!((received.length, from), (0, there));
    });
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    run(async |io| {
        let (one, other) = pair(&io);
        let (stranger, _) = bound(&io);
        let address = other.local_addr().expect("bound");
        assert_eq!(other.peer_addr().ok(), one.local_addr().ok());
        stranger.send_to(b"psst", &address).await.expect("send");
        one.send(b"friend").await.expect("send");
        let mut buffer = [0; 64];
        let received = other.recv(&mut buffer).await.expect("receive");
        assert_eq!(&buffer[..received.length], b"friend");
        assert!(other.try_recv(&mut buffer).is_none());
    });
}

#[test]
fn a_message_cut_short_is_told_and_a_peek_takes_nothing() {
    run(async |io| {
        let ((one, here), (other, there)) = (bound(&io), bound(&io));
        one.send_to(b"long message", &there).await.expect("send");
        let mut buffer = [0; 4];
        for _ in 0..2 {
            let (peeked, from) = other.peek_from(&mut buffer).await.expect("peek");
            assert!((peeked.length, peeked.truncated, from) == (4, true, here));
        }
        let received = other.recv(&mut buffer).await.expect("receive");
        assert!((received.length, received.truncated) == (4, true));
        assert_eq!(&buffer, b"long");
        assert!(
            other.try_recv_from(&mut buffer).is_none(),
            "the rest is lost"
        );
    });
}

#[test]
fn a_port_where_nobody_listens_is_a_refusal_for_who_waits() {
    run(async |io| {
        let (one, other) = pair(&io);
        let one = Rc::new(one);
        let waiting = Rc::clone(&one);
        let waiter = io.spawn(async move { waiting.recv(&mut [0; 8]).await });
        io.yield_now().await;
        drop(other);
        one.send(b"anybody?").await.expect("the first goes out");
        let refused = waiter.await.expect("woken");
        assert_eq!(errno(&refused), Some(libc::ECONNREFUSED));
        assert!(one.try_recv(&mut [0; 8]).is_none(), "told once");
    });
}

#[test]
fn what_cannot_be_sent_is_told_as_it_is() {
    run(async |io| {
        let (one, other) = pair(&io);
        let long = one.send(&[0; 65_508]).await;
        assert_eq!(errno(&long), Some(libc::EMSGSIZE));
        let (free, _) = bound(&io);
        let nowhere = free.send(b"x").await;
        assert_eq!(errno(&nowhere), Some(libc::EDESTADDRREQ));
        let six = "[::1]:9".parse().expect("an address");
        let foreign = free.send_to(b"x", &six).await;
        assert_eq!(errno(&foreign), Some(libc::EAFNOSUPPORT));
        let taken = UdpSocket::bind(io.net(), other.local_addr().expect("bound"));
        assert_eq!(errno(&taken), Some(libc::EADDRINUSE));
        let unconnected = free.peer_addr();
        assert_eq!(errno(&unconnected), Some(libc::ENOTCONN));
    });
}

#[test]
fn a_receive_dropped_while_it_waits_loses_no_message() {
    run(async |io| {
        let (one, other) = pair(&io);
        let mut buffer = [0; 8];
        assert!(poll_once(pin!(other.recv(&mut buffer))).is_pending());
        assert!(poll_once(pin!(other.recv_from(&mut buffer))).is_pending());
        one.send(b"kept").await.expect("send");
        assert_eq!(other.recv(&mut buffer).await.expect("receive").length, 4);
    });
}

#[test]
fn a_batch_comes_in_order_with_lengths_and_senders() {
    run(async |io| {
        let ((one, here), (other, there)) = (bound(&io), bound(&io));
        let sent = pattern(10);
        let to = Some(there);
        let messages: Vec<_> = (0..10)
            .map(|length| Outgoing {
                bytes: &sent[..length],
                to,
            })
            .collect();
        assert_eq!(one.send_many(&messages).await.expect("send"), 10);
        let mut buffers = [[0; 6]; 16];
        let mut room = buffers.each_mut().map(|buffer| Incoming::new(buffer));
        let mut count = 0;
        while count < 10 {
            count += other.recv_many(&mut room[count..]).await.expect("receive");
        }
        assert_eq!(count, 10);
        for (length, one) in room[..10].iter().enumerate() {
            let kept = length.min(6);
            assert_eq!((one.message(), one.from), (&sent[..kept], Some(here)));
            assert_eq!(one.received.truncated, length > 6);
        }
        assert!(other.try_recv_many(&mut room).is_none(), "and no more");
        assert_eq!(room[10].from, None);
    });
}

#[test]
fn a_batch_moves_no_more_than_its_bound() {
    run(async |io| {
        let (one, other) = pair(&io);
        let message = Outgoing {
            bytes: b"x",
            to: None,
        };
        let many = [message; BATCH_MAX + 9];
        assert_eq!(one.send_many(&many).await.expect("send"), BATCH_MAX);
        assert_eq!(one.send_many(&many[..9]).await.expect("send"), 9);
        let mut buffers = [[0; 1]; BATCH_MAX + 9];
        let mut room = buffers.each_mut().map(|buffer| Incoming::new(buffer));
        let first = other.recv_many(&mut room).await.expect("receive");
        assert_eq!(first, BATCH_MAX);
        let rest = other.recv_many(&mut room).await.expect("receive");
        assert_eq!(rest, 9);
        assert_eq!(other.recv_many(&mut []).await.expect("nothing asked"), 0);
        assert_eq!(one.send_many(&[]).await.expect("nothing given"), 0);
    });
}

#[test]
fn a_message_that_cannot_go_ends_its_batch_before_it_and_is_told_next() {
    run(async |io| {
        let (one, other) = pair(&io);
        let long = vec![0; 65_508];
        let messages =
            [&b"one"[..], b"two", &long, b"four"].map(|bytes| Outgoing { bytes, to: None });
        assert_eq!(one.send_many(&messages).await.expect("send"), 2);
        let failed = one.send_many(&messages[2..]).await;
        assert_eq!(errno(&failed), Some(libc::EMSGSIZE));
        assert_eq!(one.send_many(&messages[3..]).await.expect("send"), 1);
        let mut buffer = [0; 8];
        for expected in [&b"one"[..], b"two", b"four"] {
            let received = other.recv(&mut buffer).await.expect("receive");
            assert_eq!(&buffer[..received.length], expected);
        }
    });
}

#[test]
fn a_batch_dropped_while_it_waits_loses_no_message() {
    run(async |io| {
        let (one, other) = pair(&io);
        let mut buffers = [[0; 8]; 4];
        let mut room = buffers.each_mut().map(|buffer| Incoming::new(buffer));
        assert!(poll_once(pin!(other.recv_many(&mut room))).is_pending());
        one.send(b"a").await.expect("send");
        assert_eq!(other.recv_many(&mut room).await.expect("receive"), 1);
        assert_eq!(room[0].message(), b"a");
    });
}

#[test]
fn interrupted_calls_are_made_again_and_a_full_socket_is_waited_for() {
    let (mut engine, net) = faked();
    run_on(&mut engine, async |io| {
        let (one, other) = pair(&io);
        let mut buffer = [0; 8];
        let message = Outgoing {
            bytes: b"x",
            to: None,
        };
        // A second EAGAIN would wait for an edge that only a true one has.
        net.script_transfers([libc::EINTR, libc::EAGAIN, 0]);
        assert_eq!(one.send(b"x").await.expect("send"), 1);
        net.script_transfers([libc::EAGAIN, libc::EAGAIN]);
        assert!(one.try_send_many(&[message]).is_none());
        assert!(one.try_send(b"x").is_none());
        net.script_transfers([libc::EINTR, libc::EAGAIN, 0]);
        assert_eq!(other.recv(&mut buffer).await.expect("receive").length, 1);
        let (one, other) = pair(&io);
        net.script_transfers([libc::EINTR, libc::EAGAIN, 0]);
        assert_eq!(one.send_many(&[message; 2]).await.expect("send"), 2);
        net.script_transfers([libc::EINTR, libc::EAGAIN, 0]);
        let mut room = [Incoming::new(&mut buffer)];
        assert_eq!(other.recv_many(&mut room).await.expect("receive"), 1);
    });
}
