//! Random steps of the table and its model, and what holds after each.

use std::task::Waker;

use ambidex_tests::sim::rng::{Weights, choose};
use fastrand::Rng;

use super::{Loans, Move, Stage};

impl Loans {
    /// One of the clients whose stage is `wanted`.
    fn any(&self, rng: &mut Rng, wanted: impl Fn(Stage) -> bool) -> Option<usize> {
        let those = || self.live().filter(|(_, stage, _)| wanted(*stage));
        let count = those().count();
        (count > 0).then(|| those().nth(rng.usize(..count)).expect("counted").0)
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
        let untaken = |stage| matches!(stage, Stage::Queued(_) | Stage::Done(..));
        let Some(id) = self.any(rng, untaken) else {
            return;
        };
        if let Stage::Queued(key) | Stage::Done(key, _) = self.clients[id].stage {
            self.deny(key.user_data());
            let peeked = self.table.peek(key.user_data()).map(|(_, p)| p.id);
            assert_eq!(peeked, Some(id));
        }
    }

    pub(crate) fn step(&mut self, rng: &mut Rng, weights: &Weights<9>) {
        let action = weights.pick(rng);
        let pick = choose(rng, &self.live);
        match (action, pick) {
            (0, _) if rng.bool() => self.make(Move::BeginPolled),
            (0, _) => self.make(Move::Begin),
            (1, _) => self.try_admit(),
            (2, _) => self.meddle(rng),
            (3, Some(id)) => self.make(Move::Poll(id)),
            (4, Some(id)) => self.make(Move::Drop(id)),
            (5, Some(id)) => self.make(Move::Requeue(id)),
            (6, _) => {
                let flying = |stage| matches!(stage, Stage::InFlight(_) | Stage::Abandoned(_));
                if let Some(id) = self.any(rng, flying) {
                    self.make(Move::Complete(id));
                }
            }
            (_, Some(_)) => {
                if let Some(id) = self.any(rng, |stage| matches!(stage, Stage::Queued(_))) {
                    self.make(Move::Launch(id));
                }
            }
            (_, None) => {}
        }
        self.check();
    }

    /// Holds after each step.
    pub(crate) fn check(&mut self) {
        self.wake.drain(..).for_each(Waker::wake);
        assert_eq!(
            self.table.in_flight(),
            self.credits - self.free,
            "credits are conserved"
        );
        assert_eq!(self.table.waiting(), self.line.len());
        let held = |(_, stage, _): &(usize, Stage, bool)| *stage != Stage::Waiting;
        assert_eq!(self.table.occupied(), self.live().filter(held).count());
        if self.free > 0
            && let Some(first) = self.line.first()
        {
            assert!(
                self.clients[*first].bell.has_rung(),
                "a credit is free and nobody was told"
            );
        }
        let told = |(_, stage, awake)| awake || !matches!(stage, Stage::Done(..));
        assert!(self.live().all(told), "done and not woken");
    }

    /// All have ended, each once.
    pub(crate) fn check_end(&self) {
        assert!(self.live.is_empty(), "all sleep: a wake was lost");
        assert_eq!((self.free, self.table.occupied()), (self.credits, 0));
        assert!(self.ledger.borrow().iter().all(|fate| fate.drops == 1));
    }

    /// The kernel finishes everything; each future is polled only when woken. All must end.
    pub(crate) fn finish(&mut self) {
        while !self.live.is_empty() {
            for id in self.live.clone() {
                self.launch(id);
                self.complete(id, 0);
                self.check();
            }
            let awake: Vec<usize> = self.live().filter(|one| one.2).map(|one| one.0).collect();
            assert!(
                !awake.is_empty() || self.live.is_empty(),
                "all sleep: a wake was lost"
            );
            for id in awake {
                self.poll(id);
                self.check();
            }
        }
        self.check_end();
    }
}
