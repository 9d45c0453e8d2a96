//! Whoever watches: each byte is an event, and only those that scan look at more.

use std::sync::{Mutex, PoisonError};

use super::*;

/// Numbers of descriptors belong to the process: held by who needs low ones, and by who takes them all.
static NUMBERS: Mutex<()> = Mutex::new(());

fn options(watcher: Watcher) -> Options {
    Options {
        watchers: vec![watcher],
        pairs: vec![5, 60],
        active: 3,
        writes: 40,
        runs: 2,
        rounds: 1,
    }
}

#[test]
fn every_byte_is_found_by_every_watcher() {
    let _numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    for watcher in Watcher::all() {
        let outcome =
            run(&options(*watcher), &Interrupt::default(), &mut |_, _| ()).expect("descriptors");
        assert_eq!(outcome.cells.len(), 2, "{watcher:?}");
        for cell in outcome.cells {
            assert_eq!(cell.failure, None, "{watcher:?}");
            assert_eq!(cell.runs.len(), 2, "the first one is not counted");
            for run in cell.runs {
                assert_eq!(run.events, 43, "{watcher:?}");
                let scanned = run.scanned.expect("all of these know");
                let least = match watcher {
                    Watcher::Select | Watcher::Poll => cell.pairs as u64 * run.waits,
                    // A task that reads on finds the next byte without being told of it.
                    Watcher::Hybrid => 1,
                    _ => 43,
                };
                assert!(
                    scanned >= least,
                    "{watcher:?}: {scanned} in {} waits",
                    run.waits
                );
                let scans_all = matches!(watcher, Watcher::Select | Watcher::Poll);
                assert!(scans_all || scanned < 2 * 43, "{watcher:?}: {scanned}");
            }
        }
    }
}

#[test]
fn select_says_what_it_cannot() {
    let _numbers = NUMBERS.lock().unwrap_or_else(PoisonError::into_inner);
    let most = Options {
        pairs: vec![1100],
        ..options(Watcher::Select)
    };
    let outcome = match run(&most, &Interrupt::default(), &mut |_, _| ()) {
        Ok(outcome) => outcome,
        Err(error) => return println!("SKIPPED select with 1100 pairs: {error}"),
    };
    let cell = &outcome.cells[0];
    let failure = cell
        .failure
        .as_deref()
        .expect("1,100 do not fit into 1,024");
    assert!(failure.contains("below 1024"), "{failure}");
    assert!(cell.runs.is_empty());
}

#[test]
fn more_active_than_pairs_is_refused() {
    let wrong = Options {
        active: 6,
        ..options(Watcher::Poll)
    };
    assert!(matches!(
        run(&wrong, &Interrupt::default(), &mut |_, _| ()),
        Err(Error::Start(_))
    ));
}

#[test]
fn more_bytes_than_can_be_counted_are_refused() {
    let wrong = Options {
        writes: usize::MAX - 1,
        ..options(Watcher::Poll)
    };
    let refused = run(&wrong, &Interrupt::default(), &mut |_, _| ());
    let told = refused.expect_err("it overflows").to_string();
    assert!(told.starts_with("-w 18446744073709551614: "), "{told}");
}

#[test]
fn an_interrupt_ends_it() {
    let outcome =
        run(&options(Watcher::Poll), &Interrupt::set(), &mut |_, _| ()).expect("descriptors");
    assert!(outcome.interrupted && outcome.cells.is_empty());
}
