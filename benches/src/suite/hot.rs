//! Rows 1, 2, 3 and 7: files that are in memory.

use super::goal::Goal;
use super::nginx::{HOT, Setup};
use super::stage::{CPU, CPU_KIB, Clients, RATE, Stage};
use super::{OURS, Options, Row};
use crate::Error;

/// One file that all clients ask for.
#[derive(Clone, Copy)]
struct Work {
    /// Behind the contestants' names, if a row has several.
    name: &'static str,
    bytes: u64,
    keep_alive: bool,
}

const CONNECTIONS: usize = 64;
/// Our server with `--sendfile`.
const BY_SENDFILE: &str = "ambidex --sendfile";
/// What it copies all the same.
const COPIED_BYTES_MAX: u64 = 64 << 10;

const SMALL: [Work; 1] = [Work {
    name: "",
    bytes: 1 << 10,
    keep_alive: true,
}];
const MIDDLE: [Work; 1] = [Work {
    name: "",
    bytes: 16 << 10,
    keep_alive: true,
}];
const LARGE: [Work; 3] = [
    Work {
        name: ", 64 KiB",
        bytes: 64 << 10,
        keep_alive: true,
    },
    Work {
        name: ", 1 MiB",
        bytes: 1 << 20,
        keep_alive: true,
    },
    Work {
        name: ", 100 MiB",
        bytes: 100 << 20,
        keep_alive: true,
    },
];
const CLOSED: [Work; 1] = [Work {
    name: "",
    bytes: 1 << 10,
    keep_alive: false,
}];

pub(super) const ROWS: [Row; 4] = [
    Row {
        number: 1,
        work: "hot 1 KiB file, keep-alive, 64 connections",
        goals: || {
            vec![
                Goal::of("CPU per request / nginx", CPU, OURS)
                    .to(nginx(""))
                    .at_most(0.60),
                Goal::of("rate / nginx", RATE, OURS)
                    .to(nginx(""))
                    .at_least(1.25),
            ]
        },
        run: |stage| run(stage, &SMALL),
        cells: |options| cells(options, &SMALL),
        wants_two: true,
    },
    Row {
        number: 2,
        work: "hot 16 KiB",
        goals: || {
            vec![
                Goal::of("CPU per request / nginx", CPU, OURS)
                    .to(nginx(""))
                    .at_most(0.75),
            ]
        },
        run: |stage| run(stage, &MIDDLE),
        cells: |options| cells(options, &MIDDLE),
        wants_two: true,
    },
    Row {
        number: 3,
        work: "hot 64 KiB, 1 MiB, 100 MiB",
        goals: || LARGE.iter().flat_map(per_byte).collect(),
        run: |stage| run(stage, &LARGE),
        cells: |options| cells(options, &LARGE) + LARGE.len() * options.rounds,
        wants_two: true,
    },
    Row {
        number: 7,
        work: "no keep-alive, 1 KiB",
        goals: || {
            vec![
                Goal::of("connections/s / nginx", RATE, OURS)
                    .to(nginx(""))
                    .at_least(1.15),
            ]
        },
        run: |stage| run(stage, &CLOSED),
        cells: |options| cells(options, &CLOSED),
        wants_two: true,
    },
];

/// What is not sent by sendfile(2) even if that is asked for is wanted of the server as it is by default.
fn per_byte(work: &Work) -> Vec<Goal> {
    let goal = |how: &str, who: &str| {
        let name = format!("CPU per byte / nginx{}{how}", work.name);
        Goal::of(name, CPU_KIB, format!("{who}{}", work.name)).to(nginx(work.name))
    };
    if work.bytes <= COPIED_BYTES_MAX {
        return vec![goal("", OURS).at_most(1.00)];
    }
    vec![
        goal("", BY_SENDFILE).at_most(1.00),
        goal(" (as it is by default)", OURS),
    ]
}

/// What nginx is called where it asks for the file of a work of that name.
fn nginx(work: &str) -> Vec<String> {
    HOT.map(|setup: Setup| setup.name() + work).to_vec()
}

fn cells(options: &Options, works: &[Work]) -> usize {
    works.len() * (1 + HOT.len()) * options.rounds
}

fn run(stage: &mut Stage<'_>, works: &[Work]) -> Result<(), Error> {
    let file = |work: &Work| (work.bytes.to_string(), work.bytes);
    let root = stage.site(&works.iter().map(file).collect::<Vec<_>>())?;
    let mut contestants = stage.contestants(&root, &HOT);
    if works.iter().any(|work| work.bytes > COPIED_BYTES_MAX) {
        let ours = stage.ours_by_sendfile(BY_SENDFILE, &root);
        contestants.extend(stage.those_that_started(vec![(BY_SENDFILE.to_owned(), ours)]));
    }
    for work in works {
        let clients = Clients {
            connections: CONNECTIONS,
            keep_alive: work.keep_alive,
        };
        for round in 0..stage.options.rounds {
            for one in &contestants {
                let url = one.url.join(&work.bytes.to_string());
                let who = format!("{}{}", one.name, work.name);
                stage.turn(&who, round, |stage| stage.ask(url, &one.pids, clients));
            }
        }
    }
    Ok(())
}
