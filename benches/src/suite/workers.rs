//! Row 11: what a request costs with two workers, beside what it costs with one.

use super::goal::Goal;
use super::stage::{CPU, Clients, RATE, Stage};
use super::{Processors, Row};
use crate::Error;
use crate::machine;

const ONE: &str = "one worker";
const TWO: &str = "two workers";
const CLIENTS: Clients = Clients {
    connections: 64,
    keep_alive: true,
};
const FILE: &str = "1k";

pub(super) const ROW: Row = Row {
    number: 11,
    work: "two workers against one, client on the same cores",
    goals: || {
        vec![
            Goal::of("CPU per request, two workers / one", CPU, TWO)
                .to([ONE])
                .at_most(1.05),
            Goal::of("rate, two workers / one", RATE, TWO).to([ONE]),
        ]
    },
    run,
    cells: |options| 2 * options.rounds,
    wants_two: true,
};

fn run(stage: &mut Stage<'_>) -> Result<(), Error> {
    let root = stage.site(&[(FILE.to_owned(), 1024)])?;
    let pair = |one: Processors| vec![one.server, one.client];
    let both = stage.options.processors.map(pair).unwrap_or_default();
    let start = |name: &str, workers| {
        let started = stage.ours(name, &root, (workers, "auto"), &both);
        (name.to_owned(), started)
    };
    let started = vec![start(ONE, 1), start(TWO, 2)];
    let contestants = stage.those_that_started(started);
    for round in 0..stage.options.rounds {
        for one in &contestants {
            let url = one.url.join(FILE);
            stage.turn(&one.name, round, |stage| {
                machine::while_on(&both, || stage.ask(url, &one.pids, CLIENTS))?
            });
        }
    }
    Ok(())
}
