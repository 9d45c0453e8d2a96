//! TCP listeners and streams.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use socket2::SockRef;

use crate::reactor::Handle;
use crate::readiness::{Direction, Readiness};
use crate::source::Source;

/// Connections in a row that may have died before others have a turn.
const ACCEPT_FAILURES_MAX: usize = 64;

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
///
/// ```
/// use ambidex_net::{Reactor, TcpListener};
/// let reactor = Reactor::new()?;
/// let listener = TcpListener::bind(&reactor.handle(), "127.0.0.1:0".parse().unwrap())?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct TcpListener {
    source: Source,
    handle: Handle,
}

impl TcpListener {
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

    fn from_fd(handle: &Handle, fd: OwnedFd) -> TcpListener {
        TcpListener {
            source: Source::lazy(handle, fd, Readiness::READABLE),
            handle: handle.clone(),
        }
    }

    /// Waits for the next connection.
    ///
    /// A connection that died in the queue (`ECONNABORTED` and the network errors that accept(2)
    /// says to treat like it) is passed over.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`: out of descriptors or memory. The connection stays
    /// in the queue and the next call answers the same at once, so wait before it: the engine's
    /// `accept` does.
    ///
    /// # Cancel safety
    /// Safe: a connection is taken only by the poll that returns it.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The poll of [`TcpListener::accept`].
    ///
    /// # Errors
    /// Those of [`TcpListener::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let mut failures = 0;
        let accepted = self.source.poll_io(cx, Direction::Read, |kernel, fd| {
            loop {
                match kernel.accept(fd) {
                    Err(error) if died_in_queue(&error) && failures < ACCEPT_FAILURES_MAX => {
                        failures += 1;
                    }
                    result => return result,
                }
            }
        });
        if matches!(&accepted, Poll::Ready(Err(error)) if died_in_queue(error)) {
            // Others have a turn, then it goes on.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        accepted.map_ok(|(fd, peer)| (TcpStream::connected(&self.handle, fd), peer))
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_address(SockRef::from(&self.source).local_addr()?)
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// Errors of the connection rather than of the listener; accept(2), "Error handling".
fn died_in_queue(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}

fn socket_address(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    let unknown = || io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
    address.as_socket().ok_or_else(unknown)
}

/// A TCP connection. Reads and writes borrow the caller's buffer for one system call only.
///
/// Any number of tasks may wait on one stream; those waiting for one direction are woken together.
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
#[derive(Debug)]
pub struct TcpStream {
    source: Source,
}

impl TcpStream {
    fn connected(handle: &Handle, fd: OwnedFd) -> TcpStream {
        let ready = Readiness::READABLE | Readiness::WRITABLE;
        TcpStream {
            source: Source::lazy(handle, fd, ready),
        }
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// `ECONNREFUSED`, `ETIMEDOUT`, `ENETUNREACH`, `EMFILE`...; connect(2).
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt and closes the socket.
    pub async fn connect(handle: &Handle, address: SocketAddr) -> io::Result<TcpStream> {
        let fd = handle.inner.kernel.connect(address)?;
        let stream = TcpStream {
            source: Source::lazy(handle, fd, Readiness::EMPTY),
        };
        poll_fn(|cx| stream.source.poll_ready(cx, Direction::Write)).await?;
        match stream.source.kernel().take_error(stream.as_fd())? {
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
        Ok(TcpStream::connected(handle, stream.into()))
    }

    /// Reads up to `buffer.len()` bytes; 0 is the end of the stream (or an empty buffer).
    ///
    /// # Errors
    /// `ECONNRESET`, `ETIMEDOUT`...; recv(2).
    ///
    /// # Cancel safety
    /// Safe: bytes are taken only by the poll that returns them.
    pub async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// The poll of [`TcpStream::read`].
    ///
    /// # Errors
    /// Those of [`TcpStream::read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let asked = buffer.len();
        let read = self
            .source
            .poll_io(cx, Direction::Read, |kernel, fd| kernel.receive(fd, buffer));
        self.note(Direction::Read, asked, read)
    }

    /// Reads up to `buffer.len()` bytes now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`TcpStream::read`].
    pub fn try_read(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let asked = buffer.len();
        let read = self
            .source
            .attempt(Direction::Read, |kernel, fd| kernel.receive(fd, buffer))?;
        if matches!(&read, Ok(read) if *read > 0 && *read < asked) {
            self.source.clear_short(Direction::Read);
        }
        Some(read)
    }

    /// Writes up to `buffer.len()` bytes and tells how many.
    ///
    /// # Errors
    /// `EPIPE`, `ECONNRESET`...; send(2). No SIGPIPE is raised.
    ///
    /// # Cancel safety
    /// Safe: bytes are sent only by the poll that returns.
    pub async fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            let sent = self
                .source
                .poll_io(cx, Direction::Write, |kernel, fd| kernel.send(fd, buffer));
            self.note(Direction::Write, buffer.len(), sent)
        })
        .await
    }

    /// Writes from `buffers` in order, as many bytes as fit, and tells how many.
    ///
    /// # Errors
    /// Those of [`TcpStream::write`].
    ///
    /// # Cancel safety
    /// Safe, as [`TcpStream::write`].
    pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let asked = total(buffers);
        poll_fn(|cx| {
            let sent = self.source.poll_io(cx, Direction::Write, |kernel, fd| {
                kernel.send_vectored(fd, buffers)
            });
            self.note(Direction::Write, asked, sent)
        })
        .await
    }

    /// Writes from `buffers` now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`TcpStream::write`].
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        let sent = self.source.attempt(Direction::Write, |kernel, fd| {
            kernel.send_vectored(fd, buffers)
        })?;
        if matches!(&sent, Ok(sent) if *sent < total(buffers)) {
            self.source.clear_short(Direction::Write);
        }
        Some(sent)
    }

    /// Writes all of `buffer`.
    ///
    /// # Errors
    /// Those of [`TcpStream::write`]; an unknown part of the buffer has been sent then.
    ///
    /// # Cancel safety
    /// Not safe: dropping it loses count of what has been sent.
    pub async fn write_all(&self, mut buffer: &[u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let sent = self.write(buffer).await?;
            buffer = &buffer[sent..];
        }
        Ok(())
    }

    /// Waits until a read may not wait.
    ///
    /// # Errors
    /// Those of the first registration; epoll_ctl(2).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn readable(&self) -> io::Result<Readiness> {
        poll_fn(|cx| self.source.poll_ready(cx, Direction::Read)).await
    }

    /// Waits until a write may not wait.
    ///
    /// # Errors
    /// Those of the first registration; epoll_ctl(2).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn writable(&self) -> io::Result<Readiness> {
        poll_fn(|cx| self.source.poll_ready(cx, Direction::Write)).await
    }

    /// Shuts down one or both directions; the peer reads the end of the stream.
    ///
    /// # Errors
    /// `ENOTCONN`; shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.kernel().shutdown(self.as_fd(), how)
    }

    /// Sends small writes at once instead of gathering them (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        SockRef::from(&self.source).set_tcp_nodelay(nodelay)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `ENOTCONN`; getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        socket_address(SockRef::from(&self.source).peer_addr()?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        socket_address(SockRef::from(&self.source).local_addr()?)
    }

    fn note(
        &self,
        direction: Direction,
        asked: usize,
        moved: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if matches!(&moved, Poll::Ready(Ok(moved)) if *moved > 0 && *moved < asked) {
            self.source.clear_short(direction);
        }
        moved
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// Bytes that one sendmsg(2) can move: those of the first `IOV_MAX` buffers.
fn total(buffers: &[IoSlice<'_>]) -> usize {
    let taken = buffers.iter().take(libc::UIO_MAXIOV as usize);
    taken.map(|buffer| buffer.len()).sum()
}
