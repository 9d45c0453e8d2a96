//! The echo server on mio, which is edge-triggered: [`epoll_edge`](crate::baselines::epoll_edge) in
//! its words.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::baselines::{Acceptor, Connection, EVENTS_MAX, Service, Step, Table};

pub(super) fn serve(service: Service) -> io::Result<()> {
    let Service {
        listener,
        upper,
        verbose,
        stop,
        counters,
    } = service;
    let mut acceptor = Acceptor::new(listener, upper, verbose, Arc::clone(&counters))?;
    let mut poll = Poll::new()?;
    watch(poll.registry(), &stop, Interest::READABLE)?;
    watch(poll.registry(), &acceptor, Interest::READABLE)?;
    let mut table = Table::default();
    let mut events = Events::with_capacity(EVENTS_MAX);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            waited => waited?,
        }
        for event in &events {
            let fd = event.token().0 as RawFd;
            if fd == stop.as_fd().as_raw_fd() {
                return Ok(());
            }
            if fd == acceptor.as_fd().as_raw_fd() {
                while let Some(connection) = acceptor.accept()? {
                    let both = Interest::READABLE | Interest::WRITABLE;
                    watch(poll.registry(), &connection, both)?;
                    table.insert(connection);
                }
            } else if table.get_mut(fd).map(work_off) == Some(Step::Ended) {
                table.remove(fd);
            }
        }
    }
}

fn watch(registry: &Registry, fd: &dyn AsFd, interest: Interest) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    registry.register(&mut SourceFd(&fd), Token(fd as usize), interest)
}

/// Steps until it has to wait.
fn work_off(connection: &mut Connection) -> Step {
    loop {
        match connection.step() {
            Step::Progress => {}
            step => return step,
        }
    }
}
