//! Kernels that lie: completions that nobody waits for, events of nobody's.

use crate::rings::Stage;
use crate::sources;

/// The first byte chooses ring or reactor; the rest is the schedule.
///
/// # Panics
/// If a lie has an effect.
pub fn check(input: &[u8]) {
    match input {
        [choice, steps @ ..] if choice % 2 == 0 => Stage::run(steps, true),
        [_, steps @ ..] => sources::run(steps),
        [] => {}
    }
}
