//! Jobs begin together, and wait for each other before they take anything down: only what lies
//! between is measured.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
struct State {
    ready: usize,
    ended: usize,
    failed: bool,
    started: bool,
    left: bool,
}

/// Where jobs meet.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_while(self.state(), |state| !until(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `jobs` jobs are ready. Whether all of them can begin.
    pub(super) fn are_ready(&self, jobs: usize) -> bool {
        !self.wait(|state| state.ready == jobs).failed
    }

    /// Lets them begin.
    pub(super) fn start(&self) {
        self.change(|state| state.started = true);
    }

    /// Waits until `jobs` jobs have ended, and calls `tick` meanwhile, if there is one.
    pub(super) fn have_ended(&self, jobs: usize, tick: Option<(Duration, &mut dyn FnMut())>) {
        let Some((every, tick)) = tick else {
            drop(self.wait(|state| state.ended == jobs));
            return;
        };
        let mut state = self.state();
        while state.ended < jobs {
            let waited = self.changed.wait_timeout(state, every);
            let (back, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            drop(back);
            if timeout.timed_out() {
                tick();
            }
            state = self.state();
        }
    }

    /// Lets them take down what they have.
    pub(super) fn leave(&self) {
        self.change(|state| state.left = true);
    }
}

/// A job's way through the gate. Dropped early, it lets nobody wait.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    begun: bool,
    ended: bool,
}

impl Pass<'_> {
    pub(super) fn new(gate: &Gate) -> Pass<'_> {
        Pass {
            gate,
            begun: false,
            ended: false,
        }
    }

    /// All is set up. Waits for the others; `false` if one of them cannot begin.
    pub(super) fn begin(&mut self) -> bool {
        self.begun = true;
        self.gate.change(|state| state.ready += 1);
        !self.gate.wait(|state| state.started).failed
    }

    /// All is done. Waits for the others.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.gate.change(|state| state.ended += 1);
        drop(self.gate.wait(|state| state.left));
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.begun {
            self.gate.change(|state| {
                state.ready += 1;
                state.failed = true;
            });
        }
        if !self.ended {
            self.gate.change(|state| state.ended += 1);
        }
    }
}
