//! Timers that yield events.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use ambidex_net::Token;
use slab::Slab;

use super::Event;
use crate::clock::Clock;
use crate::timers::{Timers, after};

/// Who is told that a deadline has passed.
#[derive(Debug)]
pub(crate) enum Alarm {
    /// A future.
    Task(Waker),
    /// A timer of the token face, by its place in [`TokenTimers`].
    Token(usize),
}

/// Names a timer of a [`Poll`](super::Poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    key: usize,
    serial: u64,
}

#[derive(Debug)]
struct State {
    serial: u64,
    token: Token,
    deadline: Instant,
    period: Option<Duration>,
    /// Its number among the deadlines; `None` once it has expired.
    pending: Option<u64>,
}

/// Bound: one entry for each timer that is set; each waits at most once to be told of, and so do
/// those that were cancelled meanwhile, until they are met.
#[derive(Debug, Default)]
pub(super) struct TokenTimers {
    states: Slab<State>,
    expired: VecDeque<TimerId>,
    next: u64,
}

type Deadlines = RefCell<Timers<Alarm>>;

impl TokenTimers {
    pub(super) fn set(
        &mut self,
        deadlines: &Deadlines,
        token: Token,
        deadline: Instant,
        period: Option<Duration>,
    ) -> TimerId {
        let serial = self.next;
        self.next += 1;
        let entry = self.states.vacant_entry();
        let key = entry.key();
        let pending = deadlines.borrow_mut().insert(deadline, Alarm::Token(key));
        entry.insert(State {
            serial,
            token,
            deadline,
            period: period.map(|period| period.max(Duration::from_nanos(1))),
            pending: Some(pending),
        });
        TimerId { key, serial }
    }

    pub(super) fn cancel(&mut self, deadlines: &Deadlines, id: TimerId) -> bool {
        let known = self.states.get(id.key);
        if known.is_none_or(|state| state.serial != id.serial) {
            return false;
        }
        let state = self.states.remove(id.key);
        if let Some(pending) = state.pending {
            deadlines.borrow_mut().remove(state.deadline, pending);
        }
        true
    }

    /// The deadline of this timer has passed.
    pub(super) fn expire(&mut self, key: usize) {
        if let Some(state) = self.states.get_mut(key) {
            state.pending = None;
            let serial = state.serial;
            self.expired.push_back(TimerId { key, serial });
        }
    }

    pub(super) fn next(&mut self, deadlines: &Deadlines, clock: &dyn Clock) -> Option<Event> {
        let key = loop {
            let TimerId { key, serial } = self.expired.pop_front()?;
            let known = self.states.get(key);
            if known.is_some_and(|state| state.serial == serial) {
                break key;
            }
        };
        let state = &mut self.states[key];
        let token = state.token;
        let Some(period) = state.period else {
            self.states.remove(key);
            return Some(Event::Timer {
                token,
                expirations: 1,
            });
        };
        let late = clock.now().saturating_duration_since(state.deadline);
        let expirations = late.as_nanos() / period.as_nanos() + 1;
        let ahead = u64::try_from(period.as_nanos() * expirations).unwrap_or(u64::MAX);
        state.deadline = after(state.deadline, Duration::from_nanos(ahead));
        let alarm = Alarm::Token(key);
        state.pending = Some(deadlines.borrow_mut().insert(state.deadline, alarm));
        Some(Event::Timer {
            token,
            expirations: u64::try_from(expirations).unwrap_or(u64::MAX),
        })
    }
}
