//! The site of a world: what its files hold, how they change, and each version that they have had.

use std::sync::LazyLock;
use std::time::Duration;

use super::plan::{Alteration, Change, FILES, LARGE, LISTED, Plan};
use super::request::file;
use super::time::DAY_ONE;
use crate::sim::disk::Control;

/// Where files are listed.
pub(super) const DIRECTORY: &str = "list";
/// Files that one path may lead to, one after the other.
const GENERATIONS: usize = 4;
/// How much longer than at first a file may become.
const GROWTH_MAX: usize = 5000;

/// The bytes that a file may have: in place it grows and shrinks within them, so that each version is a beginning.
pub(super) fn content(number: usize, generation: usize) -> &'static [u8] {
    static CONTENTS: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| {
        let all = FILES.iter().chain([&LARGE]).chain(&LISTED).enumerate();
        let one = |number, size, generation| {
            let byte = |at| byte(number, generation, at);
            (0..size + GROWTH_MAX).map(byte).collect()
        };
        all.map(|(number, (_, size, _))| {
            let generations = 0..GENERATIONS;
            generations
                .map(|one_of| one(number, *size, one_of))
                .collect()
        })
        .collect()
    });
    &CONTENTS[number][generation]
}

fn byte(number: usize, generation: usize, at: usize) -> u8 {
    let file = (number + 100 * generation) as u32;
    let mixed = (at as u32).wrapping_mul(0x9E37_79B1) ^ file.wrapping_mul(0x85EB_CA6B);
    (mixed >> 24) as u8
}

/// A version of a file.
#[derive(Clone, Debug)]
pub(super) struct Version {
    /// How often the file had been replaced.
    generation: usize,
    pub(super) size: usize,
    inode: u64,
    /// Nanoseconds since 1970.
    modified: u64,
    since: Duration,
    until: Duration,
}

impl Version {
    /// As the server writes it: device, inode, size, time of change.
    pub(super) fn tag(&self) -> String {
        let (seconds, rest) = (self.seconds(), self.modified % 1_000_000_000);
        format!(
            "\"0-{:x}-{:x}-{seconds:x}.{rest:x}\"",
            self.inode, self.size
        )
    }

    /// Of its time of change.
    pub(super) fn seconds(&self) -> u64 {
        self.modified / 1_000_000_000
    }

    /// Whether nothing had been changed yet.
    pub(super) fn is_first(&self) -> bool {
        self.since == Duration::ZERO
    }

    /// The bytes of file `number` in this version.
    pub(super) fn bytes(&self, number: usize) -> &'static [u8] {
        &content(number, self.generation)[..self.size]
    }
}

/// All files, and their versions, oldest first.
pub(super) struct Site {
    files: Vec<Vec<Version>>,
}

fn path(number: usize) -> String {
    format!("site/{}", file(number).0)
}

impl Site {
    /// Puts the files of `plan` on a disk.
    pub(super) fn new(disk: &Control, plan: &Plan) -> Site {
        let all = 0..FILES.len() + 1 + LISTED.len();
        let make = |number| {
            let (_, size, _) = file(number);
            if number == FILES.len() && !plan.large {
                return Vec::new();
            }
            put(disk, number, &content(number, 0)[..size]);
            vec![version(disk, number, 0, size, Duration::ZERO)]
        };
        Site {
            files: all.map(make).collect(),
        }
    }

    /// Changes a file, `now`.
    pub(super) fn change(&mut self, disk: &Control, change: &Alteration, now: Duration) {
        let number = change.file;
        let Some(last) = self.files[number].last_mut() else {
            return;
        };
        let all = content(number, last.generation).len();
        let amount = change.amount as usize;
        let (generation, size) = match change.change {
            Change::Replace if last.generation + 1 == GENERATIONS => return,
            Change::Replace => (last.generation + 1, amount % all),
            Change::Truncate => (last.generation, amount % (last.size + 1)),
            Change::Grow => (last.generation, all.min(last.size + amount)),
        };
        disk.set_clock((DAY_ONE + now).as_nanos() as u64);
        let bytes = &content(number, generation)[..size];
        match change.change {
            Change::Replace => put(disk, number, bytes),
            Change::Truncate | Change::Grow => disk.rewrite(&path(number), bytes.to_vec()),
        }
        last.until = now;
        let next = version(disk, number, generation, size, now);
        self.files[number].push(next);
    }

    /// The first version of a file; one that this site has not got has another's.
    pub(super) fn first(&self, number: usize) -> &Version {
        self.files[number].first().unwrap_or(&self.files[0][0])
    }

    /// The versions that a file had at some time of `window`.
    pub(super) fn versions(
        &self,
        number: usize,
        window: (Duration, Duration),
    ) -> impl Iterator<Item = &Version> {
        let (from, to) = window;
        let all = self.files[number].iter();
        all.filter(move |version| version.since <= to && version.until >= from)
    }

    /// Whether a file has lost bytes in place since then: an answer from it may break off.
    pub(super) fn has_shrunk(&self, number: usize, since: Duration) -> bool {
        self.files[number].windows(2).any(|pair| {
            let in_place = pair[0].generation == pair[1].generation;
            in_place && pair[1].since >= since && pair[1].size < pair[0].size
        })
    }
}

/// A new file takes the path of the old.
fn put(disk: &Control, number: usize, bytes: &[u8]) {
    let path = path(number);
    disk.file(&path, bytes.to_vec());
    if !file(number).2 {
        disk.cold(&path);
    }
}

fn version(
    disk: &Control,
    number: usize,
    generation: usize,
    size: usize,
    since: Duration,
) -> Version {
    let (inode, modified) = disk.stamp(&path(number)).expect("it was put there");
    Version {
        generation,
        size,
        inode,
        modified,
        since,
        until: Duration::MAX,
    }
}
