//! What the loop itself costs: a turn, a task, a cached read, a wake from another thread.

use std::cell::Cell;
use std::fs::File as StdFile;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ambidex::disk::{Choice, File, Options, Pool, ReadFlags};
use ambidex::{Engine, Handle, Remote};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const BLOCK_BYTES: usize = 4096;
const BLOCKS: u64 = 256;
const DEPTHS: [usize; 3] = [1, 16, 128];

fn engine() -> Engine {
    Engine::builder().build().expect("an engine")
}

/// Times `iterations` of what `work` does, by the engine's clock and inside its loop, so that
/// starting and stopping `run` is not counted.
fn timed(engine: &mut Engine, work: impl AsyncFnOnce(&Handle)) -> Duration {
    let ran = engine.run(async |io| {
        let start = io.now();
        work(&io).await;
        io.now() - start
    });
    ran.expect("the loop runs")
}

/// A turn with nothing to do but to poll the task that yielded.
fn turn(criterion: &mut Criterion) {
    let mut engine = engine();
    criterion.bench_function("turn/idle", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(&mut engine, async |io| {
                for _ in 0..iterations {
                    io.yield_now().await;
                }
            })
        });
    });
}

fn task(criterion: &mut Criterion) {
    let mut engine = engine();
    criterion.bench_function("task/spawn+join", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(&mut engine, async |io| {
                for number in 0..iterations {
                    let joined = io.spawn(async move { black_box(number) }).await;
                    assert_eq!(joined.ok(), Some(number));
                }
            })
        });
    });
    // A hundred share the turn: what a task costs by itself.
    criterion.bench_function("task/spawn+join, 100 at once", |bencher| {
        bencher.iter_custom(|iterations| {
            timed(&mut engine, async |io| {
                let mut left = iterations;
                while left > 0 {
                    let here = left.min(100);
                    let spawn = |number| io.spawn(async move { black_box(number) });
                    let handles: Vec<_> = (0..here).map(spawn).collect();
                    for handle in handles {
                        handle.await.expect("it does not panic");
                    }
                    left -= here;
                }
            })
        });
    });
}

/// Reads cached blocks until none is left to do.
async fn reader(file: File, pool: Pool, flags: ReadFlags, left: Rc<Cell<u64>>) {
    while left.get() > 0 {
        let number = left.get();
        left.set(number - 1);
        let offset = number % BLOCKS * BLOCK_BYTES as u64;
        let buffer = pool.take().await;
        let (result, buffer) = file.read_at_with(buffer, offset, flags).await;
        let length = result.expect("the block is cached");
        assert_eq!(length, BLOCK_BYTES);
        black_box(&buffer);
    }
}

fn read(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on a disk");
    let path = dir.path().join("blocks");
    let content = vec![7; BLOCK_BYTES * BLOCKS as usize];
    std::fs::write(&path, content).expect("a file");

    let mut group = criterion.benchmark_group("read 4k cached");
    group.throughput(Throughput::Elements(1));
    let file = StdFile::open(&path).expect("the file");
    let mut block = vec![0; BLOCK_BYTES];
    let mut number = 0;
    group.bench_function("pread", |bencher| {
        bencher.iter(|| {
            number = (number + 1) % BLOCKS;
            let offset = number * BLOCK_BYTES as u64;
            let length = file.read_at(&mut block, offset).expect("a block");
            assert_eq!(length, BLOCK_BYTES);
        });
    });
    for (backend, choice) in [("uring", Choice::Uring), ("threads", Choice::Threads)] {
        let options = Options {
            choice,
            ..Options::default()
        };
        let Ok(mut engine) = Engine::builder().disk(options).build() else {
            println!("SKIPPED read 4k cached/{backend}: no io_uring here");
            continue;
        };
        let opened = engine.run(async |io| File::open(io.disk(), &path).await);
        let file = opened.expect("the loop runs").expect("the file");
        // NOWAIT is how the server reads first; without it threads have to hand the read over.
        for (name, flags) in [("", ReadFlags::default()), (" nowait", ReadFlags::NOWAIT)] {
            for depth in DEPTHS {
                let name = format!("{backend}{name}");
                group.bench_function(BenchmarkId::new(name, depth), |bencher| {
                    bencher.iter_custom(|count| read_many(&mut engine, &file, flags, depth, count));
                });
            }
        }
    }
    group.finish();
}

/// Reads `count` blocks, `depth` at a time.
fn read_many(
    engine: &mut Engine,
    file: &File,
    flags: ReadFlags,
    depth: usize,
    count: u64,
) -> Duration {
    let pool = Pool::new(depth, BLOCK_BYTES);
    timed(engine, async |io| {
        let left = Rc::new(Cell::new(count));
        let start = |_| {
            let reader = reader(file.clone(), pool.clone(), flags, Rc::clone(&left));
            io.spawn(reader)
        };
        let readers: Vec<_> = (0..depth).map(start).collect();
        for reader in readers {
            reader.await.expect("a reader does not panic");
        }
    })
}

/// There and back: a sleeping loop is given work by another thread, which sleeps until it is done.
fn wake(criterion: &mut Criterion) {
    let (to_here, from_loop) = mpsc::channel();
    let running = thread::spawn(move || {
        let mut engine = engine();
        let (stop, stopped) = mpsc::channel::<()>();
        let remote: Remote = engine.handle().remote();
        to_here.send((remote, stop)).expect("the bench waits");
        let run = engine.run(async |io| {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                io.sleep(Duration::from_millis(20)).await;
            }
        });
        run.expect("the loop runs");
    });
    let (remote, stop) = from_loop.recv().expect("an engine");
    let (sender, receiver) = mpsc::channel();
    criterion.bench_function("wake/remote spawn and answer", |bencher| {
        bencher.iter(|| {
            let sender = sender.clone();
            let work = move |_| async move { sender.send(()).expect("the bench waits") };
            remote.spawn(work).expect("the engine runs");
            receiver.recv().expect("the task answers");
        });
    });
    drop(stop);
    running.join().expect("the engine ends");
}

criterion_group!(benches, turn, task, read, wake);
criterion_main!(benches);
