//! Pairs of sockets, and which of them is written to next.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{fcntl_dupfd_cloexec, read, write};

/// Where numbers of the ends that are not watched start: select takes watched ones below that.
pub(super) const UNWATCHED_FD_MIN: i32 = 1024;

/// Pairs of sockets; the first ends are watched.
pub(super) struct Pairs {
    watched: Vec<OwnedFd>,
    others: Vec<OwnedFd>,
}

impl Pairs {
    pub(super) fn new(number: usize) -> io::Result<Pairs> {
        let mut pairs = Pairs {
            watched: Vec::with_capacity(number),
            others: Vec::with_capacity(number),
        };
        for _ in 0..number {
            let (watched, other) = UnixStream::pair()?;
            watched.set_nonblocking(true)?;
            other.set_nonblocking(true)?;
            pairs.watched.push(watched.into());
            // Out of the way: as many as can be shall have a low number.
            pairs
                .others
                .push(fcntl_dupfd_cloexec(&other, UNWATCHED_FD_MIN)?);
        }
        Ok(pairs)
    }

    pub(super) fn len(&self) -> usize {
        self.watched.len()
    }

    /// The ends that are watched.
    pub(super) fn watched(&self) -> &[OwnedFd] {
        &self.watched
    }

    pub(super) fn fd(&self, index: usize) -> BorrowedFd<'_> {
        self.watched[index].as_fd()
    }

    /// Makes `index` ready.
    pub(super) fn write(&self, index: usize) -> io::Result<()> {
        write(&self.others[index], b"e")?;
        Ok(())
    }

    /// Takes the byte that made `index` ready; false if there was none.
    pub(super) fn read(&self, index: usize) -> io::Result<bool> {
        match read(self.fd(index), &mut [0; 1]) {
            Ok(length) => Ok(length == 1),
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes `active` of them ready, evenly spread.
    pub(super) fn write_active(&self, active: usize) -> io::Result<()> {
        let space = self.len() / active.max(1);
        (0..active).try_for_each(|number| self.write(number * space))
    }

    /// The pair after `index`.
    pub(super) fn next(&self, index: usize) -> usize {
        (index + 1) % self.len()
    }
}
