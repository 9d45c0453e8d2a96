//! What a rig does with one file.

use std::sync::Arc;
use std::time::Duration;

use fuser::Errno;

/// When a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    #[default]
    Now,
    /// After this long.
    After(Duration),
    /// Not before the rig is released.
    Held,
}

/// What a read yields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reads {
    #[default]
    Whole,
    Halved,
    FailFrom(u64, Errno),
    FailWithin(u64, u64),
}

/// One file of the rig and its script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    bytes: Arc<[u8]>,
    size: Option<u64>,
    pub(super) open: Pace,
    read: Pace,
    /// Reads that begin before this offset are answered at once.
    paced_from: u64,
    reads: Reads,
    pub(super) direct: bool,
}

impl Script {
    /// A well-behaved file that holds `bytes`.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self {
            bytes: bytes.into(),
            ..Self::default()
        }
    }

    /// Answers each `open` at this pace.
    pub fn open(mut self, pace: Pace) -> Self {
        self.open = pace;
        self
    }

    /// Answers each `read` at this pace.
    pub fn read(mut self, pace: Pace) -> Self {
        self.read = pace;
        self
    }

    /// Answers each `read` that begins at `offset` or after it at this pace, and the others at once.
    pub fn read_from(mut self, offset: u64, pace: Pace) -> Self {
        self.read = pace;
        self.paced_from = offset;
        self
    }

    /// Fails with `EIO` every read that reaches past `offset`.
    pub fn fail_from(mut self, offset: u64) -> Self {
        self.reads = Reads::FailFrom(offset, Errno::EIO);
        self
    }

    /// Fails with `EIO` every read of a byte from `from` to `to`, that one excluded.
    pub fn fail_within(mut self, from: u64, to: u64) -> Self {
        self.reads = Reads::FailWithin(from, to);
        self
    }

    /// As [`Script::fail_from`], with `ESTALE`: what NFS says of a file that was replaced on its server.
    pub fn stale_from(mut self, offset: u64) -> Self {
        self.reads = Reads::FailFrom(offset, Errno::ESTALE);
        self
    }

    /// Gives half of what each read asks for, or one byte if that is more.
    pub fn short_reads(mut self) -> Self {
        self.reads = Reads::Halved;
        // In the page cache a short answer means end of file; past it, the caller sees the count.
        self.direct()
    }

    /// Reports this size, whatever the file really holds.
    pub fn reported_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Bypasses the page cache: every read of the server arrives here as it was made.
    pub fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// The size that it reports.
    pub(super) fn size(&self) -> u64 {
        self.size.unwrap_or(self.bytes.len() as u64)
    }

    /// When a read from `offset` on is answered.
    pub(super) fn pace(&self, offset: u64) -> Pace {
        if offset < self.paced_from {
            Pace::Now
        } else {
            self.read
        }
    }

    /// What a read yields.
    pub(super) fn answer(&self, offset: u64, length: u32) -> Result<Vec<u8>, Errno> {
        let end = self.bytes.len() as u64;
        let from = offset.min(end);
        let mut to = offset.saturating_add(u64::from(length)).min(end);
        match self.reads {
            Reads::Whole => {}
            Reads::Halved => to = to.min(from + u64::from(length / 2).max(1)),
            Reads::FailFrom(limit, errno) if to > limit => return Err(errno),
            Reads::FailWithin(begin, end) if from < end && to > begin => return Err(Errno::EIO),
            Reads::FailFrom(..) | Reads::FailWithin(..) => {}
        }
        Ok(self.bytes[from as usize..to as usize].to_vec())
    }
}
