//! epoll(7), edge-triggered: what becomes ready is reported once.
//!
//! Registered once for both directions, then no more changes of interest. In return each report
//! must be worked off until `EAGAIN`, or what is left is never heard of again; and a peer that
//! sends faster than it is answered must not hold the loop meanwhile, so who has used up its budget
//! stays on a list of our own until the next turn.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::{Acceptor, EVENTS_MAX, Service, Step, Table};

/// Steps of one connection before others have a turn.
const BUDGET: usize = 16;
const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// See [`Serve`](super::Serve).
///
/// # Errors
/// Those of epoll_wait(2), epoll_ctl(2) and accept(2).
pub fn serve(service: Service) -> io::Result<()> {
    let counters = Arc::clone(&service.counters);
    let Service {
        stop,
        upper,
        verbose,
        ..
    } = service;
    let mut acceptor = Acceptor::new(service.listener, upper, verbose, Arc::clone(&counters))?;
    let set = epoll::create(CreateFlags::CLOEXEC)?;
    let data = |fd: &dyn AsFd| EventData::new_u64(fd.as_fd().as_raw_fd() as u64);
    // Level: what a lack of descriptors leaves in the queue is to be heard of again.
    epoll::add(&set, &stop, data(&stop), EventFlags::IN)?;
    epoll::add(&set, &acceptor, data(&acceptor), EventFlags::IN)?;
    let both = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    let mut table = Table::default();
    let mut ready: Vec<RawFd> = Vec::new();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        // No sleep while somebody has not been worked off.
        let unfinished = ready.len();
        let timeout = (unfinished > 0).then_some(&NOW);
        events.clear();
        match epoll::wait(&set, spare_capacity(&mut events), timeout) {
            Ok(_) => counters.wait(events.len(), events.len()),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let fd = event.data.u64() as RawFd;
            if fd == stop.as_fd().as_raw_fd() {
                return Ok(());
            }
            if fd == acceptor.as_fd().as_raw_fd() {
                while let Some(connection) = acceptor.accept()? {
                    counters.call();
                    epoll::add(&set, &connection, data(&connection), both)?;
                    table.insert(connection);
                }
            } else {
                ready.push(fd);
            }
        }
        if unfinished > 0 {
            // Who is unfinished may have been reported again.
            ready.sort_unstable();
            ready.dedup();
        }
        ready.retain(|fd| is_unfinished(&mut table, *fd));
    }
}

/// Steps until it has to wait; true if it has had its share before that.
fn is_unfinished(table: &mut Table, fd: RawFd) -> bool {
    let Some(connection) = table.get_mut(fd) else {
        return false;
    };
    for _ in 0..BUDGET {
        match connection.step() {
            Step::Progress => {}
            Step::Blocked => return false,
            Step::Ended => {
                table.remove(fd);
                return false;
            }
        }
    }
    true
}
