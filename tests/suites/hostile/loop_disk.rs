//! A disk that fails or hangs below ext4: buffered reads and read-ahead of a real file system meet it.

use std::path::Path;
use std::time::Duration;

use ambidex_tests::rig::fuse::Pace;
use ambidex_tests::rig::load::{Load, Page};
use ambidex_tests::rig::loopdisk::{self, LoopDisk};
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{Backend, HANG_GUARD, Server, backends};
use ambidex_tests::tree::{content, content_at};

use crate::stage::Promise::{Honest, Hung, Right};
use crate::stage::{
    AFTERWARDS, CLIENTS, Effort, Promise, Report, Site, effort, expect_normal, requests,
};

const FILES: u64 = 3;
const SEED: u64 = 60;
const SIZE: usize = 1_000_000;
/// In the middle of a body, and the first of a block.
const BROKEN: u64 = 100 * 4096;

type Fault = (&'static str, fn(&LoopDisk), Promise, Effort);

const FAULTS: &[Fault] = &[
    (
        "EIO below ext4",
        |disk| disk.fail(&content_at(SEED, BROKEN, 4096)),
        Honest,
        Effort::Quick,
    ),
    (
        "20 ms a read below ext4",
        |disk| disk.pace(Pace::After(Duration::from_millis(20))),
        Right,
        Effort::Ci,
    ),
    (
        "endless reads below ext4",
        |disk| disk.pace(Pace::Held),
        Hung,
        Effort::Ci,
    ),
];

/// The order of the fields matters: the disk is let go before the server can end, and the site last.
struct Stage {
    disk: LoopDisk,
    server: Server,
    site: Site,
    pages: Vec<Page>,
}

impl Stage {
    fn new(backend: Backend, promise: Promise) -> Self {
        let site = Site::new();
        let at = site.path().join("disk");
        std::fs::create_dir(&at).expect("a new directory");
        let files = tempfile::tempdir().expect("a temporary directory");
        let pages = (0..FILES).map(|n| page(files.path(), &at, n)).collect();
        let disk = LoopDisk::mount(&at, files.path()).expect("a disk");
        let server = site
            .builder(backend)
            .args(["--disk-deadline", promise.disk_deadline()])
            .start();
        Self {
            disk,
            server,
            site,
            pages,
        }
    }
}

fn page(files: &Path, at: &Path, n: u64) -> Page {
    let (name, bytes) = (format!("file{n}"), content(SEED + n, SIZE));
    std::fs::write(files.join(&name), &bytes).expect("a new file");
    Page::new(format!("/disk/{name}"), bytes).cold(&at.join(&name))
}

fn cell(backend: Backend, fault: &Fault, report: &mut Report) {
    let &(what, begin, promise, _) = fault;
    let name = format!("{what}, on {}", backend.name());
    let stage = Stage::new(backend, promise);
    let server = &stage.server;
    let lame = Load::new(server.addr(), stage.pages.clone(), CLIENTS);
    let hot = stage.site.hot_load(server);
    let mut tally = lame.run(AFTERWARDS / 4);
    tally.expect_right(&name);
    begin(&stage.disk);
    let running = lame.start();
    if promise == Hung {
        stage.disk.rig().wait_held(1, HANG_GUARD);
    }
    let mut rounds = 0;
    while rounds == 0 || running.ended() < CLIENTS as u64 {
        let part = hot.run(requests());
        part.expect_right(&name);
        tally.add(part);
        rounds += 1;
    }
    assert!(
        promise != Hung || stage.disk.rig().held() > 0,
        "{name}: nothing hung any more"
    );
    stage.disk.heal();
    let lamed = running.finish();
    promise.check(&lamed, &name);
    assert!(
        promise == Right || lamed.cut + lamed.refused > 0,
        "{name}: nobody met it"
    );
    tally.add(lamed);
    let after = lame.run(AFTERWARDS / 2);
    after.expect_right(&format!("{name}, afterwards"));
    tally.add(after);
    let load = stage.site.load(&stage.server);
    drop(stage.disk);
    tally.add(expect_normal(stage.server, &load, &name));
    report.cell(&name, tally);
}

#[test]
fn disks_that_fail_or_hang_below_ext4() {
    let mut report = Report::new("ext4 on a loop device");
    if let Some(reason) = loopdisk::missing() {
        skipped("disks_that_fail_or_hang_below_ext4", &reason);
        return report.finish();
    }
    for backend in backends() {
        for fault in FAULTS.iter().filter(|fault| effort() >= fault.3) {
            cell(backend, fault, &mut report);
        }
    }
    report.finish();
}
