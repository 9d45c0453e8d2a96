//! The token face: what is begun or registered with a token yields its events, each once and with that token, on the
//! real kernel and both backends; what nobody takes is released; and a loop that is nested loses no wake (G1 to G5).

#[path = "tokens/descriptors.rs"]
mod descriptors;
#[path = "tokens/ends.rs"]
mod ends;
#[path = "tokens/files.rs"]
mod files;
#[path = "tokens/nested.rs"]
mod nested;
#[path = "tokens/origins.rs"]
mod origins;
#[path = "tokens/timers.rs"]
mod timers;
#[path = "tokens/waits.rs"]
mod waits;

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ambidex::clock::{Clock, Real};
use ambidex::disk::{BeginError, Choice, Complete, File, Op, OpenOptions, Options};
use ambidex::net::Token;
use ambidex::poll::{Event, Events};
use ambidex::{Engine, Poll};
use ambidex_tests::sim::Patience;
use ambidex_tests::sim::net::FakeNet;

const TOKEN: Token = Token(7);

/// A loop on `choice` with as many credits.
fn poll_on(choice: Choice, entries: u32) -> Poll {
    let options = Options {
        choice,
        sq_entries: entries,
        cq_entries: entries,
        ..Options::default()
    };
    let poll = Engine::builder().disk(options).build_poll();
    poll.expect("a loop")
}

/// The next events, at least one. A wait that never ends is the harness's to stop; one that turns in vain ends here.
fn some(poll: &mut Poll, capacity: usize) -> Vec<Event> {
    let (mut events, patience) = (Events::with_capacity(capacity), Patience::new());
    while events.is_empty() {
        let waited = poll.poll(&mut events, Some(Duration::from_secs(1)));
        waited.expect("the loop");
        patience.check("an event");
    }
    events.drain().collect()
}

/// The next event, of which there is one.
fn one(poll: &mut Poll) -> Event {
    let mut events = some(poll, 8);
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

/// Nothing has happened, and nothing is about to.
fn none(poll: &mut Poll) {
    let mut events = Events::with_capacity(8);
    for _ in 0..4 {
        let waited = poll.poll(&mut events, Some(Duration::ZERO));
        waited.expect("the loop");
        assert!(events.is_empty(), "{events:?}");
    }
}

/// What the operation that is in flight ended with.
fn complete(poll: &mut Poll) -> Complete {
    match one(poll) {
        Event::Complete(complete) => complete,
        other => panic!("an operation was begun: {other:?}"),
    }
}

/// Begins `op` and waits for its end.
fn carry_out(poll: &mut Poll, op: Op) -> Complete {
    let id = poll.submit(TOKEN, op).expect("begun");
    let complete = complete(poll);
    assert_eq!((complete.token(), complete.id()), (TOKEN.0, id));
    complete
}

fn open(poll: &mut Poll, options: &OpenOptions, path: impl AsRef<Path>) -> io::Result<File> {
    let op = Op::open(poll.disk(), options, path);
    carry_out(poll, op).into_file()
}

/// Why `op` was not begun, and the operation.
fn refused(poll: &mut Poll, op: Op) -> (io::Error, Op) {
    let BeginError { error, op } = poll.submit(TOKEN, op).expect_err("it cannot be begun");
    (error, op)
}

/// A clock that stands still, but for what the test adds.
#[derive(Clone)]
struct Hands {
    start: Instant,
    ahead: Rc<Cell<Duration>>,
    /// Added by each look at it.
    step: Duration,
}

impl Hands {
    fn new(step: Duration) -> Hands {
        Hands {
            start: Real.now(),
            ahead: Rc::default(),
            step,
        }
    }

    fn advance(&self, by: Duration) {
        self.ahead.set(self.ahead.get() + by);
    }

    fn elapsed(&self) -> Duration {
        self.ahead.get()
    }
}

impl Clock for Hands {
    fn now(&self) -> Instant {
        self.advance(self.step);
        self.start + self.ahead.get()
    }

    fn wall(&self) -> SystemTime {
        Real.wall()
    }
}

/// A loop that goes by `clock` and waits on a kernel that remembers for how long it was asked to.
fn poll_by(clock: &Hands) -> (Poll, Rc<FakeNet>) {
    let net = Rc::new(FakeNet::default());
    let options = Options {
        choice: Choice::Threads,
        ..Options::default()
    };
    let builder = Engine::builder().disk(options).net_kernel(net.clone());
    let poll = builder.clock(Rc::new(clock.clone())).build_poll();
    (poll.expect("a loop"), net)
}
