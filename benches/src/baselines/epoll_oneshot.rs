//! epoll(7), oneshot: a report disarms the descriptor until it is armed again.
//!
//! Made for several threads that wait on one set: what one of them works on no other is told of.
//! It costs a system call for each report, which one thread alone has no need of; see
//! [`epoll_level`](super::epoll_level).

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
    let data = |fd: &dyn AsFd| EventData::new_u64(fd.as_fd().as_raw_fd() as u64);
    epoll::add(&set, &stop, data(&stop), EventFlags::IN)?;
    epoll::add(&set, &acceptor, data(&acceptor), EventFlags::IN)?;
    let once = EventFlags::IN | EventFlags::ONESHOT;
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
                    epoll::add(&set, &connection, data(&connection), once)?;
                    table.insert(connection);
                }
                continue;
            }
            let Some(connection) = table.get_mut(fd) else {
                continue;
            };
            if connection.step() == Step::Ended {
                table.remove(fd);
                continue;
            }
            let interest = match connection.wants() {
                Wants::Read => EventFlags::IN,
                Wants::Write => EventFlags::OUT,
            };
            // What has become ready meanwhile is reported at once.
            counters.call();
            let armed = interest | EventFlags::ONESHOT;
            epoll::modify(&set, &*connection, data(&*connection), armed)?;
        }
    }
}
