//! Opening: openat2(2).

use std::ffi::CString;
use std::io;
use std::ops::BitOr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use crate::file::File;
use crate::kernel::OpenHow;
use crate::operation::Operation;
use crate::policy::Lane;
use crate::request::Request;
use crate::ring::Handle;
use crate::syscalls;

/// How a path is resolved: `RESOLVE_*` of openat2(2), Linux 5.6.
///
/// ```
/// use ambidex_disk::Resolve;
/// let contained = Resolve::BENEATH | Resolve::NO_MAGICLINKS;
/// assert_ne!(contained, Resolve::BENEATH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolve(u64);

impl Resolve {
    /// Neither `..`, nor an absolute path, nor a symbolic link leads out of the directory.
    pub const BENEATH: Resolve = Resolve(libc::RESOLVE_BENEATH);
    /// No magic links, as in /proc/self/fd.
    pub const NO_MAGICLINKS: Resolve = Resolve(libc::RESOLVE_NO_MAGICLINKS);
    /// No symbolic links at all.
    pub const NO_SYMLINKS: Resolve = Resolve(libc::RESOLVE_NO_SYMLINKS);
    /// No other mount.
    pub const NO_XDEV: Resolve = Resolve(libc::RESOLVE_NO_XDEV);
}

impl BitOr for Resolve {
    type Output = Resolve;
    fn bitor(self, other: Resolve) -> Resolve {
        Resolve(self.0 | other.0)
    }
}

/// Options for opening a file.
///
/// ```no_run
/// # async fn example(handle: ambidex_disk::Handle) -> std::io::Result<()> {
/// use ambidex_disk::{OpenOptions, Resolve};
/// let site = OpenOptions::new().directory().open(&handle, "site").await?;
/// let page = OpenOptions::new()
///     .resolve(Resolve::BENEATH)
///     .open_at(&site, "index.html")
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// `O_RDONLY`, `O_RDWR` or `O_WRONLY`.
    access: i32,
    flags: i32,
    mode: u32,
    resolve: Resolve,
    punt: bool,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// For reading.
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions {
            access: libc::O_RDONLY,
            flags: libc::O_CLOEXEC,
            mode: 0o666,
            resolve: Resolve::default(),
            punt: false,
        }
    }

    /// For writing too (`O_RDWR`).
    #[must_use]
    pub fn write(mut self) -> OpenOptions {
        self.access = libc::O_RDWR;
        self
    }

    /// For writing, and not for reading (`O_WRONLY`).
    #[must_use]
    pub fn write_only(mut self) -> OpenOptions {
        self.access = libc::O_WRONLY;
        self
    }

    /// Each write goes to the end, in one step with finding it (`O_APPEND`, open(2)): the file is
    /// written with [`File::append`]. Implies [`OpenOptions::write`] unless the file is
    /// [`OpenOptions::write_only`].
    #[must_use]
    pub fn append(mut self) -> OpenOptions {
        self.flags |= libc::O_APPEND;
        if self.access == libc::O_RDONLY {
            self.access = libc::O_RDWR;
        }
        self
    }

    /// Bypass the page cache (`O_DIRECT`, open(2)). Offsets, lengths and buffers must be aligned:
    /// [`File::direct_io`].
    #[must_use]
    pub fn direct(mut self) -> OpenOptions {
        self.flags |= libc::O_DIRECT;
        self
    }

    /// Create the file if there is none (`O_CREAT`).
    #[must_use]
    pub fn create(mut self) -> OpenOptions {
        self.flags |= libc::O_CREAT;
        self
    }

    /// Create the file, and fail with `EEXIST` if there is one (`O_CREAT | O_EXCL`).
    #[must_use]
    pub fn create_new(mut self) -> OpenOptions {
        self.flags |= libc::O_CREAT | libc::O_EXCL;
        self
    }

    /// Empty the file if there is one (`O_TRUNC`). Only for files that are written.
    #[must_use]
    pub fn truncate(mut self) -> OpenOptions {
        self.flags |= libc::O_TRUNC;
        self
    }

    /// Permissions of a file that is created, less the umask; 0o666 unless told.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> OpenOptions {
        self.mode = mode;
        self
    }

    /// A directory to open others relative to (`O_PATH | O_DIRECTORY`): it cannot be read.
    #[must_use]
    pub fn directory(mut self) -> OpenOptions {
        self.flags |= libc::O_PATH | libc::O_DIRECTORY;
        self
    }

    /// Do not wait for the other end of a FIFO or for a device, and adopt no terminal
    /// (`O_NONBLOCK | O_NOCTTY`, open(2)).
    #[must_use]
    pub fn nonblocking(mut self) -> OpenOptions {
        self.flags |= libc::O_NONBLOCK | libc::O_NOCTTY;
        self
    }

    /// Fail if the last component is a symbolic link (`O_NOFOLLOW`, open(2)).
    #[must_use]
    pub fn no_follow(mut self) -> OpenOptions {
        self.flags |= libc::O_NOFOLLOW;
        self
    }

    /// Has each operation of the file made by a worker thread, never tried on the loop's, as on a
    /// remote mount: for a local filesystem whose submission blocks. Only so many of one mount are
    /// in flight at a time ([`Options::remote_max`](crate::Options::remote_max)).
    ///
    /// Mounts that are known to be of that kind are treated so without it (decision 002); for the
    /// worker threads in place of `IOSQE_ASYNC` see decision 004.
    #[must_use]
    pub fn punt(mut self) -> OpenOptions {
        self.punt = true;
        self
    }

    /// Further `O_*` flags.
    #[must_use]
    pub fn custom_flags(mut self, flags: i32) -> OpenOptions {
        self.flags |= flags;
        self
    }

    /// How the path is resolved.
    #[must_use]
    pub fn resolve(mut self, resolve: Resolve) -> OpenOptions {
        self.resolve = self.resolve | resolve;
        self
    }

    /// Opens `path`. Where it leads is not known before, so a worker thread does it.
    ///
    /// # Errors
    /// Those of openat2(2), unchanged; `InvalidInput` for a path with a NUL byte, and for
    /// [`OpenOptions::truncate`] of a file that is not opened for writing. `EINTR` is retried,
    /// except with [`OpenOptions::create_new`], whose file may be there already.
    ///
    /// # Cancel safety
    /// Dropping it abandons the open; a descriptor that arrives later is closed. A file that was to
    /// be created or emptied may be, all the same.
    pub async fn open(&self, handle: &Handle, path: impl AsRef<Path>) -> io::Result<File> {
        let path = self.check(path.as_ref())?;
        let lane = Some(Lane::crossing(path.as_bytes()));
        let (result, _) = self.attempt(handle, None, path, self.resolve, lane).await;
        result
    }

    /// Opens `path` relative to `dir`. A path that stays on the mount of `dir`, if that is a local
    /// one, and is cached, is opened at once; anything else by a worker thread.
    ///
    /// # Errors
    /// Those of openat2(2), unchanged: `EXDEV` for a path that leaves `dir` under
    /// [`Resolve::BENEATH`], `ELOOP`, `ENOENT`...; else as [`OpenOptions::open`].
    ///
    /// # Cancel safety
    /// As [`OpenOptions::open`].
    pub async fn open_at(&self, dir: &File, path: impl AsRef<Path>) -> io::Result<File> {
        let mut path = self.check(path.as_ref())?;
        let handle = dir.ring();
        let mut lane = dir.place().lane();
        if lane.is_none() && handle.capabilities().openat2 {
            let inside = self.resolve | Resolve::NO_XDEV;
            let attempt = self.attempt(handle, Some(dir), path, inside, None).await;
            match attempt {
                (Err(error), again)
                    if error.raw_os_error() == Some(libc::EXDEV) && self.resolve != inside =>
                {
                    path = again;
                }
                (result, _) => return result,
            }
        }
        lane.get_or_insert_with(|| Lane::crossing(path.as_bytes()));
        let (result, _) = self
            .attempt(handle, Some(dir), path, self.resolve, lane)
            .await;
        result
    }

    /// The path as the kernel takes it, if these options make sense.
    pub(crate) fn check(&self, path: &Path) -> io::Result<CString> {
        if self.flags & libc::O_TRUNC != 0 && self.access == libc::O_RDONLY {
            let text = "to truncate a file it must be opened for writing";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(CString::new(path.as_os_str().as_bytes())?)
    }

    /// Whether the path stays on the mount that it starts from.
    pub(crate) fn stays(&self) -> bool {
        self.resolve.0 & Resolve::NO_XDEV.0 != 0
    }

    /// Whether the page cache is bypassed.
    pub(crate) fn is_direct(&self) -> bool {
        self.flags & libc::O_DIRECT != 0
    }

    /// Whether opening changes anything.
    pub(crate) fn changes(&self) -> bool {
        self.flags & (libc::O_CREAT | libc::O_TRUNC) != 0
    }

    pub(crate) fn resolution(&self) -> Resolve {
        self.resolve
    }

    /// As asked.
    pub(crate) fn how(&self) -> OpenHow {
        self.how_within(self.resolve)
    }

    /// openat2(2) refuses a mode where nothing is created.
    pub(crate) fn how_within(&self, resolve: Resolve) -> OpenHow {
        let flags = self.flags | self.access;
        let unnamed = flags & libc::O_TMPFILE == libc::O_TMPFILE;
        let creates = flags & libc::O_CREAT != 0 || unnamed;
        OpenHow {
            flags: u64::from(flags.cast_unsigned()),
            mode: if creates { u64::from(self.mode) } else { 0 },
            resolve: resolve.0,
        }
    }

    /// The file, where these options have it worked on.
    fn placed(&self, file: File) -> File {
        if self.punt && !file.place().punt() {
            return file.into_remote();
        }
        file
    }

    async fn attempt(
        &self,
        handle: &Handle,
        dir: Option<&File>,
        path: CString,
        resolve: Resolve,
        lane: Option<Lane>,
    ) -> (io::Result<File>, CString) {
        let request = Request::Open {
            dir: dir.map(|dir| Rc::clone(dir.descriptor())),
            path,
            how: Box::new(self.how_within(resolve)),
            slot: None,
        };
        let (result, request) = Operation::new(handle, request, lane.is_some(), lane).await;
        let Request::Open { path, .. } = request else {
            unreachable!("an operation returns its own request");
        };
        let file = result
            .and_then(|fd| File::adopt(handle, syscalls::adopt(fd as RawFd), lane, self.flags));
        (file.map(|file| self.placed(file)), path)
    }
}
