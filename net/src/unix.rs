//! Local sockets: streams, datagrams, seqpackets; descriptors passed, peers known.
//!
//! Addresses are [`std::os::unix::net::SocketAddr`]s: a path (`SocketAddr::from_pathname`) or an
//! abstract name (`SocketAddrExt::from_abstract_name`).
//!
//! Binding to a path makes a file, and nothing here removes it: not on drop, since a successor may
//! have taken the path over by then. Remove it before binding, under a lock if several may do so.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::SocketAddr;

use crate::kernel::{Credentials, Received, Want};
use crate::listener::Listener;
use crate::reactor::Handle;
use crate::socket::{Local, LocalDatagram, LocalSeqpacket, LocalStream, Socket};

/// Connections that may wait to be accepted; capped by `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// A local connection that carries bytes; unix(7).
///
/// ```
/// # let reactor = ambidex_net::Reactor::new()?;
/// use ambidex_net::UnixStream;
/// let (here, there) = UnixStream::pair(&reactor.handle())?;
/// assert_eq!(here.peer_credentials()?.pid, std::process::id() as i32);
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixStream = Socket<LocalStream>;

/// Accepts [`UnixStream`]s.
///
/// ```
/// # let reactor = ambidex_net::Reactor::new()?;
/// use ambidex_net::UnixListener;
/// use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
/// let name = format!("ambidex example {}", std::process::id());
/// let address = SocketAddr::from_abstract_name(name)?;
/// let listener = UnixListener::bind(&reactor.handle(), &address)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixListener = Listener<LocalStream>;

/// Sends and receives local messages. They are neither lost nor reordered; a full receiver makes
/// the [`send`](Socket::send) of its peer wait.
///
/// ```
/// # let reactor = ambidex_net::Reactor::new()?;
/// use ambidex_net::UnixDatagram;
/// let (here, there) = UnixDatagram::pair(&reactor.handle())?;
/// assert!(here.try_send(b"hello").is_some_and(|sent| sent.is_ok()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixDatagram = Socket<LocalDatagram>;

/// A local connection that carries messages.
///
/// ```
/// # let reactor = ambidex_net::Reactor::new()?;
/// use ambidex_net::UnixSeqpacket;
/// let (here, there) = UnixSeqpacket::pair(&reactor.handle())?;
/// assert!(here.try_send(b"hello").is_some_and(|sent| sent.is_ok()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixSeqpacket = Socket<LocalSeqpacket>;

/// Accepts [`UnixSeqpacket`]s.
///
/// ```
/// # let reactor = ambidex_net::Reactor::new()?;
/// use ambidex_net::UnixSeqpacketListener;
/// use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
/// let name = format!("ambidex seqpacket {}", std::process::id());
/// let address = SocketAddr::from_abstract_name(name)?;
/// let listener = UnixSeqpacketListener::bind(&reactor.handle(), &address)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub type UnixSeqpacketListener = Listener<LocalSeqpacket>;

impl<P: Local> Listener<P> {
    /// Listens on `address`. The file of a path stays when the listener goes.
    ///
    /// # Errors
    /// `EADDRINUSE` (also for the file that an earlier listener left behind), `EACCES`, `ENOENT`
    /// for the directory, `EMFILE`; bind(2), listen(2), unix(7).
    pub fn bind(handle: &Handle, address: &SocketAddr) -> io::Result<Listener<P>> {
        let socket: Socket<P> = Socket::bound(handle, address)?;
        handle.inner.kernel.listen_on(socket.as_fd(), BACKLOG)?;
        Ok(Listener::from_source(handle, socket.source))
    }
}

impl Socket<LocalStream> {
    /// Connects to `address`. Local connections are made at once, before anybody accepts them.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES`, `ECONNREFUSED` (nobody listens), `EPROTOTYPE` (at this path listens one
    /// of the other kind), `EAGAIN`: the listener's queue is full, and no event will tell when it is not; try
    /// again later. connect(2), unix(7).
    pub fn connect(handle: &Handle, address: &SocketAddr) -> io::Result<UnixStream> {
        Socket::opened_to(handle, address)
    }
}

impl Socket<LocalSeqpacket> {
    /// Connects to `address`, as [`UnixStream::connect`](Socket::<LocalStream>::connect).
    ///
    /// # Errors
    /// Those of [`UnixStream::connect`](Socket::<LocalStream>::connect).
    pub fn connect(handle: &Handle, address: &SocketAddr) -> io::Result<UnixSeqpacket> {
        Socket::opened_to(handle, address)
    }
}

impl Socket<LocalDatagram> {
    /// A socket that receives at `address`. The file of a path stays when the socket goes.
    ///
    /// # Errors
    /// Those of [`UnixListener::bind`](Listener::bind).
    pub fn bind(handle: &Handle, address: &SocketAddr) -> io::Result<UnixDatagram> {
        Socket::bound(handle, address)
    }

    /// A socket without a name: it sends, but nobody can answer it.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; socket(2).
    pub fn unbound(handle: &Handle) -> io::Result<UnixDatagram> {
        Socket::open(handle, &SocketAddr::from_pathname("")?)
    }
}

impl<P: Local> Socket<P> {
    fn opened_to(handle: &Handle, address: &SocketAddr) -> io::Result<Socket<P>> {
        let socket: Socket<P> = Socket::open(handle, address)?;
        socket.connect_now(address)?;
        Ok(socket)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; socketpair(2).
    pub fn pair(handle: &Handle) -> io::Result<(Socket<P>, Socket<P>)> {
        let (one, other) = handle.inner.kernel.socket_pair(P::KIND)?;
        let socket = |fd| Socket::from_fd(handle, fd);
        Ok((socket(one), socket(other)))
    }

    /// Who is at the other end: the process that connected, listened or made the pair, whoever
    /// holds the descriptor now.
    ///
    /// # Errors
    /// Those of getsockopt(2). A datagram socket that is not of a pair answers user and group -1.
    pub fn peer_credentials(&self) -> io::Result<Credentials> {
        self.source.kernel().peer_credentials(self.as_fd())
    }

    /// Sends `bytes`, and with them copies of the descriptors `fds`, at most 253.
    ///
    /// A stream may take fewer bytes than offered, as a write; the descriptors have gone with the
    /// first of them then, so send the rest without. A message goes whole or not at all.
    ///
    /// # Errors
    /// `EINVAL` for more than 253, or, on a stream, for none of `bytes`: descriptors travel with
    /// data. `ETOOMANYREFS` if too many are under way, and those of send(2); unix(7).
    ///
    /// # Cancel safety
    /// Safe: all is sent only by the poll that returns.
    ///
    /// ```no_run
    /// # async fn example(handle: ambidex_net::Handle) -> std::io::Result<()> {
    /// use ambidex_net::UnixStream;
    /// use std::{fs::File, os::fd::AsFd};
    /// let (here, there) = UnixStream::pair(&handle)?;
    /// let file = File::open("/etc/hostname")?;
    /// here.send_with_fds(b"a file", &[file.as_fd()]).await?;
    /// let (received, mut fds) = there.recv_with_fds(&mut [0; 64], 1).await?;
    /// let same = File::from(fds.remove(0));
    /// # Ok(()) }
    /// ```
    pub async fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        // The kernel would call it done, having sent nothing.
        if bytes.is_empty() && !fds.is_empty() && P::KIND == socket2::Type::STREAM {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.transmit(bytes, None, fds).await
    }

    /// Receives into `buffer`, and with the bytes up to `fds_max` descriptors (at most 253),
    /// close-on-exec.
    ///
    /// If more came, or this process has no room for them (`RLIMIT_NOFILE`), all that came are
    /// closed, the list is empty and [`Received::control_truncated`] says so; the bytes are good.
    /// Other ways to receive close descriptors as well. A stream never joins the descriptors of
    /// two sends; a length of 0 is its end.
    ///
    /// Do not set options that add other control data (`SO_PASSCRED`, `SO_PASSPIDFD`,
    /// `SO_TIMESTAMP`...): it would take the room.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    ///
    /// # Cancel safety
    /// Safe: bytes and descriptors are taken only by the poll that returns them.
    pub async fn recv_with_fds(
        &self,
        buffer: &mut [u8],
        fds_max: usize,
    ) -> io::Result<(Received, Vec<OwnedFd>)> {
        let want = Want {
            fds_max,
            ..Want::default()
        };
        let message = self.receive(buffer, want).await?;
        Ok((message.received, message.fds))
    }
}
