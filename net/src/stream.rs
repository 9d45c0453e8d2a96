//! Bytes in order: what TCP and Unix streams can do.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use crate::kernel::Want;
use crate::readiness::Direction;
use crate::socket::{Socket, Streams};

impl<P: Streams> Socket<P> {
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

    /// The poll of [`Socket::read`].
    ///
    /// # Errors
    /// Those of [`Socket::read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let asked = buffer.len();
        // The kernel would wait for bytes that nobody has room for.
        if asked == 0 {
            return Poll::Ready(Ok(0));
        }
        let read = self
            .source
            .poll_io(cx, Direction::Read, |kernel, fd| kernel.receive(fd, buffer));
        read.map(|read| self.note(Direction::Read, asked, read))
    }

    /// Reads up to `buffer.len()` bytes now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::read`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_read(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let asked = buffer.len();
        if asked == 0 {
            return Some(Ok(0));
        }
        let read = self
            .source
            .attempt(Direction::Read, |kernel, fd| kernel.receive(fd, buffer))?;
        Some(self.note(Direction::Read, asked, read))
    }

    /// Reads into `buffers` in order and tells how many bytes; 0 is the end of the stream (or no
    /// room). Of more than `IOV_MAX` (1024) buffers the first are used.
    ///
    /// # Errors
    /// Those of [`Socket::read`]; recvmsg(2).
    ///
    /// # Cancel safety
    /// Safe, as [`Socket::read`].
    ///
    /// ```no_run
    /// # async fn example(stream: ambidex_net::TcpStream) -> std::io::Result<()> {
    /// use std::io::IoSliceMut;
    /// let (mut head, mut body) = ([0; 16], [0; 4096]);
    /// let mut parts = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)];
    /// let length = stream.read_vectored(&mut parts).await?;
    /// # Ok(()) }
    /// ```
    pub async fn read_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let asked = total(buffers);
        if asked == 0 {
            return Ok(0);
        }
        let read = self.source.io(Direction::Read, |kernel, fd| {
            let message = kernel.receive_message(fd, buffers, Want::default())?;
            Ok(message.received.length)
        });
        let read = read.await;
        self.note(Direction::Read, asked, read)
    }

    /// Reads up to `buffer.len()` bytes and leaves them where they are: the next read brings them
    /// again (`MSG_PEEK`, recv(2)). 0 is the end of the stream (or an empty buffer).
    ///
    /// # Errors
    /// Those of [`Socket::read`].
    ///
    /// # Cancel safety
    /// Safe: it takes nothing.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let want = Want {
            peek: true,
            ..Want::default()
        };
        Ok(self.receive(buffer, want).await?.received.length)
    }

    /// Writes up to `buffer.len()` bytes and tells how many.
    ///
    /// # Errors
    /// `EPIPE`, `ECONNRESET`...; send(2). No SIGPIPE is raised.
    ///
    /// # Cancel safety
    /// Safe: bytes are sent only by the poll that returns.
    pub async fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        let sent = self
            .source
            .io(Direction::Write, |kernel, fd| kernel.send(fd, buffer));
        let sent = sent.await;
        self.note(Direction::Write, buffer.len(), sent)
    }

    /// Writes from `buffers` in order, as many bytes as fit, and tells how many.
    ///
    /// # Errors
    /// Those of [`Socket::write`].
    ///
    /// # Cancel safety
    /// Safe, as [`Socket::write`].
    pub async fn write_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let sent = self.source.io(Direction::Write, |kernel, fd| {
            kernel.send_vectored(fd, buffers)
        });
        let sent = sent.await;
        self.note(Direction::Write, total(buffers), sent)
    }

    /// Writes from `buffers` now, or answers `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::write`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_write_vectored(&self, buffers: &[IoSlice<'_>]) -> Option<io::Result<usize>> {
        let sent = self.source.attempt(Direction::Write, |kernel, fd| {
            kernel.send_vectored(fd, buffers)
        })?;
        Some(self.note(Direction::Write, total(buffers), sent))
    }

    /// Writes all of `buffer`.
    ///
    /// # Errors
    /// Those of [`Socket::write`]; an unknown part of the buffer has been sent then.
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

    /// Sends the bytes of `file` that lie in `range` without copying them through this process,
    /// as many as fit, and tells how many: go on behind them. 0 means that the file ends at or
    /// before `range.start`, or that the range is empty. The file's own position stays.
    ///
    /// # Errors
    /// Those of [`Socket::write`]; `EINVAL` if the file cannot be mapped (some virtual
    /// filesystems) or the range starts beyond `i64::MAX`; `EIO` of the disk; sendfile(2).
    ///
    /// # Blocking
    /// Readiness-driven as far as the socket goes. Pages that are not in the cache are read from
    /// the disk while the loop stands still, milliseconds a MiB: only for pages known to be warm.
    ///
    /// # Cancel safety
    /// Safe: bytes are sent only by the poll that returns.
    ///
    /// ```no_run
    /// # async fn example(stream: ambidex_net::TcpStream) -> std::io::Result<()> {
    /// let file = std::fs::File::open("page.html")?;
    /// let mut rest = 0..file.metadata()?.len();
    /// while !rest.is_empty() {
    ///     match stream.sendfile(&file, rest.clone()).await? {
    ///         0 => break, // cut short meanwhile
    ///         sent => rest.start += sent,
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn sendfile(&self, file: impl AsFd, range: Range<u64>) -> io::Result<u64> {
        if range.is_empty() {
            return Ok(0);
        }
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // A short count may be the file's end as well as a full socket: readiness stays.
        let sent = self.source.io(Direction::Write, |kernel, fd| {
            kernel.sendfile(fd, file.as_fd(), range.start, length)
        });
        sent.await.map(|sent| sent as u64)
    }

    /// [`Socket::sendfile`] now, or `None` if that would wait.
    ///
    /// # Errors
    /// Those of [`Socket::sendfile`].
    ///
    /// # Blocking
    /// As [`Socket::sendfile`].
    #[must_use = "it may have failed, or moved less than asked"]
    pub fn try_sendfile(&self, file: impl AsFd, range: Range<u64>) -> Option<io::Result<u64>> {
        if range.is_empty() {
            return Some(Ok(0));
        }
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let sent = self.source.attempt(Direction::Write, |kernel, fd| {
            kernel.sendfile(fd, file.as_fd(), range.start, length)
        })?;
        Some(sent.map(|sent| sent as u64))
    }

    /// Fewer bytes than asked for: the socket is drained, or full.
    fn note(
        &self,
        direction: Direction,
        asked: usize,
        moved: io::Result<usize>,
    ) -> io::Result<usize> {
        if matches!(&moved, Ok(moved) if *moved > 0 && *moved < asked) {
            self.source.clear_short(direction);
        }
        moved
    }
}

/// Bytes that one call can move: those of the first `IOV_MAX` buffers.
fn total(buffers: &[impl std::ops::Deref<Target = [u8]>]) -> usize {
    let taken = buffers.iter().take(libc::UIO_MAXIOV as usize);
    taken.map(|buffer| buffer.len()).sum()
}
