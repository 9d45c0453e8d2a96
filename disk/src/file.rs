//! Files: read, metadata, close.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

use crate::buffer::{BufResult, IoBufMut};
use crate::loan::settle;
use crate::metadata::Metadata;
use crate::open::OpenOptions;
use crate::operation::{self, Operation};
use crate::policy::{Lane, Place};
use crate::request::{Request, TRANSFER_MAX};
use crate::retry::{self, Kind};
use crate::ring::Handle;
use crate::syscalls;
use crate::table::Slot;
use crate::write::fits;

/// How a read is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadFlags(i32);

impl ReadFlags {
    /// Answer only what is cached; `EAGAIN` (`WouldBlock`) instead of waiting for a device, and
    /// `EOPNOTSUPP` where the filesystem cannot tell (`RWF_NOWAIT`, preadv2(2)).
    pub const NOWAIT: ReadFlags = ReadFlags(libc::RWF_NOWAIT);
}

/// A descriptor that belongs to a ring. Closed through it, when nobody uses it any more.
pub(crate) struct Descriptor {
    /// `None` only during drop and close.
    fd: Option<OwnedFd>,
    ring: Handle,
    place: Place,
    at_open: Metadata,
    /// The `O_*` flags that it was opened with.
    flags: i32,
    /// Its place in the ring's table of files.
    slot: RefCell<Option<Rc<Slot>>>,
}

impl Descriptor {
    pub(crate) fn place_in_table(&self) -> Option<u32> {
        self.slot.borrow().as_ref().map(|slot| slot.index())
    }
}

impl Descriptor {
    /// See [`File::is_cached`]; of a local file, and a range that is not empty.
    fn is_cached(&self, range: &Range<u64>) -> bool {
        /// As much as one read ahead of the kernel brings, unless it was told otherwise.
        const PROBE_BYTES: usize = 128 * 1024;
        let (fd, ring) = (self.as_fd(), &self.ring);
        let (page, last) = (syscalls::page_bytes(), range.end - 1);
        let pages = last / page - range.start / page + 1;
        let length = range.end - range.start;
        let cached = ring.with_kernel(|kernel| kernel.pages_cached(fd, range.start, length));
        if !cached.is_ok_and(|cached| cached >= pages) {
            return false;
        }
        // What is only being read was counted too. Reading tells, and what is read ahead comes in order.
        let probes = (range.start..last).step_by(PROBE_BYTES).chain([last]);
        let is_there = |at| {
            let mut byte = [MaybeUninit::uninit()];
            ring.with_kernel(|kernel| kernel.read_now(fd, &mut byte, at, libc::RWF_NOWAIT))
        };
        probes.map(is_there).all(|read| matches!(read, Ok(1)))
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
            .as_ref()
            .expect("taken only by drop and close")
            .as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            self.ring.close_later(fd, self.place.lane());
        }
    }
}

/// An open file. Cheap to clone; each operation in flight holds a reference of its own, so the
/// descriptor's number cannot be given to another file meanwhile.
///
/// ```no_run
/// # async fn example(handle: ambidex_disk::Handle) -> std::io::Result<()> {
/// use ambidex_disk::File;
/// let file = File::open(&handle, "/etc/hostname").await?;
/// let (result, buffer) = file.read_at(Vec::with_capacity(256), 0).await;
/// println!("{} bytes: {:?}", result?, buffer);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct File {
    descriptor: Rc<Descriptor>,
}

impl File {
    /// Opens `path` for reading; see [`OpenOptions::open`].
    ///
    /// # Errors
    /// Those of [`OpenOptions::open`].
    ///
    /// # Cancel safety
    /// As [`OpenOptions::open`].
    pub async fn open(handle: &Handle, path: impl AsRef<Path>) -> io::Result<File> {
        OpenOptions::new().open(handle, path).await
    }

    pub(crate) fn adopt(
        ring: &Handle,
        fd: OwnedFd,
        lane: Option<Lane>,
        flags: i32,
    ) -> io::Result<File> {
        let at_open = match ring.with_kernel(|kernel| kernel.status_cached(fd.as_fd())) {
            Ok(metadata) => metadata,
            Err(error) => {
                ring.close_later(fd, lane);
                return Err(error);
            }
        };
        Ok(File {
            descriptor: Rc::new(Descriptor {
                fd: Some(fd),
                ring: ring.clone(),
                place: ring.judge(&at_open),
                at_open,
                flags,
                slot: RefCell::default(),
            }),
        })
    }

    /// The same, treated as on a remote mount. Only for a file that has just been opened.
    pub(crate) fn into_remote(mut self) -> File {
        if let Some(descriptor) = Rc::get_mut(&mut self.descriptor) {
            let at_open = &descriptor.at_open;
            let mount = at_open.mount().unwrap_or(at_open.device());
            descriptor.place = Place::Remote(Lane::Mount(mount));
        }
        self
    }

    /// The descriptor, pinned by whoever holds it.
    pub(crate) fn descriptor(&self) -> &Rc<Descriptor> {
        &self.descriptor
    }

    pub(crate) fn ring(&self) -> &Handle {
        &self.descriptor.ring
    }

    /// The `O_*` flags that it was opened with, as far as this crate has opened it.
    pub(crate) fn flags(&self) -> i32 {
        self.descriptor.flags
    }

    /// Has `request`, which is about this file, carried out where the file's place allows it.
    pub(crate) async fn run(&self, request: Request) -> (io::Result<u32>, Request) {
        operation::run(self.ring(), request, self.place()).await
    }

    /// Where the file lies, and so what may hang.
    #[must_use]
    pub fn place(&self) -> Place {
        self.descriptor.place
    }

    /// Puts the file into the ring's table, so that reading, writing and syncing need not look its
    /// descriptor up and pin it each time. It leaves the table when its last clone is dropped.
    /// Nothing happens if it is there already.
    ///
    /// # Errors
    /// `Unsupported` on a ring without a table ([`Capabilities::table_entries`]), `ENFILE` when it is
    /// full, `EMFILE` and `ENOMEM` of io_uring_register(2). The file works as before.
    ///
    /// # Minimum kernel
    /// Linux 5.19.
    ///
    /// [`Capabilities::table_entries`]: crate::Capabilities::table_entries
    pub fn fix(&self) -> io::Result<()> {
        let mut held = self.descriptor.slot.borrow_mut();
        if held.is_none() {
            *held = Some(self.ring().fix(self.as_fd())?);
        }
        Ok(())
    }

    /// What was known of the file when it was opened. On a remote filesystem that may be old:
    /// [`File::metadata`] asks.
    #[must_use]
    pub fn metadata_at_open(&self) -> &Metadata {
        &self.descriptor.at_open
    }

    /// What is known of the file now: statx(2).
    ///
    /// # Errors
    /// Those of statx(2), unchanged.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Blocking
    /// On a local filesystem one system call on this thread, which waits for nothing; elsewhere a
    /// worker thread asks.
    pub async fn metadata(&self) -> io::Result<Metadata> {
        let descriptor = &self.descriptor;
        let Some(lane) = descriptor.place.lane() else {
            let fd = descriptor.as_fd();
            return descriptor
                .ring
                .with_kernel(|kernel| kernel.status_cached(fd));
        };
        let request = Request::Status {
            file: Rc::clone(descriptor),
            into: Box::new(MaybeUninit::zeroed()),
        };
        let (result, request) = Operation::new(&descriptor.ring, request, true, Some(lane)).await;
        let Request::Status { into, .. } = request else {
            unreachable!("an operation returns its own request");
        };
        result.map(|_| Metadata::from_statx(syscalls::filled(&into)))
    }

    /// Whether all of `range` (bytes from the start) seems to be in the page cache, so that reading it,
    /// or sendfile(2), would wait for no device. A hint: it may be evicted the next moment. False also
    /// where nobody can tell: remote filesystems, those without `RWF_NOWAIT`, beyond the end of the
    /// file, before Linux 6.5, and since 6.14 to who neither owns the file nor may write to it.
    ///
    /// # Blocking
    /// On a local filesystem a few system calls on this thread that wait for nothing: cachestat(2) for
    /// the range, and preadv2(2) of one byte with `RWF_NOWAIT` for every 128 KiB.
    ///
    /// ```no_run
    /// # async fn example(file: ambidex_disk::File) {
    /// if file.is_cached(0..1024 * 1024) {
    ///     println!("the first MiB is warm");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_cached(&self, range: Range<u64>) -> bool {
        match self.descriptor.place {
            _ if range.is_empty() => true,
            Place::Memory => true,
            Place::Remote(_) => false,
            Place::Local => self.descriptor.is_cached(&range),
        }
    }

    /// Reads from `offset` (bytes from the start) into `buffer`, as many bytes as it has capacity
    /// for. Returns how many were read, and the buffer, whose length is now just that.
    ///
    /// Fewer bytes than asked is normal: the end of the file, or an interrupted read. 0 is the end
    /// (or a buffer without capacity).
    ///
    /// # Errors
    /// Those of preadv2(2), unchanged: `EIO`, `EISDIR`...; `EINVAL` for an offset past `i64::MAX`;
    /// `InvalidInput` for what is misaligned in direct I/O ([`File::direct_io`]).
    /// The buffer comes back in any case.
    ///
    /// # Cancel safety
    /// Dropping it abandons the read; the buffer is dropped once the kernel is done with it.
    pub async fn read_at<B: IoBufMut>(&self, buffer: B, offset: u64) -> BufResult<usize, B> {
        self.read_at_with(buffer, offset, ReadFlags::default())
            .await
    }

    /// As [`File::read_at`], with flags.
    ///
    /// # Errors
    /// Those of [`File::read_at`], and those that the flags ask for.
    ///
    /// # Cancel safety
    /// As [`File::read_at`].
    pub async fn read_at_with<B: IoBufMut>(
        &self,
        buffer: B,
        offset: u64,
        flags: ReadFlags,
    ) -> BufResult<usize, B> {
        let descriptor = &self.descriptor;
        let mut loan = buffer.lend();
        if i64::try_from(offset).is_err() {
            return settle(Err(io::Error::from_raw_os_error(libc::EINVAL)), loan);
        }
        let (start, room) = loan.target();
        if let Err(error) = self.aligned(offset, start, room) {
            return settle(Err(error), loan);
        }
        let nowait = flags.0 & libc::RWF_NOWAIT != 0;
        match descriptor.place {
            // A worker would cost more than the copy: io_uring sends every tmpfs read to one.
            Place::Memory => {
                let target = loan.as_uninit();
                let length = target.len().min(TRANSFER_MAX as usize);
                let read = descriptor.ring.with_kernel(|kernel| {
                    let mut tries = 0;
                    loop {
                        let target = &mut target[..length];
                        match kernel.read_now(descriptor.as_fd(), target, offset, 0) {
                            Err(error) if retry::again(Kind::Read, &error, &mut tries) => {}
                            result => return result,
                        }
                    }
                });
                return settle(read.map(|length| length as u32), loan);
            }
            Place::Remote(_) if nowait => {
                return settle(Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)), loan);
            }
            Place::Remote(_) | Place::Local => {}
        }
        let request = Request::Read {
            file: Rc::clone(descriptor),
            loan,
            offset,
            flags: flags.0,
        };
        let (punt, lane) = (descriptor.place.punt(), descriptor.place.lane());
        let (result, request) = Operation::new(&descriptor.ring, request, punt, lane).await;
        let Request::Read { loan, .. } = request else {
            unreachable!("an operation returns its own request");
        };
        settle(result, loan)
    }

    /// As [`File::read_at`], beginning at once or not at all: it waits for no credit, and for no
    /// other operation of a remote mount.
    ///
    /// # Errors
    /// `WouldBlock` with the buffer, if it would have to wait; then those of [`File::read_at`].
    ///
    /// # Cancel safety
    /// As [`File::read_at`]. The read begins before the future is polled.
    ///
    /// ```no_run
    /// # async fn example(file: ambidex_disk::File, buffer: Vec<u8>) {
    /// match file.try_read_at(buffer, 0) {
    ///     Ok(read) => drop(read.await),
    ///     Err((error, buffer)) => println!("later: {error}, and {} bytes back", buffer.capacity()),
    /// }
    /// # }
    /// ```
    pub fn try_read_at<B: IoBufMut>(
        &self,
        buffer: B,
        offset: u64,
    ) -> Result<impl Future<Output = BufResult<usize, B>> + use<B>, (io::Error, B)> {
        let mut loan = buffer.lend();
        let (start, room) = loan.target();
        let sound = fits(offset).and_then(|()| self.aligned(offset, start, room));
        if let Err(error) = sound {
            return Err((error, B::reclaim(loan)));
        }
        let request = Request::Read {
            file: Rc::clone(&self.descriptor),
            loan,
            offset,
            flags: 0,
        };
        match Operation::try_new(self.ring(), request, self.place()) {
            Ok(operation) => Ok(async {
                let (result, request) = operation.await;
                settle(result, request.into_loan())
            }),
            Err((error, request)) => Err((error, B::reclaim(request.into_loan()))),
        }
    }

    /// Closes the file and tells what close(2) answered. Dropping closes too, without an answer.
    /// If clones exist or operations are in flight, only this handle is given up.
    ///
    /// # Errors
    /// Those of close(2): `EIO`, `ENOSPC`, `EDQUOT` of writes that failed late. The descriptor is
    /// gone all the same.
    ///
    /// # Cancel safety
    /// Dropping it leaves the close to the ring.
    pub async fn close(self) -> io::Result<()> {
        let Ok(mut descriptor) = Rc::try_unwrap(self.descriptor) else {
            return Ok(());
        };
        let ring = descriptor.ring.clone();
        let fd = descriptor.fd.take().expect("taken only by drop and close");
        let request = Request::Close { fd };
        let (punt, lane) = (descriptor.place.punt(), descriptor.place.lane());
        let (result, request) = Operation::new(&ring, request, punt, lane).await;
        let code = match &result {
            Ok(_) => 0,
            Err(error) => -error.raw_os_error().unwrap_or(libc::ECANCELED),
        };
        if let Some(fd) = request.orphaned(Some(code)) {
            ring.close_later(fd, lane);
        }
        result.map(drop)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("fd", &self.descriptor.fd)
            .field("place", &self.descriptor.place)
            .finish_non_exhaustive()
    }
}
