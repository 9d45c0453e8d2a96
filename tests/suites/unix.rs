//! Local sockets: streams, datagrams, seqpackets; descriptors arrive or are closed, peers are known (G2, G3, G6).

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use ambidex::Handle;
use ambidex::net::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
use ambidex_tests::loops::{errno, pattern, run};
use ambidex_tests::sim::{poll_once, skip};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A name that no other test has.
fn name(of: &str) -> SocketAddr {
    let name = format!("ambidex unix {of} {}", std::process::id());
    SocketAddr::from_abstract_name(name).expect("a name")
}

fn path(folder: &tempfile::TempDir) -> SocketAddr {
    SocketAddr::from_pathname(folder.path().join("socket")).expect("a path")
}

/// A pipe whose writing end is to be sent away: the reader sees whether anybody still has it.
fn pipe() -> (PipeReader, OwnedFd) {
    let (reader, writer) = io::pipe().expect("a pipe");
    (reader, writer.into())
}

/// Whether nobody holds the other end any more.
fn is_abandoned(mut reader: PipeReader) -> bool {
    rustix::io::ioctl_fionbio(&reader, true).expect("FIONBIO");
    matches!(reader.read(&mut [0; 1]), Ok(0))
}

fn borrowed(fds: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    fds.iter().map(AsFd::as_fd).collect()
}

async fn exchange(client: &UnixStream, server: &UnixStream) {
    client.write_all(b"question").await.expect("write");
    client.shutdown(Shutdown::Write).expect("shutdown");
    let mut buffer = [0; 16];
    assert_eq!(server.read(&mut buffer).await.expect("read"), 8);
    assert_eq!(server.read(&mut buffer).await.expect("the end"), 0);
    server.write_all(b"answer").await.expect("write");
    assert_eq!(client.read(&mut buffer).await.expect("read"), 6);
}

#[test]
fn streams_meet_at_a_path_and_at_an_abstract_name() {
    run(async |io| {
        let folder = tempfile::tempdir().expect("a folder");
        for address in [path(&folder), name("streams")] {
            let listener = UnixListener::bind(io.net(), &address).expect("bind");
            assert_eq!(
                listener.local_addr().expect("bound").as_pathname(),
                address.as_pathname()
            );
            let client = UnixStream::connect(io.net(), &address).expect("connect");
            let (server, from) = listener.accept().await.expect("accept");
            assert!(from.is_unnamed());
            let peer = client.peer_addr().expect("peer");
            assert_eq!(peer.as_abstract_name(), address.as_abstract_name());
            exchange(&client, &server).await;
        }
    });
}

#[test]
fn the_file_of_a_listener_stays_and_keeps_the_next_from_its_place() {
    run(async |io| {
        let folder = tempfile::tempdir().expect("a folder");
        let address = path(&folder);
        drop(UnixListener::bind(io.net(), &address).expect("bind"));
        let again = UnixListener::bind(io.net(), &address);
        assert_eq!(errno(&again), Some(libc::EADDRINUSE));
        let nobody = UnixStream::connect(io.net(), &address);
        assert_eq!(errno(&nobody), Some(libc::ECONNREFUSED));
        std::fs::remove_file(address.as_pathname().expect("a path")).expect("remove");
        let gone = UnixStream::connect(io.net(), &address);
        assert_eq!(errno(&gone), Some(libc::ENOENT));
        UnixListener::bind(io.net(), &address).expect("bind");
    });
}

#[test]
fn a_listener_of_the_other_kind_is_told() {
    run(async |io| {
        let folder = tempfile::tempdir().expect("a folder");
        // An abstract name is one for each kind, a path is one for all.
        let places = [
            (path(&folder), libc::EPROTOTYPE),
            (name("kinds"), libc::ECONNREFUSED),
        ];
        for (address, expected) in places {
            let _listener = UnixSeqpacketListener::bind(io.net(), &address).expect("bind");
            let stream = UnixStream::connect(io.net(), &address);
            assert_eq!(errno(&stream), Some(expected));
        }
        let (one, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mistaken = UnixSeqpacket::from_owned(io.net(), one);
        assert_eq!(errno(&mistaken), Some(libc::EPROTOTYPE));
    });
}

#[test]
fn a_full_queue_of_a_listener_is_told_at_once() {
    run(async |io| {
        let folder = tempfile::tempdir().expect("a folder");
        let address = path(&folder);
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            None,
        )
        .expect("a socket");
        let to = rustix::net::SocketAddrUnix::new(address.as_pathname().expect("a path"));
        rustix::net::bind(&socket, &to.expect("an address")).expect("bind");
        rustix::net::listen(&socket, 0).expect("listen");
        let _first = UnixStream::connect(io.net(), &address).expect("connect");
        let second = UnixStream::connect(io.net(), &address);
        assert_eq!(errno(&second), Some(libc::EAGAIN));
    });
}

#[test]
fn datagrams_keep_their_bounds_their_order_and_their_sender() {
    run(async |io| {
        let (here, there) = (name("datagram a"), name("datagram b"));
        let one = UnixDatagram::bind(io.net(), &here).expect("bind");
        let other = UnixDatagram::bind(io.net(), &there).expect("bind");
        for message in [&b"first"[..], b"", b"third"] {
            one.send_to(message, &there).await.expect("send");
        }
        let mut buffer = [0; 3];
        for (kept, cut) in [(&b"fir"[..], true), (b"", false), (b"thi", true)] {
            let (received, from) = other.recv_from(&mut buffer).await.expect("receive");
            assert_eq!(
                (&buffer[..received.length], received.truncated),
                (kept, cut)
            );
            assert_eq!(from.as_abstract_name(), here.as_abstract_name());
        }
        let nameless = UnixDatagram::unbound(io.net()).expect("a socket");
        nameless.connect(&there).expect("connect");
        nameless.send(b"me").await.expect("send");
        let (_, from) = other.recv_from(&mut buffer).await.expect("receive");
        assert!(from.is_unnamed());
        drop(other);
        let refused = nameless.send(b"me").await;
        assert_eq!(errno(&refused), Some(libc::ECONNREFUSED));
    });
}

#[test]
fn a_full_receiver_makes_the_sender_wait_and_a_long_message_is_refused() {
    run(async |io| {
        let (one, other) = UnixDatagram::pair(io.net()).expect("a pair");
        let mut queued = 0;
        while let Some(sent) = one.try_send(&[7; 100]) {
            assert_eq!(sent.expect("send"), 100);
            queued += 1;
        }
        let mut send = pin!(one.send(b"last"));
        assert!(poll_once(send.as_mut()).is_pending());
        let mut buffer = [0; 128];
        for _ in 0..queued {
            assert_eq!(other.recv(&mut buffer).await.expect("receive").length, 100);
        }
        assert_eq!(send.await.expect("send"), 4);
        assert_eq!(other.recv(&mut buffer).await.expect("receive").length, 4);
        let long = one.send(&vec![0; 8 << 20]).await;
        assert_eq!(errno(&long), Some(libc::EMSGSIZE));
    });
}

#[test]
fn a_full_receiver_is_told_to_who_is_not_its_peer_and_would_wait_for_ever() {
    run(async |io| {
        let there = name("full");
        let other = UnixDatagram::bind(io.net(), &there).expect("bind");
        let one = UnixDatagram::unbound(io.net()).expect("a socket");
        let full = loop {
            if let Err(error) = one.send_to(&[7; 100], &there).await {
                break error;
            }
        };
        assert_eq!(full.raw_os_error(), Some(libc::EAGAIN));
        other.recv(&mut [0; 100]).await.expect("receive");
        one.send_to(b"again", &there).await.expect("send");
    });
}

#[test]
fn seqpackets_are_connections_that_keep_the_bounds_of_messages() {
    run(async |io| {
        let address = name("seqpacket");
        let listener = UnixSeqpacketListener::bind(io.net(), &address).expect("bind");
        let client = UnixSeqpacket::connect(io.net(), &address).expect("connect");
        let (server, _) = listener.accept().await.expect("accept");
        client.send(b"first").await.expect("send");
        client.send(b"second").await.expect("send");
        let mut buffer = [0; 5];
        for (length, truncated) in [(5, false), (5, true)] {
            let received = server.recv(&mut buffer).await.expect("receive");
            assert_eq!((received.length, received.truncated), (length, truncated));
        }
        assert!(server.try_recv(&mut buffer).is_none());
        let server = Rc::new(server);
        let waiting = Rc::clone(&server);
        let waiter = io.spawn(async move { waiting.recv(&mut [0; 8]).await });
        io.yield_now().await;
        drop(client);
        assert_eq!(waiter.await.expect("woken").expect("the end").length, 0);
        let gone = server.send(b"x").await;
        assert_eq!(errno(&gone), Some(libc::EPIPE));
    });
}

#[test]
fn the_peer_is_known_by_process_user_and_group() {
    run(async |io| {
        let address = name("credentials");
        let listener = UnixListener::bind(io.net(), &address).expect("bind");
        let client = UnixStream::connect(io.net(), &address).expect("connect");
        let (server, _) = listener.accept().await.expect("accept");
        let (one, _other) = UnixSeqpacket::pair(io.net()).expect("a pair");
        for peer in [
            client.peer_credentials(),
            server.peer_credentials(),
            one.peer_credentials(),
        ] {
            let peer = peer.expect("credentials");
            assert_eq!(peer.pid, std::process::id() as i32);
            assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
            assert_eq!(peer.gid, rustix::process::getegid().as_raw());
        }
    });
}

/// Sends `count` descriptors and takes as many.
async fn pass(io: &Handle, count: usize) {
    let (here, there) = UnixStream::pair(io.net()).expect("a pair");
    let (reader, writer) = pipe();
    let fds = vec![writer.as_fd(); count];
    assert_eq!(here.send_with_fds(b"take", &fds).await.expect("send"), 4);
    drop(writer);
    let mut buffer = [0; 16];
    let (received, taken) = there.recv_with_fds(&mut buffer, count).await.expect("take");
    assert_eq!((received.length, taken.len()), (4, count));
    assert!(!received.truncated && !received.control_truncated);
    for (at, fd) in taken.into_iter().enumerate() {
        let flags = fcntl_getfd(&fd).expect("F_GETFD");
        assert!(flags.contains(FdFlags::CLOEXEC), "{at}");
        File::from(fd).write_all(&[at as u8]).expect("write");
    }
    let mut all = Vec::new();
    let mut reader = reader;
    reader.read_to_end(&mut all).expect("read");
    assert!(all.iter().map(|at| *at as usize).eq(0..count));
}

#[test]
fn one_descriptor_and_as_many_as_the_kernel_allows_are_passed() {
    run(async |io| {
        for count in [1, 2, 3, 253] {
            pass(&io, count).await;
        }
    });
}

#[test]
fn too_many_descriptors_or_descriptors_without_bytes_are_refused() {
    run(async |io| {
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (_reader, writer) = pipe();
        let many = here.send_with_fds(b"x", &vec![writer.as_fd(); 254]).await;
        assert_eq!(errno(&many), Some(libc::EINVAL));
        let bare = here.send_with_fds(b"", &[writer.as_fd()]).await;
        assert_eq!(errno(&bare), Some(libc::EINVAL));
        assert!(there.try_read(&mut [0; 8]).is_none(), "nothing went");
        let (here, there) = UnixSeqpacket::pair(io.net()).expect("a pair");
        here.send_with_fds(b"", &[writer.as_fd()])
            .await
            .expect("a message without bytes");
        let (received, fds) = there.recv_with_fds(&mut [0; 8], 1).await.expect("take");
        assert_eq!((received.length, fds.len()), (0, 1));
    });
}

#[test]
fn of_more_descriptors_than_were_asked_for_all_are_closed_and_the_bytes_are_kept() {
    run(async |io| {
        for room in [0, 1, 2] {
            let (here, there) = UnixStream::pair(io.net()).expect("a pair");
            let (readers, writers): (Vec<_>, Vec<_>) = (0..3).map(|_| pipe()).unzip();
            let sent = here.send_with_fds(b"bytes", &borrowed(&writers)).await;
            assert_eq!(sent.expect("send"), 5);
            drop(writers);
            let mut buffer = [0; 16];
            let (received, fds) = there.recv_with_fds(&mut buffer, room).await.expect("take");
            assert_eq!(&buffer[..received.length], b"bytes");
            assert!(received.control_truncated && fds.is_empty(), "{room}");
            assert!(readers.into_iter().all(is_abandoned), "{room}");
        }
    });
}

#[test]
fn a_plain_read_closes_what_came_with_the_bytes() {
    run(async |io| {
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (reader, writer) = pipe();
        here.send_with_fds(b"x", &[writer.as_fd()])
            .await
            .expect("send");
        drop(writer);
        assert_eq!(there.read(&mut [0; 8]).await.expect("read"), 1);
        assert!(is_abandoned(reader));
    });
}

#[test]
fn descriptors_sent_before_the_end_arrive_and_those_nobody_takes_are_closed() {
    run(async |io| {
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (reader, writer) = pipe();
        here.send_with_fds(b"last", &[writer.as_fd()])
            .await
            .expect("send");
        drop((here, writer));
        let mut buffer = [0; 8];
        let (received, fds) = there.recv_with_fds(&mut buffer, 4).await.expect("take");
        assert_eq!((received.length, fds.len()), (4, 1));
        let (end, none) = there.recv_with_fds(&mut buffer, 4).await.expect("the end");
        assert_eq!((end.length, none.len()), (0, 0));
        drop(fds);
        assert!(is_abandoned(reader));

        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (reader, writer) = pipe();
        here.send_with_fds(b"lost", &[writer.as_fd()])
            .await
            .expect("send");
        drop((here, writer, there));
        assert!(is_abandoned(reader));
    });
}

#[test]
fn descriptors_of_two_sends_are_never_joined() {
    run(async |io| {
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (_reader, writer) = pipe();
        for _ in 0..2 {
            here.send_with_fds(b"ab", &[writer.as_fd()])
                .await
                .expect("send");
        }
        for _ in 0..2 {
            let (received, fds) = there.recv_with_fds(&mut [0; 64], 9).await.expect("take");
            assert_eq!((received.length, fds.len()), (2, 1));
        }
    });
}

#[test]
fn a_receive_dropped_while_it_waits_loses_no_descriptor() {
    run(async |io| {
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (_reader, writer) = pipe();
        assert!(poll_once(pin!(there.recv_with_fds(&mut [0; 8], 1))).is_pending());
        here.send_with_fds(b"x", &[writer.as_fd()])
            .await
            .expect("send");
        let (_, fds) = there.recv_with_fds(&mut [0; 8], 1).await.expect("take");
        assert_eq!(fds.len(), 1);
    });
}

#[test]
fn a_send_cut_short_has_passed_the_descriptors_once() {
    run(async |io| {
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (_reader, writer) = pipe();
        let bytes = pattern(4 << 20);
        let sent = here
            .send_with_fds(&bytes, &[writer.as_fd()])
            .await
            .expect("send");
        assert!(0 < sent && sent < bytes.len(), "{sent}");
        let (mut all, mut count, mut buffer) = (0, 0, vec![0; 64 << 10]);
        while all < sent {
            let (received, fds) = there.recv_with_fds(&mut buffer, 9).await.expect("take");
            assert_eq!(buffer[..received.length], bytes[all..all + received.length]);
            (all, count) = (all + received.length, count + fds.len());
        }
        assert_eq!((all, count), (sent, 1));
    });
}

/// Changes the whole process: the test starts itself anew for it.
#[test]
fn without_room_for_descriptors_they_are_closed_and_that_is_told() {
    const INSIDE: &str = "AMBIDEX_UNIX_NO_ROOM";
    const NAME: &str = "without_room_for_descriptors_they_are_closed_and_that_is_told";
    if std::env::var_os(INSIDE).is_none() {
        let itself = std::env::current_exe().expect("a path");
        let mut inner = std::process::Command::new(itself);
        inner.args(["--exact", NAME]).env(INSIDE, "1");
        match inner.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(error) => skip(NAME, &error.to_string()),
        }
        return;
    }
    run(async |io| {
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        let (reader, writer) = pipe();
        let fds = [writer.as_fd(); 5];
        here.send_with_fds(b"bytes", &fds).await.expect("send");
        let lowest = rustix::io::dup(&writer).expect("dup").as_raw_fd();
        drop(writer);
        let limit = getrlimit(Resource::Nofile);
        let tight = Rlimit {
            // Room for what is open, and two.
            current: Some(lowest as u64 + 2),
            ..limit
        };
        setrlimit(Resource::Nofile, tight).expect("setrlimit");
        let mut buffer = [0; 8];
        let taken = there.recv_with_fds(&mut buffer, 5).await;
        setrlimit(Resource::Nofile, limit).expect("setrlimit");
        let (received, fds) = taken.expect("the bytes");
        assert_eq!(&buffer[..received.length], b"bytes");
        assert!(received.control_truncated && fds.is_empty());
        assert!(is_abandoned(reader));
    });
}
