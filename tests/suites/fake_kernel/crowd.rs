//! Many futures on one ring over a fake kernel, dropped and polled at random.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use ambidex::disk::{File, Handle, Options, Pool, ReadFlags, Ring};
use ambidex_tests::sim::Bell;
use ambidex_tests::sim::disk::{Control, CountedBuf, Disk, Faults, fake};
use ambidex_tests::sim::rng::{Weights, choose};
use fastrand::Rng;

const LENGTH: usize = 256;
const BUFFERS: usize = 3;

struct Member {
    future: Pin<Box<dyn Future<Output = ()>>>,
    bell: Arc<Bell>,
}

/// See the [module](self).
pub(crate) struct Crowd {
    ring: Ring,
    control: Control,
    members: Vec<Member>,
    alive: Rc<Cell<usize>>,
    pool: Pool,
    ended: Rc<Cell<u64>>,
    weights: Weights<8>,
}

/// The byte at `at` of the only file.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn check(read: &[u8], offset: usize, capacity: usize) {
    assert!(read.len() <= capacity.min(LENGTH.saturating_sub(offset)));
    let mut expected = (offset..).map(byte);
    assert!(
        read.iter().all(|found| expected.next() == Some(*found)),
        "wrong bytes"
    );
}

/// What a member does: open, a few reads of several kinds, metadata, close or drop.
async fn visit(handle: Handle, alive: Rc<Cell<usize>>, pool: Pool, mut rng: Rng) {
    let Ok(file) = File::open(&handle, "data").await else {
        return;
    };
    for _ in 0..rng.u32(..4) {
        let (offset, capacity) = (rng.usize(..LENGTH + 8), rng.usize(..64));
        match rng.u32(..5) {
            0 => {
                let buffer = pool.take().await;
                let (result, buffer) = file.read_at(buffer, offset as u64).await;
                if let Ok(length) = result {
                    assert_eq!(length, buffer.len());
                    check(&buffer, offset, LENGTH);
                }
            }
            1 => {
                let _ = file.metadata().await;
            }
            kind => {
                let flags = if kind == 2 {
                    ReadFlags::NOWAIT
                } else {
                    ReadFlags::default()
                };
                let buffer = CountedBuf::new(capacity, &alive);
                let (result, buffer) = file.read_at_with(buffer, offset as u64, flags).await;
                if let Ok(length) = result {
                    assert_eq!(length, buffer.filled().len());
                    check(buffer.filled(), offset, capacity);
                }
            }
        }
    }
    if rng.bool() {
        file.close().await.expect("close");
    }
}

impl Crowd {
    pub(crate) fn new(rng: &mut Rng) -> Crowd {
        let sq_entries = rng.usize(1..5);
        let (kernel, control) = fake(sq_entries, rng.usize(sq_entries..9), rng.u64(..));
        control.file("data", (0..LENGTH).map(byte).collect());
        let disks = [Disk::Local, Disk::Local, Disk::Remote, Disk::Memory];
        control.disk(choose(rng, &disks).unwrap_or(Disk::Local));
        let percent = rng.u32(..60);
        control.faults(Faults::random(rng, percent));
        let options = Options {
            remote_max: rng.usize(1..4),
            ..Options::default()
        };
        Crowd {
            ring: Ring::with_kernel(Box::new(kernel), &options),
            control,
            members: Vec::new(),
            alive: Rc::default(),
            pool: Pool::new(BUFFERS, LENGTH),
            ended: Rc::default(),
            weights: Weights::random(rng),
        }
    }

    fn join(&mut self, rng: &mut Rng) {
        let (handle, alive, pool) = (
            self.ring.handle(),
            Rc::clone(&self.alive),
            self.pool.clone(),
        );
        let (ended, rng) = (Rc::clone(&self.ended), rng.fork());
        let bell = Bell::new();
        bell.waker().wake();
        let future = async move {
            visit(handle, alive, pool, rng).await;
            ended.set(ended.get() + 1);
        };
        let future = Box::pin(future);
        self.members.push(Member { future, bell });
    }

    fn poll(&mut self, at: usize) {
        let member = &mut self.members[at];
        member.bell.take();
        let waker = member.bell.waker();
        if member
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            self.members.swap_remove(at);
        }
    }

    fn poll_woken(&mut self) -> bool {
        let mut any = false;
        for at in (0..self.members.len()).rev() {
            if self.members[at].bell.has_rung() {
                self.poll(at);
                any = true;
            }
        }
        any
    }

    pub(crate) fn run(&mut self, rng: &mut Rng) {
        for _ in 0..rng.u32(10..80) {
            let at = (!self.members.is_empty()).then(|| rng.usize(..self.members.len()));
            match (self.weights.pick(rng), at) {
                (0, _) => self.join(rng),
                (1, Some(at)) => self.poll(at),
                (2, Some(at)) => {
                    // Its future may have moved to another task.
                    self.members[at].bell = Bell::new();
                    self.poll(at);
                }
                (3, Some(at)) => drop(self.members.swap_remove(at)),
                (4, _) => self.ring.submit().expect("submit"),
                (5, _) => {
                    self.ring.reap(rng.usize(1..6)).expect("reap");
                }
                (6, _) => {
                    self.control.finish_one();
                }
                _ => {
                    self.poll_woken();
                }
            }
        }
    }

    /// From now on nobody is polled but who is woken, and nobody is dropped: all must end.
    pub(crate) fn finish(mut self) {
        let mut idle = 0;
        while !self.members.is_empty() || self.ring.in_flight() > 0 || self.ring.wants_enter() {
            let woken = self.poll_woken();
            self.ring.submit().expect("submit");
            let reaped = self.ring.reap(64).expect("reap");
            let finished = self.control.finish_one();
            let progress = woken || reaped > 0 || finished;
            // An enter may fail a few times in a row.
            idle = if progress { 0 } else { idle + 1 };
            assert!(
                idle < 1000,
                "{} futures sleep for ever: a wake was lost",
                self.members.len()
            );
        }
        assert_eq!(self.alive.get(), 0, "buffers that were never freed");
        assert_eq!(
            self.pool.free(),
            BUFFERS,
            "pool buffers that did not come back"
        );
        assert_eq!(
            self.control.descriptors(),
            0,
            "descriptors that nobody closed"
        );
        let counters = self.ring.counters();
        assert_eq!(
            (counters.stale, counters.bugs, self.ring.handle().waiting()),
            (0, 0, 0)
        );
        assert_eq!(counters.completed, counters.submitted);
        assert_eq!(self.ring.shut_down(), 0);
    }
}
