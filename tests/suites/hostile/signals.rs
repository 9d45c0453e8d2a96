//! Signals under load: stopped and continued, told of broken pipes, told to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ambidex_tests::rig::load::Tally;
use ambidex_tests::server::{Server, backends, eventually};
use rustix::process::Signal;

use crate::stage::{Effort, Promise, Report, Site, effort, expect_normal, requests};

/// What is sent again and again, and what holds then.
const STORMS: &[(&str, &[Signal], Effort)] = &[
    (
        "SIGSTOP and SIGCONT",
        &[Signal::STOP, Signal::CONT],
        Effort::Quick,
    ),
    ("SIGPIPE", &[Signal::PIPE], Effort::Ci),
    (
        "SIGURG, SIGWINCH and SIGCHLD",
        &[Signal::URG, Signal::WINCH, Signal::CHILD],
        Effort::Long,
    ),
];

/// Sends `signals` over and over beside `work`; the last of them is the last that is sent.
fn storm<R>(server: &Server, signals: &[Signal], work: impl FnOnce() -> R) -> R {
    let over = Over(AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.0.load(Ordering::SeqCst) {
                for &signal in signals {
                    server.signal(signal);
                    // How long the server is in each state: what the storm is, not what is waited for.
                    thread::sleep(Duration::from_millis(3));
                }
            }
        });
        let _end = End(&over.0);
        work()
    })
}

struct Over(AtomicBool);

/// Ends the storm when `work` ends, by a panic too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn signals_under_load() {
    let mut report = Report::new("signals");
    let site = Site::new();
    for backend in backends() {
        for (what, signals, _) in STORMS.iter().filter(|storm| effort() >= storm.2) {
            let name = format!("{what}, on {}", backend.name());
            let server = site.builder(backend).start();
            let load = site.load(&server);
            let mut tally = storm(&server, signals, || load.run(requests()));
            tally.expect_right(&name);
            tally.add(expect_normal(server, &load, &name));
            report.cell(&name, tally);
        }
        let name = format!("SIGTERM, on {}", backend.name());
        report.cell(
            &name,
            told_to_end(&site, site.builder(backend).start(), &name),
        );
    }
    report.finish();
}

/// What is on its way arrives; afterwards nobody listens.
fn told_to_end(site: &Site, mut server: Server, name: &str) -> Tally {
    let load = site.load(&server).start();
    eventually("the load is under way", || load.ended() > 50);
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{name}: {}", server.stderr());
    server.assert_sound();
    let tally = load.finish();
    Promise::Honest.check(&tally, name);
    tally
}
