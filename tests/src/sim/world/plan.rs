//! What a seed stands for: who comes, what they ask for, and which faults strike.

use std::iter;
use std::time::Duration;

use fastrand::Rng;

use super::faults::Network;
use super::peer::Manner;
use super::request::{Ask, Condition, Date, Request, Span, Tag};
use crate::sim::disk::{Disk, Faults};
use crate::sim::rng::{Weights, chance, choose};

/// Files that each site has: path, bytes, whether it is in the page cache.
pub(super) const FILES: [(&str, usize, bool); 6] = [
    ("empty", 0, true),
    ("small", 91, true),
    ("page", 4096, true),
    ("cold", 700, false),
    ("cold-page", 5000, false),
    ("index.html", 300, true),
];
/// A file of more than one read, that few sites have.
pub(super) const LARGE: (&str, usize, bool) = ("large", 140_000, true);

/// Files in a directory that is listed, in order.
pub(super) const LISTED: [(&str, usize, bool); 3] = [
    ("list/a & b", 10, true),
    ("list/cold", 2000, false),
    ("list/\u{e9}<i>", 600, true),
];

/// Kinds of faults, and of what else happens, that can be left out one by one.
pub const FAULTS: [&str; 23] = [
    "interrupt",
    "short_send",
    "abort",
    "shortage",
    "spurious",
    "stale_event",
    "hold_back",
    "refuse_watch",
    "pieces",
    "enter",
    "short_submit",
    "delay",
    "defer",
    "short_read",
    "again",
    "io_error",
    "late_cancel",
    "stale_completion",
    "hang",
    "stop",
    "changes",
    "variety",
    "open_files",
];

/// What is left out of the plan of a seed: how a failure is made small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Clients left out, a bit for each.
    pub clients: u32,
    /// Requests of each client left out, from the last on.
    pub requests: usize,
    /// Kinds of [`FAULTS`] left out, a bit for each.
    pub faults: u32,
}

/// A client to come.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When.
    pub at: Duration,
    /// How it behaves.
    pub manner: Manner,
    /// What it asks for.
    pub requests: Vec<Request>,
    /// The seed of its own choices.
    pub seed: u64,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another takes its name, as by rename(2).
    Replace,
    /// It loses bytes at its end.
    Truncate,
    /// It gets more bytes.
    Grow,
}

/// A file that changes.
#[derive(Clone, Debug)]
pub struct Alteration {
    /// When.
    pub at: Duration,
    /// Its number, as in [`Request::file`].
    pub file: usize,
    /// How.
    pub change: Change,
    /// By how much, or to what.
    pub amount: u32,
}

/// A world to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it comes from.
    pub seed: u64,
    /// The network and its faults.
    pub network: Network,
    /// Faults of the disk.
    pub disk: Faults,
    /// Where the site lies.
    pub place: Disk,
    /// Entries of both queues of the ring.
    pub entries: usize,
    /// Completions told again, in percent.
    pub stale: u32,
    /// The disk answers nothing that is not cached from then on, for so long.
    pub hang: Option<(Duration, Duration)>,
    /// The server is told to stop then.
    pub stop: Option<Duration>,
    /// Most connections.
    pub connections_max: usize,
    /// Files that stay open between requests, if there are descriptors enough.
    pub open_files_max: usize,
    /// Whether the site has the large file.
    pub large: bool,
    /// Tasks of the engine come, and not clients of a server.
    pub tasks: bool,
    /// Who comes.
    pub visits: Vec<Visit>,
    /// What becomes of the files.
    pub changes: Vec<Alteration>,
}

/// How likely a fault is in one run: often not at all.
fn weight(rng: &mut Rng, most: u32) -> u32 {
    match rng.u32(..8) {
        0..4 => 0,
        4..7 => rng.u32(1..=most / 4 + 1),
        _ => rng.u32(1..=most),
    }
}

fn network(rng: &mut Rng) -> Network {
    Network {
        interrupt: weight(rng, 50),
        short_send: weight(rng, 60),
        abort: weight(rng, 30),
        shortage: weight(rng, 60),
        spurious: weight(rng, 60),
        stale: weight(rng, 60),
        hold_back: weight(rng, 80),
        refuse_watch: weight(rng, 20),
        pieces: weight(rng, 60),
        latency: Duration::from_micros(rng.u64(1..3000)),
        capacity: rng.usize(1..9) * 2048,
    }
}

fn disk(rng: &mut Rng) -> Faults {
    Faults {
        enter: weight(rng, 60),
        short_submit: weight(rng, 60),
        delay: weight(rng, 100),
        defer: weight(rng, 100),
        short_read: weight(rng, 60),
        short_write: 0,
        again: weight(rng, 30),
        io_error: weight(rng, 30),
        late_cancel: weight(rng, 60),
    }
}

fn visit(rng: &mut Rng, manners: &Weights<7>, large: bool) -> Visit {
    let count = rng.usize(1..4);
    let request = |rng: &mut Rng| {
        let file = if large && rng.u32(..4) == 0 {
            FILES.len()
        } else {
            rng.usize(..FILES.len())
        };
        let kind = rng.u32(..8);
        let ask = match kind {
            0 => Ask::Missing,
            2 | 3 => {
                let (from, more) = (rng.u32(..200), rng.u32(..3000));
                Ask::Spans(vec![Span::Between(from, from + more)])
            }
            _ => Ask::Whole,
        };
        Request {
            file,
            ask,
            head: kind == 1,
            condition: Condition::None,
        }
    };
    Visit {
        at: Duration::from_micros(rng.u64(..50_000)),
        manner: Manner::ALL[manners.pick(rng)],
        requests: (0..count).map(|_| request(rng)).collect(),
        seed: rng.u64(..),
    }
}

/// The place of "variety" in [`FAULTS`].
const VARIETY: usize = 21;
/// That of "open_files".
const OPEN_FILES: usize = 22;

fn span(rng: &mut Rng) -> Span {
    match rng.u32(..4) {
        0 => Span::Last(rng.u32(..300)),
        1 => Span::From(rng.u32(..5000)),
        _ => {
            let first = rng.u32(..2500);
            Span::Between(first, first + rng.u32(..400))
        }
    }
}

fn condition(rng: &mut Rng) -> Condition {
    let tags = [
        Tag::First,
        Tag::First,
        Tag::Weak,
        Tag::Among,
        Tag::Other,
        Tag::Any,
    ];
    let tag = tags[rng.usize(..tags.len())];
    let date = [Date::Before, Date::First, Date::DayOne][rng.usize(..3)];
    match rng.u32(..10) {
        0 => Condition::Match(tag),
        1..4 => Condition::NoneMatch(tag),
        4 | 5 => Condition::Since(date),
        6 | 7 => Condition::RangeTag(tag),
        _ => Condition::RangeDate(date),
    }
}

impl Plan {
    /// The plan of `seed`, less what `cut` says.
    #[must_use]
    pub fn new(seed: u64, cut: Cut) -> Plan {
        let rng = &mut Rng::with_seed(seed);
        let manners = Weights::random(rng);
        let large = rng.u32(..8) == 0;
        let places = [Disk::Local, Disk::Local, Disk::Memory, Disk::Remote];
        let hangs = rng.u32(..6) == 0;
        let begin = Duration::from_micros(rng.u64(..40_000));
        let hang = (begin, Duration::from_millis(rng.u64(1..9000)));
        let stop = Duration::from_micros(rng.u64(..200_000));
        let tight = rng.u32(..8) == 0;
        let mut plan = Plan {
            seed,
            network: network(rng),
            disk: disk(rng),
            place: choose(rng, &places).unwrap_or(Disk::Local),
            // A disk that hangs keeps its credits.
            entries: if hangs { 64 } else { 1 << rng.u32(2..6) },
            stale: weight(rng, 30),
            hang: hangs.then_some(hang),
            stop: chance(rng, 20).then_some(stop),
            connections_max: if tight { rng.usize(1..3) } else { 64 },
            open_files_max: 0,
            large,
            tasks: chance(rng, 25),
            visits: Vec::new(),
            changes: Vec::new(),
        };
        let count = rng.usize(1..5);
        plan.visits = (0..count).map(|_| visit(rng, &manners, large)).collect();
        // By a generator of its own: a seed kept before there was this stands for what it stood for.
        let more = &mut Rng::with_seed(seed ^ 5);
        if cut.faults >> VARIETY & 1 == 0 && !plan.tasks {
            plan.vary(more);
        }
        if cut.faults >> OPEN_FILES & 1 == 0 && !plan.tasks {
            plan.keep_open(&mut Rng::with_seed(seed ^ 6));
        }
        plan.change(more);
        plan.cut(cut);
        plan
    }

    /// Requests of all kinds.
    fn vary(&mut self, rng: &mut Rng) {
        let likely = rng.u32(..80);
        let requests = self.visits.iter_mut().flat_map(|visit| &mut visit.requests);
        for request in requests {
            if !chance(rng, likely) {
                continue;
            }
            match rng.u32(..8) {
                0 => request.ask = Ask::Listing,
                1 => request.file = FILES.len() + 1 + rng.usize(..LISTED.len()),
                2 if self.large => request.file = FILES.len(),
                2..5 => {
                    let count = rng.usize(1..5);
                    request.ask = Ask::Spans((0..count).map(|_| span(rng)).collect());
                }
                _ => {}
            }
            request.head = rng.u32(..5) == 0;
            if matches!(request.ask, Ask::Whole | Ask::Spans(_)) && rng.bool() {
                request.condition = condition(rng);
            }
        }
    }

    /// Files that stay open, most of them such as are asked for again and again.
    fn keep_open(&mut self, rng: &mut Rng) {
        self.open_files_max = [0, 1, 2, 1000][rng.usize(..4)];
        let likely = rng.u32(..80);
        let first = self.visits[0].requests[0].file;
        let same = rng.bool();
        for visit in &mut self.visits {
            if !chance(rng, likely) {
                continue;
            }
            let again = Request {
                file: if same { first } else { visit.requests[0].file },
                ask: Ask::Whole,
                head: false,
                condition: Condition::None,
            };
            let at = rng.usize(..=visit.requests.len());
            let again = iter::repeat_n(again, rng.usize(2..9));
            visit.requests.splice(at..at, again);
        }
    }

    /// Files that change, most of them such as are asked for.
    fn change(&mut self, rng: &mut Rng) {
        if rng.bool() {
            return;
        }
        let change = |rng: &mut Rng| {
            let visit = &self.visits[rng.usize(..self.visits.len())];
            let wanted = visit.requests[rng.usize(..visit.requests.len())].file;
            let any = rng.usize(..FILES.len() + 1 + LISTED.len());
            let changes = [
                Change::Replace,
                Change::Truncate,
                Change::Truncate,
                Change::Grow,
            ];
            // While the answers are under way, or while a disk hangs.
            let span = if rng.u32(..4) == 0 { 6_000_000 } else { 20_000 };
            Alteration {
                at: visit.at + Duration::from_micros(rng.u64(1..span)),
                file: if rng.u32(..4) == 0 { any } else { wanted },
                change: changes[rng.usize(..changes.len())],
                amount: rng.u32(..) >> rng.u32(16..30),
            }
        };
        let count = rng.usize(1..8);
        self.changes = (0..count).map(|_| change(rng)).collect();
    }

    fn cut(&mut self, cut: Cut) {
        let mut bit = 0;
        self.visits.retain(|_| {
            bit += 1;
            cut.clients >> (bit - 1) & 1 == 0
        });
        for visit in &mut self.visits {
            let left = visit.requests.len().saturating_sub(cut.requests).max(1);
            visit.requests.truncate(left);
        }
        for (bit, fault) in FAULTS.iter().enumerate() {
            if cut.faults >> bit & 1 == 1 {
                self.switch_off(fault);
            }
        }
    }

    fn switch_off(&mut self, fault: &str) {
        let (network, disk) = (&mut self.network, &mut self.disk);
        let weight = match fault {
            "interrupt" => &mut network.interrupt,
            "short_send" => &mut network.short_send,
            "abort" => &mut network.abort,
            "shortage" => &mut network.shortage,
            "spurious" => &mut network.spurious,
            "stale_event" => &mut network.stale,
            "hold_back" => &mut network.hold_back,
            "refuse_watch" => &mut network.refuse_watch,
            "pieces" => &mut network.pieces,
            "enter" => &mut disk.enter,
            "short_submit" => &mut disk.short_submit,
            "delay" => &mut disk.delay,
            "defer" => &mut disk.defer,
            "short_read" => &mut disk.short_read,
            "again" => &mut disk.again,
            "io_error" => &mut disk.io_error,
            "late_cancel" => &mut disk.late_cancel,
            "stale_completion" => &mut self.stale,
            "hang" => return self.hang = None,
            "stop" => return self.stop = None,
            "changes" => return self.changes.clear(),
            // Left out when the plan was made.
            _ => return,
        };
        *weight = 0;
    }

    /// Whether a file may fail, or its disk not answer in time.
    #[must_use]
    pub fn is_disk_bad(&self) -> bool {
        self.disk.io_error > 0 || self.disk.again > 0 || self.hang.is_some()
    }
}
