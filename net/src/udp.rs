//! UDP: one message at a time, or many in one system call.

use std::io;
use std::net::SocketAddr;

use crate::kernel::Received;
use crate::reactor::Handle;
use crate::readiness::Direction;
use crate::socket::{Socket, Udp};

/// Messages that one [`send_many`](Socket::send_many) or [`recv_many`](Socket::recv_many) moves
/// at most: a batch never holds up the loop for long.
pub const BATCH_MAX: usize = 64;

/// A UDP socket; udp(7).
///
/// ```no_run
/// # async fn example(handle: ambidex_net::Handle) -> std::io::Result<()> {
/// use ambidex_net::UdpSocket;
/// let socket = UdpSocket::bind(&handle, "127.0.0.1:0".parse().unwrap())?;
/// let mut buffer = [0; 1500];
/// loop {
///     let (received, peer) = socket.recv_from(&mut buffer).await?;
///     socket.send_to(&buffer[..received.length], &peer).await?;
/// }
/// # }
/// ```
pub type UdpSocket = Socket<Udp>;

/// A message to send with [`UdpSocket::send_many`](Socket::send_many).
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The message.
    pub bytes: &'a [u8],
    /// Where it goes; `None` for the connected peer.
    pub to: Option<SocketAddr>,
}

/// Room for one message of [`UdpSocket::recv_many`](Socket::recv_many), and what came.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Where the message goes.
    pub buffer: &'a mut [u8],
    /// How it arrived.
    pub received: Received,
    /// Who sent it.
    pub from: Option<SocketAddr>,
}

impl<'a> Incoming<'a> {
    /// Room for a message of up to `buffer.len()` bytes.
    #[must_use]
    pub fn new(buffer: &'a mut [u8]) -> Incoming<'a> {
        Incoming {
            buffer,
            received: Received::default(),
            from: None,
        }
    }

    /// The message that came.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.buffer[..self.received.length]
    }
}

impl Socket<Udp> {
    /// A socket that receives at `address`; port 0 asks for a free one.
    ///
    /// # Errors
    /// `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` (a port below 1024), `EMFILE`; socket(2), bind(2).
    pub fn bind(handle: &Handle, address: SocketAddr) -> io::Result<UdpSocket> {
        Socket::bound(handle, &address)
    }

    /// Takes over a socket made elsewhere and makes it non-blocking.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn from_std(handle: &Handle, socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(Socket::from_fd(handle, socket.into()))
    }

    /// Sends messages in order, one system call for up to [`BATCH_MAX`], and tells how many went.
    ///
    /// Fewer than asked for means that the socket is full, that the next one cannot be sent, or
    /// that there are more than [`BATCH_MAX`]: call again with the rest, and it waits, tells the
    /// error or goes on.
    ///
    /// # Errors
    /// Those of [`Socket::send_to`], of the first message.
    ///
    /// # Cancel safety
    /// Safe: messages are sent only by the poll that returns.
    ///
    /// ```no_run
    /// # async fn example(socket: ambidex_net::UdpSocket) -> std::io::Result<()> {
    /// use ambidex_net::udp::Outgoing;
    /// let messages = [b"one", b"two"].map(|bytes| Outgoing { bytes, to: None });
    /// let mut rest = &messages[..];
    /// while !rest.is_empty() {
    ///     rest = &rest[socket.send_many(rest).await?..];
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn send_many(&self, messages: &[Outgoing<'_>]) -> io::Result<usize> {
        if messages.is_empty() {
            return Ok(0);
        }
        let sent = self.source.io(Direction::Write, |kernel, fd| {
            kernel.send_batch(fd, messages)
        });
        sent.await
    }

    /// Sends messages now, as [`Socket::send_many`], or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::send_many`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_send_many(&self, messages: &[Outgoing<'_>]) -> Option<io::Result<usize>> {
        self.source.attempt(Direction::Write, |kernel, fd| {
            kernel.send_batch(fd, messages)
        })
    }

    /// Waits for a message, then receives all that are there, one system call for up to
    /// [`BATCH_MAX`], and tells how many: the first so many of `messages` are filled.
    ///
    /// # Errors
    /// Those of [`Socket::recv_from`], of the first message. One that comes later ends the batch
    /// and is told by the next call.
    ///
    /// # Cancel safety
    /// Safe: messages are taken only by the poll that returns them.
    ///
    /// ```no_run
    /// # async fn example(socket: ambidex_net::UdpSocket) -> std::io::Result<()> {
    /// use ambidex_net::udp::Incoming;
    /// let mut buffers = [[0; 1500]; 32];
    /// let mut messages = buffers.each_mut().map(|buffer| Incoming::new(buffer));
    /// let count = socket.recv_many(&mut messages).await?;
    /// for message in &messages[..count] {
    ///     println!("{} bytes from {:?}", message.message().len(), message.from);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn recv_many(&self, messages: &mut [Incoming<'_>]) -> io::Result<usize> {
        if messages.is_empty() {
            return Ok(0);
        }
        let filled = self.source.io(Direction::Read, |kernel, fd| {
            kernel.receive_batch(fd, messages)
        });
        filled.await
    }

    /// Receives what is there now, as [`Socket::recv_many`], or answers `None` if that is nothing.
    ///
    /// # Errors
    /// Those of [`Socket::recv_many`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_recv_many(&self, messages: &mut [Incoming<'_>]) -> Option<io::Result<usize>> {
        self.source.attempt(Direction::Read, |kernel, fd| {
            kernel.receive_batch(fd, messages)
        })
    }
}
