//! Readiness: an epoll reactor and the sockets that live on it.
//!
//! A [`Reactor`] owns one epoll set. Each socket holds a cheap [`Handle`] to it and borrows the
//! caller's buffer only for the length of one system call, so every future of this crate may be
//! dropped at any time without losing data.
//!
//! [`event`] has what kqueue calls filters, each as a source of the same loop: timers, signals,
//! the end of a child, changes of files, calls of other threads.
//!
//! This crate knows no executor. Its upward seam is [`std::task::Waker`];
//! its sideways seam is [`Reactor::watch`], which lets a foreign descriptor (the eventfd of an
//! io_uring, a cross-thread doorbell) ring in the same epoll set.
//!
//! ```
//! use ambidex_net::{Reactor, TcpListener};
//! use std::time::Duration;
//!
//! let mut reactor = Reactor::new()?;
//! let listener = TcpListener::bind(&reactor.handle(), "127.0.0.1:0".parse().unwrap())?;
//! let _peer = std::net::TcpStream::connect(listener.local_addr()?)?;
//! let turn = reactor.turn(Some(Duration::ZERO))?;
//! assert!(!turn.interrupted);
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod changes;
pub mod event;
mod flush;
pub mod kernel;
mod linux;
pub mod listener;
mod message;
pub mod poller;
pub mod reactor;
pub mod readiness;
pub mod registry;
mod rights;
pub mod socket;
pub mod source;
mod stream;
pub mod tcp;
pub mod token;
pub mod udp;
pub mod unix;

pub use changes::Change;
pub use kernel::{Credentials, Kernel, Received};
pub use linux::Linux;
pub use listener::Listener;
pub use poller::{Events, Interest, Mode, Poller};
pub use reactor::{Counters, Doorbell, Handle, Reactor, Turn};
pub use readiness::{Direction, Readiness};
pub use registry::Registry;
pub use socket::Socket;
/// The crate of the addresses and options in this interface.
pub use socket2;
pub use source::Source;
pub use tcp::{ListenOptions, TcpListener, TcpStream};
pub use token::Token;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixSeqpacket, UnixSeqpacketListener, UnixStream};
