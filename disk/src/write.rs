//! Writing to files, and reading and writing whole buffers.

use std::io;
use std::rc::Rc;

use crate::buffer::{BufResult, IoBuf, IoBufMut};
use crate::file::File;
use crate::operation::Operation;
use crate::request::Request;

/// `EINVAL` for what the kernel's signed 64 bits cannot express.
pub(crate) fn fits(offset: u64) -> io::Result<()> {
    match i64::try_from(offset) {
        Ok(_) => Ok(()),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

impl File {
    /// Whether a write at `offset` would go there.
    pub(crate) fn placed(&self, offset: u64) -> io::Result<()> {
        if self.flags() & libc::O_APPEND != 0 {
            let text = "a file opened for appending is written with File::append";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        fits(offset)
    }

    /// Writes the initialised bytes of `buffer` at `offset` (bytes from the start). Returns how many
    /// were written, and the buffer.
    ///
    /// Fewer than asked is normal: the disk filled up, a limit was reached, or a signal came after
    /// the first bytes. [`File::write_all_at`] goes on. `EINTR` before the first byte is retried.
    ///
    /// # Errors
    /// Those of pwritev2(2), unchanged: `ENOSPC`, `EDQUOT`, `EFBIG` (over RLIMIT_FSIZE that comes
    /// with the signal `SIGXFSZ`), `EIO`, `EBADF` if the file is not opened for writing...; `EINVAL`
    /// for an offset past `i64::MAX`; `InvalidInput` for a file opened with
    /// [`OpenOptions::append`](crate::OpenOptions::append), where the kernel ignores the offset
    /// (pwrite(2), BUGS), and for what is misaligned in direct I/O ([`File::direct_io`]). The buffer comes back in any case.
    ///
    /// # Cancel safety
    /// A dropped write may still happen, whole or in part, or not; the buffer is dropped once the
    /// kernel is done with it.
    ///
    /// # Blocking
    /// On a memory filesystem up to 128 KiB are copied on this thread. A write is in memory when it
    /// returns, not on the disk: [`File::sync_data`].
    pub async fn write_at<B: IoBuf>(&self, buffer: B, offset: u64) -> BufResult<usize, B> {
        if let Err(error) = self.placed(offset) {
            return (Err(error), buffer);
        }
        self.write_with(buffer, offset, 0).await
    }

    /// Writes the initialised bytes of `buffer` after the last byte of the file, in one step with
    /// finding it (`RWF_APPEND`, Linux 4.16). Returns how many were written, and the buffer.
    ///
    /// Fewer than asked is normal, as in [`File::write_at`]; the rest, appended again, may find
    /// what others appended meanwhile before it.
    ///
    /// # Errors
    /// As [`File::write_at`], but `EINTR` is reported: tried again, the bytes could be there twice.
    ///
    /// # Cancel safety
    /// As [`File::write_at`].
    ///
    /// # Blocking
    /// As [`File::write_at`].
    pub async fn append<B: IoBuf>(&self, buffer: B) -> BufResult<usize, B> {
        self.write_with(buffer, 0, libc::RWF_APPEND).await
    }

    /// As [`File::write_at`], beginning at once or not at all: it waits for no credit, and for no
    /// other operation of a remote mount.
    ///
    /// # Errors
    /// `WouldBlock` with the buffer, if it would have to wait; then those of [`File::write_at`].
    ///
    /// # Cancel safety
    /// As [`File::write_at`]. The write begins before the future is polled.
    pub fn try_write_at<B: IoBuf>(
        &self,
        buffer: B,
        offset: u64,
    ) -> Result<impl Future<Output = BufResult<usize, B>> + use<B>, (io::Error, B)> {
        let loan = buffer.lend_source();
        let (start, length) = loan.source();
        let placed = self.placed(offset);
        if let Err(error) = placed.and_then(|()| self.aligned(offset, start, length)) {
            return Err((error, B::reclaim_source(loan)));
        }
        let request = Request::Write {
            file: Rc::clone(self.descriptor()),
            loan,
            offset,
            flags: 0,
        };
        match Operation::try_new(self.ring(), request, self.place()) {
            Ok(operation) => Ok(async {
                let (result, request) = operation.await;
                let buffer = B::reclaim_source(request.into_loan());
                (result.map(|length| length as usize), buffer)
            }),
            Err((error, request)) => Err((error, B::reclaim_source(request.into_loan()))),
        }
    }

    async fn write_with<B: IoBuf>(
        &self,
        buffer: B,
        offset: u64,
        flags: i32,
    ) -> BufResult<usize, B> {
        let loan = buffer.lend_source();
        let (start, length) = loan.source();
        if let Err(error) = self.aligned(offset, start, length) {
            return (Err(error), B::reclaim_source(loan));
        }
        let request = Request::Write {
            file: Rc::clone(self.descriptor()),
            loan,
            offset,
            flags,
        };
        let (result, request) = self.run(request).await;
        let Request::Write { loan, .. } = request else {
            unreachable!("an operation returns its own request");
        };
        (
            result.map(|length| length as usize),
            B::reclaim_source(loan),
        )
    }

    /// Writes all initialised bytes of `buffer` at `offset`, in as many writes as it takes.
    ///
    /// # Errors
    /// As [`File::write_at`], and `WriteZero` if a write moves nothing. How much was written before
    /// is not told.
    ///
    /// # Cancel safety
    /// As [`File::write_at`].
    pub async fn write_all_at<B: IoBuf>(&self, mut buffer: B, offset: u64) -> BufResult<(), B> {
        let whole = buffer.init_len();
        let mut done = 0;
        while done < whole {
            let at = offset.saturating_add(done as u64);
            let (result, rest) = self.write_at(buffer.slice(done..whole), at).await;
            buffer = rest.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(length) => done += length,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Reads from `offset` until `buffer` is full, in as many reads as it takes. A `Vec` may have
    /// more capacity than was asked for: lend a [slice](IoBuf::slice) where the count matters.
    ///
    /// # Errors
    /// As [`File::read_at`], and `UnexpectedEof` if the file ends before. The buffer then holds
    /// what was read before.
    ///
    /// # Cancel safety
    /// As [`File::read_at`].
    pub async fn read_exact_at<B: IoBufMut>(&self, buffer: B, offset: u64) -> BufResult<(), B> {
        let whole = buffer.capacity();
        match self.read_full_at(buffer, offset).await {
            (Ok(length), buffer) if length < whole => {
                (Err(io::ErrorKind::UnexpectedEof.into()), buffer)
            }
            (result, buffer) => (result.map(drop), buffer),
        }
    }

    /// Reads until `buffer` is full or the file ends, and tells how many bytes that were.
    pub(crate) async fn read_full_at<B: IoBufMut>(
        &self,
        mut buffer: B,
        offset: u64,
    ) -> BufResult<usize, B> {
        let whole = buffer.capacity();
        let mut done = 0;
        while done < whole {
            let at = offset.saturating_add(done as u64);
            let (result, rest) = self.read_at(buffer.slice(done..whole), at).await;
            buffer = rest.into_inner();
            match result {
                Ok(0) => break,
                Ok(length) => {
                    done += length;
                    // Direct I/O ends within a block only where the file does, and could not go on.
                    if !self.can_go_on(length) {
                        break;
                    }
                }
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(done), buffer)
    }
}
