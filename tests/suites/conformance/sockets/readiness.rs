//! What the epoll set tells, and when.

use std::net::Shutdown;
use std::os::fd::AsFd;

use ambidex::net::Token;
use ambidex::net::kernel::Control;
use ambidex_tests::sim::HANG;

use super::{EDGE, ERR, HUP, IN, ONESHOT, OUT, RDHUP, Script};

pub(super) const ALL: &[Script] = &[
    Script {
        name: "what is ready is told again as long as it is",
        expect: "IN; IN; 4 data; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN);
                s.give(&client, b"data");
                s.until(IN);
                s.until(IN);
                s.receive(&server, 64);
                s.now();
                vec![client, server]
            });
        },
    },
    Script {
        name: "an edge is told once, and again after new data only",
        expect: "IN; quiet; IN; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | EDGE);
                for _ in 0..2 {
                    s.give(&client, b"data");
                    s.until(IN);
                    s.now();
                }
                vec![client, server]
            });
        },
    },
    Script {
        name: "what is left after a read makes no edge",
        expect: "IN; 2 da; quiet; 2 ta; EAGAIN",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | EDGE);
                s.give(&client, b"data");
                s.until(IN);
                s.receive(&server, 2);
                s.now();
                s.receive(&server, 64);
                s.receive(&server, 64);
                vec![client, server]
            });
        },
    },
    Script {
        name: "a oneshot is silent until it is armed again",
        expect: "IN; quiet; quiet; IN; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | ONESHOT);
                s.give(&client, b"data");
                s.until(IN);
                s.now();
                s.give(&client, b"more");
                s.ready(&server, IN);
                s.now();
                let armed = s.control(Control::Modify, &server, IN | ONESHOT);
                armed.expect("it is there");
                s.until(IN);
                s.now();
                vec![client, server]
            });
        },
    },
    Script {
        name: "a change of what is watched tells again what is ready",
        expect: "IN; quiet; IN; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | EDGE);
                s.give(&client, b"data");
                s.until(IN);
                s.now();
                let changed = s.control(Control::Modify, &server, IN | EDGE);
                changed.expect("it is there");
                s.until(IN);
                s.now();
                vec![client, server]
            });
        },
    },
    Script {
        name: "what is ready when it is added is told",
        expect: "IN; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.give(&client, b"data");
                s.ready(&server, IN);
                s.watch(&server, IN | EDGE);
                s.until(IN);
                s.now();
                vec![client, server]
            });
        },
    },
    Script {
        name: "only what was asked for is told",
        expect: "quiet; OUT; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.give(&client, b"data");
                s.ready(&server, IN);
                s.watch(&server, RDHUP);
                s.now();
                let changed = s.control(Control::Modify, &server, OUT | EDGE);
                changed.expect("it is there");
                s.until(OUT);
                s.now();
                vec![client, server]
            });
        },
    },
    Script {
        name: "a descriptor is added once",
        expect: "ok; EEXIST",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                for _ in 0..2 {
                    let added = s.control(Control::Add, &server, IN);
                    s.tell_ok(added);
                }
                vec![client, server]
            });
        },
    },
    Script {
        name: "a stranger is neither changed nor removed",
        expect: "ENOENT; ENOENT",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                for control in [Control::Modify, Control::Remove] {
                    let result = s.control(control, &server, IN);
                    s.tell_ok(result);
                }
                vec![client, server]
            });
        },
    },
    Script {
        name: "what is removed is silent and a stranger again",
        expect: "ok; quiet; ENOENT; ok; IN",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN);
                s.give(&client, b"data");
                s.ready(&server, IN);
                let removed = s.control(Control::Remove, &server, 0);
                s.tell_ok(removed);
                s.now();
                let removed = s.control(Control::Remove, &server, 0);
                s.tell_ok(removed);
                let added = s.control(Control::Add, &server, IN);
                s.tell_ok(added);
                s.until(IN);
                vec![client, server]
            });
        },
    },
    Script {
        name: "a closed descriptor leaves the set",
        expect: "IN; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN);
                s.give(&client, b"data");
                s.until(IN);
                s.close(server);
                s.now();
                vec![client]
            });
        },
    },
    Script {
        name: "a set tells as much as there is room for, and the rest next",
        expect: "both",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                let (other_client, other_server) = s.pair();
                for (token, sender, receiver) in
                    [(1, &client, &server), (2, &other_client, &other_server)]
                {
                    let epoll = s.epoll.as_fd();
                    let add =
                        s.kernel
                            .epoll_ctl(epoll, Control::Add, receiver.as_fd(), IN, Token(token));
                    add.expect("a new descriptor");
                    s.give(sender, b"data");
                    s.ready(receiver, IN);
                }
                let mut told = 0;
                for _ in 0..2 {
                    let mut events = [libc::epoll_event { events: 0, u64: 0 }];
                    let filled = s
                        .kernel
                        .epoll_wait(s.epoll.as_fd(), &mut events, Some(HANG));
                    assert_eq!(filled.expect("a wait"), 1);
                    told += events[0].u64;
                }
                s.note(if told == 3 { "both" } else { "one twice" });
                vec![client, server, other_client, other_server]
            });
        },
    },
    Script {
        name: "an empty set is quiet",
        expect: "quiet",
        script: |scene| {
            scene.play(|s| {
                s.now();
                Vec::new()
            });
        },
    },
    Script {
        name: "an idle connection can be written and not read",
        expect: "OUT; quiet",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | OUT | RDHUP | EDGE);
                s.until(OUT);
                s.now();
                vec![client, server]
            });
        },
    },
    Script {
        name: "a half-close is the end of what can be read",
        expect: "IN|RDHUP; 0; 4; 4 data",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | RDHUP);
                let shut = s.kernel.shutdown(client.as_fd(), Shutdown::Write);
                shut.expect("a connection");
                s.until(IN | RDHUP);
                s.receive(&server, 64);
                s.send(&server, b"data");
                s.ready(&client, IN);
                s.receive(&client, 64);
                vec![client, server]
            });
        },
    },
    Script {
        name: "a close at the other end looks like a half-close",
        expect: "IN|RDHUP; 0",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | RDHUP);
                s.close(client);
                s.until(IN | RDHUP);
                s.receive(&server, 64);
                vec![server]
            });
        },
    },
    Script {
        name: "when both directions have ended it is hung up",
        expect: "IN|RDHUP; IN|RDHUP|HUP",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, IN | RDHUP | EDGE);
                let shut = s.kernel.shutdown(client.as_fd(), Shutdown::Write);
                shut.expect("a connection");
                s.until(IN | RDHUP);
                let shut = s.kernel.shutdown(server.as_fd(), Shutdown::Write);
                shut.expect("a connection");
                s.until(HUP);
                vec![client, server]
            });
        },
    },
    Script {
        name: "a reset is told to who asked for nothing",
        expect: "HUP|ERR",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.watch(&server, 0);
                s.give(&server, b"unread");
                s.ready(&client, IN);
                s.close(client);
                s.until(HUP | ERR);
                vec![server]
            });
        },
    },
    Script {
        name: "a reset is everything at once",
        expect: "IN|OUT|RDHUP|HUP|ERR; ECONNRESET; 0",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                s.give(&server, b"unread");
                s.ready(&client, IN);
                s.close(client);
                s.ready(&server, HUP | ERR);
                s.watch(&server, IN | OUT | RDHUP);
                s.until(HUP | ERR);
                s.receive(&server, 64);
                s.receive(&server, 64);
                vec![server]
            });
        },
    },
    Script {
        name: "a full connection can be written again when it was read",
        expect: "EAGAIN; OUT; 1",
        script: |scene| {
            scene.play(|s| {
                let (client, server) = s.pair();
                let chunk = [b'x'; 64 << 10];
                let mut sent = 0;
                loop {
                    match s.kernel.send(server.as_fd(), &chunk) {
                        Ok(count) => sent += count,
                        Err(error) => break s.tell::<usize>(&Err(error)),
                    }
                }
                s.watch(&server, OUT | EDGE);
                let mut buffer = chunk;
                while sent > 0 {
                    s.ready(&client, IN);
                    let received = s.kernel.receive(client.as_fd(), &mut buffer);
                    sent -= received.expect("what was sent");
                }
                s.until(OUT);
                s.send(&server, b"x");
                vec![client, server]
            });
        },
    },
];
