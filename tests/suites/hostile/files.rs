//! A FUSE file system beside an ordinary one: slow, hung, failing, and with files that change while they
//! are served. Whoever asks for ordinary files gets all of them right, all the time.

use std::time::Duration;

use ambidex_tests::rig::fuse::{self, CACHED, Pace, Rig, Script, UNCACHED};
use ambidex_tests::rig::load::{Load, Page, Tally};
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{Backend, HANG_GUARD, Server, backends, eventually};
use ambidex_tests::tree::content;

use crate::stage::Promise::{Honest, Hung, Right};
use crate::stage::{
    AFTERWARDS, CLIENTS, Effort, Promise, Report, Site, effort, expect_normal, requests,
};

const SIZE: usize = 300_000;

/// What is wrong with the files, what holds for those who ask for them, from when on it is tried.
type Fault = (&'static str, fn(Script) -> Script, Promise, Effort);

const FAULTS: &[Fault] = &[
    (
        "reads of 80 ms",
        |file| file.read(Pace::After(Duration::from_millis(80))).direct(),
        Right,
        Effort::Ci,
    ),
    (
        "reads of 30 s",
        |file| file.read(Pace::After(Duration::from_secs(30))).direct(),
        Hung,
        Effort::Ci,
    ),
    (
        "endless reads",
        |file| file.read(Pace::Held).direct(),
        Hung,
        Effort::Quick,
    ),
    (
        "endless reads through the page cache",
        |file| file.read(Pace::Held),
        Hung,
        Effort::Long,
    ),
    (
        "endless reads from the middle on",
        |file| file.read_from(131_072, Pace::Held).direct(),
        Hung,
        Effort::Ci,
    ),
    (
        "endless opens",
        |file| file.open(Pace::Held),
        Hung,
        Effort::Long,
    ),
    ("EIO", |file| file.fail_from(0), Honest, Effort::Long),
    (
        "EIO from the middle on",
        |file| file.fail_from(140_000).direct(),
        Honest,
        Effort::Ci,
    ),
    (
        "EIO in one place",
        |file| file.fail_within(140_000, 140_001),
        Honest,
        Effort::Long,
    ),
    (
        "ESTALE from the middle on",
        |file| file.stale_from(140_000).direct(),
        Honest,
        Effort::Long,
    ),
    ("short reads", Script::short_reads, Right, Effort::Ci),
];

/// The order of the fields matters: what hangs is let go before the server can end, and the site last.
struct Stage {
    rig: Rig,
    server: Server,
    site: Site,
}

impl Stage {
    fn new(backend: Backend, ttl: Duration, script: Script, promise: Promise) -> Self {
        let site = Site::new();
        let at = site.path().join("rig");
        std::fs::create_dir(&at).expect("a new directory");
        let rig = Rig::mount(&at, ttl, vec![("file", script)]).expect("a mount");
        rig.warm("file").expect("a file");
        let server = site.builder(backend);
        let server = server
            .args(["--disk-deadline", promise.disk_deadline()])
            .start();
        Self { rig, server, site }
    }

    fn load(&self, page: Page) -> Load {
        Load::new(self.server.addr(), vec![page], CLIENTS)
    }

    fn end(self, cell: &str) -> Tally {
        let load = self.site.load(&self.server);
        drop(self.rig);
        expect_normal(self.server, &load, cell)
    }
}

fn broken(backend: Backend, fault: &Fault, report: &mut Report) {
    let &(what, script, promise, _) = fault;
    let name = format!("{what}, on {}", backend.name());
    let whole = content(40, SIZE);
    let stage = Stage::new(backend, CACHED, script(Script::new(whole.clone())), promise);
    let lame = stage.load(Page::new("/rig/file", whole.clone()));
    let hot = stage.site.hot_load(&stage.server);
    let running = lame.start();
    if promise == Hung {
        stage.rig.wait_held(1, HANG_GUARD);
    }
    let mut tally = Tally::default();
    let mut rounds = 0;
    // Until each client has been answered, whatever that takes.
    while rounds == 0 || running.ended() < CLIENTS as u64 {
        let part = hot.run(requests());
        part.expect_right(&name);
        tally.add(part);
        rounds += 1;
    }
    assert!(
        promise != Hung || stage.rig.held() > 0,
        "{name}: nothing hung any more"
    );
    stage.rig.change("file", |_| Script::new(whole.clone()));
    stage.rig.release();
    let lamed = running.finish();
    promise.check(&lamed, &name);
    tally.add(lamed);
    let after = lame.run(AFTERWARDS);
    after.expect_right(&format!("{name}, afterwards"));
    tally.add(after);
    tally.add(stage.end(&name));
    report.cell(&name, tally);
}

/// Has `change` make each of the `versions` of the file in turn while it is served.
fn changed(
    backend: Backend,
    what: &str,
    versions: Vec<Vec<u8>>,
    promise: Promise,
    change: impl Fn(&Rig, Script),
    report: &mut Report,
) {
    let name = format!("a file that is {what}, on {}", backend.name());
    let slow = |bytes: &Vec<u8>| {
        let pace = Pace::After(Duration::from_millis(2));
        Script::new(bytes.clone()).read(pace).direct()
    };
    let stage = Stage::new(backend, UNCACHED, slow(&versions[0]), promise);
    let changing = stage.load(Page::versions("/rig/file", versions.clone()));
    let hot = stage.site.hot_load(&stage.server);
    let running = changing.start();
    let mut tally = Tally::default();
    for round in 1..=requests() / 10 {
        let served = running.ended();
        change(&stage.rig, slow(&versions[round % versions.len()]));
        let part = hot.run(2);
        part.expect_right(&name);
        tally.add(part);
        eventually("the file is served", || running.ended() > served);
    }
    let changed = running.finish();
    promise.check(&changed, &name);
    assert!(changed.right > 0, "{name}: never right");
    tally.add(changed);
    let after = changing.run(AFTERWARDS);
    // A part that the last version does not have is refused.
    assert_eq!(after.cut, 0, "{name}, afterwards");
    tally.add(after);
    tally.add(stage.end(&name));
    report.cell(&name, tally);
}

#[test]
fn files_that_hang_fail_or_change() {
    let mut report = Report::new("files on FUSE");
    if let Some(reason) = fuse::missing() {
        skipped("files_that_hang_fail_or_change", &reason);
        return report.finish();
    }
    for backend in backends() {
        for fault in FAULTS.iter().filter(|fault| effort() >= fault.3) {
            broken(backend, fault, &mut report);
        }
        let sizes = [SIZE, 200_000, 500_000, 0, 131_072, 1];
        let resized = sizes.map(|size| content(41, size)).to_vec();
        let change = |rig: &Rig, script| rig.change("file", |_| script);
        changed(
            backend,
            "cut and grown",
            resized,
            Honest,
            change,
            &mut report,
        );
        if effort() > Effort::Quick {
            let replaced = (50..54).map(|seed| content(seed, SIZE)).collect();
            let replace = |rig: &Rig, script| rig.replace("file", script);
            changed(backend, "replaced", replaced, Right, replace, &mut report);
        }
    }
    report.finish();
}
