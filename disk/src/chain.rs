//! Chains: operations that go to the kernel in one trip, each beginning when the one before has
//! ended.
//!
//! A chain is a shortcut, never the only way. It is taken where nothing can block (a ring that
//! links, a local mount, credits for all of it); whatever stops it half-way is done over by single
//! operations.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use crate::buffer::{BufResult, IoBuf, IoBufMut};
use crate::extent::Flush;
use crate::file::File;
use crate::kernel::{Change, Link};
use crate::loan::{Loan, settle};
use crate::metadata::Metadata;
use crate::open::{OpenOptions, Resolve};
use crate::operation::Operation;
use crate::policy::Place;
use crate::request::{Request, Spot};
use crate::ring::Handle;
use crate::syscalls;

type Ended = (io::Result<u32>, Request);

/// What a chain came to.
struct Outcome {
    ended: Vec<Ended>,
    /// It did not run as a chain: what was to wait may not have waited.
    parted: bool,
}

/// Runs `members` as one chain, if it can be had now; else gives them back.
///
/// # Cancel safety
/// Dropping it abandons them all.
async fn run(ring: &Handle, members: Vec<(Request, Link)>) -> Result<Outcome, Vec<Request>> {
    let parted = Rc::new(Cell::new(false));
    let keys = ring.try_chain(members, &parted)?;
    let begin = |key| Operation::begun(ring, key);
    let mut running: Vec<Operation> = keys.into_iter().map(begin).collect();
    let mut ended: Vec<Option<Ended>> = running.iter().map(|_| None).collect();
    // All are polled from the start, so that all join the scope they are cancelled by.
    poll_fn(|cx| {
        for (operation, ended) in running.iter_mut().zip(&mut ended) {
            if ended.is_none()
                && let Poll::Ready(result) = Pin::new(operation).poll(cx)
            {
                *ended = Some(result);
            }
        }
        if ended.iter().all(Option::is_some) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    Ok(Outcome {
        ended: ended.into_iter().flatten().collect(),
        parted: parted.get(),
    })
}

/// Whether the kernel asks for the same again.
fn is_retried(error: &io::Error) -> bool {
    let retried = [libc::EINTR, libc::EAGAIN];
    error.raw_os_error().is_some_and(|e| retried.contains(&e))
}

/// Whether the chain's answer is no answer: single operations find out.
fn is_unsettled(error: &io::Error) -> bool {
    let unsettled = [libc::ECANCELED, libc::EBADF];
    is_retried(error) || error.raw_os_error().is_some_and(|e| unsettled.contains(&e))
}

impl OpenOptions {
    /// Opens `path` relative to `dir`, reads from its start into `buffer`, as many bytes as that has
    /// capacity for, and closes it. What it is, and how much was read, come back with the buffer. A
    /// file that fills the buffer may be longer.
    ///
    /// Where the kernel allows it this is one chain and one trip: openat2(2), statx(2), read, close.
    /// The metadata is then that of the name, asked for between opening and reading: who replaces
    /// the file at that very moment gives it the new file's metadata with the old one's bytes.
    ///
    /// # Errors
    /// Those of [`OpenOptions::open_at`], [`File::metadata`] and [`File::read_at`].
    ///
    /// # Cancel safety
    /// Dropping it abandons what is in flight; nothing stays open.
    ///
    /// ```no_run
    /// # async fn example(site: ambidex_disk::File) -> std::io::Result<()> {
    /// use ambidex_disk::OpenOptions;
    /// let buffer = Vec::with_capacity(4096);
    /// let (result, page) = OpenOptions::new().load_at(&site, "index.html", buffer).await;
    /// let (metadata, length) = result?;
    /// println!("{length} of {} bytes: {page:?}", metadata.len());
    /// # Ok(()) }
    /// ```
    pub async fn load_at<B: IoBufMut>(
        &self,
        dir: &File,
        path: impl AsRef<Path>,
        buffer: B,
    ) -> BufResult<(Metadata, usize), B> {
        let path = path.as_ref();
        let buffer = match self.load_in_one_trip(dir, path, buffer).await {
            Ok(loaded) => return loaded,
            Err(buffer) => buffer,
        };
        let file = match self.open_at(dir, path).await {
            Ok(file) => file,
            Err(error) => return (Err(error), buffer),
        };
        let metadata = match file.metadata().await {
            Ok(metadata) => metadata,
            Err(error) => return (Err(error), buffer),
        };
        let (read, buffer) = file.read_at(buffer, 0).await;
        (read.map(|length| (metadata, length)), buffer)
    }

    /// The buffer, if it cannot be done so.
    async fn load_in_one_trip<B: IoBufMut>(
        &self,
        dir: &File,
        path: &Path,
        buffer: B,
    ) -> Result<BufResult<(Metadata, usize), B>, B> {
        let ring = dir.ring();
        let plain = !self.is_direct() && !self.changes();
        let (true, Place::Local, Some(slot), Ok(name)) =
            (plain, dir.place(), ring.slot(), self.check(path))
        else {
            return Err(buffer);
        };
        let at = Spot {
            dir: Some(Rc::clone(dir.descriptor())),
            path: name.clone(),
        };
        let mut how = self.how_within(self.resolution() | Resolve::NO_XDEV);
        // Places of the table have no such flag, and io_uring says `EINVAL`.
        how.flags &= !(libc::O_CLOEXEC as u64);
        let open = Request::Open {
            dir: Some(Rc::clone(dir.descriptor())),
            path: name,
            how: Box::new(how),
            slot: Some(Rc::clone(&slot)),
        };
        let status = Request::StatusOf {
            at,
            into: Box::new(MaybeUninit::zeroed()),
        };
        let read = Request::ReadSlot {
            slot: Rc::clone(&slot),
            loan: buffer.lend(),
            offset: 0,
        };
        let members = vec![
            (open, Link::Next),
            (status, Link::NextAnyway),
            (read, Link::NextAnyway),
            (Request::CloseSlot { slot }, Link::None),
        ];
        let mut outcome = match run(ring, members).await {
            Ok(outcome) => outcome,
            Err(mut members) => {
                members.truncate(3);
                let read = members.pop().expect("four were given");
                return Err(B::reclaim(read.into_loan()));
            }
        };
        let loaded = loaded(&mut outcome);
        let loan = loan_of(outcome);
        match loaded {
            Some(Ok((metadata, length))) => {
                let (read, buffer) = settle(Ok(length), loan);
                Ok((read.map(|length| (metadata, length)), buffer))
            }
            Some(Err(error)) => Ok((Err(error), B::reclaim(loan))),
            None => Err(B::reclaim(loan)),
        }
    }
}

/// What open, status, read and close came to; `None` if that is not settled.
fn loaded(outcome: &mut Outcome) -> Option<io::Result<(Metadata, u32)>> {
    if outcome.parted {
        return None;
    }
    let [(opened, _), (asked, status), (read, _), _] = &mut outcome.ended[..] else {
        unreachable!("four were begun");
    };
    let take = |result: &mut io::Result<u32>| std::mem::replace(result, Ok(0));
    for result in [&mut *opened, &mut *asked, &mut *read] {
        match take(result) {
            Err(error) if is_unsettled(&error) => return None,
            // Another mount: where that may be touched is for `open_at` to find out.
            Err(error) if error.raw_os_error() == Some(libc::EXDEV) => return None,
            Err(error) => return Some(Err(error)),
            Ok(value) => *result = Ok(value),
        }
    }
    let Request::StatusOf { into, .. } = status else {
        unreachable!("an operation returns its own request");
    };
    let metadata = Metadata::from_statx(syscalls::filled(into));
    Some(take(read).map(|length| (metadata, length)))
}

/// The buffer of the read among what has ended. The rest is released: each says what is left of it.
fn loan_of(outcome: Outcome) -> Loan {
    let mut loan = None;
    for (result, request) in outcome.ended {
        if let Request::ReadSlot { .. } = request {
            loan = Some(request.into_loan());
        } else {
            let code = match result {
                Ok(value) => value as i32,
                Err(error) => -error.raw_os_error().unwrap_or(libc::EIO),
            };
            drop(request.orphaned(Some(code)));
        }
    }
    loan.expect("there was a read")
}

impl File {
    /// Writes all initialised bytes of `buffer` at `offset` and has them on the disk before it
    /// returns, as [`File::write_all_at`] and then [`File::sync_data`] or [`File::sync_all`].
    ///
    /// Where the kernel allows it this is one chain and one trip.
    ///
    /// # Errors
    /// Those of both. After one that came from syncing, nothing is known of what is on the disk, and
    /// syncing again may say that all is well (fsync(2), NOTES).
    ///
    /// # Cancel safety
    /// As [`File::write_at`].
    pub async fn write_synced_at<B: IoBuf>(
        &self,
        buffer: B,
        offset: u64,
        how: Flush,
    ) -> BufResult<(), B> {
        let (written, buffer) = self.write_then_sync(buffer, offset, how).await;
        let whole = buffer.init_len();
        match written {
            Ok((length, true)) if length == whole => (Ok(()), buffer),
            Ok((length, _)) if length < whole => {
                let rest = buffer.slice(length..whole);
                let (result, rest) = self.write_all_at(rest, offset + length as u64).await;
                let buffer = rest.into_inner();
                match result {
                    Ok(()) => (self.flush(how).await, buffer),
                    Err(error) => (Err(error), buffer),
                }
            }
            Ok(_) => (self.flush(how).await, buffer),
            Err(error) => (Err(error), buffer),
        }
    }

    async fn flush(&self, how: Flush) -> io::Result<()> {
        match how {
            Flush::Data => self.sync_data().await,
            Flush::All => self.sync_all().await,
        }
    }

    /// How many bytes were written, and whether they are synced.
    async fn write_then_sync<B: IoBuf>(
        &self,
        buffer: B,
        offset: u64,
        how: Flush,
    ) -> BufResult<(usize, bool), B> {
        let loan = buffer.lend_source();
        let (start, length) = loan.source();
        let placed = self.placed(offset);
        if let Err(error) = placed.and_then(|()| self.aligned(offset, start, length)) {
            return (Err(error), B::reclaim_source(loan));
        }
        if self.place() != Place::Local || length == 0 {
            return (Ok((0, false)), B::reclaim_source(loan));
        }
        let write = Request::Write {
            file: Rc::clone(self.descriptor()),
            loan,
            offset,
            flags: 0,
        };
        let change = match how {
            Flush::Data => Change::SyncData,
            Flush::All => Change::Sync,
        };
        let flush = Request::Change {
            file: Rc::clone(self.descriptor()),
            change,
        };
        let members = vec![(write, Link::Next), (flush, Link::None)];
        let outcome = match run(self.ring(), members).await {
            Ok(outcome) => outcome,
            Err(mut members) => {
                let write = members.swap_remove(0);
                return (Ok((0, false)), B::reclaim_source(write.into_loan()));
            }
        };
        let parted = outcome.parted;
        let mut ended = outcome.ended.into_iter();
        let (Some((written, write)), Some((flushed, _))) = (ended.next(), ended.next()) else {
            unreachable!("two were begun");
        };
        let buffer = B::reclaim_source(write.into_loan());
        let result = match (written, flushed) {
            (Err(error), _) if is_retried(&error) => Ok((0, false)),
            (Err(error), _) => Err(error),
            (Ok(length), Ok(_)) => Ok((length as usize, !parted)),
            (Ok(length), Err(error)) if is_unsettled(&error) => Ok((length as usize, false)),
            (Ok(_), Err(error)) => Err(error),
        };
        (result, buffer)
    }
}
