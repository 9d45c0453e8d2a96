//! What the loop has done so far, as plain numbers.

use std::time::Duration;

use ambidex_disk::Handle as Disk;
use ambidex_net::Handle as Net;

/// Counters of one engine, all since it was made; see [`Handle::metrics`](crate::Handle::metrics).
///
/// SQEs per enter are `submitted / enters`, CQEs per turn `completed / turns`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that were ready to sleep: nothing was runnable.
    pub sleeps: u64,
    /// Tasks polled.
    pub polls: u64,
    /// Events that epoll reported, doorbells included.
    pub events: u64,
    /// Waits that ended with `EINTR`.
    pub interrupted: u64,
    /// Waits that ended early with nothing to do.
    pub spurious: u64,
    /// System calls of the loop's thread: waits, epoll_ctl(2), what sockets and files did at once,
    /// enters of a ring. Making and closing sockets is not among them.
    pub calls: u64,
    /// System calls on threads of the loop's own that work on files.
    pub calls_elsewhere: u64,
    /// Submissions: one call of io_uring_enter(2) or a few, or a hand-over to the pool of threads.
    pub enters: u64,
    /// Entries submitted.
    pub submitted: u64,
    /// Completions reaped.
    pub completed: u64,
    /// The longest that submitting took the loop's time.
    pub enter_max: Duration,
}

impl Metrics {
    /// With what the two halves count themselves.
    pub(crate) fn with(self, disk: &Disk, net: &Net) -> Metrics {
        let (disk, net) = (disk.counters(), net.counters());
        Metrics {
            calls: net.waits + net.controls + net.operations + disk.calls_here,
            calls_elsewhere: disk.calls_elsewhere,
            enters: disk.enters,
            submitted: disk.submitted,
            completed: disk.completed,
            ..self
        }
    }
}
