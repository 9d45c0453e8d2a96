//! A FUSE file system that can be written to, and the faults that it makes on demand. Its rules are those of
//! `ambidex_tests::rig::fuse`: what is held is answered by [`Mount::release`] or when the mount goes.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use ambidex_tests::sim::HANG;
use fuser::{BackgroundSession, Config, Errno, MountOption, Session};
use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use crate::requests::Requests;
use crate::tree::Tree;

/// What the kernel asks a daemon for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Create,
    Open,
    Read,
    Write,
    Sync,
    SetAttr,
    Allocate,
    Rename,
    Unlink,
    MakeDir,
    RemoveDir,
    GetAttribute,
    SetAttribute,
    ListAttributes,
    RemoveAttribute,
    ReadDir,
    Copy,
    Flush,
}

/// What is done instead of what was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Answers this errno and does nothing.
    Errno(i32),
    /// Moves no more than so many bytes.
    Short(usize),
}

/// How a request is to be carried out.
pub(crate) struct Orders {
    pub(crate) errno: Option<Errno>,
    pub(crate) most: usize,
}

/// A request: carries itself out on the tree and answers the kernel.
pub(crate) type Act = Box<dyn FnOnce(&mut Tree, Orders) + Send>;

#[derive(Default)]
struct State {
    tree: Tree,
    faults: HashMap<Op, VecDeque<Fault>>,
    holds: Option<Op>,
    held: Vec<Act>,
    counts: HashMap<Op, usize>,
}

#[derive(Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A failed assertion elsewhere must not keep the drop from answering the kernel.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn arrived(&self, op: Op, act: Act) {
        let state = &mut *self.lock();
        *state.counts.entry(op).or_default() += 1;
        if state.holds == Some(op) {
            state.held.push(act);
        } else {
            let fault = state.faults.get_mut(&op).and_then(VecDeque::pop_front);
            let orders = Orders {
                errno: match fault {
                    Some(Fault::Errno(errno)) => Some(Errno::from_i32(errno)),
                    _ => None,
                },
                most: match fault {
                    Some(Fault::Short(most)) => most,
                    _ => usize::MAX,
                },
            };
            act(&mut state.tree, orders);
        }
        self.changed.notify_all();
    }

    /// What no test has a fault for.
    pub(crate) fn quietly<R>(&self, act: impl FnOnce(&mut Tree) -> R) -> R {
        act(&mut self.lock().tree)
    }

    pub(crate) fn released(&self) {
        self.lock().tree.handles -= 1;
        self.changed.notify_all();
    }
}

/// A mounted daemon.
pub(crate) struct Mount {
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    at: TempDir,
}

impl Mount {
    /// # Errors
    /// Those of opening `/dev/fuse`, and of mount(2).
    pub(crate) fn new() -> io::Result<Mount> {
        let (at, shared) = (tempfile::tempdir()?, Arc::new(Shared::default()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("ambidex-tree".into())];
        let requests = Requests {
            shared: Arc::clone(&shared),
        };
        let session = Session::new(requests, at.path(), &config)?.spawn()?;
        Ok(Mount {
            shared,
            session: Some(session),
            at,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }

    /// The next requests of this kind meet these faults.
    pub(crate) fn fault(&self, op: Op, faults: impl IntoIterator<Item = Fault>) {
        self.shared
            .lock()
            .faults
            .insert(op, faults.into_iter().collect());
    }

    /// Forgets what has been counted, and the faults that nobody has met.
    pub(crate) fn reset(&self) {
        let state = &mut *self.shared.lock();
        state.counts.clear();
        state.faults.clear();
    }

    pub(crate) fn count(&self, op: Op) -> usize {
        self.shared.lock().counts.get(&op).copied().unwrap_or(0)
    }

    /// From now on, answers no request of this kind.
    pub(crate) fn hold(&self, op: Op) {
        self.shared.lock().holds = Some(op);
    }

    pub(crate) fn held(&self) -> usize {
        self.shared.lock().held.len()
    }

    /// Carries out all that is held, and holds nothing any more.
    pub(crate) fn release(&self) {
        let state = &mut *self.shared.lock();
        state.holds = None;
        for act in std::mem::take(&mut state.held) {
            let orders = Orders {
                errno: None,
                most: usize::MAX,
            };
            act(&mut state.tree, orders);
        }
    }

    /// Waits until every open has been released: the kernel does that some time after the last close.
    pub(crate) fn wait_closed(&self) {
        let state = self.shared.lock();
        let closed = self
            .shared
            .changed
            .wait_timeout_while(state, HANG, |state| state.tree.handles > 0);
        let (state, _) = closed.unwrap_or_else(PoisonError::into_inner);
        let left = state.tree.handles;
        drop(state);
        assert_eq!(left, 0, "files left open");
    }

    /// What the daemon has of the file `name`.
    pub(crate) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let tree = &mut self.shared.lock().tree;
        let inode = tree.find(1, name.as_ref()).ok()?;
        Some(tree.node(inode).ok()?.bytes.clone())
    }

    /// The names in the root.
    pub(crate) fn names(&self) -> Vec<OsString> {
        let list = self.shared.lock().tree.list(1).unwrap_or_default();
        list.into_iter().skip(2).map(|(name, ..)| name).collect()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.release();
        // Aborts the connection, where a test that failed has left files open: this process would otherwise wait for its
        // own daemon when it ends. It answers EBUSY then.
        if unmount(self.at.path(), UnmountFlags::FORCE).is_err()
            && let Err(error) = unmount(self.at.path(), UnmountFlags::DETACH)
        {
            eprintln!("unmounting {}: {error}", self.at.path().display());
        }
        drop(self.session.take());
    }
}
