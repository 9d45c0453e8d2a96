//! A few operations on a real ring over a kernel of choices, in whatever order a choice says.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ambidex::disk::cancel::Canceller;
use ambidex::disk::{Cancellable, File, Options, Ring};
use ambidex_tests::sim::Bell;
use ambidex_tests::sim::disk::{Control, CountedBuf, Disk, fake};

use super::kernel::{ChosenKernel, Desk, PATH};
use super::oracle::Oracle;

const CONTENT: [u8; 4] = *b"abcd";
/// No way is half as long.
const STEPS_MAX: u64 = 200;

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Read,
    Open,
}

/// What a walk may consist of.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) kinds: &'static [Kind],
    pub(crate) sq: usize,
    pub(crate) cq: usize,
    pub(crate) remote: bool,
    pub(crate) drops: usize,
    pub(crate) cancels: usize,
    pub(crate) faults: usize,
}

type End = (io::Result<usize>, Option<CountedBuf>, Option<File>);
type Work = Pin<Box<dyn Future<Output = End>>>;

/// One operation and who waits for it.
struct Client {
    kind: Kind,
    work: Option<Pin<Box<Cancellable<Work>>>>,
    canceller: Canceller,
    bell: Arc<Bell>,
    cancelled: bool,
}

#[derive(Clone, Copy)]
enum Move {
    Begin,
    Submit,
    Finish(usize),
    Reap,
    Poll(usize),
    Drop(usize),
    Cancel(usize),
}

/// See the [module](self). The ring outlives a walk, which must leave it as it was.
pub(crate) struct Play {
    scene: Scene,
    ring: Ring,
    desk: Rc<Desk>,
    _control: Control,
    file: File,
    alive: Rc<Cell<usize>>,
    clients: Vec<Client>,
    drops: usize,
    cancels: usize,
}

impl Play {
    pub(crate) fn new(scene: Scene) -> Play {
        let (worker, control) = fake(scene.sq, scene.cq, 0);
        control.file(PATH, CONTENT.to_vec());
        control.disk(if scene.remote {
            Disk::Remote
        } else {
            Disk::Local
        });
        let desk = Desk::new(worker);
        let kernel = ChosenKernel(Rc::clone(&desk));
        let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
        let handle = ring.handle();
        let mut opening = std::pin::pin!(File::open(&handle, PATH));
        let file = loop {
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if let Poll::Ready(file) = opening.as_mut().poll(&mut cx) {
                break file.expect("open");
            }
            ring.submit().expect("submit");
            (0..desk.working()).for_each(|_| desk.finish(0));
            ring.reap(64).expect("reap");
        };
        Play {
            scene,
            ring,
            desk,
            _control: control,
            file,
            alive: Rc::default(),
            clients: Vec::new(),
            drops: 0,
            cancels: 0,
        }
    }

    /// Walks as `oracle` says until nothing is left to happen, and tells how many steps that took.
    pub(crate) fn walk(&mut self, oracle: &Rc<Oracle>) -> u64 {
        let opens = self.scene.kinds.contains(&Kind::Open);
        self.desk.begin(oracle, self.scene.faults, opens);
        (self.drops, self.cancels) = (self.scene.drops, self.scene.cancels);
        let (mut steps, mut moves) = (0, Vec::new());
        loop {
            self.list_moves(&mut moves);
            if moves.is_empty() {
                break;
            }
            steps += 1;
            assert!(steps < STEPS_MAX, "goes on for ever");
            let next = moves[oracle.choose(moves.len())];
            self.make(next);
            self.check();
        }
        let waiting = self.clients.iter().any(|client| client.work.is_some());
        assert!(
            !waiting,
            "nothing will happen, and a future waits: a wake was lost"
        );
        self.clients.clear();
        assert_eq!(self.alive.get(), 0, "a buffer was not released");
        assert_eq!(
            (self.ring.in_flight(), self.ring.handle().waiting()),
            (0, 0)
        );
        assert!(!self.ring.is_busy());
        self.desk.end();
        steps
    }

    /// The ring, its files and all futures go while the kernel has the first operation; tells what the kernel has left.
    pub(crate) fn end_early(mut self) -> Rc<Desk> {
        self.begin();
        self.ring.submit().expect("submit");
        assert_eq!(self.desk.working(), 1);
        Rc::clone(&self.desk)
    }

    /// What can happen now. Drops and cancels come only on top of what goes on by itself: a future that nobody will
    /// wake is not saved by being dropped.
    fn list_moves(&self, moves: &mut Vec<Move>) {
        moves.clear();
        let live = |(_, client): &(usize, &Client)| client.work.is_some();
        if self.clients.len() < self.scene.kinds.len() {
            moves.push(Move::Begin);
        }
        if self.ring.wants_enter() {
            moves.push(Move::Submit);
        }
        moves.extend((0..self.desk.working()).map(Move::Finish));
        if self.desk.has_answers() {
            moves.push(Move::Reap);
        }
        let clients = || self.clients.iter().enumerate().filter(live);
        let woken = clients().filter(|(_, client)| client.bell.has_rung());
        moves.extend(woken.map(|(id, _)| Move::Poll(id)));
        if moves.is_empty() {
            return;
        }
        if self.drops > 0 {
            moves.extend(clients().map(|(id, _)| Move::Drop(id)));
        }
        if self.cancels > 0 {
            let fresh = clients().filter(|(_, client)| !client.cancelled);
            moves.extend(fresh.map(|(id, _)| Move::Cancel(id)));
        }
    }

    fn make(&mut self, next: Move) {
        match next {
            Move::Begin => self.begin(),
            Move::Submit => self.ring.submit().expect("submit"),
            Move::Finish(at) => self.desk.finish(at),
            Move::Reap => {
                self.ring.reap(64).expect("reap");
            }
            Move::Poll(id) => self.poll(id),
            Move::Drop(id) => {
                self.drops -= 1;
                self.clients[id].work = None;
            }
            Move::Cancel(id) => {
                self.cancels -= 1;
                self.clients[id].cancelled = true;
                self.clients[id].canceller.cancel();
            }
        }
    }

    fn begin(&mut self) {
        let kind = self.scene.kinds[self.clients.len()];
        let (file, handle) = (self.file.clone(), self.ring.handle());
        let buffer = (kind == Kind::Read).then(|| CountedBuf::new(CONTENT.len(), &self.alive));
        let work: Work = Box::pin(async move {
            match buffer {
                Some(buffer) => {
                    let (result, buffer) = file.read_at(buffer, 0).await;
                    (result, Some(buffer), None)
                }
                None => match File::open(&handle, PATH).await {
                    Ok(file) => (Ok(0), None, Some(file)),
                    Err(error) => (Err(error), None, None),
                },
            }
        });
        let work = Box::pin(self.ring.handle().cancellable(work));
        self.clients.push(Client {
            kind,
            canceller: work.canceller(),
            work: Some(work),
            bell: Bell::new(),
            cancelled: false,
        });
        self.poll(self.clients.len() - 1);
    }

    fn poll(&mut self, id: usize) {
        let client = &mut self.clients[id];
        client.bell.take();
        let Some(work) = &mut client.work else { return };
        let waker = client.bell.waker();
        let Poll::Ready(end) = work.as_mut().poll(&mut Context::from_waker(&waker)) else {
            return;
        };
        client.work = None;
        check_end(client, end);
    }

    /// Holds after each step.
    fn check(&mut self) {
        assert!(self.ring.in_flight() <= self.scene.cq);
        assert!(self.alive.get() >= self.desk.lent(), "released while lent");
        let sleeps = self.ring.arm();
        self.ring.disarm();
        let (wants, stalled) = (self.ring.wants_enter(), self.ring.stalled());
        assert!(
            !sleeps || stalled || !self.desk.has_answers(),
            "sleeps on answers"
        );
        assert!(
            !sleeps || !wants || stalled,
            "sleeps on what it could submit"
        );
        assert!(sleeps || wants || self.desk.has_answers(), "spins");
    }
}

/// Only what the kernel did may come out, and nothing that the table of errnos retries.
fn check_end(client: &Client, (result, buffer, file): End) {
    match result {
        Ok(length) => {
            assert_eq!(file.is_some(), client.kind == Kind::Open);
            let filled = buffer.as_ref().map_or(&[][..], CountedBuf::filled);
            assert_eq!(filled, &CONTENT[..length], "wrong bytes");
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EIO) => {}
            Some(libc::ECANCELED | libc::EINTR) if client.cancelled => {}
            _ => panic!("nobody answered {error}"),
        },
    }
}
