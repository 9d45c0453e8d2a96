//! Engines whose calls return when they are done.

use std::io;

use super::super::gate::Pass;
use super::super::job::Job;
use super::super::plan::Kind;
use super::{Options, buffers};

/// One operation at a time.
pub(super) trait Blocking {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&mut self, buffer: &[u8], offset: u64) -> io::Result<usize>;
    fn sync(&mut self, data_only: bool) -> io::Result<()>;
    /// System calls so far.
    fn calls(&self) -> u64;
}

pub(super) fn run(mut file: impl Blocking, options: &Options, job: &mut Job, pass: &mut Pass<'_>) {
    let mut buffers = buffers(options);
    if !pass.begin() {
        return;
    }
    let mut now = job.start(options);
    let buffer: &mut [u8] = &mut buffers[0];
    while let Some(step) = job.next(now, buffer) {
        let result = match step.kind {
            Kind::Read => file.read_at(buffer, step.offset),
            Kind::Write => file.write_at(buffer, step.offset),
            Kind::Sync { data_only } => file.sync(data_only).map(|()| 0),
        };
        match job.done(step, result, buffer) {
            Some(later) => now = later,
            None => break,
        }
    }
    job.calls = Some(file.calls());
    pass.end();
}
