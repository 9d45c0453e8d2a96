//! Engines that are handed operations and asked for completions.

use std::io;

use super::super::gate::Pass;
use super::super::job::{Job, Step};
use super::super::plan::Kind;
use super::Options;

/// Operations in flight, each with a buffer of its own.
pub(crate) trait Queue {
    /// The buffer of `slot`, which has nothing in flight.
    fn buffer(&mut self, slot: usize) -> &mut [u8];
    /// Queues an operation of `slot`, which has nothing in flight.
    fn push(&mut self, slot: usize, kind: Kind, offset: u64);
    /// Submits what is queued, and waits for nothing.
    fn submit(&mut self) -> io::Result<()>;
    /// Submits what is queued and waits for a completion.
    fn turn(&mut self) -> io::Result<()>;
    /// The next completion that is there.
    fn complete(&mut self) -> Option<(usize, io::Result<usize>)>;
    /// System calls so far.
    fn calls(&self) -> u64;
}

/// Which slots have an operation in flight, and with them their buffer.
pub(super) struct InFlight(Vec<bool>);

impl InFlight {
    pub(super) fn new(slots: usize) -> InFlight {
        InFlight(vec![false; slots])
    }

    pub(super) fn begin(&mut self, slot: usize) {
        let was = std::mem::replace(&mut self.0[slot], true);
        assert!(!was, "a slot has one operation in flight");
    }

    pub(super) fn end(&mut self, slot: usize) {
        let was = std::mem::replace(&mut self.0[slot], false);
        assert!(was, "a completion belongs to an operation in flight");
    }

    pub(super) fn assert_idle(&self, slot: usize) {
        assert!(!self.0[slot], "the kernel has this buffer");
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.0.contains(&true)
    }
}

pub(super) fn run(mut queue: impl Queue, options: &Options, job: &mut Job, pass: &mut Pass<'_>) {
    if !pass.begin() {
        return;
    }
    if let Err(error) = drive(&mut queue, options, job) {
        job.fail(format!("cannot submit: {error}"));
    }
    job.calls = Some(queue.calls());
    pass.end();
}

fn drive(queue: &mut impl Queue, options: &Options, job: &mut Job) -> io::Result<()> {
    let mut steps: Vec<Option<Step>> = vec![None; options.iodepth];
    let mut in_flight = 0;
    let mut queued = 0;
    let now = job.start(options);
    for (slot, place) in steps.iter_mut().enumerate() {
        *place = job.next(now, queue.buffer(slot));
        let Some(step) = place else { break };
        queue.push(slot, step.kind, step.offset);
        in_flight += 1;
        queued += 1;
        if queued >= options.iodepth_batch {
            queue.submit()?;
            queued = 0;
        }
    }
    while in_flight > 0 {
        queue.turn()?;
        queued = 0;
        while let Some((slot, result)) = queue.complete() {
            in_flight -= 1;
            let Some(step) = steps[slot].take() else {
                continue;
            };
            let Some(now) = job.done(step, result, queue.buffer(slot)) else {
                continue;
            };
            steps[slot] = job.next(now, queue.buffer(slot));
            if let Some(step) = &steps[slot] {
                queue.push(slot, step.kind, step.offset);
                in_flight += 1;
                queued += 1;
                // The device begins while the next are made ready.
                if queued >= options.iodepth_batch {
                    queue.submit()?;
                    queued = 0;
                }
            }
        }
    }
    Ok(())
}
