//! One job: what it is to do next, and what came of what it did. Engines know nothing else.

use std::io;
use std::path::Path;
use std::time::Instant;

use ambidex::clock::{Clock, Real};

use super::contents::{self, Mismatch};
use super::ledger::Ledger;
use super::plan::{Kind, Plan};
use super::{Options, Tally};
use crate::interrupt::Interrupt;

/// Operations between two looks at the clock, if each is not timed anyway.
const IOS_PER_LOOK: u64 = 64;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    /// In the file. That of a sync is 0.
    pub(super) offset: u64,
    block: u64,
    generation: u64,
    asked: Instant,
}

/// A stretch of the file, what is to be done there, and what was done.
pub(super) struct Job {
    name: String,
    bs: usize,
    seed: u64,
    timed: bool,
    /// Where the stretch begins.
    first: u64,
    plan: Plan,
    /// For `--verify` only.
    pub(super) ledger: Option<Ledger>,
    interrupt: Interrupt,
    deadline: Instant,
    over: bool,
    pub(super) read: Tally,
    pub(super) write: Tally,
    pub(super) sync: Tally,
    pub(super) verified: u64,
    pub(super) failure: Option<String>,
    /// What the engine counts itself.
    pub(super) calls: Option<u64>,
}

impl Job {
    /// Job `index`, whose stretch of `blocks` blocks begins at `first`.
    pub(super) fn new(
        options: &Options,
        path: &Path,
        (index, first, blocks): (usize, u64, u64),
        ledger: Option<Ledger>,
        interrupt: Interrupt,
    ) -> Job {
        Job {
            name: path.display().to_string(),
            bs: options.bs as usize,
            seed: options.seed,
            timed: !options.gtod_reduce,
            first,
            plan: Plan::new(options, index, blocks),
            ledger,
            interrupt,
            deadline: Real.now(),
            over: false,
            read: Tally::default(),
            write: Tally::default(),
            sync: Tally::default(),
            verified: 0,
            failure: None,
            calls: None,
        }
    }

    /// Now it begins. Gives the time.
    pub(super) fn start(&mut self, options: &Options) -> Instant {
        let now = Real.now();
        self.deadline = now + options.runtime;
        now
    }

    /// What is to be done next, `now` being the time; `None` if it is over. What is to be written is
    /// in `buffer`.
    pub(super) fn next(&mut self, now: Instant, buffer: &mut [u8]) -> Option<Step> {
        if self.over {
            return None;
        }
        let (kind, mut block) = self.plan.next()?;
        let (mut asked, mut generation) = (now, 0);
        if let Some(ledger) = &mut self.ledger
            && !matches!(kind, Kind::Sync { .. })
        {
            // There are more blocks than operations at a time.
            block = ledger.begin(block, kind == Kind::Write)?;
            if kind == Kind::Write {
                generation = ledger.next_generation(block);
                let offset = self.first + block * self.bs as u64;
                contents::fill(buffer, self.seed, offset, generation);
                // Filling is our own time.
                asked = if self.timed { Real.now() } else { now };
            }
        }
        let offset = match kind {
            Kind::Sync { .. } => 0,
            _ => self.first + block * self.bs as u64,
        };
        Some(Step {
            kind,
            offset,
            block,
            generation,
            asked,
        })
    }

    /// What came of `step`; a read's bytes are in `buffer`. Gives the time at which the next may
    /// begin, and `None` if there is no next.
    pub(super) fn done(
        &mut self,
        step: Step,
        result: io::Result<usize>,
        buffer: &[u8],
    ) -> Option<Instant> {
        let length = match result.and_then(|length| self.whole(step.kind, length)) {
            Ok(length) => length,
            Err(error) => {
                self.put_back(step);
                self.fail(self.told(step, &error));
                return None;
            }
        };
        let look = self.timed || (self.read.ios + self.write.ios).is_multiple_of(IOS_PER_LOOK);
        let mut now = if look { Real.now() } else { step.asked };
        let took = self.timed.then(|| now - step.asked);
        self.tally(step.kind).record(length, took);
        if self.ledger.is_some() {
            self.settle(step, buffer);
            // Comparing is our own time.
            now = if self.timed { Real.now() } else { now };
        }
        self.over |= self.interrupt.is_set() || now >= self.deadline;
        (!self.over).then_some(now)
    }

    /// The ledger learns what happened, and what was read is compared.
    fn settle(&mut self, step: Step, buffer: &[u8]) {
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        match step.kind {
            Kind::Sync { .. } => {}
            Kind::Write => ledger.wrote(step.block, step.generation),
            Kind::Read => {
                ledger.read(step.block);
                let generation = ledger.generation(step.block);
                self.compare(step.offset, generation, buffer);
            }
        }
    }

    fn compare(&mut self, offset: u64, generation: Option<u64>, block: &[u8]) {
        self.verified += 1;
        if let Err(mismatch) = contents::check(block, self.seed, offset, generation) {
            self.fail(format!("{}: {mismatch}", self.name));
        }
    }

    /// Reads back what this run has written, by `read`, and compares it.
    pub(super) fn read_back(&mut self, mut read: impl FnMut(&mut [u8], u64) -> io::Result<()>) {
        let Some(ledger) = &mut self.ledger else {
            return;
        };
        let dirty = ledger.take_dirty();
        let mut buffer = vec![0; self.bs];
        for block in dirty {
            if self.failure.is_some() || self.interrupt.is_set() {
                return;
            }
            let block = u64::from(block);
            let offset = self.first + block * self.bs as u64;
            let generation = self.ledger.as_ref().and_then(|one| one.generation(block));
            match read(&mut buffer, offset) {
                Ok(()) => self.compare(offset, generation, &buffer),
                Err(error) => self.fail(format!(
                    "cannot read {} back at offset {offset}: {error}",
                    self.name
                )),
            }
        }
    }

    /// It is over, and this is why. The first reason stays.
    pub(super) fn fail(&mut self, failure: String) {
        self.over = true;
        self.failure.get_or_insert(failure);
    }

    fn put_back(&mut self, step: Step) {
        if let Some(ledger) = &mut self.ledger {
            match step.kind {
                Kind::Read => ledger.read(step.block),
                Kind::Write => ledger.lost(step.block),
                Kind::Sync { .. } => {}
            }
        }
    }

    fn tally(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Read => &mut self.read,
            Kind::Write => &mut self.write,
            Kind::Sync { .. } => &mut self.sync,
        }
    }

    /// `length`, if it is that of a whole block.
    fn whole(&self, kind: Kind, length: usize) -> io::Result<usize> {
        match kind {
            Kind::Sync { .. } => Ok(0),
            _ if length == self.bs => Ok(length),
            // Only blocks that the file had are asked for: somebody has cut it meanwhile.
            Kind::Read => Err(io::ErrorKind::UnexpectedEof.into()),
            // The kernel says why only if nothing at all could be written.
            Kind::Write => Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!(
                    "{length} bytes of {} were written: is the disk full?",
                    self.bs
                ),
            )),
        }
    }

    fn told(&self, step: Step, error: &io::Error) -> String {
        let name = &self.name;
        match step.kind {
            Kind::Read => format!("cannot read {name} at offset {}: {error}", step.offset),
            Kind::Write => format!("cannot write {name} at offset {}: {error}", step.offset),
            Kind::Sync { .. } => format!("cannot sync {name}: {error}"),
        }
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the byte at offset {} is {:#04x}, not {:#04x}",
            self.offset, self.found, self.wanted
        )?;
        match self.generation {
            (named, Some(wanted)) if named != wanted => {
                write!(f, " (these 512 bytes name write {named}, not {wanted})")
            }
            _ => Ok(()),
        }
    }
}
