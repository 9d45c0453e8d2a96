//! Rows 4 and 6: files that are not in memory, on a slow disk and on a fast one.

use super::goal::Goal;
use super::mix::{self, COLD_RATE, HOT_P99, HOT_RATE};
use super::nginx::Setup;
use super::stage::{Contestant, Stage, figure};
use super::{OURS, Options, Row, fio};
use crate::Error;
use crate::cold::Files;
use crate::machine;
use crate::mixed::{Condition, Site};
use crate::slow_disk::{Means, Slowness};

/// How our server reads files: the word for it, and the one for `AMBIDEX_DISK`.
pub(super) const DISKS: [(&str, &str); 2] = [("ring", "uring"), ("threads", "threads")];
/// Reads a second of a slow disk.
pub(super) const IOPS: u64 = 500;
const FILE_BYTES: u64 = 64 << 10;
const HOT_CLIENTS: usize = 16;
const COLD_CLIENTS: usize = 32;
const FIO: &str = "fio, buffered";
const FIO_DIRECT: &str = "fio, O_DIRECT";

/// Where files are cold.
const COLD: [Setup; 3] = [
    Setup {
        sendfile: true,
        aio: false,
    },
    Setup {
        sendfile: true,
        aio: true,
    },
    Setup {
        sendfile: false,
        aio: true,
    },
];

pub(super) const ROWS: [Row; 2] = [
    Row {
        number: 4,
        work: "slow disk (500 reads/s), 32 clients on cold 64 KiB files, 16 on a hot 1 KiB page",
        goals: || {
            let ours = DISKS.map(|(name, _)| isolation(&format!("{OURS} {name}"), true));
            let nginx = COLD.map(|setup| isolation(&setup.name(), false));
            ours.into_iter().chain(nginx).flatten().collect()
        },
        run: slow,
        cells: |options| (DISKS.len() + COLD.len()) * 2 * options.rounds,
        wants_two: true,
    },
    Row {
        number: 6,
        work: "cold random 64 KiB files at full disk speed, 32 at a time",
        goals: || {
            let aio = COLD.iter().filter(|setup| setup.aio);
            let aio: Vec<String> = aio.map(|setup| setup.name()).collect();
            vec![
                Goal::of("files/s / fio, buffered", COLD_RATE, OURS)
                    .to([FIO])
                    .at_least(0.90),
                Goal::of("files/s / nginx aio threads", COLD_RATE, OURS)
                    .to(aio)
                    .at_least(1.2),
                Goal::of("files/s / fio, O_DIRECT", COLD_RATE, OURS).to([FIO_DIRECT]),
            ]
        },
        run: fast,
        cells: |options| (1 + COLD.len() - 1 + 2) * options.rounds,
        wants_two: true,
    },
];

/// What hot clients keep beside cold ones, in relation to what they have beside warm ones.
pub(super) fn isolation(who: &str, is_goal: bool) -> Vec<Goal> {
    let [warm, cold] = [Condition::Warm, Condition::Cold].map(|one| mix::who(who, one));
    let rate = Goal::of(format!("{who}: hot rate B/A"), HOT_RATE, cold.clone()).to([warm.clone()]);
    let p99 = Goal::of(format!("{who}: hot p99 B/A"), HOT_P99, cold).to([warm]);
    match is_goal {
        true => vec![rate.at_least(0.95), p99.at_most(1.5)],
        false => vec![rate, p99],
    }
}

/// Our server in both ways, and nginx in all of `setups`, on `site`.
fn start(
    stage: &mut Stage<'_>,
    site: &Site,
    disks: &[(&str, &str)],
    setups: &[Setup],
) -> Vec<Contestant> {
    let cpus = stage.server_processors();
    let mut started = Vec::new();
    for (name, disk) in disks {
        let name = format!("{OURS} {name}").trim().to_owned();
        started.push((
            name.clone(),
            stage.ours(&name, site.path(), (1, disk), &cpus),
        ));
    }
    for setup in setups {
        started.push((setup.name(), stage.nginx(site.path(), *setup, &cpus)));
    }
    stage.those_that_started(started)
}

fn site(stage: &Stage<'_>) -> Result<Site, Error> {
    // With an index: our server would tell that there is none.
    Site::make(Some(&stage.site(&[])?), 1024)
}

fn files(site: &Site, count: usize) -> Files {
    Files {
        dir: site.cold(),
        count,
        size: FILE_BYTES,
        nested: false,
    }
}

fn slow(stage: &mut Stage<'_>) -> Result<(), Error> {
    let site = site(stage)?;
    let contestants = start(stage, &site, &DISKS, &COLD);
    let plan = mix::Plan {
        files: files(&site, stage.options.cold_files),
        clients: (HOT_CLIENTS, COLD_CLIENTS),
        conditions: vec![Condition::Warm, Condition::Cold],
        once: false,
        slow: Some((Slowness::Reads(IOPS), Means::Blkio)),
    };
    mix::run(stage, &plan, &contestants, 0..stage.options.rounds)
}

fn fast(stage: &mut Stage<'_>) -> Result<(), Error> {
    let Options {
        cold_files, rounds, ..
    } = *stage.options;
    let site = site(stage)?;
    let setups: Vec<Setup> = COLD.into_iter().filter(|setup| setup.aio).collect();
    let contestants = start(stage, &site, &[("", "auto")], &setups);
    let plan = mix::Plan {
        files: files(&site, cold_files),
        clients: (0, COLD_CLIENTS),
        conditions: vec![Condition::ColdAlone],
        once: false,
        slow: None,
    };
    plan.files.create_missing(stage.interrupt)?;
    let job = job(stage, &plan.files)?;
    let cpus = stage.server_processors();
    for round in 0..rounds {
        mix::run(stage, &plan, &contestants, round..round + 1)?;
        for (who, direct) in [(FIO, false), (FIO_DIRECT, true)] {
            let job = fio::Job {
                direct,
                ..job.clone()
            };
            stage.turn(who, round, |stage| {
                machine::while_on(&cpus, || {
                    Ok(vec![figure(COLD_RATE, fio::run(&stage.options.fio, &job)?)])
                })?
            });
        }
    }
    Ok(())
}

/// The same files under names that fio makes up itself: a list of them all would be too long for it.
fn job(stage: &Stage<'_>, files: &Files) -> Result<fio::Job, Error> {
    let links = stage.directory("links")?;
    for index in 0..files.count {
        let link = std::fs::hard_link(files.path(index), links.join(index.to_string()));
        link.map_err(|error| Error::Run(format!("cannot link a file for fio: {error}")))?;
    }
    Ok(fio::Job {
        place: fio::Place::Numbered(links, files.count),
        bytes: FILE_BYTES,
        block_bytes: FILE_BYTES,
        depth: COLD_CLIENTS,
        direct: false,
        runtime: stage.options.window.runtime,
    })
}
