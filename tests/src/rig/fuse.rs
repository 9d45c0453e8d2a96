//! A scripted, read-only FUSE file system: slow, hung, short, lying or failing files, on demand.
//!
//! It speaks to the kernel directly, so it needs root and `/dev/fuse` but no `fusermount3`.
//!
//! What a test must know:
//! - Requests are answered independently: a held or delayed one never delays another.
//! - A held request sits in the kernel until [`Rig::release`] or the rig's drop. A process that waits in one
//!   cannot be reaped, not even after SIGKILL, until it is answered.
//! - So the rig must be dropped *before* anything that waits for the process under test. Dropping it
//!   answers all that is held with `EIO` and detaches the mount, whoever still uses it.
//! - A test must not touch held files itself; [`Rig::warm`] looks one up without opening it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEntry,
    ReplyOpen, Request, Session,
};
use rustix::mount::{UnmountFlags, unmount};

/// A time to live for names and attributes that outlasts any test.
pub const CACHED: Duration = Duration::from_secs(3600);

/// No caching of names and attributes: each use of a path asks the file system again.
pub const UNCACHED: Duration = Duration::ZERO;

/// Why this machine cannot mount a rig, or `None` when it can.
pub fn missing() -> Option<String> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let at = tempfile::tempdir().map_err(|e| e.to_string());
        let probe = at.and_then(|at| {
            Rig::mount(at.path(), UNCACHED, Vec::new())
                .map(drop)
                .map_err(|e| format!("mounting FUSE (root and /dev/fuse are needed): {e}"))
        });
        probe.err()
    });
    reason.clone()
}

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
}

/// One file of the rig and its script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    bytes: Vec<u8>,
    size: Option<u64>,
    open: Pace,
    read: Pace,
    /// Reads that begin before this offset are answered at once.
    paced_from: u64,
    reads: Reads,
    direct: bool,
}

impl Script {
    /// A well-behaved file that holds `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
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

    fn answer(&self, offset: u64, length: u32) -> Result<Vec<u8>, Errno> {
        let end = self.bytes.len() as u64;
        let from = offset.min(end);
        let mut to = offset.saturating_add(u64::from(length)).min(end);
        match self.reads {
            Reads::Whole => {}
            Reads::Halved => to = to.min(from + u64::from(length / 2).max(1)),
            Reads::FailFrom(limit, errno) if to > limit => return Err(errno),
            Reads::FailFrom(..) => {}
        }
        Ok(self.bytes[from as usize..to as usize].to_vec())
    }
}

/// How often the server asked for a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `open` requests that reached the file system.
    pub opens: usize,
    /// `read` requests that reached the file system.
    pub reads: usize,
}

/// A request the kernel waits on.
enum Waiting {
    Open(ReplyOpen, FopenFlags),
    Read(ReplyData, Result<Vec<u8>, Errno>),
}

impl Waiting {
    fn answer(self) {
        match self {
            Self::Open(reply, flags) => reply.opened(FileHandle(0), flags),
            Self::Read(reply, Ok(bytes)) => reply.data(&bytes),
            Self::Read(reply, Err(errno)) => reply.error(errno),
        }
    }

    fn fail(self) {
        match self {
            Self::Open(reply, _) => reply.error(Errno::EIO),
            Self::Read(reply, _) => reply.error(Errno::EIO),
        }
    }
}

#[derive(Default)]
struct State {
    counts: HashMap<usize, Counts>,
    held: Vec<Waiting>,
    released: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A failed assertion elsewhere must not keep the drop from answering the kernel.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(self: &Arc<Self>, pace: Pace, waiting: Waiting, count: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        count(&mut state);
        let pace = if state.released { Pace::Now } else { pace };
        match pace {
            Pace::Now => {
                drop(state);
                waiting.answer();
            }
            Pace::After(delay) => {
                drop(state);
                thread::spawn(move || {
                    thread::sleep(delay);
                    waiting.answer();
                });
            }
            Pace::Held => state.held.push(waiting),
        }
        self.changed.notify_all();
    }

    fn release(&self) -> Vec<Waiting> {
        let mut state = self.lock();
        state.released = true;
        std::mem::take(&mut state.held)
    }
}

/// A mounted rig.
pub struct Rig {
    at: PathBuf,
    names: Vec<String>,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
}

impl Rig {
    /// Mounts `files` at the directory `at`; the kernel caches names and attributes for `ttl`.
    ///
    /// # Errors
    ///
    /// The error of `open("/dev/fuse")` or `mount(2)`.
    pub fn mount(at: &Path, ttl: Duration, files: Vec<(&str, Script)>) -> io::Result<Self> {
        let (names, scripts): (Vec<_>, Vec<_>) =
            files.into_iter().map(|(n, s)| (n.to_owned(), s)).unzip();
        let shared = Arc::new(Shared::default());
        let files = Files {
            names: names.clone(),
            scripts,
            ttl,
            shared: shared.clone(),
        };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("ambidex-rig".into())];
        let session = Session::new(files, at, &config)?.spawn()?;
        Ok(Self {
            at: at.to_owned(),
            names,
            shared,
            session: Some(session),
        })
    }

    /// The counts of the file `name`.
    ///
    /// # Panics
    ///
    /// When the rig has no such file.
    pub fn counts(&self, name: &str) -> Counts {
        let index = self.names.iter().position(|n| n == name);
        let index = index.expect("a file of this rig");
        self.shared
            .lock()
            .counts
            .get(&index)
            .copied()
            .unwrap_or_default()
    }

    /// How many requests are held now.
    pub fn held(&self) -> usize {
        self.shared.lock().held.len()
    }

    /// Waits until at least `n` requests are held: processes are then stuck in the kernel for certain.
    ///
    /// # Panics
    ///
    /// When that does not happen within `guard`.
    pub fn wait_held(&self, n: usize, guard: Duration) {
        self.wait(guard, &format!("{n} held requests"), |state| {
            state.held.len() >= n
        });
    }

    /// Waits until the file system has seen at least `n` opens in all.
    ///
    /// # Panics
    ///
    /// When that does not happen within `guard`.
    pub fn wait_opens(&self, n: usize, guard: Duration) {
        self.wait(guard, &format!("{n} opens"), |state| {
            state.counts.values().map(|c| c.opens).sum::<usize>() >= n
        });
    }

    fn wait(&self, guard: Duration, what: &str, mut done: impl FnMut(&State) -> bool) {
        let state = self.shared.lock();
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(state, guard, |state| !done(state))
            .unwrap_or_else(PoisonError::into_inner);
        let seen = state.held.len();
        drop(state);
        assert!(
            !timeout.timed_out(),
            "waited {guard:?} for {what}; {seen} are held"
        );
    }

    /// Looks `name` up, so that the kernel knows the name and attributes for as long as the rig's
    /// time to live, and only the open or the read is left to wait for.
    ///
    /// # Errors
    ///
    /// That of `stat(2)`.
    pub fn warm(&self, name: &str) -> io::Result<()> {
        std::fs::metadata(self.at.join(name)).map(drop)
    }

    /// Answers everything held as its script says, and holds and delays nothing from now on.
    pub fn release(&self) {
        for waiting in self.shared.release() {
            waiting.answer();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for waiting in self.shared.release() {
            waiting.fail();
        }
        // Detached: the mount goes even while a process holds its files open. Aborted: should that be
        // this process, which is the daemon too, it would wait for itself when it ends and closes them.
        if let Err(error) = unmount(&self.at, UnmountFlags::FORCE | UnmountFlags::DETACH) {
            eprintln!("unmounting {}: {error}", self.at.display());
        }
        drop(self.session.take());
    }
}

/// The file system behind a rig: a root directory and its files, inodes 2 and up.
struct Files {
    names: Vec<String>,
    scripts: Vec<Script>,
    ttl: Duration,
    shared: Arc<Shared>,
}

impl Files {
    const FIRST: u64 = 2;

    fn index(&self, ino: INodeNo) -> Option<usize> {
        let index = ino.0.checked_sub(Self::FIRST)? as usize;
        (index < self.scripts.len()).then_some(index)
    }

    fn attr(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = if ino == INodeNo::ROOT {
            (FileType::Directory, 0o755, 0)
        } else {
            let script = &self.scripts[self.index(ino)?];
            let size = script.size.unwrap_or(script.bytes.len() as u64);
            (FileType::RegularFile, 0o644, size)
        };
        Some(FileAttr {
            ino,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let index = self.names.iter().position(|n| name == OsStr::new(n));
        let ino = index.map(|index| INodeNo(index as u64 + Self::FIRST));
        match ino.and_then(|ino| self.attr(ino)) {
            Some(attr) if parent == INodeNo::ROOT => reply.entry(&self.ttl, &attr, Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino) {
            Some(attr) => reply.attr(&self.ttl, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let Some(index) = self.index(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let script = &self.scripts[index];
        let flags = if script.direct {
            FopenFlags::FOPEN_DIRECT_IO
        } else {
            FopenFlags::empty()
        };
        let waiting = Waiting::Open(reply, flags);
        self.shared.arrived(script.open, waiting, |state| {
            state.counts.entry(index).or_default().opens += 1;
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let Some(index) = self.index(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let script = &self.scripts[index];
        let waiting = Waiting::Read(reply, script.answer(offset, size));
        let pace = if offset < script.paced_from {
            Pace::Now
        } else {
            script.read
        };
        self.shared.arrived(pace, waiting, |state| {
            state.counts.entry(index).or_default().reads += 1;
        });
    }
}
