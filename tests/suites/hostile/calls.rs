//! System calls that fail now and then, by `strace -e inject`.
//!
//! Each call with the errors that its manual page, or the kernel's source, names for it. Left out, since
//! no kernel does it and no program could live with it:
//! - `EAGAIN` of `recvfrom`, `sendmsg` and `accept4` while there is something to do: an edge that was
//!   reported is not reported again;
//! - any error of `write` to an eventfd that nobody reads, and of `futex` that wakes: the injection
//!   takes the wake away, while the kernel's own `EAGAIN` and `EINTR` of these leave it done;
//! - `ENOMEM` of `mmap` and `brk`: an allocation fails, and Rust's standard library ends the process;
//! - `EBADF`, `EFAULT`, `EINVAL`: faults of the program.
//!
//! An injected error of `close` leaves the descriptor open, which the kernel never does.

use ambidex_tests::client::get;
use ambidex_tests::rig::strace::{self, Call, Tracer};
use ambidex_tests::rig::{skipped, thread_names};
use ambidex_tests::server::{Backend, backends, eventually};
use tempfile::TempDir;

use crate::stage::Promise::{Honest, Right};
use crate::stage::{Effort, Promise, Report, Site, effort, expect_normal, is_chosen, requests};

/// A call that only one backend makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Both,
    Only(Backend),
}

/// A call, who makes it, its errors, what holds then, and from when on it is tried.
type Fault = (&'static str, On, &'static [&'static str], Promise, Effort);

const BOTH: On = On::Both;
const RING: On = On::Only(Backend::Uring);
const POOL: On = On::Only(Backend::Threads);

const FAULTS: &[Fault] = &[
    ("epoll_pwait2", BOTH, &["EINTR"], Right, Effort::Ci),
    ("io_uring_enter", RING, &["EBUSY"], Right, Effort::Quick),
    (
        "io_uring_enter",
        RING,
        &["EAGAIN", "ENOMEM"],
        Right,
        Effort::Ci,
    ),
    ("io_uring_enter", RING, &["EINTR"], Right, Effort::Long),
    (
        "accept4",
        BOTH,
        &["EINTR", "ECONNABORTED"],
        Right,
        Effort::Long,
    ),
    (
        "accept4",
        BOTH,
        &["EPROTO", "EPERM", "ENETDOWN"],
        Right,
        Effort::Long,
    ),
    ("accept4", BOTH, &["EMFILE"], Honest, Effort::Ci),
    (
        "accept4",
        BOTH,
        &["ENFILE", "ENOBUFS", "ENOMEM"],
        Honest,
        Effort::Long,
    ),
    ("recvfrom", BOTH, &["EINTR"], Right, Effort::Long),
    ("recvfrom", RING, &["ENOMEM"], Honest, Effort::Ci),
    (
        "recvfrom",
        BOTH,
        &["ENOBUFS", "ECONNRESET", "ETIMEDOUT"],
        Honest,
        Effort::Long,
    ),
    ("sendmsg", BOTH, &["EINTR"], Right, Effort::Long),
    ("sendmsg", BOTH, &["ENOMEM"], Honest, Effort::Ci),
    (
        "sendmsg",
        BOTH,
        &["ENOBUFS", "EPIPE", "ECONNRESET"],
        Honest,
        Effort::Long,
    ),
    ("epoll_ctl", RING, &["ENOMEM"], Honest, Effort::Ci),
    (
        "epoll_ctl",
        BOTH,
        &["ENOSPC", "ENOMEM"],
        Honest,
        Effort::Long,
    ),
    (
        "setsockopt",
        BOTH,
        &["ENOMEM", "ENOBUFS"],
        Right,
        Effort::Long,
    ),
    ("shutdown", BOTH, &["ENOTCONN"], Right, Effort::Long),
    ("close", BOTH, &["EINTR", "EIO"], Right, Effort::Long),
    ("statx", BOTH, &["ENOMEM"], Honest, Effort::Long),
    ("openat2", POOL, &["EAGAIN"], Right, Effort::Ci),
    ("openat2", POOL, &["EINTR"], Right, Effort::Long),
    ("openat2", POOL, &["EMFILE"], Honest, Effort::Ci),
    ("openat2", POOL, &["ENFILE", "ENOMEM"], Honest, Effort::Long),
    ("preadv2", POOL, &["EINTR"], Right, Effort::Quick),
    ("preadv2", POOL, &["EAGAIN"], Right, Effort::Long),
    ("preadv2", POOL, &["EIO"], Honest, Effort::Ci),
    ("preadv2", POOL, &["ENOMEM"], Honest, Effort::Long),
    ("clone3", POOL, &["EAGAIN"], Right, Effort::Ci),
    ("clone3", POOL, &["ENOMEM"], Right, Effort::Long),
];

/// One cell: `call` fails with `errno` on the occasions that `when` says, for each thread anew.
struct Cell<'a> {
    call: &'a str,
    errno: &'a str,
    when: &'a str,
    backend: Backend,
    promise: Promise,
}

impl Cell<'_> {
    fn name(&self) -> String {
        let (call, errno, when) = (self.call, self.errno, self.when);
        format!("{call} {errno} {when} on {}", self.backend.name())
    }

    fn run(&self, site: &Site, report: &mut Report) {
        let Cell {
            call,
            errno,
            when,
            backend,
            promise,
        } = self;
        let name = self.name();
        let folder = TempDir::new().expect("a temporary directory");
        let server = site.builder(*backend).start();
        let load = site.load(&server);
        let (trace, inject) = (
            format!("trace={call}"),
            format!("inject={call}:error={errno}:when={when}"),
        );
        let options = ["-e", trace.as_str(), "-e", inject.as_str()];
        let file = folder.path().join("trace");
        let needs_threads = *call == "clone3";
        if needs_threads {
            // Who has answered has started up, which takes a thread of the pool.
            load.run(1).expect_right(&name);
            eventually("the threads of the pool end when idle", || {
                !thread_names(server.pid()).contains(&"ambidex-disk".to_owned())
            });
        }
        // From the first request on: some calls are made then or never.
        let tracer = Tracer::attach(server.pid(), &file, &options).expect("strace attaches");
        if needs_threads {
            // Nothing knows this name yet, so the file system itself is asked, which may take long. A cold
            // read is not always enough: a quick disk answers within the attempt not to wait.
            assert_eq!(get(server.addr(), "/nothing").status, 404, "{name}");
        }
        let mut tally = load.run(requests());
        let calls = tracer.finish().expect("strace writes");
        promise.check(&tally, &name);
        assert!(tally.right > 0, "{name}: nobody was served");
        let met = calls.iter().any(Call::injected);
        assert!(met, "{name}: the call was never made");
        tally.add(expect_normal(server, &load, &name));
        report.cell(&name, tally);
    }
}

#[test]
fn system_calls_that_fail_now_and_then() {
    let mut report = Report::new("system calls");
    if let Some(reason) = strace::missing() {
        skipped("system_calls_that_fail_now_and_then", &reason);
        return report.finish();
    }
    let site = Site::new();
    for &(call, on, errnos, promise, from) in FAULTS {
        if effort() < from {
            continue;
        }
        let patterns: &[&str] = match (effort(), promise) {
            // Made by one thread, and as often as it needs others: nobody knows how often that is.
            _ if call == "clone3" => &["1+2"],
            // Each second time, which nobody would get past where clients notice.
            (Effort::Long, Right) => &["2+3", "1+2", "5+7"],
            (Effort::Long, _) => &["2+3", "5+7"],
            _ => &["2+3"],
        };
        for backend in backends() {
            if on != BOTH && on != On::Only(backend) {
                continue;
            }
            for (errno, when) in errnos
                .iter()
                .flat_map(|errno| patterns.iter().map(move |when| (errno, when)))
            {
                let cell = Cell {
                    call,
                    errno,
                    when,
                    backend,
                    promise,
                };
                if is_chosen(&cell.name()) {
                    cell.run(&site, &mut report);
                }
            }
        }
    }
    report.finish();
}
