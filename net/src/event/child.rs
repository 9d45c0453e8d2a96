//! The end of a child process as an event: pidfd_open(2).

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{self, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use crate::reactor::Handle;
use crate::readiness::{Direction, Readiness};
use crate::source::Source;

/// Adopted children whose [`Child`] was dropped while they ran. Looked through whenever a `Child`
/// is made or dropped, on any thread: the one that dropped it may have ended.
///
/// Bound: one entry for each such child that still runs.
static ORPHANS: Mutex<Vec<process::Child>> = Mutex::new(Vec::new());

/// A child process that the loop waits for. It is held by a descriptor: its number may be used
/// again by a stranger, who is neither waited for nor signalled in its stead.
///
/// Waiting takes the exit status from the kernel, so no zombie is left. If it is dropped first, the
/// child runs on; one that was [adopted](Child::adopt) is collected later, when another `Child` is
/// made or dropped on any thread.
///
/// Nothing else may wait for the same child: not waitpid(-1), and not `SIG_IGN` for SIGCHLD, under
/// which the kernel keeps no exit status.
///
/// ```
/// use ambidex_net::{Reactor, event::Child};
/// use std::{future::Future, pin::pin, process::Command, task::{Context, Poll, Waker}};
///
/// let mut reactor = Reactor::new()?;
/// let child = Child::adopt(&reactor.handle(), Command::new("true").spawn()?)?;
/// let mut wait = pin!(child.wait());
/// let mut cx = Context::from_waker(Waker::noop());
/// let status = loop {
///     match wait.as_mut().poll(&mut cx) {
///         Poll::Ready(status) => break status?,
///         Poll::Pending => reactor.turn(None)?,
///     };
/// };
/// assert!(status.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Minimum kernel: Linux 5.4 (`P_PIDFD`). Before 5.3 there is no pidfd_open(2), and making one is
/// `ENOSYS`; a container may filter it, which is `EPERM` or `ENOSYS`.
pub struct Child {
    source: Source,
    pid: u32,
    /// Set once the kernel has given it away: it does so once.
    status: Cell<Option<ExitStatus>>,
    /// `None` if only the number was given, and during drop.
    adopted: Option<process::Child>,
}

impl Child {
    /// Takes over a child of this process. Take its pipes, if it has any, before.
    ///
    /// # Errors
    /// `ENOSYS` before Linux 5.3, `EMFILE`, `ENFILE`, `ENOMEM`; pidfd_open(2). The error gives the
    /// child back.
    pub fn adopt(handle: &Handle, child: process::Child) -> Result<Child, AdoptError> {
        match Child::from_pid(handle, child.id()) {
            Ok(mut held) => {
                held.adopted = Some(child);
                Ok(held)
            }
            Err(error) => Err(AdoptError { error, child }),
        }
    }

    /// Takes a child of this process by its number. It must not have been waited for: after that
    /// the number may be a stranger's.
    ///
    /// Any process may be named, for [`Child::kill`]; only a child can be waited for.
    ///
    /// # Errors
    /// `ESRCH` if there is no such process, `EINVAL` for a number that is none or is a thread's,
    /// `ENOSYS` before Linux 5.3, `EMFILE`, `ENFILE`, `ENOMEM`; pidfd_open(2).
    pub fn from_pid(handle: &Handle, pid: u32) -> io::Result<Child> {
        collect_orphans(None);
        let fd = handle.inner.kernel.process_open(pid)?;
        Ok(Child {
            // Presumed to have ended: the first look answers for those that have, and for
            // strangers, whose end would come as an event and then be refused.
            source: Source::lazy(handle, fd, Readiness::READABLE),
            pid,
            status: Cell::new(None),
            adopted: None,
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Waits until the child has ended, and tells how: its exit code, or the signal that killed it
    /// ([`ExitStatusExt`](std::os::unix::process::ExitStatusExt)). May be asked again, and by any
    /// number of tasks; the answer stays.
    ///
    /// # Errors
    /// `ECHILD` if it is no child of this process, or somebody else has waited for it; `EINVAL`
    /// before Linux 5.4; waitid(2).
    ///
    /// # Cancel safety
    /// Safe: the status is kept.
    pub async fn wait(&self) -> io::Result<ExitStatus> {
        poll_fn(|cx| self.poll_wait(cx)).await
    }

    /// The poll of [`Child::wait`].
    ///
    /// # Errors
    /// Those of [`Child::wait`].
    pub fn poll_wait(&self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if let Some(status) = self.status.get() {
            return Poll::Ready(Ok(status));
        }
        self.source.poll_io(cx, Direction::Read, |kernel, fd| {
            let status = kernel.process_wait(fd)?;
            self.status.set(status);
            status.ok_or(io::ErrorKind::WouldBlock.into())
        })
    }

    /// How the child has ended, `None` while it runs.
    ///
    /// # Errors
    /// Those of [`Child::wait`].
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        if self.status.get().is_none() {
            let status = self.source.kernel().process_wait(self.as_fd())?;
            self.status.set(status);
        }
        Ok(self.status.get())
    }

    /// Sends `signal`, such as `libc::SIGTERM`; 0 only asks whether that could be done.
    ///
    /// # Errors
    /// `ESRCH` if the child has ended and was waited for, `EPERM` if it now belongs to another
    /// user, `EINVAL` for a number that is no signal; pidfd_send_signal(2).
    pub fn kill(&self, signal: i32) -> io::Result<()> {
        self.source.kernel().process_signal(self.as_fd(), signal)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let left = self.adopted.take();
        collect_orphans(left.filter(|_| self.status.get().is_none()));
    }
}

/// Adds `another`, and forgets those that have ended.
fn collect_orphans(another: Option<process::Child>) {
    let mut orphans = ORPHANS.lock().unwrap_or_else(PoisonError::into_inner);
    orphans.extend(another);
    orphans.retain_mut(|orphan| matches!(orphan.try_wait(), Ok(None)));
}

impl AsFd for Child {
    /// The pidfd; readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("pid", &self.pid)
            .field("status", &self.status.get())
            .finish_non_exhaustive()
    }
}

/// Why a child could not be [adopted](Child::adopt), and the child, which is still the caller's.
#[derive(Debug)]
pub struct AdoptError {
    /// What the kernel said.
    pub error: io::Error,
    /// The child, running or not, not waited for.
    pub child: process::Child,
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}: {}", self.child.id(), self.error)
    }
}

impl std::error::Error for AdoptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<AdoptError> for io::Error {
    fn from(error: AdoptError) -> io::Error {
        error.error
    }
}
