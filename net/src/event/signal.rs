//! Signals as events: signalfd(2).

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::kernel::Kernel;
use crate::linux::Linux;
use crate::reactor::Handle;
use crate::readiness::Direction;
use crate::source::Source;

/// Signals of Linux are 1 to 64.
const SIGNALS: usize = 65;

/// `sizeof(struct signalfd_siginfo)`.
const INFO_BYTES: usize = 128;

thread_local! {
    /// How many [`BlockedSignals`] of this thread rely on each signal that the first of them has
    /// blocked. A signal that was blocked before them is not counted: it is not theirs to unblock.
    static BLOCKED: RefCell<[u32; SIGNALS]> = const { RefCell::new([0; SIGNALS]) };
}

/// Signals that are blocked in this thread for as long as this lives; then those that it was the
/// first to block are unblocked, and what is still pending of them takes its ordinary course,
/// which may be the end of the process.
///
/// **The rule of signals in a threaded program**: a signal sent to a process goes to any thread
/// that has not blocked it, and is received through a descriptor only if all have. New threads
/// inherit the mask of their parent. So block signals at the top of `main`, *before* any thread is
/// started (an engine without io_uring starts some), and keep this until the end; [`Signals`] of
/// the same signals may then be made later, in any thread. A thread that was started before stays
/// as it was: blocking reaches the calling thread only.
///
/// Processes started by [`std::process::Command`] inherit the mask as well.
///
/// ```
/// use ambidex_net::event::BlockedSignals;
/// let _blocked = BlockedSignals::new(&[libc::SIGTERM, libc::SIGINT])?;
/// // ... start threads, make engines, receive the signals in one of them ...
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "they are unblocked when this is dropped"]
pub struct BlockedSignals {
    kernel: Rc<dyn Kernel>,
    /// Those of [`BLOCKED`] that this relies on.
    ours: Vec<i32>,
}

impl BlockedSignals {
    /// Blocks `signals` in the calling thread.
    ///
    /// # Errors
    /// `InvalidInput` that names the signal, if it cannot be received as an event: SIGKILL and
    /// SIGSTOP cannot be blocked; SIGSEGV, SIGBUS, SIGFPE and SIGILL end a program that has blocked
    /// them and makes the mistake; the C library keeps 32 and 33 for itself. Also if `signals` is
    /// empty.
    pub fn new(signals: &[i32]) -> io::Result<BlockedSignals> {
        BlockedSignals::on(Rc::new(Linux::default()), signals)
    }

    fn on(kernel: Rc<dyn Kernel>, signals: &[i32]) -> io::Result<BlockedSignals> {
        let signals = receivable(signals)?;
        let fresh = kernel.signals_block(&signals)?;
        let ours = BLOCKED.with_borrow_mut(|counts| {
            let relied_on = |signal: &i32| {
                let count = &mut counts[*signal as usize];
                let relied_on = *count > 0 || fresh.contains(signal);
                *count += u32::from(relied_on);
                relied_on
            };
            signals.into_iter().filter(relied_on).collect()
        });
        Ok(BlockedSignals { kernel, ours })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // The thread may be ending; then its mask ends with it.
        let last = BLOCKED.try_with(|counts| {
            let mut counts = counts.borrow_mut();
            self.ours.retain(|signal| {
                let count = &mut counts[*signal as usize];
                *count -= 1;
                *count == 0
            });
        });
        if last.is_ok() && !self.ours.is_empty() {
            // It fails only for numbers that are no signals, and these were blocked.
            let _ = self.kernel.signals_unblock(&self.ours);
        }
    }
}

impl fmt::Debug for BlockedSignals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockedSignals")
            .field("ours", &self.ours)
            .finish_non_exhaustive()
    }
}

/// `signals` in order and without doubles, if all of them can be received.
fn receivable(signals: &[i32]) -> io::Result<Vec<i32>> {
    let refuse = |mistake: String| Err(io::Error::new(io::ErrorKind::InvalidInput, mistake));
    for signal in signals {
        match *signal {
            libc::SIGKILL | libc::SIGSTOP => {
                return refuse(format!("signal {signal} cannot be blocked, nor received"));
            }
            libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => {
                return refuse(format!("signal {signal} is a fault of a thread, no event"));
            }
            32 | 33 => return refuse(format!("the C library keeps signal {signal} for itself")),
            1..=64 => {}
            _ => return refuse(format!("{signal} is no signal: they are 1 to 64")),
        }
    }
    if signals.is_empty() {
        return refuse("no signal was named, so none would ever come".to_owned());
    }
    let mut signals = signals.to_vec();
    signals.sort_unstable();
    signals.dedup();
    Ok(signals)
}

/// One signal that was received; signalfd(2) and `siginfo_t` of sigaction(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalInfo {
    /// Its number, such as `libc::SIGTERM`.
    pub signal: i32,
    /// The process that sent it; 0 if the kernel did, or a process outside of our namespace.
    pub pid: u32,
    /// The real user of the process that sent it.
    pub uid: u32,
    /// How it was sent: `SI_USER` by kill(2), `SI_QUEUE` by sigqueue(3), `CLD_EXITED`...
    pub code: i32,
    /// What sigqueue(3) sent with it.
    pub value: i32,
}

impl SignalInfo {
    /// Reads a `signalfd_siginfo`, whose fields lie at the same place on every architecture.
    fn from_bytes(bytes: &[u8; INFO_BYTES]) -> SignalInfo {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        SignalInfo {
            signal: i32::from_ne_bytes(word(0)),
            code: i32::from_ne_bytes(word(8)),
            pid: u32::from_ne_bytes(word(12)),
            uid: u32::from_ne_bytes(word(16)),
            value: i32::from_ne_bytes(word(44)),
        }
    }
}

/// Receives signals in the loop, where any code may run, rather than in a handler, where hardly any
/// may.
///
/// It blocks its signals in the calling thread, as [`BlockedSignals`] does, and unblocks them when
/// dropped. In a program of several threads that is not enough: read the rule there. Of the
/// standard signals (below 32) one of each kind waits to be received; real-time signals queue, up to
/// `RLIMIT_SIGPENDING`.
///
/// Two sources of one signal, on one loop or on two, share it: each signal is received once.
///
/// ```
/// use ambidex_net::{Reactor, event::Signals};
/// use std::{future::Future, pin::pin, process::Command, task::{Context, Poll, Waker}};
///
/// let mut reactor = Reactor::new()?;
/// let signals = Signals::new(&reactor.handle(), &[libc::SIGUSR1, libc::SIGTERM])?;
/// let me = std::process::id().to_string();
/// Command::new("kill").args(["-USR1", &me]).status()?;
/// let mut received = pin!(signals.recv());
/// let mut cx = Context::from_waker(Waker::noop());
/// let info = loop {
///     match received.as_mut().poll(&mut cx) {
///         Poll::Ready(info) => break info?,
///         Poll::Pending => reactor.turn(None)?,
///     };
/// };
/// assert_eq!(info.signal, libc::SIGUSR1);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Minimum kernel: Linux 2.6.27.
pub struct Signals {
    // Closed before the signals are unblocked.
    source: Source,
    blocked: BlockedSignals,
}

impl Signals {
    /// Blocks `signals` in the calling thread and receives them from now on, those included that
    /// were blocked and pending before.
    ///
    /// # Errors
    /// Those of [`BlockedSignals::new`]; `EMFILE`, `ENFILE`, `ENOMEM` of signalfd(2).
    pub fn new(handle: &Handle, signals: &[i32]) -> io::Result<Signals> {
        let kernel = &handle.inner.kernel;
        let blocked = BlockedSignals::on(Rc::clone(kernel), signals)?;
        let fd = kernel.signals_open(signals)?;
        Ok(Signals {
            source: Source::new(handle, fd)?,
            blocked,
        })
    }

    /// Waits for the next signal: one that was sent to the process, or to the thread that calls.
    ///
    /// # Errors
    /// None that a user can cause; read(2).
    ///
    /// # Cancel safety
    /// Safe: a signal is taken only by the poll that returns it.
    pub async fn recv(&self) -> io::Result<SignalInfo> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The poll of [`Signals::recv`].
    ///
    /// # Errors
    /// Those of [`Signals::recv`].
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<SignalInfo>> {
        self.source.poll_io(cx, Direction::Read, |kernel, fd| {
            let mut info = [0; INFO_BYTES];
            // One at a time: a signal that is not returned stays with the kernel.
            kernel.read_events(fd, &mut info)?;
            Ok(SignalInfo::from_bytes(&info))
        })
    }
}

impl AsFd for Signals {
    /// The signalfd; readable while signals wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals")
            .field("source", &self.source)
            .field("blocked", &self.blocked)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_libc_says() {
        use std::mem::offset_of;
        type Info = libc::signalfd_siginfo;
        assert_eq!(size_of::<Info>(), INFO_BYTES);
        let offsets = [
            offset_of!(Info, ssi_signo),
            offset_of!(Info, ssi_code),
            offset_of!(Info, ssi_pid),
            offset_of!(Info, ssi_uid),
            offset_of!(Info, ssi_int),
        ];
        let mut bytes = [0xff; INFO_BYTES];
        for (number, at) in (1u32..).zip(offsets) {
            bytes[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        }
        let info = SignalInfo {
            signal: 1,
            code: 2,
            pid: 3,
            uid: 4,
            value: 5,
        };
        assert_eq!(SignalInfo::from_bytes(&bytes), info);
    }

    #[test]
    fn what_is_no_event_is_refused_by_name() {
        for signal in [0, -1, 9, 19, 11, 32, 33, 65, i32::MAX, i32::MIN] {
            let error = receivable(&[libc::SIGTERM, signal]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&signal.to_string()), "{error}");
        }
        assert!(receivable(&[]).is_err());
        assert_eq!(receivable(&[15, 64, 1, 15]).unwrap(), [1, 15, 64]);
    }
}
