//! TCP beyond reading and writing: in parts, looked at first, straight from a file, connected in time (G2, G6).

use std::fs::{self, File};
use std::io::{ErrorKind, IoSliceMut, Seek, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::time::Duration;

use ambidex::net::{ListenOptions, TcpListener};
use ambidex_tests::loops::{ANY_PORT, errno, faked, pair, pattern, run, run_on};
use ambidex_tests::sim::poll_once;

/// A file without a name.
fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(content).expect("write");
    file
}

#[test]
fn a_vectored_read_fills_its_parts_in_order() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        client.write_all(b"headbody").await.expect("write");
        let (mut head, mut empty, mut body) = ([0; 4], [0; 0], [0; 9]);
        let mut parts = [
            IoSliceMut::new(&mut head),
            IoSliceMut::new(&mut empty),
            IoSliceMut::new(&mut body),
        ];
        assert_eq!(server.read_vectored(&mut parts).await.expect("read"), 8);
        assert_eq!((&head, &body[..4]), (b"head", &b"body"[..]));
        client.shutdown(Shutdown::Write).expect("shutdown");
        let mut parts = [IoSliceMut::new(&mut body)];
        assert_eq!(server.read_vectored(&mut parts).await.expect("the end"), 0);
    });
}

#[test]
fn a_vectored_read_into_more_parts_than_the_kernel_takes_uses_the_first() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        client.write_all(&pattern(1500)).await.expect("write");
        let mut bytes = vec![0; 2000];
        let mut parts: Vec<_> = bytes.chunks_mut(1).map(IoSliceMut::new).collect();
        let length = server.read_vectored(&mut parts).await.expect("read");
        assert!((1..=1024).contains(&length), "{length}");
        let mut rest = vec![0; 1500 - length];
        let mut at = 0;
        while at < rest.len() {
            at += server.read(&mut rest[at..]).await.expect("read");
        }
        assert_eq!([&bytes[..length], &rest].concat(), pattern(1500));
    });
}

#[test]
fn a_vectored_read_dropped_while_it_waits_loses_nothing() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let mut lost = [0; 8];
        assert!(
            poll_once(pin!(
                server.read_vectored(&mut [IoSliceMut::new(&mut lost)])
            ))
            .is_pending()
        );
        client.write_all(b"kept").await.expect("write");
        let mut buffer = [0; 8];
        assert_eq!(server.read(&mut buffer).await.expect("read"), 4);
        assert_eq!((&buffer[..4], lost), (&b"kept"[..], [0; 8]));
    });
}

#[test]
fn what_is_peeked_at_is_read_again() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let mut buffer = [0; 8];
        assert!(poll_once(pin!(server.peek(&mut buffer))).is_pending());
        client.write_all(b"look").await.expect("write");
        for _ in 0..3 {
            assert_eq!(server.peek(&mut buffer).await.expect("peek"), 4);
            assert_eq!(&buffer[..4], b"look");
        }
        assert_eq!(server.peek(&mut buffer[..2]).await.expect("peek"), 2);
        assert_eq!(server.read(&mut buffer).await.expect("read"), 4);
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(server.peek(&mut buffer).await.expect("peek"), 0);
        assert_eq!(server.read(&mut buffer).await.expect("the end"), 0);
    });
}

#[test]
fn sendfile_sends_the_range_and_leaves_the_file_where_it_was() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let content = pattern(3000);
        let mut file = file(&content);
        file.rewind().expect("seek");
        assert_eq!(
            client.sendfile(&file, 1000..2500).await.expect("send"),
            1500
        );
        assert_eq!(file.stream_position().expect("seek"), 0);
        drop(client);
        let mut all = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match server.read(&mut buffer).await.expect("read") {
                0 => break,
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
        assert!(all == content[1000..2500]);
    });
}

#[test]
fn sendfile_answers_zero_at_the_end_of_a_shorter_file_and_for_an_empty_range() {
    run(async |io| {
        let (client, _server) = pair(&io).await;
        let file = file(b"short");
        assert_eq!(client.sendfile(&file, 0..100).await.expect("send"), 5);
        assert_eq!(client.sendfile(&file, 5..100).await.expect("the end"), 0);
        assert_eq!(client.sendfile(&file, 50..100).await.expect("behind"), 0);
        assert_eq!(client.sendfile(&file, 3..3).await.expect("empty"), 0);
    });
}

#[test]
fn sendfile_waits_for_room_and_goes_on_where_it_stopped() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let content = pattern(8 << 20);
        let file = file(&content);
        let reader = io.spawn(async move {
            let (mut all, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
            loop {
                match server.read(&mut buffer).await.expect("read") {
                    0 => return all,
                    length => all.extend_from_slice(&buffer[..length]),
                }
            }
        });
        let (mut rest, mut calls) = (0..content.len() as u64, 0);
        while !rest.is_empty() {
            rest.start += client.sendfile(&file, rest.clone()).await.expect("send");
            calls += 1;
        }
        assert!(calls > 1, "the socket took it all at once");
        drop(client);
        assert!(reader.await.expect("read") == content);
    });
}

#[test]
fn sendfile_reports_what_cannot_be_sent_and_who_is_gone() {
    run(async |io| {
        let (client, server) = pair(&io).await;
        let file = file(b"content");
        let beyond = client.sendfile(&file, u64::MAX - 1..u64::MAX).await;
        assert_eq!(errno(&beyond), Some(libc::EINVAL));
        let (pipe, _writer) = std::io::pipe().expect("a pipe");
        assert!(
            client.sendfile(&pipe, 1..2).await.is_err(),
            "no offset in a pipe"
        );
        let writable = fs::OpenOptions::new().write(true).open("/dev/null");
        let unreadable = client.sendfile(&writable.expect("open"), 0..1).await;
        assert_eq!(errno(&unreadable), Some(libc::EBADF));
        client.shutdown(Shutdown::Write).expect("shutdown");
        let shut = client.sendfile(&file, 0..7).await;
        assert_eq!(errno(&shut), Some(libc::EPIPE));
        drop(server);
    });
}

#[test]
fn interrupted_and_premature_transfers_are_made_again() {
    let (mut engine, net) = faked();
    run_on(&mut engine, async |io| {
        let (client, server) = pair(&io).await;
        let file = file(b"content");
        net.script_transfers([libc::EINTR, 0]);
        assert_eq!(client.sendfile(&file, 0..7).await.expect("send"), 7);
        let mut buffer = [0; 16];
        net.script_transfers([libc::EINTR, libc::EAGAIN, 0]);
        let peeked = server.peek(&mut buffer).await;
        assert_eq!(peeked.expect("peek"), 7);
        net.script_transfers([libc::EINTR, 0]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        assert_eq!(server.read_vectored(&mut parts).await.expect("read"), 7);
    });
}

#[test]
fn options_are_set_and_told() {
    run(async |io| {
        let (client, _server) = pair(&io).await;
        assert!(!client.options().keepalive().expect("get"));
        client.options().set_keepalive(true).expect("set");
        assert!(client.options().keepalive().expect("get"));
        client.set_nodelay(true).expect("set");
        assert!(client.options().tcp_nodelay().expect("get"));
    });
}

#[test]
fn connecting_in_time_succeeds_and_being_refused_is_told_as_it_is() {
    run(async |io| {
        let long = Duration::from_secs(20);
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        let stream = io.connect(address, long).await.expect("connect");
        assert_eq!(stream.peer_addr().expect("peer"), address);
        drop((stream, listener));
        let refused = io.connect(address, long).await;
        assert_eq!(errno(&refused), Some(libc::ECONNREFUSED));
    });
}

#[test]
fn a_connection_that_nobody_answers_times_out_and_is_closed() {
    run(async |io| {
        // A full queue drops what comes: the kernel of this end would try for minutes.
        let options = ListenOptions {
            backlog: 0,
            ..ListenOptions::default()
        };
        let listener = TcpListener::bind_with(io.net(), ANY_PORT, &options).expect("bind");
        let address = listener.local_addr().expect("bound");
        let mut queued = Vec::new();
        let error = loop {
            assert!(queued.len() < 64, "the queue never fills");
            match io.connect(address, Duration::from_millis(200)).await {
                Ok(stream) => queued.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(queued);
        assert_eq!(io.net().sources(), 1, "the listener");
    });
}
