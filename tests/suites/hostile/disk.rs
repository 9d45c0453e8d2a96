//! A disk that gives some reads a second: what is in memory is served beside those who wait for it.

use std::io;

use ambidex_tests::rig::blkio::Throttle;
use ambidex_tests::rig::load::Load;
use ambidex_tests::rig::skipped;
use ambidex_tests::server::{Backend, backends};

use crate::stage::{CLIENTS, Effort, Report, Site, effort, expect_normal, requests};

fn cell(backend: Backend, reads_per_second: u64, report: &mut Report) -> io::Result<()> {
    let name = format!("{reads_per_second} reads a second, on {}", backend.name());
    let site = Site::new();
    let server = site.builder(backend).start();
    let all = site.load(&server);
    all.run(1).expect_right(&name);
    // After the server, so that it is dropped before it and lets reads in flight go.
    let throttle = Throttle::new(site.path(), reads_per_second)?;
    throttle.attach(server.pid())?;
    let cold = Load::new(server.addr(), site.cold.clone(), CLIENTS).start();
    let mut tally = site.hot_load(&server).run(requests());
    tally.expect_right(&name);
    throttle.limit(0)?;
    let waited = cold.finish();
    waited.expect_right(&name);
    tally.add(waited);
    drop(throttle);
    tally.add(expect_normal(server, &all, &name));
    report.cell(&name, tally);
    Ok(())
}

#[test]
fn disks_that_are_throttled() {
    let mut report = Report::new("throttled disk");
    let rates: &[u64] = match effort() {
        Effort::Quick => &[200],
        Effort::Ci => &[20],
        Effort::Long => &[5, 20, 200],
    };
    for backend in backends() {
        for &rate in rates {
            if let Err(error) = cell(backend, rate, &mut report) {
                skipped(
                    "disks_that_are_throttled",
                    &format!("cgroup v1 blkio: {error}"),
                );
                return report.finish();
            }
        }
    }
    report.finish();
}
