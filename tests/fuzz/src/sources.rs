//! A reactor to whom the kernel reports what it likes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use ambidex::net::{Interest, Mode, Reactor, Registry, Source, Token};
use ambidex_tests::sim::Bell;
use ambidex_tests::sim::net::FakeNet;
use arbitrary::{Arbitrary, Unstructured};
use rustix::event::{EventfdFlags, eventfd};

const STEPS_MAX: usize = 200;
const SOURCES_MAX: usize = 8;
/// The most events of one wait.
const EVENTS_MAX: usize = 200;

#[derive(Arbitrary, Debug)]
enum Step {
    Add,
    Drop(u8),
    Wait(u8),
    Register,
    Deregister(u8),
    /// What the next wait reports of an earlier token, but for some bits.
    Event {
        at: u8,
        bits: u64,
        flags: u32,
    },
    Turn,
}

struct Known {
    source: Source,
    token: Token,
    bell: Arc<Bell>,
    waiting: bool,
}

struct Stage {
    kernel: Rc<FakeNet>,
    reactor: Reactor,
    registry: Registry,
    doorbell: ambidex::net::Doorbell,
    _bell: OwnedFd,
    known: Vec<Known>,
    /// Registered by token of ours, with that of the reactor.
    registered: BTreeMap<u64, (OwnedFd, Token)>,
    names: u64,
    /// All tokens there ever were.
    tokens: Vec<Token>,
    /// Events of the next wait.
    coming: Vec<(u32, Token)>,
}

/// Plays the schedule that `bytes` are.
///
/// # Panics
/// If somebody is woken or told for whom there was no event.
pub fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let mut stage = Stage::new();
    for _ in 0..STEPS_MAX {
        match Step::arbitrary(&mut bytes) {
            Ok(step) if !bytes.is_empty() => stage.step(&step),
            _ => break,
        }
    }
    stage.turn();
}

fn descriptor() -> OwnedFd {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    eventfd(0, flags).expect("an eventfd")
}

impl Stage {
    fn new() -> Stage {
        let kernel = Rc::new(FakeNet::default());
        let mut reactor = Reactor::with_kernel(kernel.clone()).expect("an epoll set");
        let bell = descriptor();
        let doorbell = reactor
            .watch(std::os::fd::AsFd::as_fd(&bell))
            .expect("a doorbell");
        let tokens = vec![kernel.last_token().expect("it was added")];
        Stage {
            registry: reactor.handle().registry(),
            kernel,
            reactor,
            doorbell,
            _bell: bell,
            known: Vec::new(),
            registered: BTreeMap::new(),
            names: 0,
            tokens,
            coming: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        let place = |at: u8| usize::from(at) % self.known.len().max(1);
        match *step {
            // Nothing is ever readable, so that who is woken was lied to or told of an error.
            Step::Add if self.known.len() < SOURCES_MAX => {
                let handle = self.reactor.handle();
                let source = Source::with(&handle, descriptor(), Interest::READABLE, Mode::Edge);
                let token = self.kernel.last_token().expect("it was added");
                self.tokens.push(token);
                self.known.push(Known {
                    source: source.expect("a source"),
                    token,
                    bell: Bell::new(),
                    waiting: false,
                });
            }
            Step::Drop(at) if !self.known.is_empty() => {
                drop(self.known.swap_remove(place(at)));
            }
            Step::Wait(at) if !self.known.is_empty() => self.wait(place(at)),
            Step::Register if self.registered.len() < SOURCES_MAX => {
                let fd = descriptor();
                self.names += 1;
                let name = Token(self.names);
                let added = self
                    .registry
                    .register(&fd, name, Interest::READABLE, Mode::Edge);
                added.expect("registered");
                let token = self.kernel.last_token().expect("it was added");
                self.tokens.push(token);
                self.registered.insert(self.names, (fd, token));
            }
            Step::Deregister(at) => {
                let mut names = self.registered.keys().copied();
                let count = self.registered.len().max(1);
                if let Some(name) = names.nth(usize::from(at) % count)
                    && let Some((fd, _)) = self.registered.remove(&name)
                {
                    self.registry.deregister(&fd).expect("it is registered");
                }
            }
            Step::Event { at, bits, flags } if self.coming.len() < EVENTS_MAX => {
                let Token(token) = self.tokens[usize::from(at) % self.tokens.len()];
                // Half of them are of what is or was, unchanged.
                let token = if at < 128 { token } else { token ^ bits };
                self.coming.push((flags, Token(token)));
            }
            Step::Turn => self.turn(),
            _ => {}
        }
    }

    fn wait(&mut self, at: usize) {
        let known = &mut self.known[at];
        known.bell.take();
        let waker = known.bell.waker();
        let mut cx = Context::from_waker(&waker);
        let polled = known.source.poll_interest(&mut cx, Interest::READABLE);
        known.waiting = polled.is_pending();
        known.source.clear(Interest::READABLE);
    }

    fn turn(&mut self) {
        let stale_before = self.reactor.handle().stale_events();
        let coming = std::mem::take(&mut self.coming);
        for (flags, token) in &coming {
            self.kernel.inject(*flags, *token);
        }
        let turn = self.reactor.turn(Some(Duration::ZERO)).expect("a turn");
        let is = |wanted: Token| coming.iter().any(|(_, token)| *token == wanted);
        let mut stale = coming.len();
        let live = self.known.iter().map(|known| known.token);
        let live = live.chain(self.registered.values().map(|(_, token)| *token));
        for token in live.chain([self.tokens[0]]) {
            stale -= coming.iter().filter(|(_, found)| *found == token).count();
        }
        let counted = self.reactor.handle().stale_events() - stale_before;
        assert_eq!(
            counted, stale as u64,
            "what is for nobody is counted: {coming:x?}"
        );
        assert_eq!(turn.rang(self.doorbell), is(self.tokens[0]), "{coming:x?}");
        for known in &self.known {
            assert!(
                !known.bell.has_rung() || known.waiting && is(known.token),
                "woken by others"
            );
        }
        while let Some((Token(name), _)) = self.reactor.take_ready() {
            let (_, token) = self.registered.get(&name).expect("it is registered");
            assert!(is(*token), "told of what was not reported: {coming:x?}");
        }
        for known in &mut self.known {
            known.waiting &= known.bell.take() == 0;
        }
    }
}
