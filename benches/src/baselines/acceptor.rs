//! Taking connections, also when descriptors run out.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::{Connection, Counters};

/// A listening socket that does not wait.
///
/// At `EMFILE` a connection stays in the kernel's queue, so the socket stays ready and a loop would
/// spin. One descriptor is kept for that: given up, it lets the connection be taken and closed.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    upper: bool,
    verbose: bool,
    counters: Arc<Counters>,
    reserve: Option<File>,
    /// The first number of a descriptor that is too high, and why.
    limit: Option<(RawFd, &'static str)>,
}

impl Acceptor {
    /// Takes over what a server listens on.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn new(
        listener: TcpListener,
        upper: bool,
        verbose: bool,
        counters: Arc<Counters>,
    ) -> io::Result<Acceptor> {
        listener.set_nonblocking(true)?;
        Ok(Acceptor {
            listener,
            upper,
            verbose,
            counters,
            reserve: reserve(),
            limit: None,
        })
    }

    /// Refuses connections whose descriptor is `first` or above, saying `why`.
    #[must_use]
    pub fn below(mut self, first: RawFd, why: &'static str) -> Acceptor {
        self.limit = Some((first, why));
        self
    }

    /// The next connection; `None` if there is none just now.
    ///
    /// # Errors
    /// Those that end the listener; accept(2).
    pub fn accept(&mut self) -> io::Result<Option<Connection>> {
        let Some(stream) = self.accept_stream()? else {
            return Ok(None);
        };
        stream.set_nonblocking(true)?;
        let counters = Arc::clone(&self.counters);
        let connection = Connection::new(stream, self.upper, self.verbose, counters);
        Ok(Some(connection))
    }

    /// The socket of the next connection, a blocking one; `None` if there is none just now.
    ///
    /// # Errors
    /// Those of [`Acceptor::accept`].
    pub fn accept_stream(&mut self) -> io::Result<Option<TcpStream>> {
        loop {
            self.counters.call();
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    let fd = stream.as_raw_fd();
                    if let Some((_, why)) = self.limit.filter(|(first, _)| fd >= *first) {
                        drop(stream);
                        self.refused(&format!("fd={fd}: {why}"));
                        continue;
                    }
                    if self.verbose {
                        tell(&format!("connection from {peer} accepted, fd={fd}"));
                    }
                    self.counters.accept();
                    // What a small message costs is measured, not how long the kernel waits for a second one.
                    stream.set_nodelay(true)?;
                    return Ok(Some(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_transient(&error) => {}
                Err(error) if is_shortage(&error) => {
                    if !self.refuse_one(&error) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes the connection that is first in the queue; tells whether there was one.
    ///
    /// There need not be: the kernel looks for a descriptor before it looks into the queue, so
    /// `EMFILE` is the answer of an empty one too.
    fn refuse_one(&mut self, error: &io::Error) -> bool {
        let Some(given_up) = self.reserve.take().or_else(reserve) else {
            return false;
        };
        drop(given_up);
        let taken = self.listener.accept().is_ok();
        self.reserve = reserve();
        if taken {
            self.refused(&error.to_string());
        }
        taken
    }

    /// Tells of the first, and of each if everything is told.
    fn refused(&self, why: &str) {
        if self.counters.refuse() || self.verbose {
            let _ = writeln!(io::stderr(), "connection refused: {why}");
        }
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Of the connection that would have been next, or of a signal: the one after it may be well.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}

fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE))
}

/// Whoever has closed our output does not want to know.
pub(super) fn tell(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
