//! One connection, and where a server finds it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use super::acceptor::tell;
use super::{BUFFER_BYTES, Counters};

/// What one step of a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something was read or written, and there may be more.
    Progress,
    /// It has to wait for what it [wants](Connection::wants).
    Blocked,
    /// The peer has sent its last byte and been answered, or is gone.
    Ended,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Bytes of the peer: everything read has been sent.
    Read,
    /// Room for the rest of an answer.
    Write,
}

/// A connection that echoes. Reads only when everything has been sent.
#[derive(Debug)]
pub struct Connection {
    /// Shared, so that a thread that sleeps in read(2) can be woken by shutdown(2).
    stream: Arc<TcpStream>,
    buffer: Box<[u8]>,
    /// What of the buffer is to be sent.
    unsent: Range<usize>,
    upper: bool,
    verbose: bool,
    counters: Arc<Counters>,
}

impl Connection {
    /// Echoes on `stream`.
    #[must_use]
    pub fn new(
        stream: TcpStream,
        upper: bool,
        verbose: bool,
        counters: Arc<Counters>,
    ) -> Connection {
        Connection {
            stream: Arc::new(stream),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            unsent: 0..0,
            upper,
            verbose,
            counters,
        }
    }

    /// The number of its descriptor.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Its socket.
    #[must_use]
    pub fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// What it waits for.
    #[must_use]
    pub fn wants(&self) -> Wants {
        if self.unsent.is_empty() {
            Wants::Read
        } else {
            Wants::Write
        }
    }

    /// Reads once, unless there is something to send, and sends once.
    pub fn step(&mut self) -> Step {
        if self.unsent.is_empty() {
            self.counters.call();
            match (&*self.stream).read(&mut self.buffer) {
                Ok(0) => return Step::Ended,
                Ok(length) => self.unsent = 0..length,
                Err(error) => return after(&error),
            }
            if self.upper {
                self.buffer[self.unsent.clone()].make_ascii_uppercase();
            }
        }
        self.counters.call();
        match (&*self.stream).write(&self.buffer[self.unsent.clone()]) {
            Ok(length) => {
                self.unsent.start += length;
                Step::Progress
            }
            Err(error) => after(&error),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.verbose {
            tell(&format!("fd={} closed", self.fd()));
        }
    }
}

fn after(error: &io::Error) -> Step {
    match error.kind() {
        ErrorKind::WouldBlock => Step::Blocked,
        ErrorKind::Interrupted => Step::Progress,
        // A reset, mostly: nobody is left to be told.
        _ => Step::Ended,
    }
}

/// Connections by the number of their descriptor, which the kernel keeps low.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Option<Connection>>,
}

impl Table {
    /// Adds one.
    pub fn insert(&mut self, connection: Connection) {
        let index = connection.fd() as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, || None);
        }
        self.slots[index] = Some(connection);
    }

    /// The one with that number.
    pub fn get_mut(&mut self, fd: RawFd) -> Option<&mut Connection> {
        self.slots.get_mut(fd as usize)?.as_mut()
    }

    /// Closes the one with that number.
    pub fn remove(&mut self, fd: RawFd) {
        if let Some(slot) = self.slots.get_mut(fd as usize) {
            *slot = None;
        }
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slots.iter().flatten()
    }
}
