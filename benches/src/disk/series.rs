//! Runs of every engine, in turns.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use ambidex::clock::{Clock, Real};

use super::gate::{Gate, Pass};
use super::job::Job;
use super::target::Target;
use super::{IoEngine, Options, Run, Tally, check, engine};
use crate::Error;
use crate::cold;
use crate::interrupt::Interrupt;
use crate::rusage::Rusage;

/// How often progress is shown.
const GLANCE: Duration = Duration::from_millis(200);

/// What came out, round by round.
#[derive(Clone, Debug)]
pub struct Series {
    /// The file.
    pub path: PathBuf,
    /// It was one of our own and is gone.
    pub temporary: bool,
    /// A, B, C, A, B, C...
    pub runs: Vec<Run>,
    /// Somebody ended it before its time.
    pub interrupted: bool,
}

impl Series {
    /// Why the last run ended before its time.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.runs.iter().find_map(|run| run.failure.as_deref())
    }
}

/// Makes the file if it is missing, and has each engine read and write it, in turns. Whoever shows
/// progress is told the share that is done and who is at it.
///
/// # Errors
/// [`Error::Start`] for what cannot be measured so. What fails later ends the series, and is told in
/// its last run.
pub fn run(
    options: &Options,
    interrupt: &Interrupt,
    mut progress: Option<&mut dyn FnMut(f64, IoEngine)>,
) -> Result<Series, Error> {
    check::combination(options)?;
    let mut series = Series {
        path: PathBuf::new(),
        temporary: false,
        runs: Vec::new(),
        interrupted: interrupt.is_set(),
    };
    let Some(mut target) = Target::prepare(options, interrupt)? else {
        series.interrupted = true;
        return Ok(series);
    };
    series.path.clone_from(&target.path);
    series.temporary = target.is_temporary();
    let turns = (0..options.rounds).flat_map(|round| {
        let engines = options.engines.iter();
        engines.map(move |engine| (round, *engine))
    });
    let total = (options.rounds * options.engines.len()) as f64;
    for (number, (round, engine)) in turns.enumerate() {
        let start = Real.now();
        let shown = progress.is_some();
        let mut tick = || {
            let share = (Real.now() - start).as_secs_f64() / options.runtime.as_secs_f64();
            if let Some(progress) = &mut progress {
                progress((number as f64 + share.min(1.0)) / total, engine);
            }
        };
        tick();
        let tick = shown.then_some(&mut tick as &mut dyn FnMut());
        let one = once(options, &mut target, (engine, round), interrupt, tick)?;
        let is_last = one.failure.is_some() || one.interrupted;
        series.interrupted |= one.interrupted;
        series.runs.push(one);
        if is_last {
            break;
        }
    }
    Ok(series)
}

fn once(
    options: &Options,
    target: &mut Target,
    (engine, round): (IoEngine, usize),
    interrupt: &Interrupt,
    tick: Option<&mut dyn FnMut()>,
) -> Result<Run, Error> {
    if options.direct || options.invalidate {
        let name = target.path.display();
        cold::evict(&target.path)
            .map_err(|error| Error::Start(format!("cannot evict {name}: {error}")))?;
    }
    let jobs = jobs(options, target, interrupt);
    let (mut jobs, seconds, used) = measured(options, target, engine, jobs, tick)?;
    read_back(options, target, &mut jobs);
    for (kept, job) in target.ledgers.iter_mut().zip(&mut jobs) {
        *kept = job.ledger.take();
    }
    let mut run = Run {
        engine,
        round,
        seconds,
        read: Tally::default(),
        write: Tally::default(),
        sync: Tally::default(),
        used,
        calls: jobs.iter().map(|job| job.calls).sum(),
        verified: 0,
        failure: None,
        interrupted: interrupt.is_set(),
    };
    for job in jobs {
        run.read.add(&job.read);
        run.write.add(&job.write);
        run.sync.add(&job.sync);
        run.verified += job.verified;
        run.failure = run.failure.or(job.failure);
    }
    Ok(run)
}

fn jobs(options: &Options, target: &mut Target, interrupt: &Interrupt) -> Vec<Job> {
    let stretch = target.blocks * options.bs;
    let ledgers = target.ledgers.iter_mut().map(Option::take);
    let make = |(index, ledger)| {
        let place = (index, index as u64 * stretch, target.blocks);
        Job::new(options, &target.path, place, ledger, interrupt.clone())
    };
    ledgers.enumerate().map(make).collect()
}

/// The jobs after they have run, how long that took, and what was used.
fn measured(
    options: &Options,
    target: &Target,
    engine: IoEngine,
    jobs: Vec<Job>,
    tick: Option<&mut dyn FnMut()>,
) -> Result<(Vec<Job>, f64, Rusage), Error> {
    let (gate, count) = (Gate::default(), jobs.len());
    let (gate, path) = (&gate, target.path.as_path());
    thread::scope(|scope| {
        let start = |job| {
            let work = move || {
                let mut pass = Pass::new(gate);
                engine::run(engine, options, path, job, &mut pass)
            };
            let started = thread::Builder::new().spawn_scoped(scope, work);
            started.map_err(|error| {
                // In place of the one that the others wait for.
                drop(Pass::new(gate));
                Error::Run(format!("cannot start a thread for each job: {error}"))
            })
        };
        let threads: Vec<_> = jobs.into_iter().map(start).collect();
        gate.are_ready(count);
        let (before, start) = (Rusage::now(), Real.now());
        gate.start();
        gate.have_ended(count, tick.map(|tick| (GLANCE, tick)));
        let used = Rusage::now().since(&before);
        let seconds = (Real.now() - start).as_secs_f64();
        gate.leave();
        let joined = threads.into_iter().map(|thread| {
            let panicked = |_| Err(Error::Run("a job panicked".to_owned()));
            thread?.join().unwrap_or_else(panicked)
        });
        let jobs: Result<Vec<Job>, Error> = joined.collect();
        Ok((jobs?, seconds, used))
    })
}

/// Compares what was written, by plain reads past the engine that wrote it.
fn read_back(options: &Options, target: &Target, jobs: &mut [Job]) {
    if !options.verify || !options.rw.writes() {
        return;
    }
    // From the disk, not from memory.
    let opened = cold::evict(&target.path).and_then(|()| File::open(&target.path));
    let read = |buffer: &mut [u8], offset| match &opened {
        Ok(file) => file.read_exact_at(buffer, offset),
        Err(error) => Err(io::Error::from(error.kind())),
    };
    jobs.iter_mut().for_each(|job| job.read_back(read));
}
