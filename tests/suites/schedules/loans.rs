//! The operations table, and next to it what it should be.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use ambidex::disk::gate::Ticket;
use ambidex::disk::operations::{Key, Operations, Outcome};
use ambidex_tests::sim::Bell;
use ambidex_tests::sim::rng::{Weights, choose};
use fastrand::Rng;

/// What became of each payload.
#[derive(Default)]
struct Ledger {
    /// The kernel may write to it.
    lent: Vec<bool>,
    drops: Vec<u32>,
}

/// A payload that knows when it may not be released.
struct Payload {
    id: usize,
    ledger: Rc<RefCell<Ledger>>,
}

impl Drop for Payload {
    fn drop(&mut self) {
        let ledger = &mut *self.ledger.borrow_mut();
        ledger.drops[self.id] += 1;
        let lent = ledger.lent[self.id];
        assert!(
            !lent || std::thread::panicking(),
            "payload released while lent"
        );
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Waiting,
    Queued(Key),
    InFlight(Key),
    Abandoned(Key),
    Done(Key, i32),
    Over,
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
            past: Vec::new(),
            ledger: Rc::default(),
            wake: Vec::new(),
        }
    }

    fn client(&mut self) -> usize {
        let id = self.clients.len();
        self.ledger.borrow_mut().lent.push(false);
        self.ledger.borrow_mut().drops.push(0);
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

    /// The clients whose stage is `wanted`.
    fn those(&self, wanted: impl Fn(Stage) -> bool) -> Vec<usize> {
        let all = 0..self.clients.len();
        all.filter(|id| wanted(self.clients[*id].stage)).collect()
    }

    fn lend(&self, id: usize, lent: bool) {
        self.ledger.borrow_mut().lent[id] = lent;
    }

    fn over(&mut self, id: usize, key: Key) {
        self.clients[id].stage = Stage::Over;
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
                self.clients[id].stage = Stage::Over;
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
                client.stage = Stage::Over;
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

    /// Keys and numbers that name nothing any more, or never did.
    fn meddle(&mut self, rng: &mut Rng) {
        if let Some(key) = choose(rng, &self.past) {
            assert!(self.table.launch(key).is_none());
            assert!(!self.table.requeue(key));
            assert!(self.table.abandon(key, &mut self.wake).is_none());
            assert!(self.table.peek(key.user_data()).is_none());
            self.deny(key.user_data());
            // The same slot and generation, under a foreign tag.
            self.deny(key.user_data() ^ (1 << 63));
        }
        self.deny(rng.u64(..));
        self.deny(u64::MAX);
        self.deny(0);
        for id in self.those(|stage| matches!(stage, Stage::Queued(_) | Stage::Done(..))) {
            let (Stage::Queued(key) | Stage::Done(key, _)) = self.clients[id].stage else {
                continue;
            };
            self.deny(key.user_data());
            assert_eq!(
                self.table.peek(key.user_data()).map(|(_, p)| p.id),
                Some(id)
            );
        }
    }

    pub(crate) fn step(&mut self, rng: &mut Rng, weights: &Weights<9>) {
        let any: Vec<usize> = self.those(|stage| stage != Stage::Over);
        let action = weights.pick(rng);
        let pick = choose(rng, &any);
        match (action, pick) {
            (0, _) => {
                let id = self.client();
                self.admit(id);
            }
            (1, _) => self.try_admit(),
            (2, _) => self.meddle(rng),
            (3, Some(id)) => self.poll(id),
            (4, Some(id)) => self.drop_future(id),
            (5, Some(id)) => self.requeue(id),
            (6, _) => {
                let flying = self.those(|s| matches!(s, Stage::InFlight(_) | Stage::Abandoned(_)));
                if let Some(id) = choose(rng, &flying) {
                    self.complete(id, rng.i32(-40..4096));
                }
            }
            (_, Some(_)) => {
                let queued = self.those(|s| matches!(s, Stage::Queued(_)));
                if let Some(id) = choose(rng, &queued) {
                    self.launch(id);
                }
            }
            (_, None) => {}
        }
        self.check();
    }

    fn check(&mut self) {
        self.wake.drain(..).for_each(Waker::wake);
        assert_eq!(
            self.table.in_flight(),
            self.credits - self.free,
            "credits are conserved"
        );
        assert_eq!(self.table.waiting(), self.line.len());
        let held = self.those(|stage| !matches!(stage, Stage::Waiting | Stage::Over));
        assert_eq!(self.table.occupied(), held.len());
        if self.free > 0
            && let Some(first) = self.line.first()
        {
            assert!(
                self.clients[*first].bell.has_rung(),
                "a credit is free and nobody was told"
            );
        }
        for id in held {
            let client = &self.clients[id];
            let told = !client.asleep || client.bell.has_rung();
            assert!(
                told || !matches!(client.stage, Stage::Done(..)),
                "done and not woken"
            );
        }
    }

    /// The kernel finishes everything; each future is polled only when woken. All must end.
    pub(crate) fn finish(&mut self) {
        while !self.those(|stage| stage != Stage::Over).is_empty() {
            for id in 0..self.clients.len() {
                self.launch(id);
                self.complete(id, 0);
                self.check();
            }
            let mut polled = false;
            for id in self.those(|stage| stage != Stage::Over) {
                if !self.clients[id].asleep || self.clients[id].bell.has_rung() {
                    self.poll(id);
                    self.check();
                    polled = true;
                }
            }
            let all_over = self.those(|stage| stage != Stage::Over).is_empty();
            assert!(polled || all_over, "all sleep: a wake was lost");
        }
        assert_eq!((self.free, self.table.occupied()), (self.credits, 0));
        assert!(self.ledger.borrow().drops.iter().all(|drops| *drops == 1));
    }
}
