//! Connections: how they begin, what goes through them, and how they end.

use std::io::IoSlice;
use std::net::Shutdown;
use std::os::fd::AsFd;

use ambidex::net::ListenOptions;

use super::{ERR, HUP, IN, OUT, RDHUP, Script};

pub(super) const ALL: &[Script] = &[
    Script {
        name: "a listener is ready while somebody waits",
        expect: "quiet; IN; IN; quiet",
        script: |scene| {
            scene.play(|s| {
                let (listener, address) = s.listen();
                s.watch(&listener, IN);
                s.now();
                let client = s.connect(address);
                s.until(IN);
                s.until(IN);
                let (server, _) = s.kernel.accept(listener.as_fd()).expect("a connection");
                s.now();
                vec![listener, client, server]
            });
        },
    },
    Script {
        name: "an accept with nobody there is EAGAIN",
        expect: "EAGAIN",
        script: |scene| {
            scene.play(|s| {
                let (listener, _) = s.listen();
                let accepted = s.kernel.accept(listener.as_fd());
                s.tell_ok(accepted.map(drop));
                vec![listener]
            });
        },
    },
    Script {
        name: "who asked first is accepted first",
        expect: "1 a; 1 b; 1 c; EAGAIN",
        script: |scene| {
            scene.play(|s| {
                let (listener, address) = s.listen();
                let mut open = Vec::new();
                for byte in [b"a", b"b", b"c"] {
                    let client = s.connect(address);
                    s.give(&client, byte);
                    open.push(client);
                }
                for _ in 0..3 {
                    s.ready(&listener, IN);
                    let (server, _) = s.kernel.accept(listener.as_fd()).expect("a connection");
                    s.ready(&server, IN);
                    s.receive(&server, 64);
                    open.push(server);
                }
                let accepted = s.kernel.accept(listener.as_fd());
                s.tell_ok(accepted.map(drop));
                open.push(listener);
                open
            });
        },
    },
    Script {
        name: "an address is listened on once",
        expect: "EADDRINUSE",
        script: |scene| {
            scene.play(|s| {
                let (listener, address) = s.listen();
                let again = s.kernel.listen(address, &ListenOptions::default());
                s.tell_ok(again.map(drop));
                vec![listener]
            });
        },
    },
    Script {
        name: "a connection that is refused says so, once",
        expect: "IN|OUT|RDHUP|HUP|ERR; ECONNREFUSED; none",
        script: |scene| {
            scene.play(|s| {
                let (listener, address) = s.listen();
                s.close(listener);
                let client = s.kernel.connect(address).expect("in progress");
                s.watch(&client, IN | OUT | RDHUP);
                s.until(HUP | ERR);
                for _ in 0..2 {
                    let error = s.kernel.take_error(client.as_fd()).expect("SO_ERROR");
                    match error {
                        Some(error) => s.tell::<usize>(&Err(error)),
                        None => s.note("none"),
                    }
                }
                vec![client]
            });
        },
    },
    Script {
        name: "a connection that nobody accepts is reset with its listener",
        expect: "ECONNRESET",
        script: |scene| {
            scene.play(|s| {
                let (listener, address) = s.listen();
                let client = s.connect(address);
                s.ready(&listener, IN);
                s.close(listener);
                s.ready(&client, HUP | ERR);
                s.receive(&client, 64);
                vec![client]
            });
        },
    },
    Script {
        name: "a receive with nothing there is EAGAIN",
        expect: "EAGAIN; EAGAIN",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.receive(&server, 64);
                s.receive(&client, 64);
                vec![client, server]
            });
        },
    },
    Script {
        name: "a receive without room is 0 and takes nothing",
        expect: "0; 4 data",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.give(&client, b"data");
                s.ready(&server, IN);
                s.receive(&server, 0);
                s.receive(&server, 64);
                vec![client, server]
            });
        },
    },
    Script {
        name: "what was sent before the end is received before it",
        expect: "4 data; 0; 0",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.give(&client, b"data");
                s.close(client);
                s.ready(&server, RDHUP);
                for _ in 0..3 {
                    s.receive(&server, 64);
                }
                vec![server]
            });
        },
    },
    Script {
        name: "a send after one's own end is EPIPE",
        expect: "ok; EPIPE; ok",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                let shut = s.kernel.shutdown(server.as_fd(), Shutdown::Write);
                s.tell_ok(shut);
                s.send(&server, b"data");
                let shut = s.kernel.shutdown(server.as_fd(), Shutdown::Write);
                s.tell_ok(shut);
                vec![client, server]
            });
        },
    },
    Script {
        name: "a send to who has closed is reset, and then EPIPE",
        expect: "1; EPIPE; EPIPE; ENOTCONN",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.close(client);
                s.ready(&server, RDHUP);
                s.send(&server, b"1");
                s.ready(&server, HUP | ERR);
                s.send(&server, b"2");
                s.send(&server, b"3");
                let shut = s.kernel.shutdown(server.as_fd(), Shutdown::Write);
                s.tell_ok(shut);
                vec![server]
            });
        },
    },
    Script {
        name: "buffers are sent in order",
        expect: "7; 7 onetwo3",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                let buffers = ["one", "two", "3"].map(|part| IoSlice::new(part.as_bytes()));
                let sent = s.kernel.send_vectored(client.as_fd(), &buffers);
                s.tell(&sent);
                s.ready(&server, IN);
                s.receive(&server, 64);
                vec![client, server]
            });
        },
    },
    Script {
        name: "both ends send at once",
        expect: "4 pong; 4 ping",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.give(&client, b"ping");
                s.give(&server, b"pong");
                s.ready(&client, IN);
                s.ready(&server, IN);
                s.receive(&client, 64);
                s.receive(&server, 64);
                vec![client, server]
            });
        },
    },
];
