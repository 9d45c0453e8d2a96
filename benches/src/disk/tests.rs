//! Whoever reads: each read is counted once, and blocks are those of the plan.

use super::plan::Plan;
use super::*;

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 64;

/// A directory on a disk: a memory filesystem is another path through the engine.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory")
}

fn options(dir: &tempfile::TempDir) -> Options {
    Options {
        filename: dir.path().join("blocks"),
        size: Some(BLOCKS * BLOCK),
        rw: Pattern::RandRead,
        bs: BLOCK,
        iodepth: 8,
        direct: false,
        // Long: the number of reads ends it.
        runtime: Duration::from_secs(600),
        number_ios: Some(1001),
        engine: IoEngine::Threads,
        seed: 7,
        gtod_reduce: false,
    }
}

#[test]
fn the_sum_of_the_reads_is_what_was_asked_for() {
    let dir = directory();
    for engine in [IoEngine::Hybrid, IoEngine::Threads, IoEngine::Pread] {
        for (rw, gtod_reduce) in [(Pattern::Read, false), (Pattern::RandRead, true)] {
            let options = Options {
                rw,
                engine,
                gtod_reduce,
                ..options(&dir)
            };
            let outcome = match run(&options, &Interrupt::default()) {
                Err(Error::Start(text)) if text.contains("io_uring") => {
                    println!("SKIPPED {engine:?}: {text}");
                    continue;
                }
                outcome => outcome.expect("the file can be read"),
            };
            assert_eq!(outcome.total_ios, 1001, "{engine:?} {rw:?}");
            assert_eq!(outcome.io_bytes, 1001 * BLOCK, "{engine:?} {rw:?}");
            let timed = if gtod_reduce { 0 } else { 1001 };
            assert_eq!(outcome.lat.len(), timed, "{engine:?} {rw:?}");
            assert!(!outcome.interrupted);
        }
    }
}

#[test]
fn sequential_blocks_come_one_after_the_other_and_round_again() {
    let options = Options {
        rw: Pattern::Read,
        number_ios: Some(5),
        ..options(&directory())
    };
    let mut plan = Plan::new(&options, 3);
    let offsets: Vec<u64> = std::iter::from_fn(|| plan.next()).collect();
    assert_eq!(offsets, [0, BLOCK, 2 * BLOCK, 0, BLOCK]);
}

#[test]
fn the_same_seed_reads_the_same_blocks_and_reaches_all() {
    let options = options(&directory());
    let offsets = |seed| -> Vec<u64> {
        let mut plan = Plan::new(
            &Options {
                seed,
                ..options.clone()
            },
            BLOCKS,
        );
        std::iter::from_fn(|| plan.next()).collect()
    };
    assert_eq!(offsets(1), offsets(1));
    assert_ne!(offsets(1), offsets(2));
    let mut seen = offsets(1);
    assert!(seen.iter().all(|offset| offset % BLOCK == 0));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len() as u64, BLOCKS);
    assert_eq!(seen.last(), Some(&((BLOCKS - 1) * BLOCK)));
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = directory();
    let refused = |options: Options| match run(&options, &Interrupt::default()) {
        Err(Error::Start(text)) => text,
        other => panic!("not refused: {other:?}"),
    };
    let missing = Options {
        size: None,
        ..options(&dir)
    };
    assert!(refused(missing).contains("--size"));
    std::fs::write(options(&dir).filename, "short").expect("a file");
    assert!(refused(options(&dir)).contains("5 bytes"));
    let small = Options {
        size: None,
        ..options(&dir)
    };
    assert!(refused(small).contains("less than one block"));
    let directory = Options {
        filename: dir.path().to_owned(),
        ..options(&dir)
    };
    assert!(refused(directory).contains("not a file"));
    let vast = Options {
        bs: 1 << 30,
        iodepth: 32_768,
        ..options(&dir)
    };
    assert!(refused(vast).contains("of memory"));
}

#[test]
fn an_interrupt_ends_it_and_what_was_read_is_told() {
    let dir = directory();
    let interrupt = Interrupt::set();
    for engine in [IoEngine::Threads, IoEngine::Pread] {
        let options = Options {
            number_ios: None,
            engine,
            ..options(&dir)
        };
        let outcome = run(&options, &interrupt).expect("the file can be read");
        assert!(outcome.interrupted);
        assert_eq!(outcome.io_bytes, outcome.total_ios * BLOCK);
    }
}
