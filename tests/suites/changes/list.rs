//! The list of changes, and next to it what it should be.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use ambidex::net::Change;
use ambidex::net::changes::{Answer, Changes, Removal};
use ambidex::net::readiness::{Readiness, Table};
use ambidex::net::token::{Key, Token};
use ambidex_tests::sim::rng::Weights;
use fastrand::Rng;

/// A descriptor that is open for as long as anybody holds it.
#[derive(Clone, Debug)]
pub(crate) struct Pin(Rc<RawFd>);

impl AsRawFd for Pin {
    fn as_raw_fd(&self) -> RawFd {
        *self.0
    }
}

/// One source, naively.
struct Source {
    key: Key,
    pin: Pin,
    added: bool,
    wish: Option<u32>,
    in_flight: bool,
}

/// A change that was taken.
struct Taken {
    change: Change,
    pin: Rc<RawFd>,
    orphan: bool,
}

#[derive(Default)]
pub(crate) struct Lists {
    table: Table,
    changes: Changes<Pin>,
    live: Vec<Source>,
    /// Whose wish can be taken, in order.
    line: VecDeque<RawFd>,
    taken: Vec<Taken>,
    /// Makes numbers and flags that nothing else has.
    next: u32,
}

impl Lists {
    pub(crate) fn step(&mut self, rng: &mut Rng, weights: &Weights<7>) {
        let live = (!self.live.is_empty()).then(|| rng.usize(..self.live.len()));
        let taken = (!self.taken.is_empty()).then(|| rng.usize(..self.taken.len()));
        match (weights.pick(rng), live, taken) {
            (0, ..) if self.live.len() < 5 => self.insert(rng),
            (1, Some(at), _) => self.list(at),
            (2, ..) => self.take(),
            (3, _, Some(at)) => self.answer(at, Ok(())),
            (4, _, Some(at)) => self.answer(at, Err(libc::ENOSPC)),
            (5, _, Some(at)) => self.give_back(at),
            (6, Some(at), _) => self.remove(at),
            _ => {}
        }
        assert_eq!(self.changes.pending(), !self.line.is_empty());
        for source in &self.live {
            let known = source.added || source.wish.is_some() || source.in_flight;
            assert_eq!(self.changes.knows(source.key), known);
            // The source's own, the wish's, the flight's.
            let holders = 1 + usize::from(source.wish.is_some()) + usize::from(source.in_flight);
            let flights = self.taken.iter().filter(|taken| !taken.orphan);
            let own = flights.filter(|taken| Rc::ptr_eq(&taken.pin, &source.pin.0));
            assert_eq!(Rc::strong_count(&source.pin.0), holders + own.count());
        }
    }

    /// Ends all sources and answers all changes: nothing is held any more.
    pub(crate) fn finish(&mut self) {
        while !self.live.is_empty() {
            self.remove(0);
        }
        assert!(!self.changes.pending() && self.changes.take().is_none());
        while !self.taken.is_empty() {
            self.answer(0, Ok(()));
        }
    }

    fn insert(&mut self, rng: &mut Rng) {
        self.next += 1;
        let key = self.table.insert(Readiness::EMPTY);
        let added = rng.u32(..3) == 0;
        if added {
            self.changes.added(key);
        }
        self.live.push(Source {
            key,
            pin: Pin(Rc::new(self.next as RawFd)),
            added,
            wish: None,
            in_flight: false,
        });
    }

    fn list(&mut self, at: usize) {
        self.next += 1;
        let source = &mut self.live[at];
        self.changes.list(source.key, source.pin.clone(), self.next);
        let news = source.wish.replace(self.next).is_none();
        if news && !source.in_flight {
            self.line.push_back(*source.pin.0);
        }
    }

    fn take(&mut self) {
        let Some(number) = self.line.pop_front() else {
            assert_eq!(self.changes.take(), None);
            return;
        };
        let source = self.live.iter_mut().find(|one| *one.pin.0 == number);
        let source = source.expect("who is gone is not in line");
        let change = self.changes.take().expect("somebody is in line");
        let flags = source.wish.take().expect("in line with a wish");
        let operation = if source.added {
            libc::EPOLL_CTL_MOD
        } else {
            libc::EPOLL_CTL_ADD
        };
        assert!(!source.in_flight, "two of one source");
        source.in_flight = true;
        let event = (flags, Token::from(source.key).0);
        assert_eq!((change.fd(), change.event()), (number, event));
        assert_eq!(change.operation(), operation);
        assert!(
            change.id() < 1 << 56 && self.taken.iter().all(|one| one.change.id() != change.id())
        );
        let (pin, orphan) = (Rc::clone(&source.pin.0), false);
        self.taken.push(Taken {
            change,
            pin,
            orphan,
        });
    }

    fn answer(&mut self, at: usize, result: Result<(), i32>) {
        let taken = self.taken.remove(at);
        let answer = self.changes.answer(taken.change.id(), result);
        if taken.orphan {
            return Lists::part(&taken, result.is_ok(), answer);
        }
        let source = self.flown(&taken);
        source.added |= result.is_ok();
        let (key, waits) = (source.key, source.wish.is_some());
        if waits {
            self.line.push_back(*taken.pin);
        }
        match (answer, result) {
            (Answer::Settled, Ok(())) => {}
            (Answer::Failed(told, errno), Err(failed)) => {
                assert_eq!((told, errno), (key, failed));
            }
            (answer, _) => panic!("{result:?} is told as {answer:?}"),
        }
    }

    fn give_back(&mut self, at: usize) {
        let taken = self.taken.remove(at);
        let answer = self.changes.give_back(taken.change.id());
        if taken.orphan {
            return Lists::part(&taken, false, answer);
        }
        assert!(matches!(answer, Answer::Settled));
        let source = self.flown(&taken);
        source.wish.get_or_insert(taken.change.event().0);
        self.line.push_front(*taken.pin);
    }

    /// The source of `taken`, of which nothing is in flight any more.
    fn flown(&mut self, taken: &Taken) -> &mut Source {
        let mut live = self.live.iter_mut();
        let source = live.find(|source| Rc::ptr_eq(&source.pin.0, &taken.pin));
        let source = source.expect("not an orphan");
        source.in_flight = false;
        source
    }

    fn part(taken: &Taken, made: bool, answer: Answer<Pin>) {
        let Answer::Gone { pin, added } = answer else {
            panic!("its source is gone, and that is not told");
        };
        assert_eq!(
            added,
            made || taken.change.operation() == libc::EPOLL_CTL_MOD
        );
        assert!(Rc::ptr_eq(&pin.0, &taken.pin));
        drop(pin);
        assert_eq!(Rc::strong_count(&taken.pin), 1, "held by somebody else");
    }

    fn remove(&mut self, at: usize) {
        let source = self.live.swap_remove(at);
        self.table.remove(source.key, &mut Vec::new());
        let removal = self.changes.remove(source.key);
        self.line.retain(|number| *number != *source.pin.0);
        if source.in_flight {
            assert_eq!(removal, Removal::InFlight);
            let mut taken = self.taken.iter_mut();
            let flight = taken.find(|taken| Rc::ptr_eq(&taken.pin, &source.pin.0));
            flight.expect("in flight").orphan = true;
            drop(source);
        } else {
            let added = source.added;
            assert_eq!(removal, Removal::Idle { added });
            assert_eq!(Rc::strong_count(&source.pin.0), 1, "held by the list");
        }
    }
}
