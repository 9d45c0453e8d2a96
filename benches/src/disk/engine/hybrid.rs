//! The engine, on either backend.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ambidex::disk::{Choice, File, IoBuf, OpenOptions, Options as DiskOptions, PoolBuf, Slice};
use ambidex::{Engine, Handle};

use super::super::gate::Pass;
use super::super::job::Job;
use super::tasks::{self, Futures};
use super::{Options, buffers, flags};
use crate::Error;

pub(super) fn run(
    choice: Choice,
    options: &Options,
    path: &Path,
    job: Job,
    pass: &mut Pass<'_>,
) -> Result<Job, Error> {
    // With fewer credits than tasks some would wait at the gate, and their latency be its.
    let entries = u32::try_from(options.iodepth).unwrap_or(u32::MAX);
    let defaults = DiskOptions::default();
    let disk = DiskOptions {
        choice,
        sq_entries: entries.max(defaults.sq_entries),
        cq_entries: entries.max(defaults.cq_entries),
        ..defaults
    };
    let mut engine = Engine::builder()
        .disk(disk)
        .build()
        .map_err(|error| Error::Start(format!("cannot make an engine: {error}")))?;
    let ran = engine.run(async |io| drive(&io, options, path, job, pass).await);
    ran.map_err(|error| Error::Run(format!("the loop failed: {error}")))?
}

async fn drive(
    io: &Handle,
    options: &Options,
    path: &Path,
    job: Job,
    pass: &mut Pass<'_>,
) -> Result<Job, Error> {
    let mut open = OpenOptions::new().custom_flags(flags(options));
    if options.rw.writes() {
        open = open.write();
    }
    let name = path.display();
    let opened = open.open(io.disk(), path).await;
    let file = opened.map_err(|error| Error::Start(format!("cannot open {name}: {error}")))?;
    let file = Rc::new(OfEngine {
        file,
        bs: options.bs as usize,
    });
    let buffers = buffers(options);
    let job = Rc::new(RefCell::new(job));
    if pass.begin() {
        let calls = || io.metrics().calls + io.metrics().calls_elsewhere;
        let before = calls();
        job.borrow_mut().start(options);
        let spawn = |buffer| io.spawn(tasks::work(Rc::clone(&file), Rc::clone(&job), buffer));
        let tasks: Vec<_> = buffers.into_iter().map(spawn).collect();
        for task in tasks {
            if let Err(error) = task.await {
                job.borrow_mut().fail(format!("a task failed: {error}"));
            }
        }
        job.borrow_mut().calls = Some(calls() - before);
        pass.end();
    }
    Ok(tasks::back(job))
}

struct OfEngine {
    file: File,
    bs: usize,
}

impl OfEngine {
    /// Buffers are whole pages, a block may be less.
    fn whole(&self, buffer: PoolBuf) -> Slice<PoolBuf> {
        buffer.slice(0..self.bs)
    }
}

impl Futures for OfEngine {
    type Buffer = PoolBuf;

    fn block(buffer: &mut PoolBuf) -> &mut [u8] {
        buffer
    }

    async fn read_at(&self, buffer: PoolBuf, offset: u64) -> (io::Result<usize>, PoolBuf) {
        let (result, slice) = self.file.read_at(self.whole(buffer), offset).await;
        (result, slice.into_inner())
    }

    async fn write_at(&self, buffer: PoolBuf, offset: u64) -> (io::Result<usize>, PoolBuf) {
        let (result, slice) = self.file.write_at(self.whole(buffer), offset).await;
        (result, slice.into_inner())
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        match data_only {
            true => self.file.sync_data().await,
            false => self.file.sync_all().await,
        }
    }
}
