//! A ring, those who use it by future and by token, and a fake kernel behind, all moved by bytes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use ambidex::disk::op::{Op, OpId};
use ambidex::disk::{File, Handle, Options, Pool, ReadFlags, Ring};
use ambidex_tests::sim::disk::{Control, CountedBuf, Disk, Faults, fake};
use ambidex_tests::sim::{Bell, drive};
use arbitrary::{Arbitrary, Unstructured};

use crate::wild::{Knowledge, Wild};

const LENGTH: usize = 200;
const BUFFERS: usize = 2;
/// Users at once, and steps of one schedule.
const CROWD_MAX: usize = 24;
const STEPS_MAX: usize = 400;

/// What a user does with its file.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Wish {
    Read { offset: u8, length: u8, now: bool },
    ReadPool { offset: u8 },
    Write { offset: u8, length: u8 },
    Metadata,
    Sync,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Join { wishes: [Wish; 2], close: bool },
    Begin(Wish),
    Cancel(u8),
    Take,
    Poll { at: u8, moved: bool },
    Drop(u8),
    PollWoken,
    Submit,
    Reap(u8),
    Finish,
    Sleep,
    Faults([u8; 9]),
    EnterFails(u8),
    AnswerFails(u8),
    Hang(bool),
    Lie { about: Lie, result: i32 },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Lie {
    /// What was answered before.
    Past(u8),
    /// That, but for some bits: another slot, generation or tag.
    Nearly(u8, u64),
    /// What never was.
    Any(u64),
}

struct User {
    future: Pin<Box<dyn Future<Output = ()>>>,
    bell: Arc<Bell>,
}

/// See the [module](self).
pub struct Stage {
    ring: Ring,
    control: Control,
    knowledge: Rc<RefCell<Knowledge>>,
    file: Option<File>,
    users: Vec<User>,
    /// What was begun by token: how long the buffer is, and from where it is read.
    begun: BTreeMap<u64, (OpId, Wish)>,
    tokens: u64,
    alive: Rc<Cell<usize>>,
    pool: Pool,
    wild: bool,
}

/// The byte at `at` of the file that nobody writes.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

fn check_bytes(read: &[u8], offset: u8, length: usize) {
    let offset = usize::from(offset);
    assert!(
        read.len() <= length.min(LENGTH.saturating_sub(offset)),
        "too many bytes"
    );
    let right = read
        .iter()
        .enumerate()
        .all(|(at, found)| *found == byte(offset + at));
    assert!(right, "wrong bytes");
}

async fn fulfil(wish: Wish, file: &File, alive: &Rc<Cell<usize>>, pool: &Pool) {
    match wish {
        Wish::Read {
            offset,
            length,
            now,
        } => {
            let flags = if now {
                ReadFlags::NOWAIT
            } else {
                ReadFlags::default()
            };
            let buffer = CountedBuf::new(usize::from(length), alive);
            let (result, buffer) = file.read_at_with(buffer, u64::from(offset), flags).await;
            if let Ok(count) = result {
                assert_eq!(count, buffer.filled().len());
                check_bytes(buffer.filled(), offset, usize::from(length));
            }
        }
        Wish::ReadPool { offset } => {
            let buffer = pool.take().await;
            let (result, buffer) = file.read_at(buffer, u64::from(offset)).await;
            if let Ok(count) = result {
                assert_eq!(count, buffer.len());
                check_bytes(&buffer, offset, LENGTH);
            }
        }
        Wish::Write { offset, length } => {
            let buffer = CountedBuf::holding(&written(offset, length), alive);
            let (result, _buffer) = file.write_at(buffer, within(offset)).await;
            assert!(result.is_err() || result.is_ok_and(|count| count <= usize::from(length)));
        }
        Wish::Metadata => drop(file.metadata().await),
        Wish::Sync => drop(file.sync_all().await),
    }
}

/// Writes do not make the file longer.
fn within(offset: u8) -> u64 {
    u64::from(offset).min(LENGTH as u64)
}

/// What a write writes is what stands there: so every read can be judged.
fn written(offset: u8, length: u8) -> Vec<u8> {
    let offset = usize::from(offset).min(LENGTH);
    let end = (offset + usize::from(length)).min(LENGTH);
    (offset..end).map(byte).collect()
}

async fn visit(handle: Handle, wishes: [Wish; 2], close: bool, alive: Rc<Cell<usize>>, pool: Pool) {
    let Ok(file) = File::open(&handle, "data").await else {
        return;
    };
    for wish in wishes {
        fulfil(wish, &file, &alive, &pool).await;
    }
    if close {
        // An errno of close(2) is the user's to know.
        drop(file.close().await);
    }
}

impl Stage {
    /// Plays the schedule that `bytes` are; with lies if it is to be `wild`.
    ///
    /// # Panics
    /// If a buffer, a descriptor or a wake is lost, bytes are wrong, or a lie has an effect.
    pub fn run(bytes: &[u8], wild: bool) {
        let mut bytes = Unstructured::new(bytes);
        let Ok(shape) = <[u8; 4]>::arbitrary(&mut bytes) else {
            return;
        };
        let mut stage = Stage::new(shape, wild);
        for _ in 0..STEPS_MAX {
            match Step::arbitrary(&mut bytes) {
                Ok(step) if !bytes.is_empty() => stage.step(step),
                _ => break,
            }
        }
        stage.finish();
    }

    fn new(shape: [u8; 4], wild: bool) -> Stage {
        let sq_entries = 1 + usize::from(shape[0] % 4);
        let cq_entries = sq_entries + usize::from(shape[1] % 6);
        let (disk, control) = fake(sq_entries, cq_entries, u64::from(shape[2]));
        control.file("data", (0..LENGTH).map(byte).collect());
        let disks = [Disk::Local, Disk::Local, Disk::Memory, Disk::Remote];
        control.disk(disks[usize::from(shape[3] % 4)]);
        let knowledge = Rc::default();
        let kernel = Wild {
            disk,
            knowledge: Rc::clone(&knowledge),
        };
        let options = Options {
            remote_max: 1 + usize::from(shape[3] / 4 % 3),
            ..Options::default()
        };
        let mut ring = Ring::with_kernel(Box::new(kernel), &options);
        let handle = ring.handle();
        let file = drive(&mut ring, async move { File::open(&handle, "data").await });
        Stage {
            ring,
            control,
            knowledge,
            file: Some(file.expect("nothing fails yet")),
            users: Vec::new(),
            begun: BTreeMap::new(),
            tokens: 0,
            alive: Rc::default(),
            pool: Pool::new(BUFFERS, LENGTH),
            wild,
        }
    }

    fn step(&mut self, step: Step) {
        let place = |at: u8| usize::from(at) % self.users.len().max(1);
        match step {
            Step::Join { wishes, close } => self.join(wishes, close),
            Step::Begin(wish) => self.begin(wish),
            Step::Cancel(at) => {
                let mut ids = self.begun.values().map(|(id, _)| *id);
                if let Some(id) = ids.nth(usize::from(at) % self.begun.len().max(1)) {
                    self.ring.handle().cancel(id);
                }
            }
            Step::Take => self.take(),
            Step::Poll { at, moved } => self.poll(place(at), moved),
            Step::Drop(at) if !self.users.is_empty() => drop(self.users.swap_remove(place(at))),
            Step::PollWoken => drop(self.poll_woken()),
            Step::Submit => self.ring.submit().expect("submit"),
            Step::Reap(budget) => drop(self.ring.reap(1 + usize::from(budget % 8)).expect("reap")),
            Step::Sleep => {
                let _ = self.ring.arm();
                self.ring.disarm();
            }
            step => self.disturb(step),
        }
    }

    /// The kernel's steps.
    fn disturb(&mut self, step: Step) {
        match step {
            Step::Finish => drop(self.control.finish_one()),
            Step::Faults(percents) => self.control.faults(faults(percents)),
            Step::EnterFails(errno) => {
                let errnos = [libc::EINTR, libc::EAGAIN, libc::EBUSY, libc::ENOMEM];
                self.control.script_enters([errnos[usize::from(errno) % 4]]);
            }
            // EFAULT says that a rule of ours is broken, which is an assertion.
            Step::AnswerFails(errno) if errno > 0 && i32::from(errno) != libc::EFAULT => {
                self.knowledge.borrow_mut().fail(i32::from(errno));
            }
            Step::Hang(hang) => self.control.hang(hang),
            Step::Lie { about, result } if self.wild => {
                let knowledge = &mut *self.knowledge.borrow_mut();
                let user_data = match about {
                    Lie::Past(at) => knowledge.past(at),
                    Lie::Nearly(at, bits) => knowledge.past(at) ^ bits,
                    Lie::Any(user_data) => user_data,
                };
                knowledge.lie(user_data, result);
            }
            _ => {}
        }
    }

    fn join(&mut self, wishes: [Wish; 2], close: bool) {
        if self.users.len() < CROWD_MAX {
            let (alive, pool) = (Rc::clone(&self.alive), self.pool.clone());
            let bell = Bell::new();
            bell.waker().wake();
            let future = Box::pin(visit(self.ring.handle(), wishes, close, alive, pool));
            self.users.push(User { future, bell });
        }
    }

    fn poll(&mut self, at: usize, moved: bool) {
        let Some(user) = self.users.get_mut(at) else {
            return;
        };
        if moved {
            // Its future has gone to another task.
            user.bell = Bell::new();
        }
        user.bell.take();
        let waker = user.bell.waker();
        if user
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            drop(self.users.swap_remove(at));
        }
    }

    fn poll_woken(&mut self) -> bool {
        let mut any = false;
        for at in (0..self.users.len()).rev() {
            if self.users[at].bell.has_rung() {
                self.poll(at, false);
                any = true;
            }
        }
        any
    }

    fn begin(&mut self, wish: Wish) {
        let Some(file) = &self.file else { return };
        let op = match wish {
            Wish::Read { offset, length, .. } => {
                let buffer = CountedBuf::new(usize::from(length), &self.alive);
                Op::read_at(file, buffer, u64::from(offset))
            }
            Wish::Write { offset, length } => {
                let buffer = CountedBuf::holding(&written(offset, length), &self.alive);
                Op::write_at(file, buffer, within(offset))
            }
            Wish::Metadata => Op::metadata(file),
            Wish::ReadPool { .. } | Wish::Sync => Op::sync_all(file),
        };
        self.tokens += 1;
        // Out of credits is an answer like any other: the buffer is dropped with it.
        if let Ok(id) = self.ring.handle().begin(self.tokens, op) {
            self.begun.insert(self.tokens, (id, wish));
        }
    }

    fn take(&mut self) {
        while let Some(complete) = self.ring.take_complete() {
            let begun = self.begun.remove(&complete.token());
            let (id, wish) = begun.expect("a token is answered once");
            assert_eq!(id, complete.id());
            if let Wish::Read { offset, length, .. } = wish {
                let read = complete.into_read::<CountedBuf>();
                let (result, buffer) = read.unwrap_or_else(|_| panic!("it was a read"));
                if let Ok(count) = result {
                    assert_eq!(count, buffer.filled().len());
                    check_bytes(buffer.filled(), offset, usize::from(length));
                }
            }
        }
    }

    /// From now on the kernel does its work; who is woken is polled, nobody else is, and nobody is
    /// dropped: all must end.
    fn finish(mut self) {
        self.control.faults(Faults::default());
        self.control.hang(false);
        drop(self.file.take());
        // What was answered holds the file open until it is taken.
        self.take();
        let mut idle = 0;
        while !self.users.is_empty() || self.ring.is_busy() || self.ring.wants_enter() {
            let woken = self.poll_woken();
            self.ring.submit().expect("submit");
            let reaped = self.ring.reap(64).expect("reap");
            self.take();
            let progress = woken || reaped > 0 || self.control.finish_one();
            idle = if progress { 0 } else { idle + 1 };
            // Enters that were scripted to fail may yet do so.
            assert!(idle < 1000, "{} sleep for ever", self.users.len());
        }
        assert!(self.begun.is_empty(), "tokens that were never answered");
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
        let told = self.knowledge.borrow().told();
        assert_eq!(
            (counters.stale, counters.bugs),
            (told, 0),
            "each lie is counted"
        );
        assert_eq!(self.ring.shut_down(), 0);
    }
}

fn faults(percents: [u8; 9]) -> Faults {
    let [a, b, c, d, e, f, g, h, i] = percents.map(|percent| u32::from(percent % 64));
    Faults {
        enter: a,
        short_submit: b,
        delay: c,
        defer: d,
        short_read: e,
        short_write: f,
        again: g,
        io_error: h,
        late_cancel: i,
    }
}
