//! The engine inside another loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::engine::Engine;

/// Turns in a row before the outer loop has one.
const TURNS_MAX: usize = 16;

impl Engine {
    /// Runs what can run without sleeping, for a program whose own loop sleeps. Call it when the
    /// engine's descriptor ([`AsFd`]) is readable, when the time it returned is over, and once at
    /// the start: it returns for how long there is nothing to do (`None`: until the descriptor is
    /// readable).
    ///
    /// Between calls the doorbells are armed, so that completions, remote work and wakers make the
    /// descriptor readable. Watch it level-triggered, or edge-triggered and call until the
    /// answer is not zero.
    ///
    /// # Errors
    /// Those of [`Engine::run`].
    ///
    /// # Blocking
    /// Does not sleep.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// let mut engine = ambidex::Engine::new()?;
    /// let task = engine.handle().spawn(async { 7 });
    /// let outer = ambidex::net::Poller::new()?;
    /// # use ambidex::net::{Events, Interest, Mode, Token};
    /// outer.register(engine.as_fd(), Token(0), Interest::READABLE, Mode::Level)?;
    /// let mut events = Events::with_capacity(8);
    /// loop {
    ///     let pause = engine.turn_without_sleep()?;
    ///     if task.is_finished() {
    ///         break;
    ///     }
    ///     outer.wait(&mut events, pause)?;
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn turn_without_sleep(&mut self) -> io::Result<Option<Duration>> {
        for _ in 0..TURNS_MAX {
            self.finish_turn(Some(Duration::ZERO))?;
            self.work()?;
            let pause = self.pause();
            if pause != Some(Duration::ZERO) {
                // Doorbells are armed; what epoll has by now makes the descriptor readable.
                return Ok(pause);
            }
        }
        Ok(Some(Duration::ZERO))
    }
}

impl AsFd for Engine {
    /// The epoll descriptor: readable when the engine has something to do, provided that
    /// [`Engine::turn_without_sleep`] was the last to turn it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}
