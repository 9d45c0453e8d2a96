//! Direct I/O: what must be aligned, and to what.

use std::io;

use crate::file::File;
use crate::metadata::Metadata;

/// What direct I/O on a file asks for: `STATX_DIOALIGN` of statx(2), Linux 6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectIo {
    /// Buffers start at a multiple of this many bytes. Those of a [`Pool`](crate::Pool) always do.
    pub memory: u32,
    /// Offsets and lengths are multiples of this many bytes.
    pub offset: u32,
}

impl Metadata {
    /// What direct I/O on this file asks for. `None` if it cannot be had, or the kernel does not
    /// tell.
    #[must_use]
    pub fn direct_io(&self) -> Option<DirectIo> {
        let told = self.statx.stx_mask & libc::STATX_DIOALIGN != 0;
        let asked = DirectIo {
            memory: self.statx.stx_dio_mem_align,
            offset: self.statx.stx_dio_offset_align,
        };
        (told && asked.memory > 0 && asked.offset > 0).then_some(asked)
    }
}

impl File {
    /// What direct I/O on this file asks for, if it is opened with
    /// [`OpenOptions::direct`](crate::OpenOptions::direct). Reads and writes that are misaligned are
    /// then refused with `InvalidInput`, saying whether it is the offset, the length or the address.
    /// Where the kernel does not tell (`None`), it answers `EINVAL` itself.
    ///
    /// ```no_run
    /// # async fn example(handle: ambidex_disk::Handle) -> std::io::Result<()> {
    /// use ambidex_disk::{OpenOptions, Pool};
    /// let file = OpenOptions::new().direct().open(&handle, "data").await?;
    /// let pool = Pool::new(8, 65536);
    /// let (result, buffer) = file.read_at(pool.take().await, 0).await;
    /// assert_eq!(result?, buffer.len());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn direct_io(&self) -> Option<DirectIo> {
        if self.flags() & libc::O_DIRECT == 0 {
            return None;
        }
        self.metadata_at_open().direct_io()
    }

    /// Whether a read or write of this kind is aligned as direct I/O asks.
    pub(crate) fn aligned(&self, offset: u64, start: *const u8, length: usize) -> io::Result<()> {
        let Some(asked) = self.direct_io() else {
            return Ok(());
        };
        let judged = [
            ("offset", offset, asked.offset),
            ("length", length as u64, asked.offset),
            ("address", start.addr() as u64, asked.memory),
        ];
        let wrong = judged
            .into_iter()
            .find(|(_, value, unit)| value % u64::from(*unit) != 0);
        let Some((what, value, unit)) = wrong else {
            return Ok(());
        };
        let text = format!("direct I/O: the {what} {value} is not a multiple of {unit}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Whether a read after one of `length` bytes would be aligned.
    pub(crate) fn can_go_on(&self, length: usize) -> bool {
        let unit = self.direct_io().map_or(1, |asked| asked.offset);
        (length as u64).is_multiple_of(u64::from(unit))
    }
}
