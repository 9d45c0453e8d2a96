//! Clients that ask for the same kind of thing, counted together.

use std::cell::{Cell, RefCell, RefMut};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ambidex::Handle;

use super::schedule::Schedule;
use super::{Ask, Supply};
use crate::exchange::{Answer, Failure, Wire};
use crate::tally::{Summary, Tally};

/// How long a client rests after a failure, so that a dead server is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// How long a client rests that has nothing to ask for.
const IDLE_PAUSE: Duration = Duration::from_millis(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measuring,
    Over,
}

/// When clients ask.
#[derive(Clone, Copy)]
enum Pace {
    /// As soon as they were answered.
    Closed,
    /// The same, but at least so long after the last request of the class.
    Limited(Duration),
    /// One request of the class each interval, answered or not.
    Open(Duration),
}

/// What is known of one client.
#[derive(Clone, Copy, Default)]
struct Seat {
    /// Since when it waits for an answer, or to be connected.
    waiting: Option<Instant>,
    /// Its last connection broke, or was refused, and it has not been answered since.
    lost: bool,
    /// Requests of the schedule that have been answered or have failed.
    number: u64,
}

/// Clients that ask for the same kind of thing, counted together.
pub struct Class {
    address: SocketAddr,
    pace: Pace,
    keep_alive: bool,
    pipeline: usize,
    supply: Rc<dyn Supply>,
    phase: Cell<Phase>,
    /// When the measuring began.
    begin: Cell<Option<Instant>>,
    schedule: Cell<Option<Schedule>>,
    /// When the next request may go out, if there is a limit.
    slot: Cell<Option<Instant>>,
    tally: RefCell<Tally>,
    /// Bytes that have arrived since the measuring began.
    received: Rc<Cell<u64>>,
    seats: RefCell<Vec<Seat>>,
}

impl Class {
    /// So many clients of `address` that have not started, asking for what `supply` gives.
    #[must_use]
    pub fn new(address: SocketAddr, connections: usize, supply: Rc<dyn Supply>) -> Class {
        Class {
            address,
            pace: Pace::Closed,
            keep_alive: true,
            pipeline: 1,
            supply,
            phase: Cell::new(Phase::WarmUp),
            begin: Cell::new(None),
            schedule: Cell::new(None),
            slot: Cell::new(None),
            tally: RefCell::default(),
            received: Rc::default(),
            seats: RefCell::new(vec![Seat::default(); connections]),
        }
    }

    /// At least `interval` from one request of the class to the next; `None` is as fast as it goes.
    #[must_use]
    pub fn paced(mut self, interval: Option<Duration>) -> Class {
        self.pace = interval.map_or(Pace::Closed, Pace::Limited);
        self
    }

    /// An open loop: one request of the class is due each `interval`, and latency is counted from
    /// then on. `None` is a closed loop.
    #[must_use]
    pub fn open(mut self, interval: Option<Duration>) -> Class {
        self.pace = interval.map_or(Pace::Closed, Pace::Open);
        self
    }

    /// A new connection for each request; its latency is counted from before connecting.
    #[must_use]
    pub fn without_keep_alive(mut self) -> Class {
        self.keep_alive = false;
        self
    }

    /// So many requests are sent at once, and the next when all are answered, as wrk does.
    #[must_use]
    pub fn pipelined(mut self, requests: usize) -> Class {
        self.pipeline = requests.max(1);
        self
    }

    pub(super) fn connections(&self) -> usize {
        self.seats.borrow().len()
    }

    /// Clients are about to start.
    pub(super) fn start(&self, now: Instant) {
        if let Pace::Open(interval) = self.pace {
            let schedule = Schedule::new(now, interval, self.connections());
            self.schedule.set(Some(schedule));
        }
    }

    /// The measuring begins.
    pub(super) fn begin(&self, now: Instant) {
        self.begin.set(Some(now));
        self.received.set(0);
        self.phase.set(Phase::Measuring);
    }

    /// Ends the measuring; what happens from now on is not counted.
    pub(super) fn end(&self, now: Instant, seconds: f64) -> Summary {
        self.phase.set(Phase::Over);
        Summary {
            received: self.received.get(),
            ..self.summary(now, seconds)
        }
    }

    fn summary(&self, now: Instant, seconds: f64) -> Summary {
        let seats = self.seats.borrow();
        let Some(schedule) = self.schedule.get() else {
            let since = seats.iter().filter_map(|seat| seat.waiting);
            let ages: Vec<Duration> = since.map(|since| now - since).collect();
            return self.tally.borrow().summary(seconds, &ages);
        };
        let begin = self.begin.get().unwrap_or(now);
        let (mut ages, mut due, mut unfinished) = (Vec::new(), 0, 0);
        for (index, seat) in seats.iter().enumerate() {
            let (first, last) = (
                schedule.due_before(index, begin),
                schedule.due_before(index, now),
            );
            due += last - first;
            unfinished += last.saturating_sub(seat.number.max(first));
            let oldest = schedule.due(index, seat.number);
            ages.extend(now.checked_duration_since(oldest));
        }
        let mut summary = self.tally.borrow().summary(seconds, &ages);
        summary.due = Some(due);
        summary.unfinished = usize::try_from(unfinished).unwrap_or(usize::MAX);
        summary
    }

    /// Why it does not count: nobody has a connection any more.
    pub(super) fn lost(&self) -> Option<String> {
        let seats = self.seats.borrow();
        if seats.is_empty() || !seats.iter().all(|seat| seat.lost) {
            return None;
        }
        let why = self.tally.borrow().first_failure().unwrap_or_default();
        Some(format!("the server was lost: {why}"))
    }

    fn is_over(&self) -> bool {
        self.phase.get() == Phase::Over
    }

    fn seat(&self, seat: usize) -> RefMut<'_, Seat> {
        RefMut::map(self.seats.borrow_mut(), |seats| &mut seats[seat])
    }

    /// One client, until the class is over.
    pub(super) async fn client(self: Rc<Self>, io: Handle, seat: usize) {
        while !self.is_over() {
            if let Err(failure) = self.converse(&io, seat).await {
                {
                    let mut seat = self.seat(seat);
                    seat.waiting = None;
                    seat.lost |= failure.is_of_connection();
                }
                if self.phase.get() == Phase::Measuring {
                    self.tally.borrow_mut().failed(&failure);
                }
                io.sleep(FAILURE_PAUSE).await;
            }
        }
    }

    /// One connection, for as long as the server keeps it; or one for each request.
    async fn converse(&self, io: &Handle, seat: usize) -> Result<(), Failure> {
        let mut wire = None;
        if self.keep_alive {
            self.seat(seat).waiting = Some(io.now());
            wire = Some(self.connect(io).await?);
            // Connected is not answered: a dying server may still accept.
            self.seat(seat).waiting = None;
        }
        while !self.is_over() {
            let due = self.pace(io, seat).await;
            if self.is_over() {
                break;
            }
            let asks: Vec<Ask> = (0..self.pipeline)
                .map_while(|_| self.supply.next())
                .collect();
            if asks.is_empty() {
                io.sleep(IDLE_PAUSE).await;
                continue;
            }
            let sent = io.now();
            self.seat(seat).waiting = Some(sent);
            let exchanged = self.exchange(io, &mut wire, &asks, (due, sent)).await;
            for ask in &asks {
                self.supply.done(ask.ticket);
            }
            if due.is_some() {
                self.seat(seat).number += 1;
            }
            let keep_alive = exchanged?;
            let mut seat = self.seat(seat);
            (seat.waiting, seat.lost) = (None, false);
            if !self.keep_alive {
                wire = None;
            } else if !keep_alive {
                break;
            }
        }
        Ok(())
    }

    async fn connect(&self, io: &Handle) -> Result<Wire, Failure> {
        let wire = Wire::connect(io, self.address).await?;
        Ok(wire.counted_by(&self.received))
    }

    /// Waits until the next request may go out; gives the time when it was due, if there is one.
    async fn pace(&self, io: &Handle, seat: usize) -> Option<Instant> {
        match self.pace {
            Pace::Closed => None,
            Pace::Limited(interval) => {
                let now = io.now();
                let slot = self.slot.get().map_or(now, |slot| slot.max(now));
                self.slot.set(Some(slot + interval));
                if slot > now {
                    io.sleep_until(slot).await;
                }
                None
            }
            Pace::Open(_) => {
                let number = self.seat(seat).number;
                let due = self.schedule.get()?.due(seat, number);
                if due > io.now() {
                    io.sleep_until(due).await;
                }
                Some(due)
            }
        }
    }

    /// Sends all requests and reads their answers; whether the connection can be used again.
    async fn exchange(
        &self,
        io: &Handle,
        wire: &mut Option<Wire>,
        asks: &[Ask],
        (due, sent): (Option<Instant>, Instant),
    ) -> Result<bool, Failure> {
        let wire = match wire {
            Some(wire) => wire,
            None => wire.insert(self.connect(io).await?),
        };
        match asks {
            [ask] => wire.send(&ask.request).await?,
            _ => {
                let requests = asks.iter().map(|ask| &*ask.request);
                wire.send(&requests.collect::<Vec<_>>().concat()).await?;
            }
        }
        for (index, ask) in asks.iter().enumerate() {
            let answer = wire
                .receive(Some(ask.length), ask.content.as_deref())
                .await?;
            self.answered(&answer, io.now(), due, sent);
            if !answer.keep_alive && index + 1 < asks.len() {
                return Err(Failure::Syntax(
                    "closed before all requests of a pipeline were answered",
                ));
            }
            if !answer.keep_alive {
                return Ok(false);
            }
        }
        wire.check_empty()?;
        Ok(true)
    }

    /// Counts an answer, unless it belongs to another time.
    fn answered(&self, answer: &Answer, now: Instant, due: Option<Instant>, sent: Instant) {
        if self.phase.get() != Phase::Measuring {
            return;
        }
        let mut tally = self.tally.borrow_mut();
        match due {
            None => tally.answered(answer.bytes, now - sent),
            Some(due) if self.begin.get().is_some_and(|begin| due >= begin) => {
                tally.answered_when_due(answer.bytes, now - due, now - sent);
            }
            // Due during the warm-up.
            Some(_) => {}
        }
    }
}
