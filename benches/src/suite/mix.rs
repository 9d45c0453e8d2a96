//! Hot clients beside cold ones: [`mixed`] for the rows that want it.

use std::ops::Range;

use super::stage::{CLIENT, Contestant, Stage, figure};
use crate::Error;
use crate::cold::Files;
use crate::load::Measurement;
use crate::mixed::{self, Condition, Target};
use crate::results::Figure;
use crate::slow_disk::{Means, Slowness};

pub(super) const HOT_RATE: &str = "hot requests/s";
pub(super) const HOT_P99: &str = "hot p99 us";
pub(super) const COLD_RATE: &str = "cold requests/s";

/// What is measured of each contestant.
pub(super) struct Plan {
    pub(super) files: Files,
    /// Hot ones and cold ones.
    pub(super) clients: (usize, usize),
    pub(super) conditions: Vec<Condition>,
    /// See [`mixed::Options::once`].
    pub(super) once: bool,
    pub(super) slow: Option<(Slowness, Means)>,
}

/// What a contestant is called under a condition.
pub(super) fn who(contestant: &str, condition: Condition) -> String {
    match condition {
        // Nothing to be told apart from.
        Condition::ColdAlone => contestant.to_owned(),
        other => format!("{contestant}, {}", other.letter()),
    }
}

/// Measures `rounds` of them.
pub(super) fn run(
    stage: &mut Stage<'_>,
    plan: &Plan,
    contestants: &[Contestant],
    rounds: Range<usize>,
) -> Result<(), Error> {
    if contestants.is_empty() || stage.interrupt.is_set() {
        return Ok(());
    }
    let target = |one: &Contestant| Target::of_site(&one.name, &one.url, one.pids.clone());
    let options = mixed::Options {
        targets: contestants.iter().map(target).collect(),
        files: plan.files.clone(),
        hot_connections: plan.clients.0,
        cold_connections: plan.clients.1,
        cold_interval: None,
        window: stage.options.window,
        rounds: rounds.len(),
        conditions: plan.conditions.clone(),
        once: plan.once,
        slow_disk: plan.slow.map(|(slowness, _)| slowness),
        slow_disk_by: plan.slow.map(|(_, means)| means),
    };
    let interrupt = stage.interrupt;
    let outcome = mixed::run(&options, interrupt, &mut stage.announce())?;
    for cell in outcome.cells {
        let name = who(&cell.target, cell.condition);
        stage.note(&name, rounds.start + cell.round, figures(&cell.measurement));
    }
    outcome.failure.map_or(Ok(()), |why| Err(Error::Run(why)))
}

/// Cold clients may fail, which is told by a figure: what they do to hot ones is what counts.
fn figures(measured: &Measurement) -> Result<Vec<Figure>, Error> {
    if let Some(why) = &measured.failure {
        return Err(Error::Run(why.clone()));
    }
    let share = measured.usage.client.as_secs_f64() / measured.seconds;
    let mut figures = vec![figure(CLIENT, share)];
    let mut classes = measured.classes.iter();
    if let Some(hot) = classes.next().filter(|class| !class.is_idle()) {
        if let Some(first) = &hot.first_error {
            let why = format!("{} hot requests failed; the first: {first}", hot.errors);
            return Err(Error::Run(why));
        }
        figures.push(figure(HOT_RATE, hot.rate));
        // Of nothing there is none, and what waits all the time has waited as long as the worst.
        let p99 = if hot.requests > 0 {
            hot.latency.p99
        } else {
            hot.latency.max
        };
        figures.push(figure(HOT_P99, p99 * 1e6));
    }
    if let Some(cold) = classes.next() {
        figures.push(figure(COLD_RATE, cold.rate));
        figures.push(figure("cold errors", cold.errors as f64));
    }
    Ok(figures)
}
