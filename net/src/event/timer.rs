//! Timers that are descriptors: timerfd_create(2).

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::reactor::Handle;
use crate::readiness::Direction;
use crate::source::Source;

/// Which clock a timer goes by; clock_gettime(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimerClock {
    /// Never goes back and stands still while the machine is suspended.
    #[default]
    Monotonic,
    /// As `Monotonic`, and goes on while the machine is suspended.
    Boottime,
    /// The time of day, which may be set forward and back.
    Realtime,
}

/// When a timer expires first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// So long from now. Zero is at once.
    After(Duration),
    /// At a moment of the timer's clock, as the time since the clock's zero: for
    /// [`TimerClock::Realtime`] that is the Unix epoch. One that has passed is due at once.
    At(Duration),
}

/// A timer, one-shot or periodic. Expirations are counted, not queued: who comes late gets the
/// number of periods that have passed, once.
///
/// For deadlines of tasks the engine's own `sleep`, `timeout` and `interval` are cheaper: they make
/// no system call. This one can be given to another loop, counts what was missed, and goes by any
/// [`TimerClock`].
///
/// ```
/// use ambidex_net::{Reactor, event::Timer};
/// use std::{future::Future, pin::pin, task::{Context, Poll, Waker}, time::Duration};
///
/// let mut reactor = Reactor::new()?;
/// let timer = Timer::new(&reactor.handle())?;
/// timer.once(Duration::from_millis(1))?;
/// let mut tick = pin!(timer.tick());
/// let mut cx = Context::from_waker(Waker::noop());
/// let expirations = loop {
///     match tick.as_mut().poll(&mut cx) {
///         Poll::Ready(expirations) => break expirations?,
///         Poll::Pending => reactor.turn(None)?,
///     };
/// };
/// assert_eq!(expirations, 1);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Minimum kernel: Linux 2.6.27.
pub struct Timer {
    source: Source,
}

impl Timer {
    /// Makes a timer of [`TimerClock::Monotonic`] that is not set.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; timerfd_create(2). `ENOSPC` of epoll_ctl(2).
    pub fn new(handle: &Handle) -> io::Result<Timer> {
        Timer::with_clock(handle, TimerClock::default())
    }

    /// Makes a timer of `clock` that is not set.
    ///
    /// # Errors
    /// Those of [`Timer::new`].
    pub fn with_clock(handle: &Handle, clock: TimerClock) -> io::Result<Timer> {
        let fd = handle.inner.kernel.timer_create(clock)?;
        Ok(Timer {
            source: Source::new(handle, fd)?,
        })
    }

    /// Sets the timer: it expires at `first` and, given a `period`, again after each of those.
    /// Whatever was set before, and expirations that nobody has taken, are forgotten.
    ///
    /// Periods do not drift: each is counted from the last expiration, not from the tick.
    ///
    /// # Errors
    /// `InvalidInput` for a period of zero; timerfd_settime(2).
    pub fn set(&self, first: Expiry, period: Option<Duration>) -> io::Result<()> {
        if period == Some(Duration::ZERO) {
            let mistake = "a timer's period is zero: None is a timer that expires once";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, mistake));
        }
        let kernel = self.source.kernel();
        kernel.timer_set(self.as_fd(), Some(first), period.unwrap_or_default())
    }

    /// Sets the timer to expire once.
    ///
    /// # Errors
    /// Those of [`Timer::set`].
    pub fn once(&self, after: Duration) -> io::Result<()> {
        self.set(Expiry::After(after), None)
    }

    /// Sets the timer to expire after each `period`.
    ///
    /// # Errors
    /// Those of [`Timer::set`].
    pub fn every(&self, period: Duration) -> io::Result<()> {
        self.set(Expiry::After(period), Some(period))
    }

    /// Stops the timer. Expirations that nobody has taken are forgotten; who waits goes on waiting,
    /// for the next [`Timer::set`].
    ///
    /// # Errors
    /// None that a user can cause; timerfd_settime(2).
    pub fn cancel(&self) -> io::Result<()> {
        let kernel = self.source.kernel();
        kernel.timer_set(self.as_fd(), None, Duration::ZERO)
    }

    /// Waits until the timer has expired and takes the number of expirations since the last tick
    /// or [`Timer::set`]: 1 for a one-shot timer, more if periods were missed. Of several tasks
    /// that wait one gets it.
    ///
    /// # Errors
    /// None that a user can cause; read(2).
    ///
    /// # Cancel safety
    /// Safe: expirations are taken only by the poll that returns them.
    pub async fn tick(&self) -> io::Result<u64> {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// The poll of [`Timer::tick`].
    ///
    /// # Errors
    /// Those of [`Timer::tick`].
    pub fn poll_tick(&self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.source.poll_io(cx, Direction::Read, |kernel, fd| {
            let mut expirations = [0; 8];
            kernel.read_events(fd, &mut expirations)?;
            Ok(u64::from_ne_bytes(expirations))
        })
    }
}

impl AsFd for Timer {
    /// The timerfd; readable while expirations wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("source", &self.source)
            .finish()
    }
}
