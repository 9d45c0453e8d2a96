//! Messages that arrive whole or not at all: what UDP, Unix datagrams and seqpackets can do.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use socket2::SockAddr;

use crate::kernel::{Kernel, Message, Received, Want};
use crate::readiness::Direction;
use crate::socket::{Addressed, Messages, Protocol, Socket};

const FROM: Want = Want {
    peek: false,
    from: true,
    fds_max: 0,
};
const PEEK_FROM: Want = Want { peek: true, ..FROM };

impl<P: Messages> Socket<P> {
    /// Sends `message` to the connected peer.
    ///
    /// It goes whole or not at all; the number of bytes is that of the message. An empty one is a
    /// message too.
    ///
    /// # Errors
    /// `EMSGSIZE` for one that is too long, `ECONNREFUSED` if an earlier one found nobody
    /// listening, `EDESTADDRREQ` or `ENOTCONN` without a peer, `EPIPE`...; send(2).
    ///
    /// # Cancel safety
    /// Safe: the message is sent only by the poll that returns.
    pub async fn send(&self, message: &[u8]) -> io::Result<usize> {
        let send = |kernel: &dyn Kernel, fd: BorrowedFd<'_>| kernel.send(fd, message);
        self.source.io(Direction::Write, send).await
    }

    /// Sends `message` now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::send`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_send(&self, message: &[u8]) -> Option<io::Result<usize>> {
        let send = |kernel: &dyn Kernel, fd: BorrowedFd<'_>| kernel.send(fd, message);
        self.source.attempt(Direction::Write, send)
    }

    /// Receives one message into `buffer`.
    ///
    /// What does not fit is lost, and [`Received::truncated`] says so. A length of 0 is an empty
    /// message, and of a seqpacket the end of the connection.
    ///
    /// # Errors
    /// `ECONNREFUSED` if an earlier message found nobody listening, `ECONNRESET`...; recv(2).
    ///
    /// # Cancel safety
    /// Safe: a message is taken only by the poll that returns it.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<Received> {
        Ok(self.receive(buffer, Want::default()).await?.received)
    }

    /// Receives one message now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::recv`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_recv(&self, buffer: &mut [u8]) -> Option<io::Result<Received>> {
        let received = self.try_receive(buffer, Want::default())?;
        Some(received.map(|message| message.received))
    }
}

impl<P: Addressed> Socket<P> {
    /// Makes `address` the peer: where [`Socket::send`] sends, and the only one received from.
    /// What others had sent before stays in the queue.
    ///
    /// # Errors
    /// `ENETUNREACH`, `EACCES` (broadcast), `ENOENT` (no such path)...; connect(2).
    pub fn connect(&self, address: &P::Address) -> io::Result<()> {
        self.connect_now(address)
    }

    /// Sends `message` to `address`.
    ///
    /// # Errors
    /// Those of [`Socket::send`], and those of routing: `ENETUNREACH`, `EHOSTUNREACH`, `EACCES`;
    /// of a path: `ENOENT`, `ECONNREFUSED`; sendto(2). `EAGAIN` if the queue of a local receiver is
    /// full: no event tells when it is not, but to who has it for a [peer](Socket::connect), so
    /// connect and [`send`](Socket::send) to wait for it.
    ///
    /// # Cancel safety
    /// Safe: the message is sent only by the poll that returns.
    pub async fn send_to(&self, message: &[u8], address: &P::Address) -> io::Result<usize> {
        if !P::TELLS {
            let full = || Err(io::Error::from_raw_os_error(libc::EAGAIN));
            return self.try_send_to(message, address).unwrap_or_else(full);
        }
        let to = P::pack(address)?;
        self.transmit(message, Some(&to), &[]).await
    }

    /// Sends `message` to `address` now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::send_to`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_send_to(&self, message: &[u8], address: &P::Address) -> Option<io::Result<usize>> {
        let send = |to: &SockAddr| {
            self.source.attempt(Direction::Write, |kernel, fd| {
                kernel.send_message(fd, &[IoSlice::new(message)], Some(to), &[])
            })
        };
        match P::pack(address) {
            Ok(to) => send(&to),
            Err(error) => Some(Err(error)),
        }
    }

    /// Receives one message into `buffer`, and tells who sent it.
    ///
    /// What does not fit is lost, and [`Received::truncated`] says so.
    ///
    /// # Errors
    /// Those of [`Socket::recv`]; recvmsg(2).
    ///
    /// # Cancel safety
    /// Safe: a message is taken only by the poll that returns it.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(Received, P::Address)> {
        with_sender::<P>(self.receive(buffer, FROM).await?)
    }

    /// Receives one message now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::recv_from`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> Option<io::Result<(Received, P::Address)>> {
        let message = self.try_receive(buffer, FROM)?;
        Some(message.and_then(with_sender::<P>))
    }

    /// As [`Socket::recv_from`], and leaves the message where it is: the next receive brings it
    /// again (`MSG_PEEK`), also what did not fit.
    ///
    /// # Errors
    /// Those of [`Socket::recv_from`].
    ///
    /// # Cancel safety
    /// Safe: it takes nothing.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(Received, P::Address)> {
        with_sender::<P>(self.receive(buffer, PEEK_FROM).await?)
    }
}

fn with_sender<P: Protocol>(message: Message) -> io::Result<(Received, P::Address)> {
    let unknown = || io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
    let from = P::unpack(&message.from.ok_or_else(unknown)?)?;
    Ok((message.received, from))
}
