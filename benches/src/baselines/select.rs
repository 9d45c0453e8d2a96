//! select(2), 1983: three sets of bits go in, and the bits that are ready come out.
//!
//! - The sets are answered in place, so they are filled anew for each call.
//! - A set has 1,024 bits: a descriptor of a higher number does not fit, however few there are.
//! - The kernel looks at each bit below the highest, and so does the caller: one busy connection
//!   with a high number costs a look at every number below it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, select};

use super::{Acceptor, Counters, Service, Step, Stop, Table, Wants};

const TOO_HIGH: &str =
    "it does not fit into an fd_set of 1024 bits, which is all that select takes";

/// See [`Serve`](super::Serve).
///
/// # Errors
/// `EINVAL` if what it listens on has a number of 1,024 or more already; those of select(2) and
/// accept(2).
pub fn serve(service: Service) -> io::Result<()> {
    let counters = Arc::clone(&service.counters);
    let Service {
        stop,
        upper,
        verbose,
        ..
    } = service;
    let acceptor = Acceptor::new(service.listener, upper, verbose, Arc::clone(&counters))?;
    let mut acceptor = acceptor.below(FD_SETSIZE as RawFd, TOO_HIGH);
    let highest = highest(&acceptor, &stop, &Table::default());
    if highest as usize >= FD_SETSIZE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, TOO_HIGH));
    }
    let mut table = Table::default();
    let mut ready = Vec::new();
    loop {
        wait(&acceptor, &stop, &table, &counters, &mut ready)?;
        for fd in ready.drain(..) {
            if fd == stop.as_fd().as_raw_fd() {
                return Ok(());
            }
            if fd == acceptor.as_fd().as_raw_fd() {
                while let Some(connection) = acceptor.accept()? {
                    table.insert(connection);
                }
            } else if let Some(connection) = table.get_mut(fd)
                && connection.step() == Step::Ended
            {
                table.remove(fd);
            }
        }
    }
}

fn highest(acceptor: &Acceptor, stop: &Stop, table: &Table) -> RawFd {
    let own = acceptor.as_fd().as_raw_fd().max(stop.as_fd().as_raw_fd());
    table.iter().last().map_or(own, |last| last.fd().max(own))
}

/// Sleeps until something is ready, and gathers the numbers of what is.
fn wait(
    acceptor: &Acceptor,
    stop: &Stop,
    table: &Table,
    counters: &Counters,
    ready: &mut Vec<RawFd>,
) -> io::Result<()> {
    let mut readable = FdSet::new();
    let mut writable = FdSet::new();
    readable.insert(stop.as_fd());
    readable.insert(acceptor.as_fd());
    for connection in table.iter() {
        match connection.wants() {
            Wants::Read => readable.insert(connection.as_fd()),
            Wants::Write => writable.insert(connection.as_fd()),
        }
    }
    let nfds = highest(acceptor, stop, table) + 1;
    match select(nfds, &mut readable, &mut writable, None, None) {
        Ok(_) => {}
        Err(Errno::EINTR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    // The scan that select is known for: a look at every number, whoever was busy.
    for fd in [stop.as_fd(), acceptor.as_fd()] {
        if readable.contains(fd) {
            ready.push(fd.as_raw_fd());
        }
    }
    for connection in table.iter() {
        let fd = connection.as_fd();
        if readable.contains(fd) || writable.contains(fd) {
            ready.push(fd.as_raw_fd());
        }
    }
    counters.wait(nfds as usize, ready.len());
    Ok(())
}
