//! Random schedules of reads, opens, cancels, drops and tokens on a kernel full of faults.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use ambidex::disk::cancel::Canceller;
use ambidex::disk::{Cancellable, Complete, File, Op, OpId, OpenOptions, Options, Outcome, Ring};
use ambidex_tests::sim::disk::{Control, CountedBuf, Disk, Faults, fake};
use ambidex_tests::sim::rng::{Weights, choose, schedules};
use ambidex_tests::sim::{Bell, drive};
use fastrand::Rng;

use super::{errno, poll_with};

const SCHEDULES: u64 = 40_000;
/// Turns without an end after which a wake must have been lost.
const TURNS_MAX: usize = 2000;

/// How an operation ended; what it was lent or has opened goes with this.
type End = (io::Result<usize>, Option<CountedBuf>, Option<File>);
type Work = Pin<Box<dyn Future<Output = End>>>;

/// A future that somebody waits for.
struct Client {
    work: Pin<Box<Cancellable<Work>>>,
    /// Of a scope inside, if it has one.
    inner: Option<Canceller>,
    bell: Arc<Bell>,
    polled: bool,
    /// It is asked for its outcome from now on.
    asked: bool,
    called_back: bool,
}

struct Play {
    ring: Ring,
    control: Control,
    file: File,
    alive: Rc<Cell<usize>>,
    clients: Vec<Client>,
    /// Begun by token, and not ended.
    begun: HashSet<u64>,
    cancelled: HashSet<u64>,
    ids: Vec<OpId>,
    tokens: u64,
}

impl Play {
    fn new(rng: &mut Rng) -> Play {
        let credits = rng.usize(1..5);
        let (kernel, control) = fake(rng.usize(1..=credits), credits, rng.u64(..));
        control.file("data", (0..=255).collect());
        let disk = [Disk::Local, Disk::Remote, Disk::Memory];
        control.disk(choose(rng, &disk).unwrap_or(Disk::Local));
        let options = Options {
            remote_max: rng.usize(1..4),
            ..Options::default()
        };
        let mut ring = Ring::with_kernel(Box::new(kernel), &options);
        let handle = ring.handle();
        let file = drive(&mut ring, File::open(&handle, "data")).expect("open");
        control.faults(Faults::random(rng, 25));
        Play {
            ring,
            control,
            file,
            alive: Rc::default(),
            clients: Vec::new(),
            begun: HashSet::new(),
            cancelled: HashSet::new(),
            ids: Vec::new(),
            tokens: 0,
        }
    }

    fn buffer(&self) -> CountedBuf {
        CountedBuf::new(32, &self.alive)
    }

    fn work(&self, rng: &mut Rng) -> Work {
        let (file, handle) = (self.file.clone(), self.ring.handle());
        match rng.u32(..4) {
            0 => Box::pin(async move {
                let opened = File::open(&handle, "data").await;
                let result = opened.as_ref().map(|_| 0).map_err(clone_of);
                (result, None, opened.ok())
            }),
            1 => {
                let buffer = self.buffer();
                match file.try_read_at(buffer, 7) {
                    Ok(read) => Box::pin(async move {
                        let (result, buffer) = read.await;
                        (result, Some(buffer), None)
                    }),
                    Err((error, buffer)) => {
                        Box::pin(async move { (Err(error), Some(buffer), None) })
                    }
                }
            }
            _ => {
                let buffer = self.buffer();
                Box::pin(async move {
                    let (result, buffer) = file.read_at(buffer, 7).await;
                    (result, Some(buffer), None)
                })
            }
        }
    }

    fn start(&mut self, rng: &mut Rng) {
        let (mut work, mut inner) = (self.work(rng), None);
        if rng.u32(..3) == 0 {
            let cancellable = self.ring.handle().cancellable(work);
            inner = Some(cancellable.canceller());
            work = Box::pin(cancellable);
        }
        self.clients.push(Client {
            work: Box::pin(self.ring.handle().cancellable(work)),
            inner,
            bell: Bell::new(),
            polled: false,
            asked: false,
            called_back: false,
        });
    }

    /// Polls `at`, and checks its end if that has come.
    fn poll(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.polled = true;
        client.bell.take();
        let ended = if client.asked {
            poll_with(pin!(client.work.as_mut().cancel()), &client.bell)
        } else {
            poll_with(client.work.as_mut(), &client.bell).map(Outcome::Completed)
        };
        let Poll::Ready(outcome) = ended else { return };
        let client = self.clients.swap_remove(at);
        let told = outcome.is_cancelled();
        let (result, buffer, file) = outcome.into_inner();
        let called_back = errno(&result) == Some(libc::ECANCELED);
        assert!(!called_back || client.called_back, "nobody called it back");
        assert!(!told || called_back, "{result:?} is no outcome of a cancel");
        // An inner cancel is not the outer one's doing, though the outer may have come after it.
        assert!(
            !client.asked || told || !called_back || client.inner.is_some(),
            "{result:?}"
        );
        check(&result, buffer.as_ref());
        assert_ne!(errno(&result), Some(libc::EINTR), "retried or called back");
        drop(file);
    }

    fn cancel(&mut self, rng: &mut Rng) {
        if self.clients.is_empty() {
            return;
        }
        let at = rng.usize(..self.clients.len());
        let client = &mut self.clients[at];
        client.called_back = true;
        match (&client.inner, rng.u32(..3)) {
            (Some(inner), 0) => inner.cancel(),
            (_, 1) => client.work.canceller().cancel(),
            _ => {
                client.asked = true;
                self.poll(at);
            }
        }
    }

    fn begin(&mut self, rng: &mut Rng) {
        let handle = self.ring.handle();
        let op = match rng.u32(..4) {
            0 => Op::open(&handle, &OpenOptions::new(), "data"),
            1 => Op::metadata(&self.file),
            _ => Op::read_at(&self.file, self.buffer(), 7),
        };
        match handle.begin(self.tokens, op) {
            Ok(id) => {
                assert!(!self.ids.contains(&id), "an id is used once");
                self.ids.push(id);
                self.begun.insert(self.tokens);
                self.tokens += 1;
            }
            Err(refused) => assert_eq!(refused.error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    fn cancel_token(&mut self, rng: &mut Rng) {
        // Any that there ever was: most have ended.
        if !self.ids.is_empty() {
            let at = rng.usize(..self.ids.len());
            self.cancelled.insert(at as u64);
            self.ring.handle().cancel(self.ids[at]);
        }
    }

    fn take(&mut self, complete: Complete) {
        let token = complete.token();
        assert!(self.begun.remove(&token), "ended twice");
        assert_eq!(complete.id(), self.ids[token as usize]);
        let called_back = errno(&complete.result()) == Some(libc::ECANCELED);
        assert!(
            !called_back || self.cancelled.contains(&token),
            "nobody called it back"
        );
        if token.is_multiple_of(3) {
            // Unread.
        } else if complete.metadata().is_some() {
            assert_eq!(
                complete.metadata().map(|metadata| metadata.len()),
                Some(256)
            );
        } else {
            match complete.into_read::<CountedBuf>() {
                Ok((result, buffer)) => check(&result, Some(&buffer)),
                Err(complete) => drop(complete.into_file()),
            }
        }
    }

    fn turn(&mut self, rng: &mut Rng) {
        if rng.bool() {
            self.ring.submit().expect("submit");
        }
        self.ring.reap(rng.usize(..4)).expect("reap");
    }

    fn step(&mut self, rng: &mut Rng, weights: &Weights<9>) {
        match weights.pick(rng) {
            0 => self.start(rng),
            1 => self.cancel(rng),
            2 => self.begin(rng),
            3 => self.cancel_token(rng),
            4 if !self.clients.is_empty() => {
                drop(self.clients.swap_remove(rng.usize(..self.clients.len())));
            }
            5 => {
                if let Some(complete) = self.ring.take_complete() {
                    self.take(complete);
                }
            }
            6 => {
                self.control.finish_one();
            }
            7 => self.turn(rng),
            _ if !self.clients.is_empty() => self.poll(rng.usize(..self.clients.len())),
            _ => {}
        }
        let credits = self.ring.capabilities().cq_entries;
        assert!(self.ring.in_flight() <= credits);
    }

    /// All that is left ends, each polled only when it was woken.
    fn finish(mut self) {
        for turns in 0.. {
            for at in (0..self.clients.len()).rev() {
                if !self.clients[at].polled || self.clients[at].bell.has_rung() {
                    self.poll(at);
                }
            }
            while let Some(complete) = self.ring.take_complete() {
                self.take(complete);
            }
            if self.clients.is_empty() && self.begun.is_empty() && !self.ring.is_busy() {
                break;
            }
            self.control.finish_one();
            self.ring.submit().expect("submit");
            self.ring.reap(usize::MAX).expect("reap");
            assert!(turns < TURNS_MAX, "a wake was lost");
        }
        let handle = self.ring.handle();
        assert_eq!(
            (handle.in_flight(), handle.waiting()),
            (0, 0),
            "credits come back"
        );
        assert_eq!(self.alive.get(), 0, "each buffer is freed");
        let counters = self.ring.counters();
        assert_eq!((counters.stale, counters.bugs), (0, 0));
        assert_eq!(self.control.descriptors(), 1, "the file itself");
        drop(self.file);
        // Else a thread of its own closes it, in its own time.
        while self.ring.is_busy() {
            self.ring.submit().expect("submit");
            self.control.finish_one();
            self.ring.reap(usize::MAX).expect("reap");
        }
        drop(self.ring);
        assert_eq!(self.control.descriptors(), 0);
    }
}

/// What was read is what stands there; what was not is not.
fn check(result: &io::Result<usize>, buffer: Option<&CountedBuf>) {
    let Some(buffer) = buffer else { return };
    let length = *result.as_ref().unwrap_or(&0);
    assert_eq!(buffer.filled().len(), length);
    let expected = (7..).take(length);
    assert!(buffer.filled().iter().copied().eq(expected), "other bytes");
}

fn clone_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => error.kind().into(),
    }
}

#[test]
fn each_operation_ends_once_and_all_comes_back_whatever_is_called_back_and_when() {
    schedules("cancel", 0x0A1D_0012, SCHEDULES, |rng| {
        let mut play = Play::new(rng);
        let weights = Weights::random(rng);
        for _ in 0..rng.u32(5..60) {
            play.step(rng, &weights);
        }
        play.finish();
    });
}
