//! The engine's own count of system calls, against what `strace` saw on the loop's thread.
//!
//! The test runs itself again as a child under `strace`. The child marks begin and end of its work by a call that nothing
//! else here makes, and writes down by how much the engine's count has grown in between.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use ambidex::disk::{Choice, File, OpenOptions, Pool};
use ambidex::net::UdpSocket;
use ambidex::{Handle, Metrics};
use ambidex_tests::loops::{ANY_PORT, engine, pair, pattern, run_on};
use ambidex_tests::rig::strace::{self, Call};
use ambidex_tests::sim::{backends, skip};
use tempfile::TempDir;

const CHILD: &str = "AMBIDEX_COUNTED_CHILD";
const ROUNDS: usize = 100;
/// `EXT4_SUPER_MAGIC`, statfs(2).
const EXT4: i64 = 0xEF53;
const BATCH: usize = 16;
const BLOCK: usize = 4096;
const FILE: usize = BATCH * BLOCK;

/// What is nobody's operation: the allocator, the clock where the kernel has to be asked, and the marks.
const NOT_COUNTED: [&str; 9] = [
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "madvise",
    "mprotect",
    "clock_gettime",
    "sched_yield",
    "getpgid",
];

fn mark() {
    rustix::process::getpgid(None).expect("there is one");
}

/// By how much the counts grow while `work` is done.
async fn counted(io: &Handle, work: impl AsyncFnOnce()) -> (Metrics, Metrics) {
    mark();
    let before = io.metrics();
    work().await;
    let after = io.metrics();
    mark();
    (before, after)
}

async fn sockets(io: &Handle) -> (Metrics, Metrics) {
    let (client, server) = pair(io).await;
    let (left, right) = (
        UdpSocket::bind(io.net(), ANY_PORT).expect("bind"),
        UdpSocket::bind(io.net(), ANY_PORT).expect("bind"),
    );
    let address = right.local_addr().expect("bound");
    counted(io, async || {
        let mut buffer = [0; 64];
        for round in 0..ROUNDS {
            client.write_all(b"ping").await.expect("write");
            assert_eq!(server.read(&mut buffer).await.expect("read"), 4);
            left.send_to(b"ping", &address).await.expect("send");
            right.recv_from(&mut buffer).await.expect("receive");
            if round % 10 == 0 {
                io.sleep(std::time::Duration::from_micros(10)).await;
            }
        }
    })
    .await
}

async fn files(io: &Handle, path: &Path) -> (Metrics, Metrics) {
    let file = File::open(io.disk(), path).await.expect("open");
    counted(io, async || {
        for round in 0..ROUNDS {
            let offset = (round * 100) as u64;
            let (result, _) = file.read_at(Vec::with_capacity(100), offset).await;
            assert_eq!(result.expect("read"), 100);
        }
    })
    .await
}

async fn both(io: &Handle, path: &Path) -> (Metrics, Metrics) {
    let file = File::open(io.disk(), path).await.expect("open");
    let (client, server) = pair(io).await;
    counted(io, async || {
        for _ in 0..ROUNDS {
            let mut buffer = [0; 64];
            let (read, sent, received) = futures_util::join!(
                file.read_at(Vec::with_capacity(100), 0),
                client.write_all(b"ping"),
                server.read(&mut buffer),
            );
            sent.expect("write");
            assert_eq!((read.0.expect("read"), received.expect("read")), (100, 4));
        }
    })
    .await
}

/// Sixteen reads at a time: of memory, or of the device.
async fn many(io: &Handle, path: &Path, direct: bool) -> (Metrics, Metrics) {
    let options = OpenOptions::new();
    let options = if direct { options.direct() } else { options };
    let file = options.open(io.disk(), path).await.expect("open");
    let pool = Pool::new(BATCH, BLOCK);
    counted(io, async || {
        for _ in 0..ROUNDS {
            let reads = (0..BATCH).map(async |at| {
                let buffer = pool.try_take().expect("one for each");
                let (result, _) = file.read_at(buffer, (at * BLOCK) as u64).await;
                assert_eq!(result.expect("read"), BLOCK);
            });
            futures_util::future::join_all(reads).await;
        }
    })
    .await
}

/// The child's part: `WORK BACKEND DIRECTORY`.
#[test]
fn child() {
    let Ok(words) = std::env::var(CHILD) else {
        return;
    };
    let words: Vec<&str> = words.split(' ').collect();
    let [work, backend, directory] = words[..] else {
        panic!("{words:?}");
    };
    let directory = Path::new(directory);
    let path = directory.join("file");
    let choice = Choice::parse(backend).expect("a backend");
    let (before, after) = run_on(&mut engine(choice), async |io| match work {
        "sockets" => sockets(&io).await,
        "files" => files(&io, &path).await,
        "warm" => many(&io, &path, false).await,
        "direct" => many(&io, &path, true).await,
        _ => both(&io, &path).await,
    });
    let grown = after.calls - before.calls;
    let elsewhere = after.calls_elsewhere - before.calls_elsewhere;
    fs::write(directory.join("count"), format!("{grown} {elsewhere}")).expect("written");
}

/// What the engine counted, here and elsewhere, and what `strace` saw between the marks on the thread that made them.
fn run_child(work: &str, backend: &str) -> (u64, u64, Vec<Call>) {
    let own = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    fs::write(own.path().join("file"), pattern(FILE)).expect("content");
    let trace = own.path().join("trace");
    let words = strace::wrapper(&trace, &[]);
    let output = Command::new(&words[0])
        .args(&words[1..])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{work} {backend} {}", own.path().display()))
        .output()
        .expect("strace runs");
    assert!(output.status.success(), "{output:?}");
    let count = fs::read_to_string(own.path().join("count")).expect("a count");
    let (here, elsewhere) = count.split_once(' ').expect("two numbers");
    let calls = strace::read(&trace).expect("a trace");
    let marks: Vec<usize> = (0..calls.len())
        .filter(|at| calls[*at].name == "getpgid")
        .collect();
    let [begin, end] = marks[..] else {
        panic!("two marks: {marks:?}");
    };
    let thread = calls[begin].thread;
    let seen = calls[begin..end]
        .iter()
        .filter(|call| call.thread == thread && !NOT_COUNTED.contains(&call.name.as_str()));
    let number = |text: &str| text.parse().expect("a number");
    (number(here), number(elsewhere), seen.cloned().collect())
}

/// How often each call was seen.
fn kinds(seen: &[Call]) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for call in seen {
        *kinds.entry(call.name.as_str()).or_default() += 1;
    }
    kinds
}

fn compare(work: &str, expected: impl Fn(&str, &dyn Fn(&str) -> usize)) {
    if let Some(reason) = strace::missing() {
        skip(work, &reason);
        return;
    }
    for choice in backends(work) {
        let backend = match choice {
            Choice::Uring => "uring",
            _ => "threads",
        };
        let (here, _elsewhere, seen) = run_child(work, backend);
        let of = |name: &str| seen.iter().filter(|call| call.name == name).count();
        let kinds = kinds(&seen);
        assert_eq!(here, seen.len() as u64, "{work} on {backend}: {kinds:?}");
        expected(backend, &of);
    }
}

#[test]
fn calls_for_sockets_are_counted_as_strace_counts_them() {
    compare("sockets", |_, of| {
        let moved = of("sendto") + of("recvfrom") + of("sendmsg") + of("recvmsg");
        assert!(moved >= 4 * ROUNDS, "each message was a call: {moved}");
    });
}

#[test]
fn calls_for_files_are_counted_as_strace_counts_them() {
    compare("files", |backend, of| {
        let enters = of("io_uring_enter");
        assert_eq!(enters == 0, backend == "threads", "{enters} enters");
    });
}

#[test]
fn calls_for_both_at_once_are_counted_as_strace_counts_them() {
    compare("both", |_, of| {
        let waits = of("epoll_pwait2") + of("epoll_pwait") + of("epoll_wait");
        assert!(waits > 0, "it waited");
    });
}

/// Entries of each enter.
fn submissions(seen: &[Call]) -> Vec<i64> {
    let enters = seen.iter().filter(|call| call.name == "io_uring_enter");
    enters.filter_map(|call| call.number(1)).collect()
}

#[test]
fn what_is_answered_from_memory_is_submitted_together_and_what_is_not_a_few_at_a_time() {
    let test = "what_is_answered_from_memory";
    if let Some(reason) = strace::missing() {
        return skip(test, &reason);
    }
    if !backends(test).contains(&Choice::Uring) {
        return;
    }
    let (here, _, seen) = run_child("warm", "uring");
    assert_eq!(here, seen.len() as u64, "{:?}", kinds(&seen));
    let rest = (BATCH - 4) as i64;
    assert!(
        submissions(&seen).contains(&rest),
        "{:?}",
        submissions(&seen)
    );
    let magic = rustix::fs::statfs(env!("CARGO_TARGET_TMPDIR"))
        .expect("a filesystem")
        .f_type;
    if magic != EXT4 {
        return skip(test, "the tests do not lie on ext4");
    }
    let (here, _, seen) = run_child("direct", "uring");
    assert_eq!(here, seen.len() as u64, "{:?}", kinds(&seen));
    let sizes = submissions(&seen);
    assert!(sizes.iter().all(|size| *size <= 4), "{sizes:?}");
}
