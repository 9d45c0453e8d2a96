//! epoll(7), 2002, level-triggered: the kernel keeps the list, and answers with what is ready only.
//!
//! Each wait reports everything that is ready, also what was reported before, as poll does: one
//! step for each report is enough, and nobody starves. Interest is changed by a system call, so
//! only when it changes.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::{Acceptor, EVENTS_MAX, Service, Step, Table, Wants};

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
    // An event carries what it was registered with: here the number of the descriptor.
    let data = |fd: &dyn AsFd| EventData::new_u64(fd.as_fd().as_raw_fd() as u64);
    epoll::add(&set, &stop, data(&stop), EventFlags::IN)?;
    epoll::add(&set, &acceptor, data(&acceptor), EventFlags::IN)?;
    let mut table = Table::default();
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        events.clear();
        match epoll::wait(&set, spare_capacity(&mut events), None) {
            Ok(_) => counters.wait(events.len(), events.len()),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let fd = event.data.u64() as i32;
            if fd == stop.as_fd().as_raw_fd() {
                return Ok(());
            }
            if fd == acceptor.as_fd().as_raw_fd() {
                while let Some(connection) = acceptor.accept()? {
                    counters.call();
                    epoll::add(&set, &connection, data(&connection), EventFlags::IN)?;
                    table.insert(connection);
                }
                continue;
            }
            let Some(connection) = table.get_mut(fd) else {
                continue;
            };
            let before = connection.wants();
            if connection.step() == Step::Ended {
                // Its last descriptor is closed, which takes it out of the set.
                table.remove(fd);
            } else if connection.wants() != before {
                let interest = match connection.wants() {
                    Wants::Read => EventFlags::IN,
                    Wants::Write => EventFlags::OUT,
                };
                counters.call();
                epoll::modify(&set, &*connection, data(&*connection), interest)?;
            }
        }
    }
}
