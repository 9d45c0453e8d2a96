//! Every order in which up to three operations can go, with up to two drops and with faults at every place, walked one
//! by one: first on the operations table alone, then on a ring whose kernel leaves each thing that it does to a choice.
//!
//! A walk asks an oracle at each fork; the next walk follows it to the last fork that has a branch left, and goes on from
//! there. So each order is walked once, and all are. What is checked after every step: memory that the kernel holds is
//! there and untouched (G1), nobody ends twice (G2), credits are conserved (G5), and who could go on was woken (G4); at the
//! end of each walk: all have ended, and no buffer and no descriptor is left (G3).
//!
//! `AMBIDEX_PROVE=ci` walks more scenes than a quick run, `long` walks all.

#[path = "exhaustive/kernel.rs"]
mod kernel;
#[path = "schedules/loans.rs"]
#[allow(dead_code, reason = "random schedules use more of it")]
mod loans;
#[path = "exhaustive/oracle.rs"]
mod oracle;
#[path = "exhaustive/play.rs"]
mod play;
#[path = "exhaustive/table.rs"]
mod table;

use std::env;

use ambidex::clock::{Clock, Real};
use ambidex_tests::sim::rng::{Effort, effort, grouped, proved};
use oracle::{Walked, explore};
use play::Kind::{self, Open, Read};
use play::{Play, Scene};
use table::Limits;

fn report(what: &str, walked: Walked) {
    let (ways, steps) = (grouped(walked.interleavings), grouped(walked.steps));
    let line = format!("{ways} interleavings {what}, {steps} steps");
    if effort() == Effort::Quick {
        println!("{line}");
    } else {
        proved("exhaustive", &line);
    }
}

/// Each scene by itself, for who looks for what takes long.
fn explain(scene: &str, walked: Walked, since: std::time::Instant) {
    if env::var_os("AMBIDEX_EXPLAIN").is_some() {
        let took = Real.now() - since;
        eprintln!("{} {} {took:?} {scene}", walked.interleavings, walked.steps);
    }
}

/// Operations, drops, answers that ask for another try, polls that find nothing; and who walks it.
const TABLES: &[([usize; 4], Effort)] = &[
    ([1, 2, 2, 2], Effort::Quick),
    ([2, 2, 1, 0], Effort::Quick),
    ([2, 2, 1, 2], Effort::Ci),
    ([3, 2, 0, 0], Effort::Ci),
    ([3, 0, 1, 0], Effort::Ci),
    ([3, 1, 1, 0], Effort::Long),
    ([3, 2, 0, 1], Effort::Long),
    ([3, 2, 1, 0], Effort::Long),
];

#[test]
fn three_operations_on_the_table_end_once_in_every_order() {
    let mut all = Walked::default();
    let rows = TABLES
        .iter()
        .filter(|row| row.1 as usize <= effort() as usize);
    for ([operations, drops, retries, polls], _) in rows {
        for credits in [1, 2] {
            let limits = Limits {
                operations: *operations,
                credits,
                drops: *drops,
                retries: *retries,
                polls: *polls,
            };
            let (scene, start) = (format!("{limits:?}"), Real.now());
            let walked = explore(&scene, |oracle| table::walk(oracle, limits));
            explain(&scene, walked, start);
            all.add(walked);
        }
    }
    report("of operations on the table", all);
}

/// What goes on in a scene, the disturbances (drops, cancels, faults), and who walks it.
const ROWS: &[(&[Kind], [usize; 3], Effort)] = &[
    (&[Read], [1, 1, 2], Effort::Quick),
    (&[Open], [1, 1, 2], Effort::Quick),
    (&[Read, Read], [2, 0, 0], Effort::Quick),
    (&[Read, Open], [2, 0, 0], Effort::Quick),
    (&[Open, Read], [1, 0, 0], Effort::Quick),
    (&[Read, Open], [0, 1, 0], Effort::Quick),
    (&[Read, Open], [0, 0, 1], Effort::Quick),
    (&[Read, Open], [1, 1, 0], Effort::Ci),
    (&[Read, Read], [0, 0, 2], Effort::Ci),
    (&[Read, Open], [2, 0, 1], Effort::Ci),
    (&[Read, Read], [1, 1, 1], Effort::Ci),
    (&[Read, Read, Read], [1, 0, 0], Effort::Ci),
    (&[Read, Read, Read], [0, 0, 1], Effort::Ci),
    (&[Read, Read, Read], [2, 0, 0], Effort::Ci),
    (&[Open, Read, Read], [0, 0, 0], Effort::Ci),
    (&[Open, Read, Read], [1, 0, 0], Effort::Long),
    (&[Open, Read, Read], [0, 0, 1], Effort::Long),
    (&[Open, Read, Read], [2, 0, 0], Effort::Long),
    (&[Read, Open], [2, 1, 1], Effort::Long),
    (&[Read, Read, Read], [2, 0, 1], Effort::Long),
    (&[Read, Read, Read], [1, 1, 1], Effort::Long),
];

/// Entries of the queues, and whether the file lies on a mount that may hang. With one credit that makes no difference.
const RINGS: [(usize, usize, bool); 4] =
    [(1, 1, false), (1, 2, false), (2, 2, false), (2, 2, true)];

#[test]
fn three_operations_on_a_ring_end_once_in_every_order_and_with_every_fault() {
    let mut all = Walked::default();
    let rows = ROWS
        .iter()
        .filter(|row| row.2 as usize <= effort() as usize);
    for (kinds, [drops, cancels, faults], _) in rows {
        for (sq, cq, remote) in RINGS {
            all.add(walk(Scene {
                kinds,
                sq,
                cq,
                remote,
                drops: *drops,
                cancels: *cancels,
                faults: *faults,
            }));
        }
    }
    report("of operations on a ring", all);
}

fn walk(scene: Scene) -> Walked {
    let (name, start) = (format!("{scene:?}"), Real.now());
    let mut play = Play::new(scene);
    let walked = explore(&name, |oracle| play.walk(oracle));
    explain(&name, walked, start);
    walked
}

/// A close on a mount that may hang waits for its turn there; that turn once came and the loop slept on it.
#[test]
fn a_close_whose_turn_has_come_is_not_slept_on() {
    let walked = walk(Scene {
        kinds: &[Read, Open],
        sq: 1,
        cq: 2,
        remote: true,
        drops: 0,
        cancels: 0,
        faults: 0,
    });
    assert!(walked.interleavings > 1);
}

/// An open holds no file, so nothing else keeps the ring's memory.
#[test]
fn what_an_open_has_lent_stays_when_its_ring_is_dropped() {
    let play = Play::new(Scene {
        kinds: &[Open],
        sq: 1,
        cq: 1,
        remote: false,
        drops: 0,
        cancels: 0,
        faults: 0,
    });
    play.end_early().check_lent();
}
