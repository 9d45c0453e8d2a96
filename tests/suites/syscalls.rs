//! What the uring backend asks of the kernel, seen by `strace`: one place to sleep, and one
//! `io_uring_enter` for the disk work of many requests.
//!
//! To make the batch certain and not a matter of luck, the server is stopped (SIGSTOP) while the
//! requests arrive, so that it finds them all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ambidex_tests::client::Client;
use ambidex_tests::rig::strace::{self, Call};
use ambidex_tests::rig::{skipped, thread_names};
use ambidex_tests::server::{Backend, Server, backends, eventually};
use ambidex_tests::tree::{Tree, content};
use rustix::process::Signal;
use tempfile::TempDir;

const FILES: usize = 32;

/// Calls that may put a thread to sleep for longer than one operation, other than `epoll_pwait2`.
const SLEEPS: [&str; 11] = [
    "epoll_wait",
    "epoll_pwait",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "nanosleep",
    "clock_nanosleep",
    "pause",
    "rt_sigtimedwait",
    "futex",
];

/// Calls that do for one file what the ring does for many.
///
/// `statx` is not among them: of an open local file it waits for nothing, while the ring would
/// hand it to a worker thread.
const FILE_CALLS: [&str; 10] = [
    "open",
    "openat",
    "openat2",
    "read",
    "readv",
    "pread64",
    "preadv",
    "preadv2",
    "mmap",
    "readahead",
];

/// A server under `strace`.
struct Traced {
    server: Server,
    tree: Tree,
    folder: TempDir,
}

impl Traced {
    /// A server that opens and reads its files for each request. `None` where this machine cannot run it.
    fn start(name: &str) -> Option<Self> {
        Self::start_with(name, &["--open-file-cache", "0"])
    }

    fn start_with(name: &str, args: &[&str]) -> Option<Self> {
        if let Some(reason) = strace::missing() {
            skipped(name, &reason);
            return None;
        }
        if !backends().contains(&Backend::Uring) {
            skipped(name, "no io_uring");
            return None;
        }
        let tree = Tree::new();
        for file in 0..FILES {
            tree.file(format!("file{file}"), content(file as u64, 1024));
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let wrapper = strace::wrapper(&folder.path().join("trace"), &[]);
        let server = Server::builder(tree.path())
            .backend(Backend::Uring)
            .args(args)
            .wrapper(&wrapper)
            .start();
        Some(Self {
            server,
            tree,
            folder,
        })
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    fn text(&self) -> String {
        let bytes = fs::read(self.trace()).expect("strace writes");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Stops every thread of the server, and returns when `strace` has written that it did.
    fn stop(&self) {
        let stops = |text: &str| text.matches("--- stopped by SIGSTOP ---").count();
        let before = stops(&self.text());
        let threads = threads(self.server.pid());
        self.server.signal(Signal::STOP);
        eventually("the server stops", || {
            stops(&self.text()) >= before + threads
        });
    }

    /// The calls the server makes to answer what `ask` asks, all there at once, until `expect` has it.
    fn answer<T>(&self, ask: impl FnOnce() -> T, expect: impl FnOnce(T)) -> Vec<Call> {
        self.stop();
        let before = self.text().len();
        let asked = ask();
        self.server.signal(Signal::CONT);
        expect(asked);
        self.stop();
        let calls = strace::parse(&self.text()[before..]);
        self.server.signal(Signal::CONT);
        calls
    }

    /// The calls the server makes to answer one request on each of `clients`, all there at once.
    fn answer_at_once(&self, clients: &mut [Client]) -> Vec<Call> {
        let ask = || {
            ask(clients, FILES, "");
            clients
        };
        self.answer(ask, |clients| expect_answers(clients, FILES))
    }

    /// The names of the calls on each connection of a client that asks once and says close, all of them there
    /// at once, and for so many files.
    fn close_after_one(&self, files: usize) -> Vec<Vec<String>> {
        let ask = || {
            let connect = |_| Client::connect(self.server.addr());
            let mut clients: Vec<_> = (0..FILES).map(connect).collect();
            ask(&mut clients, files, "Connection: close\r\n");
            clients
        };
        let calls = self.answer(ask, |mut clients| {
            expect_answers(&mut clients, files);
            clients.iter_mut().for_each(Client::expect_closed);
        });
        let (mut open, mut closed) = (BTreeMap::new(), Vec::new());
        for call in calls {
            let descriptor = match call.name.as_str() {
                "accept4" => {
                    open.extend(call.returned().filter(|&fd| fd >= 0).map(|fd| (fd, vec![])));
                    continue;
                }
                "epoll_ctl" => call.number(2),
                // Asked by debug builds of the standard library before they close.
                "fcntl" => continue,
                _ => call.number(0),
            };
            let Some(descriptor) = descriptor else {
                continue;
            };
            let is_end = call.name == "close";
            if let Some(names) = open.get_mut(&descriptor) {
                names.push(call.name);
            }
            if is_end {
                closed.extend(open.remove(&descriptor));
            }
        }
        assert_eq!((open.len(), closed.len()), (0, FILES));
        closed
    }

    fn finish(mut self) -> Vec<Call> {
        assert_eq!(self.server.terminate().code(), Some(0));
        strace::read(&self.trace()).expect("strace writes")
    }
}

/// Asks for a file on each connection, one of so many, with these further header fields.
fn ask(clients: &mut [Client], files: usize, fields: &str) {
    for (client, file) in clients.iter_mut().zip((0..files).cycle()) {
        let request = format!("GET /file{file} HTTP/1.1\r\nHost: test\r\n{fields}\r\n");
        client.send(request.as_bytes());
    }
}

fn expect_answers(clients: &mut [Client], files: usize) {
    for (client, file) in clients.iter_mut().zip((0..files).cycle()) {
        let response = client.read_response(false);
        assert_eq!(response.status, 200);
        assert!(response.body == content(file as u64, 1024), "file{file}");
    }
}

/// Threads that `strace` follows: those of the program, and not the kernel's I/O workers.
fn threads(pid: u32) -> usize {
    let names = thread_names(pid);
    names
        .iter()
        .filter(|name| !name.starts_with("iou-"))
        .count()
}

fn named<'a>(calls: &'a [Call], name: &'a str) -> impl Iterator<Item = &'a Call> {
    calls.iter().filter(move |call| call.name == name)
}

/// Clients that each have fetched a page, so that all is accepted, opened once and in memory.
fn warm_clients(server: &Server) -> Vec<Client> {
    let warm = |file| {
        let mut client = Client::connect(server.addr());
        assert_eq!(client.get(&format!("/file{file}")).status, 200);
        client
    };
    (0..FILES).map(warm).collect()
}

#[test]
fn ring_rings_the_epoll_set() {
    let Some(traced) = Traced::start("ring_rings_the_epoll_set") else {
        return;
    };
    warm_clients(&traced.server);
    let calls = traced.finish();

    let made: BTreeSet<_> = named(&calls, "eventfd2")
        .filter_map(Call::returned)
        .collect();
    // A duplicate is the same eventfd.
    let duplicates = |eventfd| {
        named(&calls, "fcntl")
            .filter(move |call| call.number(0) == Some(eventfd))
            .filter(|call| call.arg(1).starts_with("F_DUPFD"))
            .filter_map(Call::returned)
    };
    let registered: Vec<i64> = named(&calls, "io_uring_register")
        .filter(|call| call.arg(1) == "IORING_REGISTER_EVENTFD" && call.returned() == Some(0))
        .filter_map(|call| {
            call.arg(2)
                .strip_prefix('[')?
                .split('<')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    assert!(!registered.is_empty(), "no eventfd is registered");
    for eventfd in registered {
        assert!(made.contains(&eventfd), "{eventfd} is no eventfd");
        let names: BTreeSet<_> = duplicates(eventfd).chain([eventfd]).collect();
        let added = named(&calls, "epoll_ctl")
            .filter(|call| call.arg(1) == "EPOLL_CTL_ADD")
            .filter(|call| call.number(2).is_some_and(|fd| names.contains(&fd)))
            .any(|call| call.returned() == Some(0) && call.args.contains("EPOLLET"));
        assert!(
            added,
            "eventfd {eventfd} is not in an epoll set with EPOLLET"
        );
    }
    let read = calls
        .iter()
        .find(|call| call.name.contains("read") && call.arg(0).ends_with("<anon_inode:[eventfd]>"));
    assert_eq!(read, None, "an eventfd is read");
}

#[test]
fn one_place_to_sleep() {
    let Some(traced) = Traced::start("one_place_to_sleep") else {
        return;
    };
    let mut clients = warm_clients(&traced.server);
    let calls = traced.answer_at_once(&mut clients);
    let loops: BTreeSet<u32> = named(&calls, "epoll_pwait2")
        .map(|call| call.thread)
        .collect();
    assert!(!loops.is_empty(), "no thread sleeps in epoll_pwait2");
    for call in calls.iter().filter(|call| loops.contains(&call.thread)) {
        assert!(!SLEEPS.contains(&call.name.as_str()), "{call:?}");
        if call.name == "io_uring_enter" {
            assert_eq!(call.number(2), Some(0), "waits for completions: {call:?}");
        }
    }
    drop(clients);
    traced.finish();
}

#[test]
fn one_enter_for_many_files() {
    let Some(traced) = Traced::start("one_enter_for_many_files") else {
        return;
    };
    let mut clients = warm_clients(&traced.server);
    let calls = traced.answer_at_once(&mut clients);

    let enters: Vec<_> = named(&calls, "io_uring_enter").collect();
    let submitted: i64 = enters.iter().filter_map(|call| call.returned()).sum();
    assert!(
        submitted >= FILES as i64,
        "{submitted} operations for {FILES} files"
    );
    let batched = enters.iter().any(|call| call.number(1) > Some(1));
    assert!(batched, "each enter submits one operation: {enters:#?}");
    assert!(
        enters.len() < FILES,
        "{} enters for {FILES} files: {enters:#?}",
        enters.len()
    );
    assert_no_call_per_file(&calls, traced.tree.path());
    drop(clients);
    traced.finish();
}

fn assert_no_call_per_file(calls: &[Call], root: &Path) {
    let root = root.to_str().expect("UTF-8");
    let mut on_files = calls
        .iter()
        .filter(|call| FILE_CALLS.contains(&call.name.as_str()))
        .filter(|call| call.args.contains(root) || call.args.contains("\"file"));
    assert_eq!(on_files.next(), None, "a system call for one file");
}

#[test]
fn head_and_body_leave_at_once_and_together() {
    let Some(traced) = Traced::start("head and body together") else {
        return;
    };
    let mut client = Client::connect(traced.server.addr());
    assert_eq!(client.get("/file0").status, 200);
    let text = traced.text();
    // Inherited by what is accepted; without it the end of an answer may wait for an acknowledgement.
    let at_once = |line: &&str| line.contains("setsockopt(") && line.contains("TCP_NODELAY");
    let option = text.lines().find(at_once).expect("TCP_NODELAY");
    assert!(option.contains("[1]"), "{option}");
    let sends = |line: &&str| line.contains("HTTP/1.1 200 OK");
    assert_eq!(text.lines().filter(sends).count(), 1, "one call a response");
}

/// The client says that it sends no more: its connection is closed as soon as it is answered, and has never had to
/// wait in the epoll set.
#[test]
fn a_connection_for_one_request_is_never_registered() {
    let Some(traced) = Traced::start("never registered") else {
        return;
    };
    for calls in traced.close_after_one(FILES) {
        let extra = |name: &String| name == "epoll_ctl" || name == "shutdown";
        assert!(!calls.iter().any(extra), "{calls:?}");
    }
    traced.finish();
}

#[test]
fn a_connection_for_one_request_whose_answer_is_ready_costs_three_calls_on_it() {
    let Some(traced) = Traced::start_with("three calls", &[]) else {
        return;
    };
    // An answer is kept if its file has been as it is for longer than a filesystem's clock takes to tick.
    thread::sleep(Duration::from_secs(4));
    // The first open the file, the next make the answer, which is kept for a second: on a slow machine it may
    // be gone when others come.
    let is_ready = |_| {
        let connections = traced.close_after_one(1);
        connections
            .iter()
            .any(|calls| *calls == ["recvfrom", "sendmsg", "close"])
    };
    assert!((0..20).any(is_ready), "no connection costs three calls");
    traced.finish();
}
