//! Row 5: everything slow that a disk can do to hot clients, on two filesystems, with the ring and with
//! threads.

use std::time::Duration;

use super::ground::{self, Filesystem, Ground};
use super::mix::{self, HOT_P99, Plan};
use super::slow::{self, DISKS, IOPS};
use super::stage::{Contestant, Stage};
use super::{Options, Row};
use crate::Error;
use crate::cold::Files;
use crate::mixed::Condition;
use crate::slow_disk::{Means, Slowness};

/// How long a hot request may take, at the 99th percentile.
const P99_US_MAX: f64 = 5_000.0;
const SMALL_BYTES: u64 = 4 << 10;
const CLIENTS: (usize, usize) = (16, 32);

/// What is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scenario {
    LargeFiles,
    Names,
    Reads,
    Opens,
    OpensThatHang,
}

impl Scenario {
    const ALL: [Scenario; 5] = [
        Scenario::LargeFiles,
        Scenario::Names,
        Scenario::Reads,
        Scenario::Opens,
        Scenario::OpensThatHang,
    ];

    fn name(self) -> &'static str {
        match self {
            Scenario::LargeFiles => "cold 4 MiB files",
            Scenario::Names => "cold directory entries",
            Scenario::Reads => "FUSE reads of 400 ms",
            Scenario::Opens => "FUSE opens of 1.5 s",
            Scenario::OpensThatHang => "FUSE opens that hang",
        }
    }

    fn slow(self) -> (Slowness, Means) {
        let delays = |open, read| (Slowness::Delays { open, read }, Means::Fuse);
        match self {
            Scenario::LargeFiles | Scenario::Names => (Slowness::Reads(IOPS), Means::Blkio),
            Scenario::Reads => delays(Duration::ZERO, Duration::from_millis(400)),
            Scenario::Opens => delays(Duration::from_millis(1500), Duration::ZERO),
            Scenario::OpensThatHang => delays(Duration::MAX, Duration::ZERO),
        }
    }

    /// Whether each file is asked for once: a server keeps what it has opened or looked up.
    fn is_once(self) -> bool {
        !matches!(self, Scenario::LargeFiles | Scenario::Reads)
    }

    /// The cold files, but where they are.
    fn files(self, options: &Options) -> Files {
        let (count, size) = match self {
            Scenario::LargeFiles => (options.large_files, 4 << 20),
            Scenario::Reads => (options.large_files * 8, 64 << 10),
            Scenario::Names | Scenario::Opens | Scenario::OpensThatHang => {
                (options.names, SMALL_BYTES)
            }
        };
        Files {
            dir: "cold".into(),
            count,
            size,
            nested: self == Scenario::Names,
        }
    }
}

/// Each, on each filesystem.
fn all() -> impl Iterator<Item = (Scenario, Filesystem)> {
    let scenarios = Scenario::ALL.into_iter();
    scenarios.flat_map(|one| Filesystem::ALL.map(|filesystem| (one, filesystem)))
}

fn name(scenario: Scenario, filesystem: Filesystem) -> String {
    format!("{} on {filesystem}", scenario.name())
}

pub(super) const ROW: Row = Row {
    number: 5,
    work: "the same with slow files of every kind",
    goals: || {
        let cells = all().flat_map(|(one, filesystem)| {
            DISKS.map(|(disk, _)| format!("{}, {disk}", name(one, filesystem)))
        });
        cells.flat_map(goals).collect()
    },
    run,
    cells: |options| all().count() * DISKS.len() * 2 * options.rounds,
    wants_two: true,
};

fn goals(who: String) -> Vec<super::Goal> {
    let mut goals = slow::isolation(&who, true);
    let cold = mix::who(&who, Condition::Cold);
    goals.push(super::Goal::of(format!("{who}: hot p99, us"), HOT_P99, cold).at_most(P99_US_MAX));
    goals
}

fn run(stage: &mut Stage<'_>) -> Result<(), Error> {
    ground::enter_own_mounts()?;
    for (scenario, filesystem) in all() {
        if stage.interrupt.is_set() {
            break;
        }
        let before = stage.number;
        if let Err(why) = measure(stage, scenario, filesystem) {
            stage.refuse(&name(scenario, filesystem), &why.to_string());
        }
        // Whatever became of it.
        stage.number = before + DISKS.len() * 2 * stage.options.rounds;
    }
    Ok(())
}

fn measure(stage: &mut Stage<'_>, scenario: Scenario, filesystem: Filesystem) -> Result<(), Error> {
    let (slow, files) = (scenario.slow(), scenario.files(stage.options));
    let ground = match scenario {
        Scenario::Names => Ground::of_image(stage, &files, filesystem)?,
        _ => Ground::of_directory(stage, &files, filesystem)?,
    };
    // FUSE goes over what the server sees. The page cache is that of the files below.
    let cold = match slow.1 {
        Means::Fuse => ground.root.join("cold"),
        Means::Blkio => ground.below.join("cold"),
    };
    let plan = Plan {
        files: Files { dir: cold, ..files },
        clients: CLIENTS,
        conditions: vec![Condition::Warm, Condition::Cold],
        once: scenario.is_once(),
        slow: Some(slow),
    };
    let cpus = stage.server_processors();
    let start = |(disk, word): (&str, &str)| {
        let name = format!("{}, {disk}", name(scenario, filesystem));
        let started = stage.ours(&name, &ground.root, (1, word), &cpus);
        (name, started)
    };
    let started = DISKS.map(start).into_iter().collect();
    let contestants: Vec<Contestant> = stage.those_that_started(started);
    mix::run(stage, &plan, &contestants, 0..stage.options.rounds)
}
