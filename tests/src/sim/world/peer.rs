//! A scripted client, at the level of sockets: it checks that what it gets is right, or visibly cut short.

use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;

use super::answer::Head;
use super::judge::{Answer, BROKEN, Excuses, KEPT, KINDS, judge};
use super::net::SimNet;
use super::plan::{Plan, Visit};
use super::request::Request;
use super::site::Site;
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
    /// When each request was sent in full.
    asked: Vec<Duration>,
    /// The answer that is under way, once its head is here.
    answer: Option<Answer>,
    /// Answers so far, by kind.
    seen: [u64; KINDS.len()],
    /// An answer said that the connection ends.
    last: bool,
    /// Where a client that does not stay turns away: bytes sent, or heard.
    turning_point: usize,
    /// Bytes read at a time, and the pause after.
    read_max: usize,
    pause: Duration,
    done: bool,
}

/// What a client acts in.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) net: &'a SimNet,
    pub(super) time: &'a Rc<Time>,
    pub(super) plan: &'a Plan,
    pub(super) site: &'a Site,
    /// The server has been told to stop.
    pub(super) stopping: bool,
}

/// How soon a hot file must begin to arrive, whatever the disk does.
const HOT_MAX: Duration = Duration::from_secs(1);
const REDIAL: Duration = Duration::from_millis(20);
const DIALS_MAX: u32 = 50;

impl Peer {
    /// A client that will come as `visit` says.
    #[must_use]
    pub(super) fn new(who: u32, visit: &Visit, site: &Site) -> Peer {
        let mut rng = Rng::with_seed(visit.seed);
        let mut text = Vec::new();
        let write = |request: &Request| {
            request.write(&mut text, &site.first(request.file).tag());
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
            asked: Vec::new(),
            answer: None,
            seen: [0; KINDS.len()],
            last: false,
            turning_point,
            read_max: rng.usize(500..20_000),
            pause: Duration::from_micros(rng.u64(..20_000)),
            done: false,
            rng,
        }
    }

    /// How many answers of each of [`KINDS`] it has had.
    pub(super) fn seen(&self) -> [u64; KINDS.len()] {
        self.seen
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
    pub(super) fn act(&mut self, scene: Scene<'_>) -> Result<(), String> {
        let Scene { net, time, .. } = scene;
        if self.done {
            return Ok(());
        }
        let Some(end) = self.end.or_else(|| net.dial(self.who, SimNet::address(80))) else {
            self.dials += 1;
            self.done = scene.stopping || self.dials > DIALS_MAX;
            if self.dials > DIALS_MAX && !scene.stopping {
                return Err("nobody answers".to_owned());
            }
            time.plan(REDIAL, Event::Beyond(self.who));
            return Ok(());
        };
        self.end = Some(end);
        self.read(scene, end)?;
        if !self.done {
            self.write(scene, end);
        }
        Ok(())
    }

    fn leave(&mut self, net: &SimNet, end: usize) {
        net.hang_up(end);
        self.done = true;
    }

    fn read(&mut self, scene: Scene<'_>, end: usize) -> Result<(), String> {
        let Scene { net, time, .. } = scene;
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
            self.check_delay(scene)?;
        }
        if heard.bytes.len() == self.read_max {
            time.plan(self.pause, Event::Beyond(self.who));
        }
        if self.visit.manner == Manner::Resetting && self.heard.len() >= self.turning_point {
            net.reset(end);
            self.done = true;
            return Ok(());
        }
        let over = heard.ended || heard.reset;
        let parsed = self.parse(scene, over);
        parsed.map_err(|what| self.complain(&what))?;
        if self.answered == self.ends.len() {
            self.leave(net, end);
        } else if over {
            let broken = self.answer.is_some() && self.may_break(scene);
            self.seen[BROKEN] += u64::from(broken);
            let excused = scene.stopping || net.is_harmed(end);
            self.ended(scene, excused)?;
            self.leave(net, end);
        }
        Ok(())
    }

    fn complain(&self, what: &str) -> String {
        let (who, manner) = (self.who, self.visit.manner);
        let request = self.visit.requests.get(self.answered);
        format!("client {who}: {manner:?}: {request:?}: {what}")
    }

    /// When the request now waited for was sent in full.
    fn asked(&self, time: &Time) -> Duration {
        let asked = self.asked.get(self.answered).copied();
        asked.unwrap_or_else(|| time.elapsed())
    }

    /// A hot file waits for no disk (G7).
    fn check_delay(&self, scene: Scene<'_>) -> Result<(), String> {
        let Scene { time, plan, .. } = scene;
        let isolated = plan.place != crate::sim::disk::Disk::Remote && plan.network.shortage == 0;
        let polite = self.visit.manner == Manner::Polite;
        let mut asked = self.visit.requests[..=self.answered].iter();
        let late = time.elapsed() - self.asked(time);
        if polite && isolated && late > HOT_MAX && asked.all(Request::is_hot) {
            return Err(self.complain(&format!("a hot file came {late:?} late")));
        }
        Ok(())
    }

    /// The server has ended the connection before the last answer.
    fn ended(&self, scene: Scene<'_>, excused: bool) -> Result<(), String> {
        let plan = scene.plan;
        let excused = excused
            || self.last
            || !self.visit.manner.stays()
            || plan.is_disk_bad()
            || self.may_break(scene)
            // Who rests makes room for others; what was sent and not read goes with the connection.
            || plan.network.shortage > 0
            || plan.connections_max < plan.visits.len();
        if excused {
            return Ok(());
        }
        Err(self.complain(&format!(
            "the connection ended after {} of {} answers, {} bytes into the next",
            self.answered,
            self.ends.len(),
            self.heard.len()
        )))
    }

    /// Whether the file that is answered from has become shorter meanwhile.
    fn may_break(&self, scene: Scene<'_>) -> bool {
        let request = &self.visit.requests[self.answered];
        let asked = self.asked(scene.time);
        request.is_of_file() && scene.site.has_shrunk(request.file, asked)
    }

    /// What the plan explains besides the right answer.
    fn excuses(&self, scene: Scene<'_>) -> Excuses {
        let plan = scene.plan;
        Excuses {
            error: plan.disk.io_error > 0,
            unavailable: plan.is_disk_bad()
                || plan.connections_max < plan.visits.len()
                || self.may_break(scene),
            blind: plan.is_disk_bad(),
        }
    }

    /// Takes whole answers off what was heard, and checks them; of one that is not whole, what there is.
    fn parse(&mut self, scene: Scene<'_>, over: bool) -> Result<(), String> {
        let Scene { site, time, .. } = scene;
        while self.answered < self.ends.len() {
            let excuses = self.excuses(scene);
            if self.answer.is_none() {
                let Some(head) = Head::parse(&self.heard)? else {
                    return Ok(());
                };
                let request = &self.visit.requests[self.answered];
                let window = (self.asked(time), time.elapsed());
                self.answer = Some(judge(&head, request, site, window, excuses)?);
            }
            let Some(answer) = &self.answer else { continue };
            let body = &self.heard[answer.head_bytes..];
            let body = &body[..answer.body_bytes.min(body.len())];
            let whole = body.len() == answer.body_bytes;
            if !whole && !over {
                return Ok(());
            }
            answer.judge_body(body, site, time.elapsed(), excuses)?;
            if !whole {
                return Ok(());
            }
            if let Some(kind) = answer.kind {
                self.seen[kind] += 1;
                self.seen[KEPT] += u64::from(kind == 0 && answer.body_bytes > 0);
            }
            let bytes = answer.head_bytes + answer.body_bytes;
            self.last |= answer.closes;
            self.heard.drain(..bytes);
            self.answer = None;
            self.answered += 1;
        }
        if self.heard.is_empty() {
            return Ok(());
        }
        Err("more than was asked for".to_owned())
    }

    fn write(&mut self, scene: Scene<'_>, end: usize) {
        let Scene { net, time, .. } = scene;
        let manner = self.visit.manner;
        let limit = match manner {
            Manner::Polite => self.ends[self.answered],
            Manner::ByteByByte => self.text.len().min(self.sent + 1),
            Manner::Leaving => self.turning_point,
            _ => self.text.len(),
        };
        if self.sent < limit {
            self.sent += net.say(end, &self.text[self.sent..limit]);
            let asked = self.ends.iter().filter(|end| **end <= self.sent).count();
            self.asked.resize(asked, time.elapsed());
            if manner == Manner::ByteByByte && self.sent < self.text.len() {
                let gap = Duration::from_micros(self.rng.u64(..4000));
                time.plan(gap, Event::Beyond(self.who));
            }
            if self.sent == self.text.len() && manner == Manner::HalfClosing {
                net.finish(end);
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
