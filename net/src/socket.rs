//! What all sockets have in common: one type, told apart by the protocol it speaks.
//!
//! [`TcpStream`](crate::TcpStream) is `Socket<Tcp>`, [`UdpSocket`](crate::UdpSocket) is
//! `Socket<Udp>`, and so on, so that what several protocols can do is written once:
//!
//! | Protocols | can | in |
//! |---|---|---|
//! | all | wait, shut down, tell addresses, set options | this file |
//! | [`Streams`] | read, write, sendfile | `stream.rs` |
//! | [`Messages`] | send, recv, in batches | `message.rs` |
//! | [`Addressed`] | send_to, recv_from, connect | `message.rs` |
//! | [`Local`] | pass descriptors, tell the peer's credentials | `unix.rs` |

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::task::{Context, Poll};

use socket2::{Domain, SockAddr, SockRef, Type};

use crate::kernel::{Message, Want};
use crate::reactor::Handle;
use crate::readiness::{Direction, Readiness};
use crate::source::Source;

/// What a socket speaks. Sealed: the protocols are the types of this module.
pub trait Protocol: sealed::Sealed {
    /// How an end of it is named.
    type Address: fmt::Debug;
    /// The socket type of socket(2).
    #[doc(hidden)]
    const KIND: Type;
    /// The domain that an address belongs to; socket(2).
    #[doc(hidden)]
    fn domain(address: &Self::Address) -> Domain;
    /// The address as the kernel takes it.
    #[doc(hidden)]
    fn pack(address: &Self::Address) -> io::Result<SockAddr>;
    /// The address as the kernel gives it.
    #[doc(hidden)]
    fn unpack(address: &SockAddr) -> io::Result<Self::Address>;
}

/// A stream of bytes without boundaries.
pub trait Streams: Protocol {}

/// Messages that arrive whole or not at all.
pub trait Messages: Protocol {}

/// Messages of which each may go to, and come from, another peer.
pub trait Addressed: Messages {
    /// Whether an event tells when a message to anybody can go. Of a local receiver whose queue is
    /// full it tells its connected peers only.
    #[doc(hidden)]
    const TELLS: bool;
}

/// Both ends on this machine; unix(7).
pub trait Local: Protocol<Address = UnixAddr> {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! protocol {
    ($(#[$doc:meta])* $name:ident, $address:ty, $kind:expr, $family:ident: $($ability:ident)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Protocol for $name {
            type Address = $address;
            const KIND: Type = $kind;
            fn domain(address: &$address) -> Domain {
                $family::domain(address)
            }
            fn pack(address: &$address) -> io::Result<SockAddr> {
                $family::pack(address)
            }
            fn unpack(address: &SockAddr) -> io::Result<$address> {
                $family::unpack(address)
            }
        }
        $(impl $ability for $name {})*
    };
}

impl Addressed for Udp {
    const TELLS: bool = true;
}

impl Addressed for LocalDatagram {
    const TELLS: bool = false;
}

protocol!(/** tcp(7). */ Tcp, SocketAddr, Type::STREAM, inet: Streams);
protocol!(/** udp(7). */ Udp, SocketAddr, Type::DGRAM, inet: Messages);
protocol!(/** unix(7), `SOCK_STREAM`. */ LocalStream, UnixAddr, Type::STREAM, local: Streams Local);
protocol!(
    /** unix(7), `SOCK_DGRAM`. */
    LocalDatagram, UnixAddr, Type::DGRAM, local: Messages Local
);
protocol!(
    /** unix(7), `SOCK_SEQPACKET`: a connection that keeps the boundaries of messages. */
    LocalSeqpacket, UnixAddr, Type::SEQPACKET, local: Messages Local
);

fn foreign() -> io::Error {
    io::Error::from_raw_os_error(libc::EAFNOSUPPORT)
}

mod inet {
    use super::{Domain, SockAddr, SocketAddr, foreign, io};

    pub(super) fn domain(address: &SocketAddr) -> Domain {
        Domain::for_address(*address)
    }

    pub(super) fn pack(address: &SocketAddr) -> io::Result<SockAddr> {
        Ok((*address).into())
    }

    pub(super) fn unpack(address: &SockAddr) -> io::Result<SocketAddr> {
        address.as_socket().ok_or_else(foreign)
    }
}

mod local {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::{Domain, SockAddr, SocketAddrExt, UnixAddr, foreign, io};

    pub(super) fn domain(_: &UnixAddr) -> Domain {
        Domain::UNIX
    }

    pub(super) fn pack(address: &UnixAddr) -> io::Result<SockAddr> {
        if let Some(name) = address.as_abstract_name() {
            // A name that begins with a zero byte is an abstract one; unix(7).
            return SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()));
        }
        // The empty path is the unnamed address: bind(2) to it picks an abstract name.
        SockAddr::unix(address.as_pathname().unwrap_or("".as_ref()))
    }

    pub(super) fn unpack(address: &SockAddr) -> io::Result<UnixAddr> {
        if let Some(path) = address.as_pathname() {
            return UnixAddr::from_pathname(path);
        }
        // Of a sender without a name the kernel writes nothing at all.
        if address.len() == 0 || address.is_unnamed() {
            return UnixAddr::from_pathname("");
        }
        let name = address.as_abstract_namespace().ok_or_else(foreign)?;
        UnixAddr::from_abstract_name(name)
    }
}

/// A socket on a reactor. Operations borrow the caller's buffer for one system call only, and each
/// waits, retries and is given up as [`Source::poll_io`] says.
///
/// Any number of tasks may wait on one socket; those waiting for one direction are woken together.
///
/// ```
/// use ambidex_net::{Reactor, socket::{Socket, Tcp}, TcpStream};
/// fn same(stream: TcpStream) -> Socket<Tcp> {
///     stream
/// }
/// ```
pub struct Socket<P> {
    pub(crate) source: Source,
    protocol: PhantomData<P>,
}

impl<P: Protocol> Socket<P> {
    pub(crate) fn from_source(source: Source) -> Socket<P> {
        let protocol = PhantomData;
        Socket { source, protocol }
    }

    /// A socket that can be used at once; both directions are presumed ready.
    pub(crate) fn from_fd(handle: &Handle, fd: OwnedFd) -> Socket<P> {
        let ready = Readiness::READABLE | Readiness::WRITABLE;
        Socket::from_source(Source::lazy(handle, fd, ready))
    }

    /// A new socket for the domain of `address`.
    pub(crate) fn open(handle: &Handle, address: &P::Address) -> io::Result<Socket<P>> {
        let fd = handle.inner.kernel.socket(P::domain(address), P::KIND)?;
        Ok(Socket::from_fd(handle, fd))
    }

    /// A new socket bound to `address`.
    pub(crate) fn bound(handle: &Handle, address: &P::Address) -> io::Result<Socket<P>> {
        let socket: Socket<P> = Socket::open(handle, address)?;
        let kernel = socket.source.kernel();
        kernel.bind(socket.as_fd(), &P::pack(address)?)?;
        Ok(socket)
    }

    /// Connects to `address` at once, as sockets do that need not wait for it.
    pub(crate) fn connect_now(&self, address: &P::Address) -> io::Result<()> {
        let kernel = self.source.kernel();
        kernel.connect_to(self.as_fd(), &P::pack(address)?)
    }

    /// Receives one message, or bytes, with all that came along.
    pub(crate) async fn receive(&self, buffer: &mut [u8], want: Want) -> io::Result<Message> {
        let receive = self.source.io(Direction::Read, |kernel, fd| {
            kernel.receive_message(fd, &mut [IoSliceMut::new(buffer)], want)
        });
        receive.await
    }

    /// As [`Socket::receive`], or `None` if that would wait.
    pub(crate) fn try_receive(&self, buffer: &mut [u8], want: Want) -> Option<io::Result<Message>> {
        self.source.attempt(Direction::Read, |kernel, fd| {
            kernel.receive_message(fd, &mut [IoSliceMut::new(buffer)], want)
        })
    }

    /// Sends one message, or bytes, with all that goes along.
    pub(crate) async fn transmit(
        &self,
        bytes: &[u8],
        to: Option<&SockAddr>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        let send = self.source.io(Direction::Write, |kernel, fd| {
            kernel.send_message(fd, &[IoSlice::new(bytes)], to, fds)
        });
        send.await
    }

    /// Waits until a read may not wait.
    ///
    /// # Errors
    /// Those of the first registration; epoll_ctl(2).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn readable(&self) -> io::Result<Readiness> {
        poll_fn(|cx| self.poll_readable(cx)).await
    }

    /// As [`Socket::readable`], for futures written by hand: one that waits for several things keeps nothing but
    /// references.
    ///
    /// # Errors
    /// Those of [`Socket::readable`].
    ///
    /// ```no_run
    /// # use std::{future::poll_fn, io, task::Poll};
    /// # async fn example(one: ambidex_net::TcpStream, other: ambidex_net::TcpStream) -> io::Result<()> {
    /// // Whichever has something first.
    /// let ready = poll_fn(|cx| match one.poll_readable(cx) {
    ///     Poll::Pending => other.poll_readable(cx),
    ///     ready => ready,
    /// });
    /// ready.await?;
    /// # Ok(()) }
    /// ```
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<Readiness>> {
        self.source.poll_ready(cx, Direction::Read)
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

    /// Leaves the reactor and gives the descriptor back, to go to another one ([`Socket::from_owned`]).
    /// What was received and not read stays in it.
    ///
    /// # Errors
    /// Those of [`Source::into_fd`].
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        self.source.into_fd()
    }

    /// Takes over a socket made elsewhere, such as one that was [given back](Socket::into_fd),
    /// inherited or received: it must be of this kind, and is made non-blocking.
    ///
    /// # Errors
    /// `EPROTOTYPE` if it is of another kind, `ENOTSOCK`; those of fcntl(2).
    pub fn from_owned(handle: &Handle, fd: impl Into<OwnedFd>) -> io::Result<Socket<P>> {
        let socket: Socket<P> = Socket::from_fd(handle, fd.into());
        if socket.options().r#type()? != P::KIND || socket.local_addr().is_err() {
            return Err(io::Error::from_raw_os_error(libc::EPROTOTYPE));
        }
        socket.options().set_nonblocking(true)?;
        Ok(socket)
    }

    /// Shuts down one or both directions; of a connection, the peer reads the end.
    ///
    /// # Errors
    /// `ENOTCONN`; shutdown(2).
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.source.kernel().shutdown(self.as_fd(), how)
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `ENOTCONN`; getpeername(2).
    pub fn peer_addr(&self) -> io::Result<P::Address> {
        P::unpack(&self.options().peer_addr()?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> io::Result<P::Address> {
        P::unpack(&self.options().local_addr()?)
    }

    /// Takes the error that waits on the socket (`SO_ERROR`, socket(7)).
    ///
    /// # Errors
    /// Those of getsockopt(2).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.source.kernel().take_error(self.as_fd())
    }

    /// The options of the socket: buffer sizes, keep-alive, time to live, multicast...; socket(7),
    /// tcp(7), ip(7). Leave it non-blocking, and move no data through it.
    ///
    /// ```
    /// # let reactor = ambidex_net::Reactor::new()?;
    /// use ambidex_net::UdpSocket;
    /// let socket = UdpSocket::bind(&reactor.handle(), "127.0.0.1:0".parse().unwrap())?;
    /// socket.options().set_broadcast(true)?;
    /// assert!(socket.options().broadcast()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.source)
    }
}

impl<P> AsFd for Socket<P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<P> fmt::Debug for Socket<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Socket").field(&self.source).finish()
    }
}
