//! A thread for each connection: the kernel's scheduler does the waiting.
//!
//! Reads like the protocol, and blocks where it likes. Each connection costs a stack, a switch to
//! its thread for each message, and a place among all the threads that the kernel schedules.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Acceptor, Connection, Service, Step, Stop};

/// A thread's stack: an echo needs little of it, its buffer is elsewhere.
const STACK_BYTES: usize = 128 * 1024;

/// The connections that have a thread, so that all can be ended.
type Open = Mutex<HashMap<RawFd, Arc<TcpStream>>>;

/// See [`Serve`](super::Serve).
///
/// # Errors
/// Those of poll(2) and accept(2). A thread that cannot be made costs its connection only.
pub fn serve(service: Service) -> io::Result<()> {
    let counters = Arc::clone(&service.counters);
    let Service {
        stop,
        upper,
        verbose,
        ..
    } = service;
    let mut acceptor = Acceptor::new(service.listener, upper, verbose, Arc::clone(&counters))?;
    let open = Open::default();
    thread::scope(|scope| {
        let served = loop {
            match next(&mut acceptor, &stop) {
                Ok(Some(connection)) => {
                    // From here on it waits in read(2) and write(2).
                    if connection.stream().set_nonblocking(false).is_err() {
                        continue;
                    }
                    let fd = connection.fd();
                    lock(&open).insert(fd, Arc::clone(connection.stream()));
                    let thread = Builder::new().stack_size(STACK_BYTES);
                    let spawned = thread.spawn_scoped(scope, || echo(connection, &open));
                    if let Err(error) = spawned {
                        lock(&open).remove(&fd);
                        counters.refuse();
                        let _ = writeln!(io::stderr(), "connection closed: {error}");
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // Who sleeps in read(2) or write(2) returns. The scope waits for all.
        for stream in lock(&open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        served
    })
}

/// Waits for a connection; `None` when it is time to stop.
fn next(acceptor: &mut Acceptor, stop: &Stop) -> io::Result<Option<Connection>> {
    loop {
        let mut fds = [
            PollFd::new(stop, PollFlags::IN),
            PollFd::new(acceptor, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().is_empty() {
            return Ok(None);
        }
        if let Some(connection) = acceptor.accept()? {
            return Ok(Some(connection));
        }
    }
}

/// One connection, from its thread's start to its end.
fn echo(mut connection: Connection, open: &Open) {
    while connection.step() != Step::Ended {}
    // Before it is closed, or another one might have the number by then.
    lock(open).remove(&connection.fd());
}

fn lock(open: &Open) -> impl std::ops::DerefMut<Target = HashMap<RawFd, Arc<TcpStream>>> + '_ {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}
