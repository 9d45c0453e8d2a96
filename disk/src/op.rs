//! Operations without futures: begun with a token, taken from the ring when they have ended.
#![expect(
    clippy::result_large_err,
    reason = "what was not begun comes back whole, and a box would be one more thing that can fail"
)]

use std::any::TypeId;
use std::ffi::CString;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::path::Path;
use std::rc::Rc;

use crate::buffer::{BufResult, IoBuf, IoBufMut};
use crate::file::File;
use crate::kernel::Change;
use crate::loan::settle;
use crate::metadata::Metadata;
use crate::open::OpenOptions;
use crate::operation::answer;
use crate::operations::Key;
use crate::policy::{Lane, Place};
use crate::request::Request;
use crate::ring::{Finished, Handle, Ring, Sink};
use crate::syscalls;
use crate::write::fits;

/// Names an operation that was begun by [`Handle::begin`], for [`Handle::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpId(Key);

/// An operation to begin, with the buffer that it takes. Made by the functions named for the
/// methods of [`File`] that do the same; an argument that cannot be right is told by
/// [`Handle::begin`].
///
/// ```
/// use ambidex_disk::{File, Op, OpenOptions, Options, Ring};
///
/// let mut ring = Ring::new(&Options::default())?;
/// let handle = ring.handle();
/// handle.begin(7, Op::open(&handle, &OpenOptions::new(), "/proc/self/stat")).unwrap();
/// let complete = loop {
///     ring.submit()?;
///     ring.reap(64)?;
///     if let Some(complete) = ring.take_complete() {
///         break complete;
///     }
/// };
/// assert_eq!(complete.token(), 7);
/// let file: File = complete.into_file()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "begin it"]
pub struct Op {
    ring: Handle,
    request: Request,
    place: Place,
    buffer: BufferType,
    flaw: Option<io::Error>,
}

/// Tells the type of an operation's buffer, `()` if it has none. Smaller than the answer.
pub(crate) type BufferType = fn() -> TypeId;

impl Op {
    fn new<B: 'static>(file: &File, request: Request, flaw: io::Result<()>) -> Op {
        Op {
            ring: file.ring().clone(),
            request,
            place: file.place(),
            buffer: TypeId::of::<B>,
            flaw: flaw.err(),
        }
    }

    /// [`File::read_at`].
    pub fn read_at<B: IoBufMut>(file: &File, buffer: B, offset: u64) -> Op {
        let mut loan = buffer.lend();
        let (start, room) = loan.target();
        let flaw = fits(offset).and_then(|()| file.aligned(offset, start, room));
        let request = Request::Read {
            file: Rc::clone(file.descriptor()),
            loan,
            offset,
            flags: 0,
        };
        Op::new::<B>(file, request, flaw)
    }

    /// [`File::write_at`].
    pub fn write_at<B: IoBuf>(file: &File, buffer: B, offset: u64) -> Op {
        let loan = buffer.lend_source();
        let (start, length) = loan.source();
        let aligned = || file.aligned(offset, start, length);
        let flaw = file.placed(offset).and_then(|()| aligned());
        let request = Request::Write {
            file: Rc::clone(file.descriptor()),
            loan,
            offset,
            flags: 0,
        };
        Op::new::<B>(file, request, flaw)
    }

    /// [`File::sync_all`].
    pub fn sync_all(file: &File) -> Op {
        Op::change(file, Change::Sync, Ok(()))
    }

    /// [`File::sync_data`].
    pub fn sync_data(file: &File) -> Op {
        Op::change(file, Change::SyncData, Ok(()))
    }

    /// [`File::set_len`].
    pub fn set_len(file: &File, length: u64) -> Op {
        Op::change(file, Change::Truncate { length }, fits(length))
    }

    fn change(file: &File, change: Change, flaw: io::Result<()>) -> Op {
        let request = Request::Change {
            file: Rc::clone(file.descriptor()),
            change,
        };
        Op::new::<()>(file, request, flaw)
    }

    /// [`File::metadata`]: the answer is [`Complete::metadata`].
    pub fn metadata(file: &File) -> Op {
        let request = Request::Status {
            file: Rc::clone(file.descriptor()),
            into: Box::new(MaybeUninit::zeroed()),
        };
        Op::new::<()>(file, request, Ok(()))
    }

    /// [`OpenOptions::open`]: the file is [`Complete::into_file`].
    pub fn open(handle: &Handle, options: &OpenOptions, path: impl AsRef<Path>) -> Op {
        Op::open_from(handle, None, options, path.as_ref())
    }

    /// [`OpenOptions::open_at`]. A worker thread does it, for where the path ends is not known
    /// before; with [`Resolve::NO_XDEV`](crate::Resolve::NO_XDEV) the path stays on the mount of
    /// `dir`, and is tried on this thread if that is a local one.
    pub fn open_at(dir: &File, options: &OpenOptions, path: impl AsRef<Path>) -> Op {
        Op::open_from(dir.ring(), Some(dir), options, path.as_ref())
    }

    fn open_from(ring: &Handle, dir: Option<&File>, options: &OpenOptions, path: &Path) -> Op {
        let (path, flaw) = match options.check(path) {
            Ok(path) => (path, None),
            Err(error) => (CString::default(), Some(error)),
        };
        let crossing = Place::Remote(Lane::crossing(path.as_bytes()));
        let place = match dir {
            Some(dir) if dir.place().lane().is_some() => dir.place(),
            Some(_) if options.stays() && ring.capabilities().openat2 => Place::Local,
            _ => crossing,
        };
        Op {
            ring: ring.clone(),
            request: Request::Open {
                dir: dir.map(|dir| Rc::clone(dir.descriptor())),
                path,
                how: Box::new(options.how()),
                slot: None,
            },
            place,
            buffer: TypeId::of::<()>,
            flaw,
        }
    }

    /// The buffer that it was given.
    ///
    /// # Errors
    /// The operation, if it has no buffer of this type.
    pub fn into_buffer<B: IoBuf>(self) -> Result<B, Op> {
        if (self.buffer)() != TypeId::of::<B>() {
            return Err(self);
        }
        Ok(B::reclaim_source(self.request.into_loan()))
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Op")
            .field("kind", &self.request.kind())
            .finish_non_exhaustive()
    }
}

/// An operation that was not begun, and why.
#[derive(Debug)]
pub struct BeginError {
    /// `WouldBlock` if no credit was free, or no place of its mount, or as many have ended as there
    /// are credits and nobody took them: take what is complete and begin it again. Else it is the operation that cannot be: `InvalidInput`, `EINVAL`.
    pub error: io::Error,
    /// With its buffer.
    pub op: Op,
}

impl fmt::Display for BeginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operation was not begun: {}", self.error)
    }
}

impl std::error::Error for BeginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<BeginError> for io::Error {
    fn from(error: BeginError) -> io::Error {
        error.error
    }
}

impl Handle {
    /// Begins `op`, without waiting for a credit. Its end comes from [`Ring::take_complete`], with
    /// `token`, in a turn to come.
    ///
    /// # Errors
    /// [`BeginError`], with the operation.
    pub fn begin(&self, token: u64, mut op: Op) -> Result<OpId, BeginError> {
        if let Some(error) = op.flaw.take() {
            return Err(BeginError { error, op });
        }
        if !self.is_same(&op.ring) {
            let text = "the operation is for a file of another ring";
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            return Err(BeginError { error, op });
        }
        // What is answered at once holds its credit no longer than that: without this bound it
        // would pile up.
        if self.finished() >= self.capabilities().cq_entries {
            let error = io::ErrorKind::WouldBlock.into();
            return Err(BeginError { error, op });
        }
        let buffer = op.buffer;
        match self.try_begin(op.request, op.place, Sink::Token { token, buffer }) {
            Ok(key) => Ok(OpId(key)),
            Err((error, request)) => {
                op.request = request;
                Err(BeginError { error, op })
            }
        }
    }

    /// Asks that an operation be given up. Its end comes all the same: `ECANCELED` if this was in
    /// time, else its result. Nothing happens if it has ended.
    ///
    /// # Minimum kernel
    /// As [`Handle::cancellable`].
    pub fn cancel(&self, id: OpId) {
        self.cancel_operation(id.0);
    }
}

impl Ring {
    /// The next operation begun by [`Handle::begin`] that has ended, in the order of their ends.
    #[must_use]
    pub fn take_complete(&mut self) -> Option<Complete> {
        let finished = self.take_finished()?;
        Some(Complete {
            ring: self.handle(),
            finished: Some(finished),
        })
    }
}

/// An operation that has ended. What it holds and nobody takes is released: a buffer is dropped, a
/// file that was opened is closed.
#[must_use = "it holds the buffer, or the file that was opened"]
pub struct Complete {
    ring: Handle,
    /// `None` only while it is taken apart.
    finished: Option<Finished>,
}

impl Complete {
    fn finished(&self) -> &Finished {
        let finished = self.finished.as_ref();
        finished.expect("taken only by what consumes it")
    }

    fn take(&mut self) -> Finished {
        let finished = self.finished.take();
        finished.expect("taken only by what consumes it")
    }

    /// The token it was begun with.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.finished().token
    }

    /// What [`Handle::begin`] answered.
    #[must_use]
    pub fn id(&self) -> OpId {
        OpId(self.finished().key)
    }

    /// How many bytes were moved; 0 for what moves none, and the descriptor for an open.
    ///
    /// # Errors
    /// Those of the system call; `ECANCELED` if it was given up.
    pub fn result(&self) -> io::Result<usize> {
        answer(self.finished().result).map(|value| value as usize)
    }

    /// The result of a read with its buffer, which now holds just the bytes that were read.
    ///
    /// # Errors
    /// This, if it was no read or had another type of buffer.
    pub fn into_read<B: IoBufMut>(mut self) -> Result<BufResult<usize, B>, Complete> {
        let is_read = matches!(self.finished().request, Request::Read { .. });
        if !is_read || !self.has_buffer::<B>() {
            return Err(self);
        }
        let finished = self.take();
        Ok(settle(
            answer(finished.result),
            finished.request.into_loan(),
        ))
    }

    /// The result of a write with its buffer.
    ///
    /// # Errors
    /// This, if it was no write or had another type of buffer.
    pub fn into_write<B: IoBuf>(mut self) -> Result<BufResult<usize, B>, Complete> {
        let is_write = matches!(self.finished().request, Request::Write { .. });
        if !is_write || !self.has_buffer::<B>() {
            return Err(self);
        }
        let result = self.result();
        let loan = self.take().request.into_loan();
        Ok((result, B::reclaim_source(loan)))
    }

    fn has_buffer<B: 'static>(&self) -> bool {
        (self.finished().buffer)() == TypeId::of::<B>()
    }

    /// The file that was opened.
    ///
    /// # Errors
    /// Those of openat2(2); `InvalidInput` if this was no open.
    pub fn into_file(mut self) -> io::Result<File> {
        let Finished {
            request: Request::Open { how, .. },
            result,
            lane,
            ..
        } = self.finished()
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (lane, flags) = (*lane, how.flags as i32);
        let fd = answer(*result)?;
        drop(self.take());
        File::adopt(&self.ring, syscalls::adopt(fd as RawFd), lane, flags)
    }

    /// What was asked of a file by [`Op::metadata`]; `None` for another operation, or a failed one.
    #[must_use]
    pub fn metadata(&self) -> Option<Metadata> {
        match &self.finished().request {
            Request::Status { into, .. } if self.finished().result >= 0 => {
                Some(Metadata::from_statx(syscalls::filled(into)))
            }
            _ => None,
        }
    }
}

impl Drop for Complete {
    fn drop(&mut self) {
        if let Some(finished) = self.finished.take()
            && let Some(fd) = finished.request.orphaned(Some(finished.result))
        {
            self.ring.close_later(fd, finished.lane);
        }
    }
}

impl fmt::Debug for Complete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Complete")
            .field("token", &self.token())
            .field("result", &self.result())
            .finish_non_exhaustive()
    }
}
