//! The readiness table, and next to it what it should be.

use std::sync::Arc;
use std::task::{Poll, Waker};

use ambidex::net::readiness::{Direction, Readiness, Table};
use ambidex::net::token::Key;
use ambidex_tests::sim::Bell;
use ambidex_tests::sim::rng::{Weights, choose};
use fastrand::Rng;

const FLAGS: [(Readiness, bool, bool); 6] = [
    (Readiness::READABLE, true, false),
    (Readiness::WRITABLE, false, true),
    (Readiness::READ_CLOSED, true, false),
    (Readiness::WRITE_CLOSED, false, true),
    (Readiness::ERROR, true, true),
    (Readiness::PRIORITY, true, false),
];

/// One direction of a source, naively: which of [`FLAGS`] are up, and who waits.
#[derive(Default)]
struct Side {
    up: [bool; 6],
    waiting: Vec<usize>,
}

impl Side {
    fn readiness(&self) -> Readiness {
        let up = FLAGS.iter().zip(self.up).filter(|(_, up)| *up);
        up.fold(Readiness::EMPTY, |all, (flag, _)| all | flag.0)
    }

    /// Raises what of `news` concerns this side; tells whether anything did.
    fn raise(&mut self, direction: Direction, news: [bool; 6]) -> bool {
        let mut any = false;
        for (at, (_, read, write)) in FLAGS.iter().enumerate() {
            let concerned = if direction == Direction::Read {
                *read
            } else {
                *write
            };
            self.up[at] |= news[at] && concerned;
            any |= news[at] && concerned;
        }
        any
    }
}

const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

pub(crate) struct Sources {
    table: Table,
    live: Vec<(Key, [Side; 2])>,
    gone: Vec<Key>,
    bells: Vec<Arc<Bell>>,
    wake: Vec<Waker>,
}

impl Sources {
    pub(crate) fn new(tasks: usize) -> Sources {
        Sources {
            table: Table::default(),
            live: Vec::new(),
            gone: Vec::new(),
            bells: (0..tasks).map(|_| Bell::new()).collect(),
            wake: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, rng: &mut Rng, weights: &Weights<6>) {
        let news = [(); 6].map(|()| rng.u32(..4) == 0);
        let readiness = Side {
            up: news,
            waiting: Vec::new(),
        }
        .readiness();
        let action = weights.pick(rng);
        if action == 0 || self.live.is_empty() {
            let mut sides = <[Side; 2]>::default();
            for direction in DIRECTIONS {
                sides[direction as usize].raise(direction, news);
            }
            self.live.push((self.table.insert(readiness), sides));
            return;
        }
        let at = rng.usize(..self.live.len());
        let direction = DIRECTIONS[rng.usize(..2)];
        let (key, sides) = &mut self.live[at];
        let (key, side) = (*key, &mut sides[direction as usize]);
        match action {
            1 => {
                assert!(self.table.raise(key, readiness, &mut self.wake));
                for direction in DIRECTIONS {
                    let side = &mut self.live[at].1[direction as usize];
                    if side.raise(direction, news) {
                        self.expect_woken(at, direction);
                    }
                }
                assert!(self.wake.is_empty(), "nobody else is woken");
            }
            2 => {
                let task = rng.usize(..self.bells.len());
                self.bells[task].take();
                let polled = self.table.poll(key, direction, &self.bells[task].waker());
                let known = side.readiness();
                if known == Readiness::EMPTY {
                    assert!(polled.is_pending());
                    if !side.waiting.contains(&task) {
                        side.waiting.push(task);
                    }
                } else {
                    assert_eq!(polled, Poll::Ready(known));
                }
            }
            3 => {
                self.table.clear(key, direction);
                side.up = [false; 6];
            }
            4 => {
                self.table.clear_short(key, direction);
                // An end, an error or urgent data announces itself only once: it stays.
                if side.up[2..].iter().all(|up| !up) {
                    side.up = [false; 6];
                }
            }
            _ => {
                self.table.remove(key, &mut self.wake);
                for direction in DIRECTIONS {
                    self.expect_woken(at, direction);
                }
                assert!(self.wake.is_empty(), "nobody else is woken");
                self.live.swap_remove(at);
                self.gone.push(key);
            }
        }
    }

    /// Each waiter of that side is in `wake`, once.
    fn expect_woken(&mut self, at: usize, direction: Direction) {
        for task in std::mem::take(&mut self.live[at].1[direction as usize].waiting) {
            let waker = self.bells[task].waker();
            let found = self.wake.iter().position(|woken| woken.will_wake(&waker));
            self.wake
                .remove(found.expect("a waiter was forgotten"))
                .wake();
        }
    }

    pub(crate) fn check(&mut self, rng: &mut Rng) {
        assert_eq!(self.table.len(), self.live.len());
        assert_eq!(self.table.is_empty(), self.live.is_empty());
        for (_, sides) in &self.live {
            for side in sides {
                let asleep = side
                    .waiting
                    .iter()
                    .any(|task| !self.bells[*task].has_rung());
                assert!(
                    side.readiness() == Readiness::EMPTY || !asleep,
                    "ready, and not woken"
                );
            }
        }
        if let Some(key) = choose(rng, &self.gone) {
            assert!(
                !self.table.raise(key, Readiness::READABLE, &mut self.wake),
                "stale"
            );
            self.table.remove(key, &mut self.wake);
            assert!(self.wake.is_empty(), "a stale event wakes no stranger");
        }
    }
}
