//! Running a seed, whatever becomes of it, and making what fails small.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Once;

use super::faults::Tally;
use super::judge::KINDS;
use super::machine::Machine;
use super::net::SimNet;
use super::plan::{Cut, FAULTS, Plan};
use super::server::ServerWorld;
use super::tasks::TaskWorld;
use super::time::Time;

/// What became of a schedule.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// One number for all calls; see [`Time::trace`].
    pub trace: u64,
    /// Calls of both kernels.
    pub calls: u64,
    /// What happened on the network.
    pub tally: Tally,
    /// Answers of each of [`KINDS`] that were judged.
    pub seen: [u64; KINDS.len()],
    /// What was found wrong.
    pub wrong: Option<String>,
    /// Each call, if that was asked for.
    pub log: Vec<String>,
}

thread_local! {
    /// What panics of this thread have said, while a schedule runs; a task's panic ends no schedule.
    static PANICS: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    /// The seed that runs.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Has panics within schedules remembered instead of printed.
fn listen_for_panics() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let expected = PANICS.with_borrow_mut(|panics| {
                let Some(panics) = panics else { return false };
                panics.push(info.to_string());
                // Panics within panics end the process: say what there is.
                let many = panics.len() > 2;
                if many {
                    let _ = writeln!(io::stderr(), "AMBIDEX_SEED={:#x}: {panics:?}", SEED.get());
                }
                !many
            });
            if !expected {
                before(info);
            }
        }));
    });
}

/// Runs the schedule of `seed`, less what `cut` leaves out.
#[must_use]
pub fn run(seed: u64, cut: Cut, with_log: bool) -> Outcome {
    listen_for_panics();
    // The server's choices are of this generator.
    fastrand::seed(seed);
    SEED.set(seed);
    PANICS.set(Some(Vec::new()));
    let seen = Cell::new([0; KINDS.len()]);
    let parts: RefCell<Option<(Rc<Time>, Rc<SimNet>)>> = RefCell::default();
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        let plan = Plan::new(seed, cut);
        let begin = |machine: &Machine| {
            if with_log {
                machine.time.keep_log();
            }
            *parts.borrow_mut() = Some((Rc::clone(&machine.time), Rc::clone(&machine.net)));
        };
        if plan.tasks {
            let (world, engine) = TaskWorld::new(plan);
            begin(&world.machine);
            world.run(engine)
        } else {
            let (world, engine) = ServerWorld::new(plan);
            begin(&world.machine);
            let result = world.run(engine);
            seen.set(world.seen());
            result
        }
    }));
    let panics = PANICS.take().unwrap_or_default();
    let wrong = match (result, panics.first()) {
        (_, Some(panic)) => Some(panic.clone()),
        (Ok(Err(wrong)), _) => Some(wrong),
        (Ok(Ok(())), _) => None,
        (Err(_), _) => Some("a panic that said nothing".to_owned()),
    };
    let mut outcome = Outcome {
        wrong,
        seen: seen.get(),
        ..Outcome::default()
    };
    if let Some((time, net)) = parts.take() {
        outcome.trace = time.trace();
        outcome.calls = time.calls();
        outcome.tally = net.tally();
        outcome.log = time.take_log();
    }
    outcome
}

/// Leaves out of the schedule of `seed` whatever it fails without.
#[must_use]
pub fn shrink(seed: u64) -> Cut {
    let mut best = Cut::default();
    let mut attempt = |cut: Cut| {
        let fails = run(seed, cut, false).wrong.is_some();
        if fails {
            best = cut;
        }
        best
    };
    let mut cut = Cut::default();
    for client in 0..5 {
        cut = attempt(Cut {
            clients: cut.clients | 1 << client,
            ..cut
        });
    }
    for requests in 1..4 {
        cut = attempt(Cut { requests, ..cut });
    }
    for fault in 0..FAULTS.len() {
        cut = attempt(Cut {
            faults: cut.faults | 1 << fault,
            ..cut
        });
    }
    cut
}
