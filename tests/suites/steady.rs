//! In steady state a cached read allocates nothing, nor does waiting for a source: counted by the global allocator, a
//! thread at a time.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use ambidex::disk::{Choice, File, Options, Pool};
use ambidex::net::{Interest, Mode, Reactor, Source, TcpListener};
use ambidex::{Engine, Handle};
use ambidex_server::{Config, Site, Stop, serve};
use ambidex_tests::client::Client;
use ambidex_tests::sim::{backends, poll_once};
use ambidex_tests::tree::Tree;
use tempfile::NamedTempFile;

const LENGTH: usize = 1024;
const READS: usize = 10_000;
const WARM_UP: usize = 2_000;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes of the largest.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    /// Bytes that are allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// Where the first allocation came from is worth knowing; the ones made to find out are not.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Counts the allocations of each thread apart.
struct Counting;

fn count(bytes: usize) {
    LIVE.set(LIVE.get().wrapping_add_unsigned(bytes));
    LARGEST.set(LARGEST.get().max(bytes));
    let so_far = ALLOCATIONS.get() + 1;
    if WATCHED.replace(false) {
        eprintln!("allocates: {}", Backtrace::force_capture());
    }
    ALLOCATIONS.set(so_far);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().wrapping_sub_unsigned(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        LIVE.set(LIVE.get().wrapping_sub_unsigned(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations this thread makes from here to `stop`.
fn start() -> u64 {
    WATCHED.set(true);
    ALLOCATIONS.get()
}

fn stop(before: u64) -> u64 {
    WATCHED.set(false);
    ALLOCATIONS.get() - before
}

/// A file that lies on a disk, for a memory filesystem is read without the ring.
fn cached() -> NamedTempFile {
    let file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    fs::write(file.path(), [7; 4 * LENGTH]).expect("content");
    file
}

fn engine(choice: Choice) -> Engine {
    let options = Options {
        choice,
        ..Options::default()
    };
    Engine::builder().disk(options).build().expect("an engine")
}

async fn into_vec(file: &File, count: usize, mut buffer: Vec<u8>) -> Vec<u8> {
    for _ in 0..count {
        let (result, returned) = file.read_at(buffer, 0).await;
        assert_eq!(result.expect("read"), LENGTH);
        buffer = returned;
    }
    buffer
}

async fn into_pool(file: &File, count: usize, pool: &Pool) {
    for _ in 0..count {
        let (result, buffer) = file.read_at(pool.take().await, 0).await;
        assert_eq!(result.expect("read"), 4 * LENGTH);
        drop(buffer);
    }
}

/// Runs `work` with a count of reads, for warm-up and for good, and counts the allocations of the latter.
fn measure(choice: Choice, work: impl AsyncFn(&Handle, &File, usize)) -> u64 {
    let content = cached();
    let path = content.path().to_owned();
    engine(choice)
        .run(async |io| {
            let file = File::open(io.disk(), path).await.expect("open");
            work(&io, &file, WARM_UP).await;
            let before = start();
            work(&io, &file, READS).await;
            let count = stop(before);
            let submitted = io.disk().counters().submitted as usize;
            assert!(submitted >= WARM_UP + READS, "it went by the ring");
            count
        })
        .expect("the loop")
}

#[test]
fn ten_thousand_reads_into_one_vec_allocate_nothing() {
    for choice in backends("reads into a Vec") {
        let buffer = Cell::new(Vec::with_capacity(LENGTH));
        let count = measure(choice, async |_, file, count| {
            buffer.set(into_vec(file, count, buffer.take()).await);
        });
        assert_eq!(count, 0, "{choice:?}");
    }
}

#[test]
fn ten_thousand_reads_into_pool_buffers_allocate_nothing() {
    for choice in backends("reads into a pool") {
        let pool = Pool::new(4, 4 * LENGTH);
        let count = measure(choice, async |_, file, count| {
            into_pool(file, count, &pool).await;
        });
        assert_eq!(count, 0, "{choice:?}");
    }
}

/// Reads by 32 tasks at once. Spawning allocates, reading does not: each task warms up, all meet, then all are counted.
fn by_many(choice: Choice, pool: Option<&Pool>) -> u64 {
    const TASKS: usize = 32;
    let content = cached();
    let path = content.path().to_owned();
    engine(choice)
        .run(async |io| {
            let file = File::open(io.disk(), path).await.expect("open");
            let met = Rc::new(Cell::new(0));
            let mut tasks = Vec::new();
            for _ in 0..TASKS {
                let (io, file, met, pool) = (io.clone(), file.clone(), met.clone(), pool.cloned());
                let mut buffer = Vec::with_capacity(LENGTH);
                tasks.push(io.clone().spawn(async move {
                    for (count, goal) in [(WARM_UP, TASKS), (READS, 2 * TASKS)] {
                        match &pool {
                            Some(pool) => into_pool(&file, count / TASKS, pool).await,
                            None => buffer = into_vec(&file, count / TASKS, buffer).await,
                        }
                        met.set(met.get() + 1);
                        while met.get() < goal {
                            io.yield_now().await;
                        }
                    }
                }));
            }
            while met.get() < TASKS {
                io.yield_now().await;
            }
            let before = start();
            while met.get() < 2 * TASKS {
                io.yield_now().await;
            }
            let count = stop(before);
            for task in tasks {
                task.await.expect("it ends");
            }
            count
        })
        .expect("the loop")
}

#[test]
fn reads_of_many_tasks_into_their_vecs_allocate_nothing() {
    for choice in backends("many tasks, Vec") {
        assert_eq!(by_many(choice, None), 0, "{choice:?}");
    }
}

#[test]
fn reads_of_many_tasks_into_pool_buffers_allocate_nothing() {
    for choice in backends("many tasks, pool") {
        // Fewer buffers than tasks: waiting for one allocates nothing either.
        let pool = Pool::new(8, 4 * LENGTH);
        assert_eq!(by_many(choice, Some(&pool)), 0, "{choice:?}");
    }
}

#[test]
fn reads_given_up_before_the_next_turn_pile_up_nowhere() {
    for choice in backends("reads given up") {
        let pool = Pool::new(1, 4 * LENGTH);
        let count = measure(choice, async |_, file, count| {
            into_pool(file, count, &pool).await;
            for _ in 0..count {
                let buffer = pool.try_take().expect("it came back");
                assert!(poll_once(pin!(file.read_at(buffer, 0))).is_pending());
            }
        });
        assert_eq!(count, 0, "{choice:?}");
    }
}

#[test]
fn arming_a_level_source_for_each_wait_allocates_nothing() {
    let mut reactor = Reactor::new().expect("a reactor");
    let (reader, mut writer) = io::pipe().expect("a pipe");
    writer.write_all(b"x").expect("write");
    let source = Source::with(&reactor.handle(), reader, Interest::READABLE, Mode::Level);
    let source = source.expect("a source");
    let mut wait = |count: usize| {
        for _ in 0..count {
            let mut ready = pin!(source.ready(Interest::READABLE));
            assert!(poll_once(ready.as_mut()).is_pending());
            let change = reactor.take_change().expect("listed");
            reactor.give_back(change);
            reactor.turn(Some(Duration::ZERO)).expect("turn");
            assert!(poll_once(ready).is_ready());
        }
    };
    wait(WARM_UP);
    let before = start();
    wait(WARM_UP);
    assert_eq!(stop(before), 0);
}

/// Who has ten thousand connections has ten thousand tasks.
#[test]
fn a_task_takes_little_more_memory_than_its_future() {
    const OWN: usize = 10_000;
    let mut engine = engine(Choice::Threads);
    let run = engine.run(async |io| {
        let handle = io.clone();
        let future = async move {
            let own = [1_u8; OWN];
            handle.yield_now().await;
            black_box(&own);
        };
        let bytes = size_of_val(&future);
        LARGEST.set(0);
        let task = io.spawn(future);
        let taken = LARGEST.get();
        assert!(taken <= bytes + 128, "{taken} for a future of {bytes}");
        task.await.expect("it ends");
    });
    run.expect("run");
}

fn served(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    assert_eq!(client.get("/a.txt").body, b"alpha");
    client
}

/// A connection between two requests: its task, its registration, its place in the tables.
#[test]
fn an_idle_connection_takes_half_a_kilobyte() {
    const CONNECTIONS: usize = 200;
    let site = Tree::new();
    site.file("a.txt", "alpha");
    let mut engine = engine(Choice::Threads);
    let run = engine.run(async |io| {
        let site = Site::open(&io, site.path()).await.expect("a site");
        let listener = TcpListener::bind(io.net(), ([127, 0, 0, 1], 0).into()).expect("bind");
        let address = listener.local_addr().expect("bound");
        let stop = Stop::default();
        let serving = io.spawn({
            let (io, stop) = (io.clone(), stop.clone());
            async move { serve(&io, listener, site, Config::default(), &stop).await }
        });
        let served = async |count: usize| {
            let connect = move || (0..count).map(|_| served(address)).collect::<Vec<_>>();
            io.spawn_blocking(connect).await.expect("they are served")
        };
        let first = served(1).await;
        let before = LIVE.get();
        let others = served(CONNECTIONS).await;
        let each = (LIVE.get() - before) / CONNECTIONS.cast_signed();
        // 510; a word more in the tables may double as they grow.
        assert!(each < 576, "{each} bytes for each connection");
        drop((first, others));
        stop.set();
        serving.await.expect("no panic").expect("served");
    });
    run.expect("run");
}
