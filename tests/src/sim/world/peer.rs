//! A scripted client, at the level of sockets: it checks that what it gets is right, or visibly cut short.

use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use super::answer::{Answer, content};
use super::net::SimNet;
use super::plan::{FILES, LARGE, Plan, Visit};
use super::time::{Event, Time};

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends a request, reads the answer, sends the next.
    Polite,
    /// Sends all requests at once.
    Pipelining,
    /// Sends one byte at a time.
    ByteByByte,
    /// Sends all requests and ends its direction, then reads.
    HalfClosing,
    /// Resets the connection in the middle of an answer.
    Resetting,
    /// Reads nothing.
    Deaf,
    /// Leaves in the middle of a request, or before the answer.
    Leaving,
}

impl Manner {
    /// All of them.
    pub const ALL: [Manner; 7] = [
        Manner::Polite,
        Manner::Pipelining,
        Manner::ByteByByte,
        Manner::HalfClosing,
        Manner::Resetting,
        Manner::Deaf,
        Manner::Leaving,
    ];

    /// Whether it stays for every answer.
    fn stays(self) -> bool {
        !matches!(self, Manner::Resetting | Manner::Deaf | Manner::Leaving)
    }
}

/// What of a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All of it.
    Whole,
    /// Its head only.
    Head,
    /// So many bytes, and one, from an offset.
    Range(u32, u32),
    /// A file that there is not.
    Missing,
}

/// A request: a place in [`FILES`], or the one after for [`LARGE`].
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The file.
    pub file: usize,
    /// What of it.
    pub ask: Ask,
}

impl Request {
    fn file(self) -> (&'static str, usize, bool) {
        FILES.get(self.file).copied().unwrap_or(LARGE)
    }

    fn write(self, to: &mut Vec<u8>) {
        let (path, ..) = self.file();
        let method = if self.ask == Ask::Head { "HEAD" } else { "GET" };
        let suffix = if self.ask == Ask::Missing { "-not" } else { "" };
        to.extend_from_slice(
            format!("{method} /{path}{suffix} HTTP/1.1\r\nHost: a\r\n").as_bytes(),
        );
        if let Ask::Range(from, more) = self.ask {
            let to_byte = from + more;
            to.extend_from_slice(format!("Range: bytes={from}-{to_byte}\r\n").as_bytes());
        }
        to.extend_from_slice(b"\r\n");
    }

    /// Status and body that a server on a sound disk answers.
    fn expected(self) -> (u16, usize, usize) {
        let (_, size, _) = self.file();
        match self.ask {
            Ask::Missing => (404, 0, 0),
            Ask::Whole | Ask::Head => (200, 0, size),
            Ask::Range(from, _) if from as usize >= size => (416, 0, 0),
            Ask::Range(from, more) => {
                let end = size.min(from as usize + more as usize + 1);
                (206, from as usize, end)
            }
        }
    }

    fn is_hot(self) -> bool {
        self.file().2
    }
}

/// A client at work.
pub(super) struct Peer {
    who: u32,
    visit: Visit,
    rng: Rng,
    end: Option<usize>,
    dials: u32,
    /// All requests, one after the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    sent: usize,
    heard: Vec<u8>,
    answered: usize,
    /// When the request now waited for was sent in full.
    since: Option<Duration>,
    /// An answer said that the connection ends.
    last: bool,
    /// Where a client that does not stay turns away: bytes sent, or heard.
    turning_point: usize,
    /// Bytes read at a time, and the pause after.
    read_max: usize,
    pause: Duration,
    done: bool,
}

/// How soon a hot file must begin to arrive, whatever the disk does.
const HOT_MAX: Duration = Duration::from_secs(1);
const REDIAL: Duration = Duration::from_millis(20);
const DIALS_MAX: u32 = 50;

impl Peer {
    /// A client that will come as `visit` says.
    #[must_use]
    pub(super) fn new(who: u32, visit: &Visit) -> Peer {
        let mut rng = Rng::with_seed(visit.seed);
        let mut text = Vec::new();
        let write = |request: &Request| {
            request.write(&mut text);
            text.len()
        };
        let ends = visit.requests.iter().map(write).collect();
        let turning_point = match visit.manner {
            Manner::Leaving => rng.usize(1..=text.len()),
            _ => rng.usize(1..2000),
        };
        Peer {
            who,
            visit: visit.clone(),
            end: None,
            dials: 0,
            text,
            ends,
            sent: 0,
            heard: Vec::new(),
            answered: 0,
            since: None,
            last: false,
            turning_point,
            read_max: rng.usize(500..20_000),
            pause: Duration::from_micros(rng.u64(..20_000)),
            done: false,
            rng,
        }
    }

    /// Whether it has left.
    #[must_use]
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// What it does when its moment has come. Tells what is wrong.
    ///
    /// # Errors
    /// What it got was neither right nor visibly cut short.
    pub(super) fn act(
        &mut self,
        net: &SimNet,
        time: &Rc<Time>,
        plan: &Plan,
        stopping: bool,
    ) -> Result<(), String> {
        if self.done {
            return Ok(());
        }
        let Some(end) = self.end.or_else(|| net.dial(self.who, SimNet::address(80))) else {
            self.dials += 1;
            self.done = stopping || self.dials > DIALS_MAX;
            if self.dials > DIALS_MAX && !stopping {
                return Err("nobody answers".to_owned());
            }
            time.plan(REDIAL, Event::Beyond(self.who));
            return Ok(());
        };
        self.end = Some(end);
        self.read(net, time, plan, end, stopping)?;
        if !self.done {
            self.write(net, time, end);
        }
        Ok(())
    }

    fn leave(&mut self, net: &SimNet, end: usize) {
        net.hang_up(end);
        self.done = true;
    }

    fn read(
        &mut self,
        net: &SimNet,
        time: &Rc<Time>,
        plan: &Plan,
        end: usize,
        stopping: bool,
    ) -> Result<(), String> {
        let deaf = self.visit.manner == Manner::Deaf;
        let heard = net.hear(end, if deaf { 0 } else { self.read_max });
        if deaf {
            if heard.over {
                self.leave(net, end);
            }
            return Ok(());
        }
        let before = self.heard.len();
        self.heard.extend_from_slice(&heard.bytes);
        if before == 0 && !self.heard.is_empty() {
            self.check_delay(time, plan)?;
        }
        if heard.bytes.len() == self.read_max {
            time.plan(self.pause, Event::Beyond(self.who));
        }
        if self.visit.manner == Manner::Resetting && self.heard.len() >= self.turning_point {
            net.reset(end);
            self.done = true;
            return Ok(());
        }
        self.parse(plan, heard.ended || heard.reset)?;
        if self.answered == self.ends.len() {
            self.leave(net, end);
        } else if heard.ended || heard.reset {
            let excused = stopping || net.is_harmed(end);
            self.ended(plan, excused)?;
            self.leave(net, end);
        }
        Ok(())
    }

    /// A hot file waits for no disk (G7).
    fn check_delay(&self, time: &Time, plan: &Plan) -> Result<(), String> {
        let isolated = plan.place != crate::sim::disk::Disk::Remote && plan.network.shortage == 0;
        let hot = self.visit.requests[..=self.answered]
            .iter()
            .all(|one| one.is_hot());
        match self.since {
            Some(since) if hot && isolated && time.elapsed() - since > HOT_MAX => Err(format!(
                "client {}: a hot file came {:?} late",
                self.who,
                time.elapsed() - since
            )),
            _ => Ok(()),
        }
    }

    /// The server has ended the connection before the last answer.
    fn ended(&self, plan: &Plan, excused: bool) -> Result<(), String> {
        let excused = excused
            || self.last
            || !self.visit.manner.stays()
            || plan.is_disk_bad()
            // Who rests makes room for others; what was sent and not read goes with the connection.
            || plan.network.shortage > 0
            || plan.connections_max < plan.visits.len();
        if excused {
            return Ok(());
        }
        Err(format!(
            "client {}: {:?}: the connection ended after {} of {} answers, {} bytes into the next",
            self.who,
            self.visit.manner,
            self.answered,
            self.ends.len(),
            self.heard.len()
        ))
    }

    /// Takes whole answers off what was heard, and checks them; of one that is not whole, what there is.
    fn parse(&mut self, plan: &Plan, over: bool) -> Result<(), String> {
        while self.answered < self.ends.len() {
            let request = self.visit.requests[self.answered];
            let wrong = |what: &str| {
                let manner = self.visit.manner;
                Err(format!(
                    "client {}: {manner:?}: {request:?}: {what}",
                    self.who
                ))
            };
            let answer = match Answer::parse(&self.heard, request.ask == Ask::Head) {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(()),
                Err(what) => return wrong(what),
            };
            let (status, from, to) = request.expected();
            let excused = match answer.status {
                500 => plan.disk.io_error > 0,
                503 => plan.is_disk_bad() || plan.connections_max < plan.visits.len(),
                _ => false,
            };
            if answer.status != status && !excused {
                return wrong(&format!("answered {}", answer.status));
            }
            let is_file = answer.status == status && matches!(status, 200 | 206);
            if is_file && answer.length != to - from {
                return wrong(&format!("{} bytes instead of {from}..{to}", answer.length));
            }
            if answer.whole.is_none() && !over {
                return Ok(());
            }
            if is_file && !content(request.file)[from..].starts_with(answer.body) {
                return wrong("wrong bytes");
            }
            let Some(whole) = answer.whole else {
                return Ok(());
            };
            self.last |= answer.closes;
            self.answered += 1;
            self.since = None;
            self.heard.drain(..whole);
        }
        if self.heard.is_empty() {
            return Ok(());
        }
        Err(format!("client {}: more than was asked for", self.who))
    }

    fn write(&mut self, net: &SimNet, time: &Rc<Time>, end: usize) {
        let manner = self.visit.manner;
        let limit = match manner {
            Manner::Polite => self.ends[self.answered],
            Manner::ByteByByte => self.text.len().min(self.sent + 1),
            Manner::Leaving => self.turning_point,
            _ => self.text.len(),
        };
        if self.sent < limit {
            self.sent += net.say(end, &self.text[self.sent..limit]);
            if manner == Manner::ByteByByte && self.sent < self.text.len() {
                let gap = Duration::from_micros(self.rng.u64(..4000));
                time.plan(gap, Event::Beyond(self.who));
            }
            if self.sent == self.text.len() && manner == Manner::HalfClosing {
                net.finish(end);
            }
            if self.sent == limit && manner == Manner::Polite {
                self.since = Some(time.elapsed());
            }
            if self.sent == limit && manner == Manner::Leaving {
                time.plan(self.pause, Event::Beyond(self.who));
            }
        } else if manner == Manner::Leaving {
            if self.rng.bool() {
                net.reset(end);
                self.done = true;
            } else {
                self.leave(net, end);
            }
        }
    }
}
