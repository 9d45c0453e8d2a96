//! Row 12: what a server costs before it does anything.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ambidex::clock::{Clock, Real};

use super::goal::Goal;
use super::stage::{Stage, figure};
use super::{OURS, Row};
use crate::Error;
use crate::load;
use crate::mixed::Server;
use crate::results::Figure;
use crate::{machine, usage};

const START: &str = "start ms";
const BINARY: &str = "binary MiB";
const WAKE_UPS: &str = "wake-ups/minute";
/// What is done for the last request is over by then: a thread that opened its file ends after five seconds.
const SETTLED: Duration = Duration::from_secs(8);

pub(super) const ROW: Row = Row {
    number: 12,
    work: "start to listening; binary; idle CPU",
    goals: || {
        vec![
            Goal::of("start to listening, ms", START, OURS).at_most(10.0),
            Goal::of("stripped binary, MiB", BINARY, OURS).at_most(5.0),
            Goal::of("wake-ups a minute when idle", WAKE_UPS, OURS).at_most(0.0),
        ]
    },
    run,
    cells: |options| options.starts + 2,
    wants_two: false,
};

fn run(stage: &mut Stage<'_>) -> Result<(), Error> {
    let root = stage.site(&[])?;
    for round in 0..stage.options.starts {
        stage.turn(OURS, round, |stage| start(stage, &root));
    }
    let stripped = stage.directory("binary")?.join("ambidex");
    stage.turn(OURS, 0, |stage| binary(&stage.options.ambidex, &stripped));
    stage.turn(OURS, 0, |stage| wake_ups(stage, &root));
    Ok(())
}

/// From before exec to the line that says where it listens.
fn start(stage: &Stage<'_>, root: &Path) -> Result<Vec<Figure>, Error> {
    let command = Server::command(&stage.options.ambidex, root, 1, "auto");
    let timed = || {
        let begin = Real.now();
        let server = Server::run(command);
        let took = Real.now() - begin;
        server.map(|_ended| took)
    };
    let took = machine::while_on(&stage.server_processors(), timed)??;
    Ok(vec![figure(START, took.as_secs_f64() * 1e3)])
}

/// The size of `program` without its symbols.
fn binary(program: &Path, stripped: &Path) -> Result<Vec<Figure>, Error> {
    let failed = |why: String| Error::Run(format!("strip (binutils): {why}"));
    let mut command = Command::new("strip");
    command.arg("-o").arg(stripped).arg(program);
    let output = command
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.trim().to_owned()));
    }
    let found = std::fs::metadata(stripped).map_err(|error| failed(error.to_string()))?;
    Ok(vec![figure(
        BINARY,
        found.len() as f64 / f64::from(1 << 20),
    )])
}

/// Times that a thread of it had waited and waits again, after one request and with no connection.
fn wake_ups(stage: &Stage<'_>, root: &Path) -> Result<Vec<Figure>, Error> {
    let server = stage.ours(OURS, root, (1, "auto"), &stage.server_processors())?;
    let address = load::resolve(&server.url)?;
    load::preflight(
        &mut load::engine()?,
        address,
        &server.url.join("index.html"),
    )?;
    stage.interrupt.rest(SETTLED);
    let waits = || {
        let pids = server.pids.iter().map(|pid| usage::waits_by_thread(*pid));
        let lost = |error| Error::Run(format!("the server was lost: {error}"));
        let all = pids.collect::<Result<Vec<_>, _>>().map_err(lost)?;
        Ok(all
            .into_iter()
            .flatten()
            .map(|(_, count)| count)
            .sum::<u64>())
    };
    let before = waits()?;
    let begin = Real.now();
    stage.interrupt.rest(stage.options.rest);
    let minutes = (Real.now() - begin).as_secs_f64() / 60.0;
    // A thread that has ended takes its count along: it woke up to end.
    let woken = waits()?.abs_diff(before);
    Ok(vec![figure(WAKE_UPS, woken as f64 / minutes)])
}
