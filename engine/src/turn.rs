//! One turn of the loop. The file to read first; the only one that sleeps.
//!
//! ```text
//!  1 run ready tasks        operations only queue SQEs: no system call
//!  2 submit                 at most one io_uring_enter, for all of them
//!  3 reap                   what was cached is finished here, without touching epoll
//!    ... again while completions made tasks ready, a few rounds at most
//!  4 pause                  0 if anything is runnable; else arm, look again, next deadline
//!  5 wait                   one epoll_pwait2, for sockets, disk and other threads
//!  6 dispatch               readiness wakes tasks; timers fire; remote work is adopted
//! ```

use std::io;
use std::time::Duration;

use crate::engine::Engine;

/// Tasks polled before the kernel is asked again.
const TASKS_PER_ROUND: usize = 256;
/// Completions reaped before sockets are looked at.
const COMPLETIONS_PER_ROUND: usize = 256;
/// Rounds of steps 1 to 3 before sockets are looked at: a hot file's open, read and close take
/// three, so a request needs one wait.
const ROUNDS_MAX: usize = 4;
/// How soon to enter again after the kernel had no room for an SQE.
const STALLED_PAUSE: Duration = Duration::from_millis(1);

impl Engine {
    /// One turn. See the module.
    pub(crate) fn turn(&mut self) -> io::Result<()> {
        self.work()?;
        let pause = self.pause();
        self.finish_turn(pause)
    }

    /// Steps 1 to 3.
    pub(crate) fn work(&mut self) -> io::Result<()> {
        self.metrics.turns += 1;
        for _ in 0..ROUNDS_MAX {
            self.metrics.polls += self.handle.core.tasks.run(TASKS_PER_ROUND);
            self.submit()?;
            let reaped = self.ring.reap(COMPLETIONS_PER_ROUND)?;
            let rang_alone = std::mem::take(&mut self.rang_alone);
            self.metrics.spurious += u64::from(rang_alone && reaped == 0);
            if reaped == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Steps 5 and 6.
    pub(crate) fn finish_turn(&mut self, pause: Option<Duration>) -> io::Result<()> {
        let waited = self.reactor.wait(pause);
        self.wake_up();
        waited?;
        let turn = self.reactor.dispatch();
        self.metrics.events += turn.events as u64;
        self.metrics.interrupted += u64::from(turn.interrupted);
        self.rang_alone = turn.events == 1 && turn.rang(self.ring_rang);
        self.fire_timers();
        self.adopt();
        self.handle.core.metrics.set(self.metrics);
        Ok(())
    }

    /// Before anybody is woken: to an armed doorbell every wake is a system call.
    fn wake_up(&mut self) {
        self.ring.disarm();
        self.handle.core.shared.doorbell.disarm();
    }

    /// A turn for the ring alone, while the engine ends: nothing else wakes it.
    pub(crate) fn drain_turn(&mut self, limit: Duration) -> io::Result<()> {
        self.submit()?;
        self.ring.reap(COMPLETIONS_PER_ROUND)?;
        let pause = match (self.ring.in_flight(), self.ring.arm()) {
            (0, _) | (_, false) => Duration::ZERO,
            (_, true) if self.ring.stalled() => limit.min(STALLED_PAUSE),
            (_, true) => limit,
        };
        let waited = self.reactor.wait(Some(pause));
        self.ring.disarm();
        waited?;
        self.reactor.dispatch();
        Ok(())
    }

    /// Step 2. Submitting is not free and may block, so it is timed.
    fn submit(&mut self) -> io::Result<()> {
        if !self.ring.wants_enter() {
            return Ok(());
        }
        let clock = &self.handle.core.clock;
        let before = clock.now();
        self.ring.submit()?;
        let took = clock.now() - before;
        self.metrics.enter_max = self.metrics.enter_max.max(took);
        Ok(())
    }

    /// Step 4: how long to sleep. `None` is for ever.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let core = &self.handle.core;
        if core.shared.has_work() {
            return Some(Duration::ZERO);
        }
        core.shared.doorbell.arm();
        if !self.ring.arm() || core.shared.has_work() {
            return Some(Duration::ZERO);
        }
        self.metrics.sleeps += 1;
        let deadline = core.timers.borrow().next();
        let until_deadline = deadline.map(|at| at.saturating_duration_since(core.clock.now()));
        let until_retry = self.ring.stalled().then_some(STALLED_PAUSE);
        until_deadline.into_iter().chain(until_retry).min()
    }

    fn fire_timers(&mut self) {
        let core = &self.handle.core;
        let mut timers = core.timers.borrow_mut();
        if timers.next().is_some() {
            timers.fire(core.clock.now(), &mut self.wake);
        }
        drop(timers);
        for waker in self.wake.drain(..) {
            waker.wake();
        }
    }

    /// Spawns what other threads have sent.
    fn adopt(&mut self) {
        let arrivals = std::mem::take(&mut *self.handle.core.shared.arrivals());
        for arrival in arrivals {
            arrival(&self.handle);
        }
    }
}
