//! Reading directories: getdents64(2), on worker threads, for io_uring has none.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::future::poll_fn;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::buffer::IoBufMut;
use crate::file::File;
use crate::loan::{Loan, settle};
use crate::open::OpenOptions;
use crate::operation::Operation;
use crate::request::Request;

/// What one call brings at most; a few hundred names.
const BATCH_BYTES: usize = 32 * 1024;

/// What a name stands for, if the filesystem says so in its directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A FIFO, a socket or a device.
    Other,
    /// The filesystem does not say: open it and look.
    Unknown,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    name: OsString,
    inode: u64,
    kind: EntryKind,
}

impl DirEntry {
    /// The name, which may be any bytes but NUL and `/`.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// The name, to keep.
    #[must_use]
    pub fn into_name(self) -> OsString {
        self.name
    }

    /// The inode number, on the filesystem of the directory; not that of a mount on top.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// What the name stands for.
    #[must_use]
    pub fn kind(&self) -> EntryKind {
        self.kind
    }
}

/// The entries of a directory in the order of the filesystem, without `.` and `..`.
///
/// Read in batches of 32 KiB. What is made or removed meanwhile may be there or not; all else is
/// there once. See [`File::read_dir`].
#[derive(Debug)]
pub struct ReadDir {
    file: File,
    /// The call under way. Kept here, not in a future: dropping one loses no entries.
    pending: Option<Operation>,
    entries: VecDeque<DirEntry>,
    loan: Option<Loan>,
    ended: bool,
}

impl File {
    /// Opens this directory anew, to read it from its start. It may have been opened with
    /// [`OpenOptions::directory`], which cannot be read itself.
    ///
    /// ```no_run
    /// # async fn example(handle: ambidex_disk::Handle) -> std::io::Result<()> {
    /// use ambidex_disk::OpenOptions;
    /// let directory = OpenOptions::new().directory().open(&handle, "/etc").await?;
    /// let mut entries = directory.read_dir().await?;
    /// while let Some(entry) = entries.next().await? {
    ///     println!("{:?} {:?}", entry.name(), entry.kind());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`OpenOptions::open_at`]: `ENOTDIR` for what is no directory, `EACCES`...
    ///
    /// # Cancel safety
    /// As [`OpenOptions::open`].
    pub async fn read_dir(&self) -> io::Result<ReadDir> {
        let options = OpenOptions::new()
            .nonblocking()
            .custom_flags(libc::O_DIRECTORY);
        Ok(ReadDir {
            file: options.open_at(self, ".").await?,
            pending: None,
            entries: VecDeque::new(),
            loan: Some(Vec::with_capacity(BATCH_BYTES).lend()),
            ended: false,
        })
    }
}

impl ReadDir {
    /// The next entry; `None` at the end. A worker thread is asked for each batch.
    ///
    /// # Errors
    /// Those of getdents64(2), unchanged: `ENOENT` for a directory that was removed, `EIO`.
    /// `EINTR` is retried. After an error it may be asked again.
    ///
    /// # Cancel safety
    /// Safe: no entry is lost.
    pub async fn next(&mut self) -> io::Result<Option<DirEntry>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Poll::Ready(Ok(Some(entry)));
            }
            if self.ended {
                return Poll::Ready(Ok(None));
            }
            let (file, loan) = (&self.file, &mut self.loan);
            let pending = self.pending.get_or_insert_with(|| {
                let loan = loan.take().expect("it is here unless it is lent");
                let request = Request::Entries {
                    file: Rc::clone(file.descriptor()),
                    loan,
                };
                let place = file.place();
                Operation::new(file.ring(), request, place.punt(), place.lane())
            });
            let Poll::Ready((result, request)) = Pin::new(pending).poll(cx) else {
                return Poll::Pending;
            };
            self.pending = None;
            let Request::Entries { loan, .. } = request else {
                unreachable!("an operation returns its own request");
            };
            let (result, batch) = settle::<Vec<u8>>(result, loan);
            if let Ok(length) = &result {
                self.ended = *length == 0;
                self.entries.extend(parse(&batch));
            }
            self.loan = Some(batch.lend());
            if let Err(error) = result {
                return Poll::Ready(Err(error));
            }
        }
    }
}

/// The records of getdents64(2): inode (8 bytes), offset (8), length (2), type (1), name, NUL.
fn parse(batch: &[u8]) -> impl Iterator<Item = DirEntry> {
    const NAME: usize = 19;
    let mut rest = batch;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*rest.get(16)?, *rest.get(17)?]));
        let (record, others) = rest.split_at_checked(length)?;
        rest = others;
        let name = record.get(NAME..)?.split(|byte| *byte == 0).next()?;
        Some(DirEntry {
            name: OsString::from_vec(name.to_vec()),
            inode: u64::from_ne_bytes(record[..8].try_into().ok()?),
            kind: match record[18] {
                libc::DT_REG => EntryKind::File,
                libc::DT_DIR => EntryKind::Directory,
                libc::DT_LNK => EntryKind::Symlink,
                libc::DT_UNKNOWN => EntryKind::Unknown,
                _ => EntryKind::Other,
            },
        })
    })
    .filter(|entry| entry.name != "." && entry.name != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &[u8], kind: u8) -> Vec<u8> {
        let length = (19 + name.len() + 1).next_multiple_of(8);
        let mut record = vec![0; length];
        record[..8].copy_from_slice(&7u64.to_ne_bytes());
        record[16..18].copy_from_slice(&(length as u16).to_ne_bytes());
        record[18] = kind;
        record[19..19 + name.len()].copy_from_slice(name);
        record
    }

    #[test]
    fn names_are_bytes_and_dots_are_passed_over() {
        let batch = [
            record(b".", libc::DT_DIR),
            record(b"\xff\n", libc::DT_REG),
            record(b"..", libc::DT_DIR),
            record(b"...", libc::DT_LNK),
        ];
        let found: Vec<_> = parse(&batch.concat()).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].name, OsString::from_vec(b"\xff\n".to_vec()));
        assert_eq!((found[0].kind, found[0].inode), (EntryKind::File, 7));
        assert_eq!(
            (found[1].name(), found[1].kind),
            (OsStr::new("..."), EntryKind::Symlink)
        );
    }

    #[test]
    fn a_batch_that_makes_no_sense_ends_where_it_does() {
        for batch in [&b""[..], &[0; 8], &[0; 40], &[255; 40]] {
            assert_eq!(parse(batch).count(), 0, "{batch:?}");
        }
        let cut = record(b"name", libc::DT_REG);
        assert_eq!(parse(&cut[..cut.len() - 1]).count(), 0);
    }
}
