//! Listening sockets of every protocol that has connections.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use socket2::SockRef;

use crate::reactor::Handle;
use crate::readiness::{Direction, Readiness};
use crate::socket::{Protocol, Socket};
use crate::source::Source;

/// Connections in a row that may have died before others have a turn.
const ACCEPT_FAILURES_MAX: usize = 64;

/// A socket that listens: [`TcpListener`](crate::TcpListener),
/// [`UnixListener`](crate::UnixListener), [`UnixSeqpacketListener`](crate::UnixSeqpacketListener).
///
/// ```
/// use ambidex_net::{Reactor, TcpListener};
/// let reactor = Reactor::new()?;
/// let listener = TcpListener::bind(&reactor.handle(), "127.0.0.1:0".parse().unwrap())?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Listener<P> {
    source: Source,
    handle: Handle,
    protocol: PhantomData<P>,
}

impl<P: Protocol> Listener<P> {
    pub(crate) fn from_fd(handle: &Handle, fd: OwnedFd) -> Listener<P> {
        Listener::from_source(handle, Source::lazy(handle, fd, Readiness::READABLE))
    }

    pub(crate) fn from_source(handle: &Handle, source: Source) -> Listener<P> {
        Listener {
            source,
            handle: handle.clone(),
            protocol: PhantomData,
        }
    }

    /// Waits for the next connection.
    ///
    /// A connection that died in the queue (`ECONNABORTED` and the network errors that accept(2)
    /// says to treat like it) is passed over.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`: out of descriptors or memory. The connection stays
    /// in the queue and the next call answers the same at once, so wait before it: the engine's
    /// `accept` does.
    ///
    /// # Cancel safety
    /// Safe: a connection is taken only by the poll that returns it.
    pub async fn accept(&self) -> io::Result<(Socket<P>, P::Address)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The poll of [`Listener::accept`].
    ///
    /// # Errors
    /// Those of [`Listener::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket<P>, P::Address)>> {
        let mut failures = 0;
        let accepted = self.source.poll_io(cx, Direction::Read, |kernel, fd| {
            loop {
                match kernel.accept(fd) {
                    Err(error) if died_in_queue(&error) && failures < ACCEPT_FAILURES_MAX => {
                        failures += 1;
                    }
                    result => return result,
                }
            }
        });
        if matches!(&accepted, Poll::Ready(Err(error)) if died_in_queue(error)) {
            // Others have a turn, then it goes on.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let connected = |(fd, peer)| Ok((Socket::from_fd(&self.handle, fd), P::unpack(&peer)?));
        accepted.map(|accepted| accepted.and_then(connected))
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<P::Address> {
        P::unpack(&SockRef::from(&self.source).local_addr()?)
    }
}

impl<P> AsFd for Listener<P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<P> fmt::Debug for Listener<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.source).finish()
    }
}

/// Errors of the connection rather than of the listener; accept(2), "Error handling".
fn died_in_queue(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}
