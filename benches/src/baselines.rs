//! Echo servers of one shape, one for each way that Unix has had of waiting for many connections.
//!
//! Read them in the order in which they came, each for what it does differently: [`threads`],
//! [`select`], [`poll`], [`epoll_level`], [`epoll_edge`], [`epoll_oneshot`]. What they have in common
//! is written once: [`Acceptor`] takes connections and survives a lack of descriptors,
//! [`Connection`] echoes through a buffer of its own, [`Table`] finds a connection by the number of
//! its descriptor, [`Stop`] ends a server, [`Counters`] count what it did.
//!
//! All answer in order and byte for byte what they are sent, in upper case if that is asked for.
//! None reads on before the peer has taken the answer: who does not read costs one buffer.

mod acceptor;
mod connection;
mod counters;
pub mod epoll_edge;
pub mod epoll_level;
pub mod epoll_oneshot;
pub mod poll;
pub mod select;
mod stop;
pub mod threads;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

pub use acceptor::Acceptor;
pub use connection::{Connection, Step, Table, Wants};
pub use counters::{Counters, Counts};
pub use stop::{Stop, Stopper};

/// What a connection reads into; the same for every engine that is measured.
pub const BUFFER_BYTES: usize = 16 * 1024;
/// Events that one wait may return.
pub const EVENTS_MAX: usize = 256;

/// What a server is given.
#[derive(Debug)]
pub struct Service {
    /// Where it listens.
    pub listener: TcpListener,
    /// Answers are in upper case (ASCII).
    pub upper: bool,
    /// Each connection is told on standard output.
    pub verbose: bool,
    /// When to end.
    pub stop: Stop,
    /// What it does.
    pub counters: Arc<Counters>,
}

/// Serves until it is stopped.
///
/// # Errors
/// Those of the waiting call. What befalls one connection ends that one only.
pub type Serve = fn(Service) -> io::Result<()>;
