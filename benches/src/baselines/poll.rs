//! poll(2), 1986: a list of descriptors instead of sets of bits.
//!
//! No limit but memory, and answers have a field of their own. But the whole list is handed over
//! for each call, the kernel looks at each entry, and so does the caller: the cost of a wait grows
//! with the connections that there are, not with those that are busy.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Acceptor, Counters, Service, Step, Stop, Table, Wants};

/// See [`Serve`](super::Serve).
///
/// # Errors
/// Those of poll(2) and accept(2).
pub fn serve(service: Service) -> io::Result<()> {
    let counters = Arc::clone(&service.counters);
    let Service {
        stop,
        upper,
        verbose,
        ..
    } = service;
    let mut acceptor = Acceptor::new(service.listener, upper, verbose, Arc::clone(&counters))?;
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

/// Sleeps until something is ready, and gathers the numbers of what is.
///
/// The list is made anew for each call because in Rust it borrows the descriptors. C programs keep
/// it: a store of 8 bytes for each descriptor, beside the kernel's look at it.
fn wait(
    acceptor: &Acceptor,
    stop: &Stop,
    table: &Table,
    counters: &Counters,
    ready: &mut Vec<RawFd>,
) -> io::Result<()> {
    let mut fds = vec![
        PollFd::new(stop, PollFlags::IN),
        PollFd::new(acceptor, PollFlags::IN),
    ];
    fds.extend(table.iter().map(|connection| {
        let interest = match connection.wants() {
            Wants::Read => PollFlags::IN,
            Wants::Write => PollFlags::OUT,
        };
        PollFd::new(connection, interest)
    }));
    match poll(&mut fds, None) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    // An error or a hang-up is an answer too: the next step meets it.
    let found = fds.iter().filter(|fd| !fd.revents().is_empty());
    ready.extend(found.map(|fd| fd.as_fd().as_raw_fd()));
    counters.wait(fds.len(), ready.len());
    Ok(())
}
