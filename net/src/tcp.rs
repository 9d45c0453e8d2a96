//! TCP: listeners and streams.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

use crate::listener::Listener;
use crate::poller::{Interest, Mode};
use crate::reactor::Handle;
use crate::readiness::{Direction, Readiness};
use crate::socket::{Socket, Tcp};
use crate::source::Source;

/// How a listening socket is made.
///
/// ```
/// use ambidex_net::ListenOptions;
/// let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
/// assert_eq!(shared.backlog, 1024);
/// ```
#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// Let several sockets listen on one address, the kernel spreading connections over them
    /// (`SO_REUSEPORT`, socket(7)).
    pub reuse_port: bool,
    /// Accepted connections send small writes at once (`TCP_NODELAY`, inherited from the listener).
    pub nodelay: bool,
    /// Completed connections that may wait to be accepted; capped by `net.core.somaxconn`.
    pub backlog: i32,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions {
            reuse_port: false,
            nodelay: false,
            backlog: 1024,
        }
    }
}

/// A TCP socket that listens.
pub type TcpListener = Listener<Tcp>;

/// A TCP connection.
///
/// To have its halves in two tasks, share it: each method takes `&self`, and
/// [`shutdown`](Socket::shutdown) ends one direction.
///
/// ```no_run
/// # async fn example(handle: ambidex_net::Handle) -> std::io::Result<()> {
/// use ambidex_net::TcpStream;
/// let stream = TcpStream::connect(&handle, "127.0.0.1:7".parse().unwrap()).await?;
/// stream.write_all(b"hello").await?;
/// let mut buffer = [0; 16];
/// let length = stream.read(&mut buffer).await?;
/// # Ok(()) }
/// ```
pub type TcpStream = Socket<Tcp>;

impl Listener<Tcp> {
    /// Listens on `address` with the default [`ListenOptions`]; port 0 asks for a free one.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` (a port below 1024), `EMFILE`; bind(2), listen(2).
    pub fn bind(handle: &Handle, address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind_with(handle, address, &ListenOptions::default())
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// Those of [`TcpListener::bind`].
    pub fn bind_with(
        handle: &Handle,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> io::Result<TcpListener> {
        let fd = handle.inner.kernel.listen(address, options)?;
        Ok(TcpListener::from_fd(handle, fd))
    }

    /// Takes over a listening socket made elsewhere and makes it non-blocking.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn from_std(handle: &Handle, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_fd(handle, listener.into()))
    }

    /// As [`TcpListener::from_std`], for a listening socket that several loops have, each a
    /// `try_clone` of it: a connection wakes one that sleeps, or few, instead of all
    /// ([`Mode::Exclusive`]).
    ///
    /// Keep accepting: who was woken is the one who was told. Sockets of their own
    /// ([`ListenOptions::reuse_port`]) spread connections more evenly.
    ///
    /// # Errors
    /// Those of fcntl(2) and epoll_ctl(2).
    ///
    /// # Minimum kernel
    /// Linux 4.5.
    pub fn shared(handle: &Handle, listener: std::net::TcpListener) -> io::Result<TcpListener> {
        listener.set_nonblocking(true)?;
        let source = Source::with(handle, listener, Interest::READABLE, Mode::Exclusive)?;
        Ok(Listener::from_source(handle, source))
    }
}

impl Socket<Tcp> {
    /// Connects to `address`. To wait no longer than so long, see the engine's `connect`.
    ///
    /// # Errors
    /// `ECONNREFUSED`, `ETIMEDOUT`, `ENETUNREACH`, `EMFILE`...; connect(2).
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt and closes the socket.
    pub async fn connect(handle: &Handle, address: SocketAddr) -> io::Result<TcpStream> {
        let fd = handle.inner.kernel.connect(address)?;
        let stream = Socket::from_source(Source::lazy(handle, fd, Readiness::EMPTY));
        poll_fn(|cx| stream.source.poll_ready(cx, Direction::Write)).await?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(stream),
        }
    }

    /// Takes over a connection made elsewhere and makes it non-blocking.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn from_std(handle: &Handle, stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(Socket::from_fd(handle, stream.into()))
    }

    /// Sends small writes at once instead of gathering them (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.options().set_tcp_nodelay(nodelay)
    }
}
