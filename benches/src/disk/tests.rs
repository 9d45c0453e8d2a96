//! Whoever reads and writes: the same steps, counted once each, the right bytes, and a reason for
//! whatever goes wrong. No engine is measured that does not pass.

mod engines;
mod refusals;

use std::fs;
use std::path::Path;

use super::contents;
use super::plan::{Kind, Plan};
use super::*;
use crate::Error;
use crate::interrupt::Interrupt;

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 64;

/// A directory on a disk, and outside of the source tree: a memory filesystem is another path through the
/// engine.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/var/tmp").expect("a directory")
}

fn blocks(dir: &tempfile::TempDir) -> Place {
    Place::Filename(dir.path().join("blocks"))
}

fn options(place: Place) -> Options {
    Options {
        place,
        size: Some(BLOCKS * BLOCK),
        rw: Pattern::RandRead,
        rwmixread: 70,
        bs: BLOCK,
        iodepth: 1,
        iodepth_batch: 1,
        numjobs: 1,
        direct: false,
        sync: false,
        sync_every: None,
        // Long: the number of operations ends it.
        runtime: Duration::from_secs(600),
        number_ios: Some(301),
        engines: vec![IoEngine::Pread],
        rounds: 1,
        seed: 7,
        gtod_reduce: false,
        verify: false,
        overwrite: true,
        invalidate: false,
    }
}

/// As deep as the engine goes.
fn by(engine: IoEngine, options: Options) -> Options {
    Options {
        engines: vec![engine],
        iodepth: if engine.is_synchronous() { 1 } else { 8 },
        // Some are left over.
        iodepth_batch: 3,
        ..options
    }
}

/// The one run, or `None`, loudly, where this machine lacks the engine.
fn one(options: &Options) -> Option<Run> {
    let engine = options.engines[0];
    match run(options, &Interrupt::default(), None) {
        Err(Error::Start(text)) if is_missing(options, &text) => {
            println!("SKIPPED {}: {text}", engine.name());
            None
        }
        Err(error) => panic!("{}: {error}", engine.name()),
        Ok(mut series) => {
            assert_eq!(series.runs.len(), 1);
            series.runs.pop()
        }
    }
}

/// No io_uring, no libaio, or a filesystem without direct I/O.
fn is_missing(options: &Options, text: &str) -> bool {
    let ring = ["cannot make an engine", "cannot use", "feature 'peers'"];
    let engine = ring.iter().any(|start| text.contains(start)) && !text.contains("holes");
    engine || options.direct && text.contains("cannot open")
}

fn refused(options: &Options) -> String {
    match run(options, &Interrupt::default(), None) {
        Err(Error::Start(text)) => text,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn sequential_blocks_come_one_after_the_other_and_round_again() {
    let options = Options {
        rw: Pattern::Read,
        number_ios: Some(5),
        ..options(Place::Temporary)
    };
    let mut plan = Plan::new(&options, 0, 3);
    let steps: Vec<_> = std::iter::from_fn(|| plan.next()).collect();
    assert_eq!(steps, [0, 1, 2, 0, 1].map(|block| (Kind::Read, block)));
}

#[test]
fn the_same_seed_reads_the_same_blocks_and_reaches_all() {
    let blocks_of = |seed, index| -> Vec<u64> {
        let options = Options {
            seed,
            number_ios: Some(1000),
            ..options(Place::Temporary)
        };
        let mut plan = Plan::new(&options, index, BLOCKS);
        std::iter::from_fn(|| plan.next().map(|(_, block)| block)).collect()
    };
    assert_eq!(blocks_of(1, 0), blocks_of(1, 0));
    assert_ne!(blocks_of(1, 0), blocks_of(2, 0));
    assert_ne!(blocks_of(1, 0), blocks_of(1, 1), "jobs differ");
    let mut seen = blocks_of(1, 0);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (0..BLOCKS).collect::<Vec<u64>>());
}

#[test]
fn reads_and_writes_are_mixed_as_asked_and_syncs_come_between() {
    let options = Options {
        rw: Pattern::RandRw,
        number_ios: Some(10_000),
        sync_every: Some(SyncEvery {
            writes: 10,
            data_only: true,
        }),
        ..options(Place::Temporary)
    };
    let mut plan = Plan::new(&options, 0, BLOCKS);
    let kinds: Vec<Kind> = std::iter::from_fn(|| plan.next().map(|(kind, _)| kind)).collect();
    let count = |kind| kinds.iter().filter(|one| **one == kind).count();
    let (reads, writes) = (count(Kind::Read), count(Kind::Write));
    assert_eq!(reads + writes, 10_000);
    // Of this seed, so it never differs; 70 % +- 2.
    assert!((6800..7200).contains(&reads), "{reads}");
    assert_eq!(count(Kind::Sync { data_only: true }), writes / 10);
}

#[test]
fn engines_take_turns() {
    let dir = directory();
    let options = Options {
        engines: vec![IoEngine::Pread, IoEngine::Mmap],
        rounds: 2,
        ..options(blocks(&dir))
    };
    let mut seen = Vec::new();
    let mut progress = |share: f64, engine: IoEngine| seen.push((share, engine));
    let series = run(&options, &Interrupt::default(), Some(&mut progress)).expect("it runs");
    let turns: Vec<_> = series
        .runs
        .iter()
        .map(|run| (run.engine, run.round))
        .collect();
    let (a, b) = (IoEngine::Pread, IoEngine::Mmap);
    assert_eq!(turns, [(a, 0), (b, 0), (a, 1), (b, 1)]);
    assert!(!series.interrupted && series.failure().is_none());
    assert!(seen.iter().all(|(share, _)| (0.0..=1.0).contains(share)));
    assert!(seen.len() >= 4, "each turn is told: {seen:?}");
}

#[test]
fn jobs_have_stretches_of_their_own() {
    let dir = directory();
    for engine in [IoEngine::Threads, IoEngine::Pread] {
        let options = Options {
            numjobs: 3,
            rw: Pattern::RandRw,
            verify: true,
            ..by(engine, options(blocks(&dir)))
        };
        // Each keeps its own ledger: a write into another's stretch would be a mismatch.
        let run = one(&options).expect("no ring is needed");
        assert_eq!(run.failure, None);
        assert_eq!(run.ios(), 3 * 301);
    }
}

#[test]
fn a_temporary_file_goes_and_a_named_one_stays() {
    let dir = directory();
    let own = options(Place::Directory(dir.path().to_owned()));
    let series = run(&own, &Interrupt::default(), None).expect("it runs");
    assert!(series.temporary && !series.path.exists());
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
    let named = options(blocks(&dir));
    let series = run(&named, &Interrupt::default(), None).expect("it runs");
    assert!(!series.temporary && series.path.exists());
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 1);
}

#[test]
fn an_interrupt_before_anything_leaves_nothing() {
    let dir = directory();
    let series = run(&options(blocks(&dir)), &Interrupt::set(), None).expect("no error");
    assert!(series.interrupted && series.runs.is_empty());
    assert_eq!(fs::read_dir(dir.path()).expect("it is there").count(), 0);
}

/// Where the contents of the file at `path` begin to be wrong.
fn first_wrong(path: &Path, seed: u64) -> Option<u64> {
    let bytes = fs::read(path).expect("the file");
    let checked = contents::check(&bytes, seed, 0, None);
    checked.err().map(|mismatch| mismatch.offset)
}
