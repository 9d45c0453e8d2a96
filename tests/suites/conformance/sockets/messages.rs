//! Messages, peeking, and files sent to sockets.

use std::io::{IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};

use ambidex::net::kernel::Want;
use ambidex::net::socket2::Type;

use super::{IN, Script, Sockets};

impl Sockets {
    /// Notes what is received as a message.
    fn message(&mut self, from: &OwnedFd, room: usize, want: Want) {
        let mut buffer = vec![0; room];
        let mut buffers = [IoSliceMut::new(&mut buffer)];
        let received = self
            .kernel
            .receive_message(from.as_fd(), &mut buffers, want);
        let text = received.map(|message| {
            let received = message.received;
            let bytes = String::from_utf8_lossy(&buffer[..received.length]);
            let cut = if received.truncated { " truncated" } else { "" };
            format!("{} {bytes}{cut}", received.length)
                .trim_end()
                .to_owned()
        });
        self.tell(&text);
    }
}

pub(super) const ALL: &[Script] = &[
    Script {
        name: "what is peeked at is still there",
        expect: "4 data; 4 data; EAGAIN",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.give(&client, b"data");
                s.ready(&server, IN);
                let want = Want {
                    peek: true,
                    ..Want::default()
                };
                s.message(&server, 64, want);
                s.receive(&server, 64);
                s.receive(&server, 64);
                vec![client, server]
            });
        },
    },
    Script {
        name: "after an end of reading there is nothing to receive",
        expect: "0; 4",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                let shut = s.kernel.shutdown(server.as_fd(), Shutdown::Read);
                shut.expect("a connection");
                s.receive(&server, 64);
                s.send(&server, b"data");
                vec![client, server]
            });
        },
    },
    Script {
        name: "a file is sent up to its end",
        expect: "7; 3; 0; 0; EINVAL; 10 contentent",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                let mut file = tempfile::tempfile().expect("a file");
                std::io::Write::write_all(&mut file, b"content").expect("room");
                for (offset, length) in [(0, 64), (4, 64), (7, 64), (1000, 64), (1 << 63, 64)] {
                    let sent = s
                        .kernel
                        .sendfile(server.as_fd(), file.as_fd(), offset, length);
                    s.tell(&sent);
                }
                s.ready(&client, IN);
                s.receive(&client, 64);
                vec![client, server]
            });
        },
    },
    Script {
        name: "messages keep their bounds, and what does not fit is lost",
        expect: "3; 4; 3 one; 2 fo truncated; EAGAIN",
        script: |scene| {
            scene.play(|s| {
                for kind in [Type::DGRAM, Type::SEQPACKET] {
                    let (one, other) = s.kernel.socket_pair(kind).expect("a pair");
                    if kind == Type::DGRAM {
                        s.send(&one, b"one");
                        s.send(&one, b"four");
                        s.message(&other, 64, Want::default());
                        s.message(&other, 2, Want::default());
                        s.message(&other, 64, Want::default());
                    }
                    s.close(one);
                    s.close(other);
                }
                Vec::new()
            });
        },
    },
    Script {
        name: "an empty message is a message",
        expect: "0; 0; EAGAIN",
        script: |scene| {
            scene.play(|s| {
                let (one, other) = s.kernel.socket_pair(Type::DGRAM).expect("a pair");
                s.send(&one, b"");
                s.message(&other, 64, Want::default());
                s.message(&other, 64, Want::default());
                vec![one, other]
            });
        },
    },
    Script {
        name: "a descriptor is passed on, and lost where it is not asked for",
        expect: "1 x, 1 fds; 1 x, 0 fds cut",
        script: |scene| {
            scene.play(|s| {
                let (one, other) = s.kernel.socket_pair(Type::STREAM).expect("a pair");
                for fds_max in [1, 0] {
                    let file = tempfile::tempfile().expect("a file");
                    let sent = s.kernel.send_message(
                        one.as_fd(),
                        &[IoSlice::new(b"x")],
                        None,
                        &[file.as_fd()],
                    );
                    sent.expect("room");
                    let want = Want {
                        fds_max,
                        ..Want::default()
                    };
                    let mut buffer = [0; 8];
                    let mut buffers = [IoSliceMut::new(&mut buffer)];
                    let message = s.kernel.receive_message(other.as_fd(), &mut buffers, want);
                    let message = message.expect("a message");
                    let cut = if message.received.control_truncated {
                        " cut"
                    } else {
                        ""
                    };
                    let fds = message.fds.len();
                    s.note(format!("{} x, {fds} fds{cut}", message.received.length));
                }
                vec![one, other]
            });
        },
    },
];
