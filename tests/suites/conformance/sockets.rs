//! Sockets and the epoll set, over the kernel seam of `ambidex-net`.

#[path = "sockets/messages.rs"]
mod messages;
#[path = "sockets/readiness.rs"]
mod readiness;
#[path = "sockets/streams.rs"]
mod streams;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use ambidex::net::kernel::Control;
use ambidex::net::socket2::SockRef;
use ambidex::net::{Kernel, Linux, ListenOptions, Token};
use ambidex_tests::sim::HANG;
use ambidex_tests::sim::net::FakeNet;
use ambidex_tests::sim::world::{Network, SimNet, Time};

use super::divergences::is_simulated;
use super::judge::{Behaviour, Record};
use super::text::result_text;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const EDGE: u32 = libc::EPOLLET as u32;
const ONESHOT: u32 = libc::EPOLLONESHOT as u32;

/// What a token's number is in most behaviours.
const FIRST: Token = Token(1);

/// A kernel with an epoll set, and what happened.
pub(crate) struct Sockets {
    kernel: Rc<dyn Kernel>,
    epoll: OwnedFd,
    /// Port 0 asks for a free one, and its descriptors know what they got.
    real: bool,
    /// The next port, where that is not so.
    port: u16,
    noted: Vec<String>,
}

/// The names of the flags.
fn flag_names(flags: u32) -> String {
    let names = [
        (IN, "IN"),
        (OUT, "OUT"),
        (RDHUP, "RDHUP"),
        (HUP, "HUP"),
        (ERR, "ERR"),
    ];
    let set = names.into_iter().filter(|(flag, _)| flags & flag != 0);
    set.map(|(_, name)| name).collect::<Vec<_>>().join("|")
}

impl Sockets {
    fn new(kernel: Rc<dyn Kernel>, real: bool) -> Sockets {
        let epoll = kernel.epoll_create().expect("an epoll set");
        Sockets {
            kernel,
            epoll,
            real,
            port: 8000,
            noted: Vec::new(),
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.noted.push(text.into());
    }

    /// Notes a result.
    fn tell<T: ToString>(&mut self, result: &io::Result<T>) {
        self.note(result_text(result));
    }

    /// Notes whether it succeeded.
    fn tell_ok(&mut self, result: io::Result<()>) {
        self.tell(&result.map(|()| "ok"));
    }

    /// A listener, and where it listens.
    fn listen(&mut self) -> (OwnedFd, SocketAddr) {
        self.port += 1;
        let port = if self.real { 0 } else { self.port };
        let asked = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = self.kernel.listen(asked, &ListenOptions::default());
        let listener = listener.expect("a listener");
        if !self.real {
            return (listener, asked);
        }
        let bound = SockRef::from(&listener).local_addr().expect("bound");
        (listener, bound.as_socket().expect("an IP address"))
    }

    /// Waits until `fd` is ready for all of `flags`, without a note.
    fn ready(&self, fd: &OwnedFd, flags: u32) {
        let epoll = self.kernel.epoll_create().expect("an epoll set");
        let add = self
            .kernel
            .epoll_ctl(epoll.as_fd(), Control::Add, fd.as_fd(), flags, FIRST);
        add.expect("a new descriptor");
        let (_, seen) = self.gather(epoll.as_fd(), flags);
        assert_eq!(seen & flags, flags, "ready");
        self.kernel.close(epoll);
    }

    /// Waits until what happened, taken together, is all of `flags`; tells how many events that took, and what they said.
    fn gather(&self, epoll: BorrowedFd<'_>, flags: u32) -> (usize, u32) {
        let (mut seen, mut count) = (0, 0);
        while seen & flags != flags {
            let mut events = [libc::epoll_event { events: 0, u64: 0 }];
            let filled = self.kernel.epoll_wait(epoll, &mut events, Some(HANG));
            assert_eq!(filled.expect("a wait"), 1, "hangs: {}", flag_names(flags));
            let one = events[0].events;
            (seen, count) = (seen | one, count + 1);
        }
        (count, seen)
    }

    /// Notes what the epoll set says until that is all of `flags`.
    fn until(&mut self, flags: u32) {
        let (_, seen) = self.gather(self.epoll.as_fd(), flags);
        self.note(flag_names(seen));
    }

    /// Notes what the epoll set says without waiting.
    fn now(&mut self) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        let timeout = Some(Duration::ZERO);
        let filled = self
            .kernel
            .epoll_wait(self.epoll.as_fd(), &mut events, timeout);
        let filled = filled.expect("a wait");
        let seen = events[..filled]
            .iter()
            .map(|event| flag_names(event.events));
        let seen: Vec<String> = seen.collect();
        self.note(if filled == 0 {
            "quiet".to_owned()
        } else {
            seen.join(" ")
        });
    }

    fn control(&self, control: Control, fd: &OwnedFd, flags: u32) -> io::Result<()> {
        let epoll = self.epoll.as_fd();
        self.kernel
            .epoll_ctl(epoll, control, fd.as_fd(), flags, FIRST)
    }

    /// Watches `fd`.
    fn watch(&self, fd: &OwnedFd, flags: u32) {
        self.control(Control::Add, fd, flags)
            .expect("a new descriptor");
    }

    /// Both ends of a connection: who asked for it, and who was asked.
    fn pair(&mut self) -> (OwnedFd, OwnedFd) {
        let (listener, address) = self.listen();
        let client = self.connect(address);
        self.ready(&listener, IN);
        let (server, _) = self.kernel.accept(listener.as_fd()).expect("a connection");
        self.kernel.close(listener);
        (client, server)
    }

    /// A connection, made.
    fn connect(&mut self, address: SocketAddr) -> OwnedFd {
        let client = self.kernel.connect(address).expect("a connection");
        self.ready(&client, OUT);
        let error = self.kernel.take_error(client.as_fd()).expect("SO_ERROR");
        assert!(error.is_none(), "{error:?}");
        client
    }

    /// Sends all of `bytes`, which has room.
    fn give(&self, to: &OwnedFd, bytes: &[u8]) {
        let sent = self.kernel.send(to.as_fd(), bytes);
        assert_eq!(sent.expect("room"), bytes.len());
    }

    /// Notes what a send answers.
    fn send(&mut self, to: &OwnedFd, bytes: &[u8]) {
        let sent = self.kernel.send(to.as_fd(), bytes);
        self.tell(&sent);
    }

    /// Notes what is received.
    fn receive(&mut self, from: &OwnedFd, room: usize) {
        let mut buffer = vec![0; room];
        let received = self.kernel.receive(from.as_fd(), &mut buffer);
        let text = received.map(|count| {
            let bytes = String::from_utf8_lossy(&buffer[..count]);
            format!("{count} {bytes}").trim_end().to_owned()
        });
        self.tell(&text);
    }

    fn close(&self, fd: OwnedFd) {
        self.kernel.close(fd);
    }

    /// Closes the rest; what happened.
    fn end(self, rest: Vec<OwnedFd>) -> String {
        for fd in rest {
            self.kernel.close(fd);
        }
        self.kernel.close(self.epoll);
        self.noted.join("; ")
    }
}

/// A script answers the descriptors that are left.
type Script = Behaviour<Scene>;

/// [`Sockets`], and the descriptors that a script leaves.
pub(crate) struct Scene {
    sockets: Option<Sockets>,
    rest: Vec<OwnedFd>,
}

impl Scene {
    /// Runs a script.
    fn play(&mut self, script: impl FnOnce(&mut Sockets) -> Vec<OwnedFd>) {
        let sockets = self.sockets.as_mut().expect("one script");
        self.rest = script(sockets);
    }
}

/// A kernel, by what it is called, and whether it is the one that this process runs on.
type Maker = (&'static str, bool, fn() -> Rc<dyn Kernel>);

/// Those that are compared.
const KERNELS: [Maker; 3] = [
    ("linux", true, || Rc::new(Linux::default())),
    ("linux passed-on", true, || Rc::new(FakeNet::default())),
    ("sim net", false, || {
        SimNet::new(&Time::new(), Network::quiet(), 1)
    }),
];

/// All behaviours of sockets on all kernels.
pub(crate) fn run(record: &mut Record) {
    let lists = [readiness::ALL, streams::ALL, messages::ALL];
    for (name, real, make) in KERNELS {
        for behaviour in lists.into_iter().flatten() {
            if !real && !is_simulated(behaviour.name) {
                continue;
            }
            let mut scene = Scene {
                sockets: Some(Sockets::new(make(), real)),
                rest: Vec::new(),
            };
            (behaviour.script)(&mut scene);
            let sockets = scene.sockets.take().expect("one script");
            record.note(behaviour, name, sockets.end(scene.rest));
        }
    }
}
