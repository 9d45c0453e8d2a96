//! An HTTP/1.1 load generator on the engine itself: one task a connection, kept alive, each asking
//! again when it was answered (a closed loop).

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ambidex::{Engine, Handle, JoinHandle, disk};

use crate::Error;
use crate::exchange::{Answer, Failure, Wire};
use crate::interrupt::Interrupt;
use crate::parse::Url;
use crate::tally::{Summary, Tally};
use crate::usage::{Meter, Usage};

/// How long a client rests after a failure, so that a dead server is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// How long a client rests that has nothing to ask for.
const IDLE_PAUSE: Duration = Duration::from_millis(1);
/// How long clients may finish their last request; then their connections are cut.
const GRACE: Duration = Duration::from_millis(500);
/// How long the very first answer may take.
const PREFLIGHT_PATIENCE: Duration = Duration::from_secs(10);

/// One thing to ask for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The request, as it is sent.
    pub request: Rc<[u8]>,
    /// Bytes that the body must have.
    pub length: u64,
    /// Known to the [`Supply`] only.
    pub ticket: usize,
}

/// What clients ask for.
pub trait Supply {
    /// The next thing to ask for; `None` if there is nothing just now.
    fn next(&self) -> Option<Ask>;

    /// That ask has been answered, well or not.
    fn done(&self, _ticket: usize) {}
}

/// Always the same.
impl Supply for Ask {
    fn next(&self) -> Option<Ask> {
        Some(self.clone())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measuring,
    Over,
}

/// Clients that ask for the same kind of thing, counted together.
pub struct Class {
    address: SocketAddr,
    connections: usize,
    /// The least time between two requests of the class; `None` is as fast as it goes.
    interval: Option<Duration>,
    supply: Rc<dyn Supply>,
    phase: Cell<Phase>,
    tally: RefCell<Tally>,
    /// Since when each client waits for an answer, or to be connected.
    waiting: RefCell<Vec<Option<Instant>>>,
    /// When the next request may go out, if there is an interval.
    slot: Cell<Option<Instant>>,
}

impl Class {
    /// So many clients of `address` that have not started, asking for what `supply` gives.
    #[must_use]
    pub fn new(address: SocketAddr, connections: usize, supply: Rc<dyn Supply>) -> Class {
        Class {
            address,
            connections,
            interval: None,
            supply,
            phase: Cell::new(Phase::WarmUp),
            tally: RefCell::default(),
            waiting: RefCell::new(vec![None; connections]),
            slot: Cell::new(None),
        }
    }

    /// At least `interval` from one request of the class to the next; `None` is as fast as it goes.
    #[must_use]
    pub fn paced(mut self, interval: Option<Duration>) -> Class {
        self.interval = interval;
        self
    }

    fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    /// Waits until the next request may go out.
    async fn pace(&self, io: &Handle) {
        let Some(interval) = self.interval else {
            return;
        };
        let now = io.now();
        let slot = self.slot.get().map_or(now, |slot| slot.max(now));
        self.slot.set(Some(slot + interval));
        if slot > now {
            io.sleep_until(slot).await;
        }
    }

    /// One client, until the class is over.
    async fn client(self: Rc<Self>, io: Handle, seat: usize) {
        while !self.is_over() {
            if let Err(failure) = self.converse(&io, seat).await {
                self.waiting.borrow_mut()[seat] = None;
                if self.phase.get() == Phase::Measuring {
                    self.tally.borrow_mut().failed(&failure);
                }
                io.sleep(FAILURE_PAUSE).await;
            }
        }
    }

    /// One connection, for as long as the server keeps it.
    async fn converse(&self, io: &Handle, seat: usize) -> Result<(), Failure> {
        self.waiting.borrow_mut()[seat] = Some(io.now());
        let mut wire = Wire::connect(io, self.address).await?;
        self.waiting.borrow_mut()[seat] = None;
        while !self.is_over() {
            self.pace(io).await;
            let Some(ask) = self.supply.next() else {
                io.sleep(IDLE_PAUSE).await;
                continue;
            };
            let sent = io.now();
            self.waiting.borrow_mut()[seat] = Some(sent);
            let answer = wire.exchange(&ask.request, Some(ask.length)).await;
            self.supply.done(ask.ticket);
            let answer = answer?;
            self.waiting.borrow_mut()[seat] = None;
            if self.phase.get() == Phase::Measuring {
                let took = io.now() - sent;
                self.tally.borrow_mut().answered(answer.bytes, took);
            }
            if !answer.keep_alive {
                break;
            }
        }
        Ok(())
    }

    /// Ends the measuring; what happens from now on is not counted.
    fn end(&self, now: Instant, seconds: f64) -> Summary {
        self.phase.set(Phase::Over);
        let waiting = self.waiting.borrow();
        let since = waiting.iter().flatten();
        let ages: Vec<Duration> = since.map(|since| now - *since).collect();
        self.tally.borrow().summary(seconds, &ages)
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Time before the measuring, which is not counted.
    pub warm_up: Duration,
    /// The time measured.
    pub runtime: Duration,
}

/// What was seen in one window.
#[derive(Clone, Debug, Default)]
pub struct Measurement {
    /// How long was really measured.
    pub seconds: f64,
    /// Each class, in the order given.
    pub classes: Vec<Summary>,
    /// What server and client used meanwhile.
    pub usage: Usage,
}

/// An engine for clients. They touch no file, so it needs no ring.
///
/// # Errors
/// [`Error::Start`] if descriptors or memory are short.
pub fn engine() -> Result<Engine, Error> {
    let options = disk::Options {
        choice: disk::Choice::Threads,
        ..disk::Options::default()
    };
    let engine = Engine::builder().disk(options).build();
    engine.map_err(|error| Error::Start(format!("cannot make an engine: {error}")))
}

/// Looks `url` up.
///
/// # Errors
/// [`Error::Start`] if the host is unknown.
pub fn resolve(url: &Url) -> Result<SocketAddr, Error> {
    let found = url.resolve();
    found.map_err(|error| Error::Start(format!("cannot find {}: {error}", url.authority)))
}

/// Asks once, to learn whether there is anything to measure.
///
/// # Errors
/// [`Error::Start`], with what to do about it.
pub fn preflight(engine: &mut Engine, address: SocketAddr, url: &Url) -> Result<Answer, Error> {
    let ask = async |io: Handle| {
        let request = url.request();
        let asked = async {
            let mut wire = Wire::connect(&io, address).await?;
            wire.exchange(&request, None).await
        };
        io.timeout(PREFLIGHT_PATIENCE, asked).await
    };
    let failed = |why: &dyn std::fmt::Display, advice| {
        Error::Start(format!(
            "http://{}{}: {why}{advice}",
            url.authority, url.target
        ))
    };
    match engine.run(ask).map_err(|error| failed(&error, ""))? {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(failure)) => {
            let advice = match failure {
                Failure::Connect(_) => "; is the server running there?",
                Failure::Status(_) => "; only files that are answered with 200 can be measured",
                _ => "",
            };
            Err(failed(&failure, advice))
        }
        Err(_elapsed) => Err(failed(&"no answer for ten seconds", "")),
    }
}

/// Runs the clients of `classes` and measures them. `at_end` is called when the measured time is
/// over and clients are about to finish what they wait for.
///
/// # Errors
/// [`Error::Run`] if the loop itself fails.
pub fn measure(
    engine: &mut Engine,
    classes: Vec<Class>,
    window: Window,
    meter: &Meter,
    interrupt: &Interrupt,
    at_end: impl FnOnce(),
) -> Result<Measurement, Error> {
    let classes: Vec<Rc<Class>> = classes.into_iter().map(Rc::new).collect();
    let ran = engine.run(async |io| {
        let tasks = start(&io, &classes);
        interrupt.sleep(&io, window.warm_up).await;
        for class in &classes {
            class.phase.set(Phase::Measuring);
        }
        let (earlier, begin) = (meter.sample(), io.now());
        interrupt.sleep(&io, window.runtime).await;
        let end = io.now();
        let usage = meter.sample().since(&earlier);
        let seconds = (end - begin).as_secs_f64();
        let ended = classes.iter().map(|class| class.end(end, seconds));
        let classes = ended.collect();
        at_end();
        // Requests that are cut would leave the server work for the next round.
        let deadline = end + GRACE;
        for mut task in tasks {
            let left = deadline.saturating_duration_since(io.now());
            if io.timeout(left, &mut task).await.is_err() {
                task.abort();
            }
        }
        Measurement {
            seconds,
            classes,
            usage,
        }
    });
    ran.map_err(|error| Error::Run(format!("the clients' loop failed: {error}")))
}

fn start(io: &Handle, classes: &[Rc<Class>]) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for class in classes {
        for seat in 0..class.connections {
            tasks.push(io.spawn(Rc::clone(class).client(io.clone(), seat)));
        }
    }
    tasks
}
