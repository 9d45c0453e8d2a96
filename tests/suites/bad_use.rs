//! Bad use is answered, not punished: what a user gets wrong is an error that names the mistake, never a hang, a panic
//! or worse. On both backends where files are concerned.

#[path = "bad_use/after_the_end.rs"]
mod after_the_end;
#[path = "bad_use/arguments.rs"]
mod arguments;
#[path = "bad_use/descriptors.rs"]
mod descriptors;
#[path = "bad_use/endings.rs"]
mod endings;
#[path = "bad_use/fork.rs"]
mod fork;
#[path = "bad_use/offsets.rs"]
mod offsets;
#[path = "bad_use/raw.rs"]
mod raw;
#[path = "bad_use/shortage.rs"]
mod shortage;
#[path = "bad_use/strangers.rs"]
mod strangers;
#[path = "bad_use/tasks.rs"]
mod tasks;

use ambidex::Engine;
use ambidex::disk::{Choice, Options};
use ambidex_tests::alone::alone;
use ambidex_tests::sim::backends;

const DISK: &str = env!("CARGO_TARGET_TMPDIR");

fn engine(choice: Choice) -> Engine {
    let options = Options {
        choice,
        ..Options::default()
    };
    Engine::builder().disk(options).build().expect("an engine")
}

/// An engine for each backend.
fn engines(test: &str) -> impl Iterator<Item = (Choice, Engine)> {
    let choices = backends(test).into_iter();
    choices.map(|choice| (choice, engine(choice)))
}
