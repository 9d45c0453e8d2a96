//! Schedules as bytes: of the operations table beside its model, and of a whole ring on a kernel that
//! keeps the contract and fails as much as it may.

use ambidex_tests::sim::rng::Weights;
use fastrand::Rng;

use crate::loans::Loans;
use crate::rings::Stage;

/// The first byte chooses which of the two; the rest is the schedule.
///
/// # Panics
/// If a promise is broken: see [`Stage`] and the model of the table.
pub fn check(input: &[u8]) {
    match input {
        [choice, steps @ ..] if choice % 2 == 0 => loans(usize::from(choice / 2), steps),
        [_, steps @ ..] => Stage::run(steps, false),
        [] => {}
    }
}

/// Two bytes are one step: so a change of one leaves the others as they were.
fn loans(credits: usize, steps: &[u8]) {
    let mut loans = Loans::new(1 + credits % 5);
    let even = Weights::random(&mut Rng::with_seed(7));
    for step in steps.chunks_exact(2) {
        let seed = u64::from(step[0]) | u64::from(step[1]) << 8;
        loans.step(&mut Rng::with_seed(seed), &even);
    }
    loans.finish();
}
