//! What the loop itself costs: a turn, a task, a wake from another thread.

use std::hint::black_box;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ambidex::{Engine, Handle, Remote};
use criterion::{Criterion, criterion_group, criterion_main};

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

criterion_group!(benches, turn, task, wake);
criterion_main!(benches);
