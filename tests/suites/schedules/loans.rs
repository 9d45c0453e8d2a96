//! The operations table, and next to it what it should be.

#[path = "loans/steps.rs"]
mod steps;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ambidex::disk::gate::Ticket;
use ambidex::disk::operations::{Key, Operations, Outcome};
use ambidex_tests::sim::Bell;

/// What became of a payload.
#[derive(Default)]
struct Fate {
    /// The kernel may write to it.
    lent: bool,
    drops: u32,
}

type Ledger = Vec<Fate>;

/// A payload that knows when it may not be released.
struct Payload {
    id: usize,
    ledger: Rc<RefCell<Ledger>>,
}

impl Drop for Payload {
    fn drop(&mut self) {
        let fate = &mut self.ledger.borrow_mut()[self.id];
        fate.drops += 1;
        assert!(
            !fate.lent || std::thread::panicking(),
            "payload released while lent"
        );
    }
}

/// Where an operation stands, by the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stage {
    Waiting,
    Queued(Key),
    InFlight(Key),
    Abandoned(Key),
    Done(Key, i32),
    Over,
}

/// One thing that can happen to the table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    Begin,
    /// And polled at once, as futures do.
    BeginPolled,
    Launch(usize),
    Complete(usize),
    Requeue(usize),
    Poll(usize),
    Drop(usize),
}

struct Client {
    stage: Stage,
    payload: Option<Payload>,
    ticket: Option<Ticket>,
    bell: Arc<Bell>,
    /// The table has its waker: it goes on only when the bell rings.
    asleep: bool,
}

/// The table under test and, in plain lists, what it should be.
pub(crate) struct Loans {
    table: Operations<Payload>,
    credits: usize,
    free: usize,
    line: Vec<usize>,
    clients: Vec<Client>,
    /// Those that are not over.
    live: Vec<usize>,
    past: Vec<Key>,
    ledger: Rc<RefCell<Ledger>>,
    wake: Vec<Waker>,
}

impl Loans {
    pub(crate) fn new(credits: usize) -> Loans {
        Loans {
            table: Operations::new(credits),
            credits,
            free: credits,
            line: Vec::new(),
            clients: Vec::new(),
            live: Vec::new(),
            past: Vec::new(),
            ledger: Rc::default(),
            wake: Vec::new(),
        }
    }

    fn client(&mut self) -> usize {
        let id = self.clients.len();
        self.ledger.borrow_mut().push(Fate::default());
        self.live.push(id);
        let ledger = Rc::clone(&self.ledger);
        self.clients.push(Client {
            stage: Stage::Waiting,
            payload: Some(Payload { id, ledger }),
            ticket: None,
            bell: Bell::new(),
            asleep: false,
        });
        id
    }

    /// Who is not over: where each stands, and whether it would be polled by itself, being new or woken.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, Stage, bool)> {
        self.live.iter().map(|id| {
            let client = &self.clients[*id];
            let awake = !client.asleep || client.bell.has_rung();
            (*id, client.stage, awake)
        })
    }

    /// Makes a move that can be made now.
    pub(crate) fn make(&mut self, next: Move) {
        match next {
            Move::Begin => {
                let id = self.client();
                self.admit(id);
            }
            Move::BeginPolled => {
                let id = self.client();
                self.admit(id);
                if let Stage::Queued(_) = self.clients[id].stage {
                    self.poll(id);
                }
            }
            Move::Launch(id) => self.launch(id),
            // Errnos and counts, told apart.
            Move::Complete(id) => self.complete(id, id as i32 * 7 - 40),
            Move::Requeue(id) => self.requeue(id),
            Move::Poll(id) => self.poll(id),
            Move::Drop(id) => self.drop_future(id),
        }
    }

    fn lend(&self, id: usize, lent: bool) {
        self.ledger.borrow_mut()[id].lent = lent;
    }

    fn end(&mut self, id: usize) {
        self.clients[id].stage = Stage::Over;
        self.live.retain(|live| *live != id);
    }

    fn over(&mut self, id: usize, key: Key) {
        self.end(id);
        self.past.push(key);
    }

    fn admit(&mut self, id: usize) {
        let place = self.line.iter().position(|other| *other == id);
        let ahead = place.unwrap_or(self.line.len());
        let client = &mut self.clients[id];
        client.bell.take();
        let payload = client
            .payload
            .take()
            .expect("a waiting client has its payload");
        let waker = client.bell.waker();
        match self
            .table
            .admit(payload, &mut client.ticket, &waker, &mut self.wake)
        {
            Ok(key) => {
                assert!(ahead < self.free, "admitted out of turn");
                (client.stage, client.asleep) = (Stage::Queued(key), false);
                self.line.retain(|other| *other != id);
                self.free -= 1;
            }
            Err(payload) => {
                assert!(ahead > 0 || self.free == 0, "refused in its turn");
                assert_eq!(payload.id, id);
                client.payload = Some(payload);
                client.asleep = true;
                if place.is_none() {
                    self.line.push(id);
                }
            }
        }
    }

    fn try_admit(&mut self) {
        let id = self.client();
        let payload = self.clients[id]
            .payload
            .take()
            .expect("a new client has one");
        match self.table.try_admit(payload) {
            Ok(key) => {
                assert!(self.free > self.line.len(), "overtook those who wait");
                self.clients[id].stage = Stage::Queued(key);
                self.free -= 1;
            }
            Err(_) => {
                let none = self.free == 0 || !self.line.is_empty();
                assert!(none, "refused though a credit was free");
                self.end(id);
            }
        }
    }

    fn launch(&mut self, id: usize) {
        let Stage::Queued(key) = self.clients[id].stage else {
            return;
        };
        let payload = self.table.launch(key).expect("it was queued");
        assert_eq!(payload.id, id);
        self.lend(id, true);
        self.clients[id].stage = Stage::InFlight(key);
        assert!(self.table.launch(key).is_none(), "launched twice");
    }

    fn complete(&mut self, id: usize, result: i32) {
        let client = &self.clients[id];
        let (key, abandoned) = match client.stage {
            Stage::InFlight(key) => (key, false),
            Stage::Abandoned(key) => (key, true),
            _ => return,
        };
        self.lend(id, false);
        let outcome = self.table.complete(key.user_data(), result, &mut self.wake);
        self.free += 1;
        match outcome {
            Outcome::Delivered(known, payload, waker) => {
                assert_eq!((known, payload.id), (key, id));
                assert!(!abandoned, "delivered to nobody");
                assert_eq!(
                    waker.is_some(),
                    client.asleep,
                    "whoever has polled is woken"
                );
                self.wake.extend(waker);
                self.clients[id].stage = Stage::Done(key, result);
            }
            Outcome::Orphan(payload, orphaned) => {
                assert!(abandoned, "orphaned though its future lives");
                assert_eq!((payload.id, orphaned), (id, result));
                self.over(id, key);
            }
            Outcome::Stale => panic!("a completion in flight is not stale"),
        }
        self.deny(key.user_data());
    }

    /// Nothing in flight answers to `user_data`: it must change nothing.
    fn deny(&mut self, user_data: u64) {
        let outcome = self.table.complete(user_data, 1, &mut self.wake);
        assert!(
            matches!(outcome, Outcome::Stale),
            "{outcome:?}",
            outcome = match outcome {
                Outcome::Delivered(..) => "delivered twice",
                Outcome::Orphan(..) => "orphaned twice",
                Outcome::Stale => "stale",
            }
        );
    }

    fn requeue(&mut self, id: usize) {
        let stage = self.clients[id].stage;
        let (Stage::Queued(key)
        | Stage::InFlight(key)
        | Stage::Abandoned(key)
        | Stage::Done(key, _)) = stage
        else {
            return;
        };
        let requeued = self.table.requeue(key);
        assert_eq!(requeued, matches!(stage, Stage::InFlight(_)));
        if requeued {
            self.lend(id, false);
            self.clients[id].stage = Stage::Queued(key);
            self.deny(key.user_data());
        }
    }

    fn poll(&mut self, id: usize) {
        let client = &mut self.clients[id];
        client.bell.take();
        match client.stage {
            Stage::Waiting => self.admit(id),
            Stage::Queued(key) | Stage::InFlight(key) => {
                // As when the future has moved to another task: the table is to wake that one.
                client.bell = Bell::new();
                assert!(self.table.poll(key, &client.bell.waker()).is_pending());
                client.asleep = true;
            }
            Stage::Done(key, result) => {
                let Poll::Ready((payload, polled)) = self.table.poll(key, &client.bell.waker())
                else {
                    panic!("done, but pending");
                };
                assert_eq!((payload.id, polled), (id, result));
                self.over(id, key);
            }
            Stage::Abandoned(_) | Stage::Over => {}
        }
    }

    /// The future of `id` is dropped, wherever it stands.
    fn drop_future(&mut self, id: usize) {
        let client = &mut self.clients[id];
        let stage = client.stage;
        match stage {
            Stage::Waiting => {
                if let Some(ticket) = client.ticket.take() {
                    self.table.leave(ticket, &mut self.wake);
                    self.line.retain(|other| *other != id);
                }
                client.payload = None;
                self.end(id);
            }
            Stage::Queued(key) | Stage::Done(key, _) => {
                let (payload, result) = self
                    .table
                    .abandon(key, &mut self.wake)
                    .expect("released at once");
                assert_eq!(payload.id, id);
                let known = if let Stage::Done(_, known) = stage {
                    Some(known)
                } else {
                    None
                };
                assert_eq!(result, known);
                self.free += usize::from(known.is_none());
                self.over(id, key);
            }
            Stage::InFlight(key) => {
                assert!(
                    self.table.abandon(key, &mut self.wake).is_none(),
                    "the kernel holds it"
                );
                client.stage = Stage::Abandoned(key);
            }
            Stage::Abandoned(key) => {
                assert!(
                    self.table.abandon(key, &mut self.wake).is_none(),
                    "abandoned twice"
                );
            }
            Stage::Over => {}
        }
    }
}
