//! Rows 9 and 10: the engine without a server, beside other engines.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::fio::{self, Job};
use super::goal::Goal;
use super::stage::{Stage, figure};
use super::{Options, Processors, Row};
use crate::Error;
use crate::disk::{self, IoEngine, Pattern, Place};
use crate::echo::EchoEngine;
use crate::echo::client::Load;
use crate::echo::net;
use crate::machine;
use crate::results::Figure;

const MESSAGE: &str = "server cpu us/message";
const READ_CPU: &str = "cpu us/io";
const IOPS: &str = "read IOPS";
/// The engine, and those that it is compared with.
const HYBRID: &str = "hybrid";
const ECHOES: [&str; 4] = [HYBRID, "epoll-level", "tokio", "monoio"];
const DEPTH: usize = 32;
const BLOCK_BYTES: u64 = 4096;
const DIRECT: &str = ", direct";
const CACHED: &str = ", cached";
const FIO: &str = "fio io_uring, direct";
const DIRECT_ENGINES: [IoEngine; 1] = [IoEngine::Hybrid];
const CACHED_ENGINES: [IoEngine; 3] = [IoEngine::Hybrid, IoEngine::Uring, IoEngine::Pread];

pub(super) const ROWS: [Row; 2] = [
    Row {
        number: 9,
        work: "echo 64 B, 64 connections, engine's task face",
        goals: || {
            let to =
                |other| Goal::of(format!("CPU per message / {other}"), MESSAGE, HYBRID).to([other]);
            vec![
                to("epoll-level").at_most(1.05),
                to("tokio").at_most(0.80),
                to("monoio").at_most(0.65),
            ]
        },
        run: echo,
        cells: |options| ECHOES.len() * options.rounds,
        wants_two: true,
    },
    Row {
        number: 10,
        work: "engine reads, 4 KiB, depth 32: O_DIRECT; cached",
        goals: || {
            let cached = |other| {
                let name = format!("cached: CPU per read / {other}");
                Goal::of(name, READ_CPU, format!("{HYBRID}{CACHED}"))
                    .to([format!("{other}{CACHED}")])
            };
            vec![
                Goal::of(
                    "O_DIRECT: reads/s / fio io_uring",
                    IOPS,
                    format!("{HYBRID}{DIRECT}"),
                )
                .to([FIO])
                .at_least(0.98),
                cached("uring").at_most(1.15),
                cached("pread").at_most(0.8),
            ]
        },
        run: reads,
        cells: |options| (DIRECT_ENGINES.len() + 1 + CACHED_ENGINES.len()) * options.rounds,
        wants_two: false,
    },
];

fn echo(stage: &mut Stage<'_>) -> Result<(), Error> {
    let mut engines = Vec::new();
    for name in ECHOES {
        let found = EchoEngine::all().iter().find(|one| one.name() == name);
        match found {
            Some(engine) => engines.push(*engine),
            None => stage.refuse(name, "built without the feature `peers`"),
        }
    }
    let pair = |one: Processors| (one.server, one.client);
    let options = net::Options {
        engines,
        load: Load {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            connections: 64,
            idle: 0,
            size: 64,
            interval: None,
            window: stage.options.window,
        },
        rounds: stage.options.rounds,
        program: stage.options.program.clone(),
        processors: stage.options.processors.map(pair),
    };
    let interrupt = stage.interrupt;
    let outcome = net::run(&options, interrupt, &mut stage.announce())?;
    for cell in outcome.cells {
        let seen = echoed(&cell);
        stage.note(&cell.engine.name(), cell.round, seen);
    }
    Ok(())
}

fn echoed(cell: &net::Cell) -> Result<Vec<Figure>, Error> {
    if let Some(why) = &cell.failure {
        return Err(Error::Run(why.clone()));
    }
    let messages = cell.outcome.summary.requests as f64;
    let Some(server) = cell.server.filter(|_| messages > 0.0) else {
        return Err(Error::Run("nothing was answered".to_owned()));
    };
    let client = cell.outcome.client.cpu().as_secs_f64();
    Ok(vec![
        figure(MESSAGE, server.rusage.cpu().as_secs_f64() * 1e6 / messages),
        figure("messages/s", cell.outcome.summary.rate),
        figure(super::CLIENT, client / cell.outcome.seconds),
    ])
}

fn reads(stage: &mut Stage<'_>) -> Result<(), Error> {
    let file = stage.directory("blocks")?.join("blocks.bin");
    let cpus = stage.server_processors();
    let fio = Job {
        place: fio::Place::File(file.clone()),
        bytes: stage.options.blocks_bytes,
        block_bytes: BLOCK_BYTES,
        depth: DEPTH,
        direct: true,
        runtime: stage.options.window.runtime,
    };
    for round in 0..stage.options.rounds {
        for (engines, direct) in [(&DIRECT_ENGINES[..], true), (&CACHED_ENGINES, false)] {
            for engine in engines {
                let suffix = if direct { DIRECT } else { CACHED };
                let who = format!("{}{suffix}", engine.name());
                stage.turn(&who, round, |stage| {
                    machine::while_on(&cpus, || read(stage, &file, *engine, direct))?
                });
            }
            if direct {
                stage.turn(FIO, round, |stage| {
                    machine::while_on(&cpus, || {
                        let iops = fio::run(&stage.options.fio, &fio)?;
                        Ok(vec![figure(IOPS, iops)])
                    })?
                });
            }
        }
    }
    Ok(())
}

/// One engine's turn, on a file that is made if it is missing.
fn read(
    stage: &Stage<'_>,
    file: &Path,
    engine: IoEngine,
    direct: bool,
) -> Result<Vec<Figure>, Error> {
    let options = reading(stage.options, file, engine, direct);
    if !direct {
        // What went past the cache has emptied it of the file.
        let warmed = File::open(file).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
        warmed.map_err(|error| Error::Run(format!("cannot read {}: {error}", file.display())))?;
    }
    let series = disk::run(&options, stage.interrupt, None)?;
    if let Some(why) = series.failure() {
        return Err(Error::Run(why.to_owned()));
    }
    let run = series.runs.first().filter(|run| run.read.ios > 0);
    let run = run.ok_or_else(|| Error::Run("nothing was read".to_owned()))?;
    let ios = run.read.ios as f64;
    Ok(vec![
        figure(IOPS, ios / run.seconds),
        figure(READ_CPU, run.used.cpu().as_secs_f64() * 1e6 / ios),
    ])
}

fn reading(options: &Options, file: &Path, engine: IoEngine, direct: bool) -> disk::Options {
    disk::Options {
        place: Place::Filename(file.to_owned()),
        size: Some(options.blocks_bytes),
        rw: Pattern::RandRead,
        rwmixread: 50,
        bs: BLOCK_BYTES,
        // It has no other.
        iodepth: if engine == IoEngine::Pread { 1 } else { DEPTH },
        // What costs the bare ring least, where the processor is what counts.
        iodepth_batch: DEPTH,
        numjobs: 1,
        direct,
        sync: false,
        sync_every: None,
        runtime: options.window.runtime,
        number_ios: None,
        engines: vec![engine],
        rounds: 1,
        seed: 0,
        // Where the processor is what counts, a clock for each read would be a part of it.
        gtod_reduce: !direct,
        verify: false,
        overwrite: false,
        invalidate: false,
    }
}
