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

mod script;

pub use script::{Pace, Script};

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
    /// Each with the index of its script: a file that is replaced gets another.
    names: Vec<(String, usize)>,
    scripts: Vec<Script>,
    counts: HashMap<usize, Counts>,
    held: Vec<Waiting>,
    /// Requests whose time has not come.
    delayed: usize,
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
                let shared = self.clone();
                thread::spawn(move || {
                    shared.delay(delay);
                    waiting.answer();
                });
            }
            Pace::Held => state.held.push(waiting),
        }
        self.changed.notify_all();
    }

    /// Waits for so long, or until the rig is released.
    fn delay(&self, delay: Duration) {
        let mut state = self.lock();
        state.delayed += 1;
        let waited = self
            .changed
            .wait_timeout_while(state, delay, |state| !state.released);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.delayed -= 1;
    }

    fn release(&self) -> Vec<Waiting> {
        let mut state = self.lock();
        state.released = true;
        self.changed.notify_all();
        std::mem::take(&mut state.held)
    }
}

impl State {
    fn held(&self) -> usize {
        self.held.len() + self.delayed
    }

    fn index(&self, name: &OsStr) -> Option<usize> {
        let mut names = self.names.iter();
        names
            .find(|known| OsStr::new(&known.0) == name)
            .map(|known| known.1)
    }
}

/// A mounted rig.
pub struct Rig {
    at: PathBuf,
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
        let mut state = State::default();
        for (index, (name, script)) in files.into_iter().enumerate() {
            state.names.push((name.to_owned(), index));
            state.scripts.push(script);
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let files = Files {
            ttl,
            shared: shared.clone(),
        };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::RO, MountOption::FSName("ambidex-rig".into())];
        let session = Session::new(files, at, &config)?.spawn()?;
        Ok(Self {
            at: at.to_owned(),
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
        let state = self.shared.lock();
        let index = state.index(OsStr::new(name));
        let index = index.expect("a file of this rig");
        state.counts.get(&index).copied().unwrap_or_default()
    }

    /// Changes what becomes of the requests for `name` that arrive from now on: its script, or the file
    /// itself, which stays the same inode.
    ///
    /// # Panics
    ///
    /// When the rig has no such file.
    pub fn change(&self, name: &str, change: impl FnOnce(Script) -> Script) {
        let mut state = self.shared.lock();
        let index = state.index(OsStr::new(name));
        let script = &mut state.scripts[index.expect("a file of this rig")];
        *script = change(std::mem::take(script));
    }

    /// Puts another file in the place of `name`, as rename(2) does: who has the old one open keeps it.
    ///
    /// # Panics
    ///
    /// When the rig has no such file.
    pub fn replace(&self, name: &str, script: Script) {
        let mut state = self.shared.lock();
        state.scripts.push(script);
        let new = state.scripts.len() - 1;
        let mut names = state.names.iter_mut();
        let known = names.find(|known| known.0 == name);
        known.expect("a file of this rig").1 = new;
    }

    /// How many requests are held or delayed now.
    pub fn held(&self) -> usize {
        self.shared.lock().held()
    }

    /// Waits until at least `n` requests are held or delayed: processes are then stuck in the kernel for certain.
    ///
    /// # Panics
    ///
    /// When that does not happen within `guard`.
    pub fn wait_held(&self, n: usize, guard: Duration) {
        self.wait(guard, &format!("{n} held requests"), |state| {
            state.held() >= n
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
        let seen = state.held();
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
    ttl: Duration,
    shared: Arc<Shared>,
}

impl Files {
    const FIRST: u64 = 2;

    /// The file `ino`, by its index, and its script as of now.
    fn script(&self, ino: INodeNo) -> Option<(usize, Script)> {
        let index = ino.0.checked_sub(Self::FIRST)? as usize;
        let state = self.shared.lock();
        Some((index, state.scripts.get(index)?.clone()))
    }

    fn attr(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = if ino == INodeNo::ROOT {
            (FileType::Directory, 0o755, 0)
        } else {
            (FileType::RegularFile, 0o644, self.script(ino)?.1.size())
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
        let index = self.shared.lock().index(name);
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
        let Some((index, script)) = self.script(ino) else {
            return reply.error(Errno::ENOENT);
        };
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
        let Some((index, script)) = self.script(ino) else {
            return reply.error(Errno::ENOENT);
        };
        let waiting = Waiting::Read(reply, script.answer(offset, size));
        self.shared.arrived(script.pace(offset), waiting, |state| {
            state.counts.entry(index).or_default().reads += 1;
        });
    }
}
