//! Reading through the engine.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ambidex::disk::{Choice, File, OpenOptions, Options as DiskOptions, Pool};
use ambidex::{Engine, Handle, JoinHandle};

use super::plan::{Count, Plan};
use super::{Options, Outcome};
use crate::Error;
use crate::interrupt::Interrupt;
use crate::rusage::Rusage;

/// What the readers share.
struct Job {
    file: File,
    bs: usize,
    timed: bool,
    plan: RefCell<Plan>,
    count: RefCell<Count>,
    /// The time is over, or a reader has failed.
    over: Cell<bool>,
}

pub(super) fn run(
    options: &Options,
    choice: Choice,
    blocks: u64,
    interrupt: &Interrupt,
) -> Result<Outcome, Error> {
    // With fewer credits than readers some would wait at the gate, and their latency be its.
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
    let ran = engine.run(async |io| drive(&io, options, blocks, interrupt).await);
    ran.map_err(|error| Error::Run(format!("the readers' loop failed: {error}")))?
}

async fn drive(
    io: &Handle,
    options: &Options,
    blocks: u64,
    interrupt: &Interrupt,
) -> Result<Outcome, Error> {
    let name = options.filename.display();
    let mut open = OpenOptions::new();
    if options.direct {
        open = open.direct();
    }
    let opened = open.open(io.disk(), &options.filename).await;
    let file = opened.map_err(|error| Error::Start(format!("cannot open {name}: {error}")))?;
    let bs = options.bs as usize;
    let job = Rc::new(Job {
        file,
        bs,
        timed: !options.gtod_reduce,
        plan: RefCell::new(Plan::new(options, blocks)),
        count: RefCell::default(),
        over: Cell::new(false),
    });
    let pool = Pool::new(options.iodepth, bs);
    let (start, before) = (io.now(), Rusage::now());
    let spawn = |_| io.spawn(reader(io.clone(), Rc::clone(&job), pool.clone()));
    let readers: Vec<JoinHandle<io::Result<()>>> = (0..options.iodepth).map(spawn).collect();
    let clock = stop_after(
        io.clone(),
        Rc::clone(&job),
        interrupt.clone(),
        options.runtime,
    );
    let clock = io.spawn(clock);
    for reader in readers {
        let ended = reader.await.map_err(io::Error::from);
        let ended = ended.and_then(|read| read);
        ended.map_err(|error| Error::Run(format!("cannot read {name}: {error}")))?;
    }
    let used = Rusage::now().since(&before);
    let seconds = (io.now() - start).as_secs_f64();
    clock.abort();
    let count = job.count.take();
    Ok(Outcome {
        seconds,
        total_ios: count.total_ios,
        io_bytes: count.io_bytes,
        lat: count.lat,
        used,
        interrupted: interrupt.is_set(),
    })
}

/// Ends the reading when the time is over: readers need not look at the clock for that.
async fn stop_after(io: Handle, job: Rc<Job>, interrupt: Interrupt, runtime: Duration) {
    interrupt.sleep(&io, runtime).await;
    job.over.set(true);
}

async fn reader(io: Handle, job: Rc<Job>, pool: Pool) -> io::Result<()> {
    let read = read_on(&io, &job, &pool).await;
    if read.is_err() {
        job.over.set(true);
    }
    read
}

async fn read_on(io: &Handle, job: &Job, pool: &Pool) -> io::Result<()> {
    let mut buffer = pool.take().await;
    // One look at the clock for each read: the end of one is the start of the next.
    let mut asked = io.now();
    while !job.over.get() {
        let next = job.plan.borrow_mut().next();
        let Some(offset) = next else { break };
        let (result, back) = job.file.read_at(buffer, offset).await;
        buffer = back;
        let length = whole(result?, job.bs)?;
        let took = job.timed.then(|| {
            let now = io.now();
            now - std::mem::replace(&mut asked, now)
        });
        job.count.borrow_mut().read(length, took);
    }
    Ok(())
}

/// `length`, if it is that of a whole block.
pub(super) fn whole(length: usize, bs: usize) -> io::Result<usize> {
    // Only blocks that the file had are asked for: somebody has cut it meanwhile.
    if length != bs {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(length)
}
