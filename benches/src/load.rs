//! An HTTP/1.1 load generator on the engine itself: one task for each connection.
//!
//! A closed loop asks again when it was answered. An open loop asks when a request is due, whatever
//! became of those before, and counts latency from then on: what waits behind a stall is not left out.

mod class;
mod paths;
mod schedule;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ambidex::{Engine, Handle, JoinHandle, disk};

use crate::Error;
use crate::exchange::{Answer, Failure, Wire};
use crate::interrupt::Interrupt;
use crate::parse::Url;
use crate::tally::Summary;
use crate::usage::{Meter, Usage};

pub use class::Class;
pub use paths::Paths;

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
    /// What the body must be, if that is checked.
    pub content: Option<Rc<[u8]>>,
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

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Time before the measuring, which is not counted.
    pub warm_up: Duration,
    /// The time measured.
    pub runtime: Duration,
}

impl Window {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.warm_up.saturating_add(self.runtime)
    }
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
    /// Why it does not count, or `None` if it does.
    pub failure: Option<String>,
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
            wire.exchange(&request).await
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
        let (earlier, begin) = (meter.sample(), io.now());
        for class in &classes {
            class.begin(begin);
        }
        interrupt.sleep(&io, window.runtime).await;
        let end = io.now();
        let usage = meter.sample().since(&earlier);
        let seconds = (end - begin).as_secs_f64();
        let failure = failure(&classes, interrupt, seconds);
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
            failure,
        }
    });
    ran.map_err(|error| Error::Run(format!("the clients' loop failed: {error}")))
}

/// Why what was measured does not count.
fn failure(classes: &[Rc<Class>], interrupt: &Interrupt, seconds: f64) -> Option<String> {
    if interrupt.is_set() {
        return Some(format!("interrupted after {seconds:.1} s"));
    }
    classes.iter().find_map(|class| class.lost())
}

fn start(io: &Handle, classes: &[Rc<Class>]) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for class in classes {
        class.start(io.now());
        for seat in 0..class.connections() {
            tasks.push(io.spawn(Rc::clone(class).client(io.clone(), seat)));
        }
    }
    tasks
}
