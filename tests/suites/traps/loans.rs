//! Memory, descriptors and credits: who has them when, and that no stack grows.

use std::cell::Cell;
use std::fs;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use ambidex::disk::{File, Op, OpenOptions, Pool};
use ambidex::net::Token;
use ambidex::poll::{Event, Events};
use ambidex_tests::loops::{builder, engine, engines, pair, run_on};
use ambidex_tests::sim::disk::CountedBuf;
use ambidex_tests::sim::{
    HANG, backends, descriptors, drive, poll_once, ring, turn, wait_for_completion,
};
use futures_util::future::join_all;

use crate::{DISK, directory, times};

/// A big read on a worker is still writing when its ring goes, and closing the ring would not wait for it.
#[test]
fn drain_waits_for_cqe_not_close() {
    let length = times(64 << 20, 1 << 30);
    for choice in backends("a big read at the end") {
        let directory = tempfile::TempDir::new_in("/dev/shm").expect("a directory");
        let path = directory.path().join("data");
        let sized = fs::File::create(&path).and_then(|file| file.set_len(length as u64));
        sized.expect("a file");
        let alive = Rc::new(Cell::new(0));
        let mut engine = engine(choice);
        run_on(&mut engine, async |io| {
            let file = OpenOptions::new().punt().open(io.disk(), &path).await;
            let file = file.expect("open");
            let buffer = CountedBuf::new(length, &alive);
            io.spawn(async move { file.read_at(buffer, 0).await.0 })
                .detach();
            io.yield_now().await;
        });
        let report = engine.shut_down(HANG);
        assert_eq!(report.operations_given_up, 0, "{choice:?}");
        assert_eq!(alive.get(), 0, "{choice:?}: freed, and by the completion");
        assert_eq!(descriptors(&directory.path().to_string_lossy()), 0);
    }
}

/// A result that nobody looks at waits in its slot, not in the queue of the kernel.
#[test]
fn completed_unpolled_does_not_hold_credit() {
    let (_own, path) = directory(DISK, 4096);
    for choice in backends("one credit") {
        let mut ring = ring(choice, 1);
        let handle = ring.handle();
        let file = drive(&mut ring, File::open(&handle, &path)).expect("open");
        let mut unpolled = pin!(file.read_at(Vec::with_capacity(16), 0));
        while poll_once(unpolled.as_mut()).is_pending() && ring.in_flight() == 0 {
            turn(&mut ring);
        }
        if ring.in_flight() > 0 {
            wait_for_completion(&mut ring);
            turn(&mut ring);
        }
        for at in 0..100 {
            let (result, _) = drive(&mut ring, file.read_at(Vec::with_capacity(16), at));
            assert_eq!(result.expect("read"), 16, "{choice:?}");
        }
        let Poll::Ready((result, _)) = poll_once(unpolled) else {
            panic!("{choice:?}: it was completed");
        };
        assert_eq!(result.expect("read"), 16);
    }
}

/// Who has to wait for a buffer waits, and nobody else does.
#[test]
fn pool_full_does_not_block_reactor() {
    let (_own, path) = directory(DISK, 4096);
    for mut engine in engines("an empty pool") {
        run_on(&mut engine, async |io| {
            let pool = Pool::new(1, 4096);
            let held = pool.take().await;
            let (takers, file) = (pool.clone(), File::open(io.disk(), &path).await);
            let file = file.expect("open");
            let given_up = {
                let takers = takers.clone();
                io.spawn(async move { drop(takers.take().await) })
            };
            let waiting = io.spawn(async move { file.read_at(takers.take().await, 0).await.0 });
            let (here, there) = pair(&io).await;
            for _ in 0..100 {
                here.write_all(b"ping").await.expect("write");
                assert_eq!(there.read(&mut [0; 8]).await.expect("read"), 4);
            }
            assert!(!waiting.is_finished(), "the buffer is out");
            // The first in line leaves it; the second is next.
            given_up.abort();
            io.yield_now().await;
            drop(held);
            assert_eq!(waiting.await.expect("joined").expect("read"), 4096);
            assert_eq!(pool.free(), 1);
        });
    }
}

/// What is to run on a worker looks its descriptor up when it runs: closed and opened again, the number is another
/// file's by then.
#[test]
fn reads_in_flight_keep_to_their_file_however_soon_its_number_is_used_again() {
    const READS: u64 = 16;
    for place in [DISK, "/dev/shm"] {
        let own = tempfile::TempDir::new_in(place).expect("a directory");
        let (ours, theirs) = (own.path().join("ours"), own.path().join("theirs"));
        fs::write(&ours, [b'a'; 65_536]).expect("a file");
        fs::write(&theirs, [b'b'; 65_536]).expect("a file");
        for mut engine in engines("close and open") {
            run_on(&mut engine, async |io| {
                for round in 0..times(50, 1_000) {
                    let options = OpenOptions::new().punt();
                    let file = options.open(io.disk(), &ours).await.expect("open");
                    let reading: Vec<_> = (0..READS)
                        .map(|at| {
                            let file = file.clone();
                            io.spawn(async move {
                                file.read_at(Vec::with_capacity(4096), at * 4096).await
                            })
                        })
                        .collect();
                    if round % 2 == 0 {
                        io.yield_now().await;
                    }
                    let closing = io.spawn(file.close());
                    let others = join_all((0..4).map(|_| File::open(io.disk(), &theirs))).await;
                    for read in reading {
                        let (result, buffer) = read.await.expect("joined");
                        assert_eq!(result.expect("read"), 4096);
                        assert_eq!(buffer, [b'a'; 4096], "another file's bytes");
                    }
                    closing.await.expect("joined").expect("closed");
                    drop(others);
                }
            });
        }
    }
}

/// A cached read ends while it is being submitted. Were the next begun from within, each would deepen the stack.
#[test]
fn a_million_cached_reads_in_a_chain_take_no_stack() {
    let reads = times(10_000, 1_000_000);
    let (_own, path) = directory(DISK, 4096);
    for choice in backends("a small stack") {
        let path = path.clone();
        let chain = move || {
            run_on(&mut engine(choice), async |io| {
                let file = File::open(io.disk(), &path).await.expect("open");
                let mut buffer = Vec::with_capacity(1);
                for at in 0..reads {
                    buffer.clear();
                    let (result, back) = file.read_at(buffer, at as u64 % 4096).await;
                    assert_eq!(result.expect("read"), 1);
                    buffer = back;
                }
            });
        };
        let small = thread::Builder::new().stack_size(64 << 10).spawn(chain);
        small.expect("a thread").join().expect("the chain");
    }
}

/// The same for operations by token: each is begun where the last one's completion is taken.
#[test]
fn a_read_begun_at_each_completion_deepens_no_stack() {
    let reads = times(10_000, 200_000);
    let (_own, path) = directory(DISK, 4096);
    for choice in backends("a small stack, by token") {
        let path = path.clone();
        let chain = move || {
            let mut poll = builder(choice).build_poll().expect("a loop");
            let fd = OwnedFd::from(fs::File::open(path).expect("open"));
            let file = File::from_fd(poll.disk(), fd).expect("a file");
            let next = |poll: &mut ambidex::Poll, at: usize| {
                let read = Op::read_at(&file, Vec::with_capacity(1), at as u64 % 4096);
                poll.submit(Token(0), read).expect("begun");
            };
            next(&mut poll, 0);
            let (mut events, mut done) = (Events::with_capacity(4), 0);
            while done < reads {
                poll.poll(&mut events, Some(HANG)).expect("the loop");
                assert!(!events.is_empty(), "it hangs");
                for event in events.drain() {
                    let Event::Complete(complete) = event else {
                        panic!("a read was begun: {event:?}");
                    };
                    assert_eq!(complete.result().expect("read"), 1);
                    done += 1;
                    next(&mut poll, done);
                }
            }
        };
        let small = thread::Builder::new().stack_size(64 << 10).spawn(chain);
        small.expect("a thread").join().expect("the chain");
    }
}
