//! Engines of tasks: as many of them as operations at a time, each with a buffer of its own.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use ambidex::clock::{Clock, Real};

use super::super::job::Job;
use super::super::plan::Kind;

/// A file whose operations are futures.
pub(super) trait Futures {
    type Buffer;
    /// The block in the buffer.
    fn block(buffer: &mut Self::Buffer) -> &mut [u8];
    async fn read_at(&self, buffer: Self::Buffer, offset: u64)
    -> (io::Result<usize>, Self::Buffer);
    async fn write_at(
        &self,
        buffer: Self::Buffer,
        offset: u64,
    ) -> (io::Result<usize>, Self::Buffer);
    async fn sync(&self, data_only: bool) -> io::Result<()>;
}

/// One task.
pub(super) async fn work<F: Futures>(file: Rc<F>, job: Rc<RefCell<Job>>, mut buffer: F::Buffer) {
    let mut now = Real.now();
    loop {
        let next = job.borrow_mut().next(now, F::block(&mut buffer));
        let Some(step) = next else { break };
        let result;
        (result, buffer) = match step.kind {
            Kind::Read => file.read_at(buffer, step.offset).await,
            Kind::Write => file.write_at(buffer, step.offset).await,
            Kind::Sync { data_only } => (file.sync(data_only).await.map(|()| 0), buffer),
        };
        let done = job.borrow_mut().done(step, result, F::block(&mut buffer));
        match done {
            Some(later) => now = later,
            None => break,
        }
    }
}

/// The job, when no task has it any more.
pub(super) fn back(job: Rc<RefCell<Job>>) -> Job {
    let alone = Rc::into_inner(job);
    alone.expect("all tasks have ended").into_inner()
}

/// A block inside a vector that is larger, so that it is aligned for direct I/O: runtimes that know
/// only vectors are given a part of it.
#[cfg(feature = "peers")]
pub(super) struct Aligned {
    pub(super) vector: Vec<u8>,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[cfg(feature = "peers")]
impl Aligned {
    /// Holding `bytes`.
    pub(super) fn new(bytes: &[u8]) -> Aligned {
        const ALIGNMENT: usize = 4096;
        let mut vector = vec![0; bytes.len() + ALIGNMENT];
        let start = vector.as_ptr().align_offset(ALIGNMENT);
        let end = start + bytes.len();
        vector.truncate(end);
        vector[start..].copy_from_slice(bytes);
        Aligned { vector, start, end }
    }

    pub(super) fn block(&mut self) -> &mut [u8] {
        // After a short read the runtime has cut the vector; that read is an error anyway.
        self.vector.resize(self.end, 0);
        &mut self.vector[self.start..]
    }
}
