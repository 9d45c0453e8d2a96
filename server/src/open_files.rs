//! Files that stay open between requests, with what is known of them.
//!
//! A path is looked up anew once a second. In between one statx(2) of the open file tells whether it was written to,
//! replaced or removed. What that cannot tell takes up to a second to be seen: a link or a directory on the way that
//! leads elsewhere now, and the permissions of directories.
//!
//! Only files of local and memory filesystems are kept: of those the kernel answers statx(2) from the inode in memory,
//! on the loop's thread and without waiting ([`File::metadata`](ambidex::disk::File::metadata)).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::ptr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ambidex::Handle;
use ambidex::disk::policy::Place;
use lru::LruCache;

use crate::admission::Descriptors;
use crate::hosts::Host;
use crate::locate::Entry;
use crate::ready::ReadyAnswers;

/// For how long a path is taken to lead where it led. Nothing stays open for more than twice as long.
const LOOKED_UP_FOR: Duration = Duration::from_secs(1);

/// Whether a path that was looked up then need not be looked up `now`.
pub(crate) fn is_fresh(looked_up: Instant, now: Instant) -> bool {
    now.saturating_duration_since(looked_up) < LOOKED_UP_FOR
}

/// A file that stays open.
pub(crate) struct Kept {
    entry: Entry,
}

impl Kept {
    /// Whether the file is as it was when it was opened. Those that are kept are asked without waiting.
    pub(crate) fn is_unchanged(&self) -> bool {
        let mut asked = pin!(self.entry.file.metadata());
        let now = asked.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        matches!(now, Poll::Ready(Ok(now)) if now.is_unchanged_since(&self.entry.metadata))
    }
}

/// The open files of one worker, by host and path.
pub(crate) struct OpenFiles {
    kept: RefCell<LruCache<Vec<u8>, Rc<Kept>>>,
    descriptors: Rc<Descriptors>,
    /// A key is looked up without an allocation.
    key: RefCell<Vec<u8>>,
    /// Waits for a file to be kept.
    sweeper: Cell<Option<Waker>>,
}

impl OpenFiles {
    /// `None` if none may be kept: of `wanted`, no more than half of what is reserved for files.
    pub(crate) fn new(wanted: usize, descriptors: &Rc<Descriptors>) -> Option<OpenFiles> {
        let capacity = NonZeroUsize::new(wanted.min(descriptors.reserve() / 2))?;
        Some(OpenFiles {
            kept: RefCell::new(LruCache::new(capacity)),
            descriptors: Rc::clone(descriptors),
            key: RefCell::default(),
            sweeper: Cell::default(),
        })
    }

    /// What was opened under `path` less than a second ago, if it is as it was then.
    pub(crate) fn get(&self, host: &Host, path: &[u8], now: Instant) -> Option<Entry> {
        let kept = {
            let key = &mut *self.key.borrow_mut();
            write_key(key, host, path);
            Rc::clone(self.kept.borrow_mut().get(key.as_slice())?)
        };
        if is_fresh(kept.entry.looked_up, now) && kept.is_unchanged() {
            let mut entry = kept.entry.clone();
            entry.kept = Some(Rc::downgrade(&kept));
            return Some(entry);
        }
        self.remove(host, path, &kept);
        None
    }

    /// Gives up `old`, unless another has taken its place.
    fn remove(&self, host: &Host, path: &[u8], old: &Rc<Kept>) {
        let mut key = Vec::new();
        write_key(&mut key, host, path);
        let mut all = self.kept.borrow_mut();
        if all.peek(&key).is_some_and(|kept| Rc::ptr_eq(kept, old)) {
            // The caller has the last of it.
            all.pop(&key);
        }
        drop(all);
        self.count();
    }

    /// Keeps what has just been opened under `path`.
    pub(crate) fn keep(&self, host: &Host, path: &[u8], entry: &Entry) {
        let remote = matches!(entry.file.place(), Place::Remote(_));
        // Without a name left, it was replaced while it was opened: it would not change any more.
        if remote || !entry.metadata.is_file() || entry.metadata.links() == 0 {
            return;
        }
        let mut key = Vec::with_capacity(size_of::<usize>() + path.len());
        write_key(&mut key, host, path);
        let entry = entry.clone();
        let former = self.kept.borrow_mut().push(key, Rc::new(Kept { entry }));
        // Dropped when the table is not borrowed: a file that is closed may wake somebody.
        drop(former);
        self.count();
        if let Some(waker) = self.sweeper.take() {
            waker.wake();
        }
    }

    /// Closes all; tells whether there were any.
    pub(crate) fn clear(&self) -> bool {
        let all = self.take_all();
        !all.is_empty()
    }

    /// As [`OpenFiles::clear`], and waits until they are closed.
    ///
    /// # Cancel safety
    /// Safe: they are closed all the same.
    pub(crate) async fn close(&self) -> bool {
        let mut all = self.take_all();
        let were_any = !all.is_empty();
        while let Some((_, kept)) = all.pop_lru() {
            if let Some(kept) = Rc::into_inner(kept) {
                // Its descriptor is free whatever close(2) answers.
                let _ = kept.entry.file.close().await;
            }
        }
        were_any
    }

    fn take_all(&self) -> LruCache<Vec<u8>, Rc<Kept>> {
        let capacity = self.kept.borrow().cap();
        let all = self.kept.replace(LruCache::new(capacity));
        self.count();
        all
    }

    /// Once a second closes what is not fresh any more, and never ends. It is not woken while nothing is kept.
    pub(crate) async fn sweep<T>(&self, io: &Handle, ready: &ReadyAnswers) -> T {
        loop {
            poll_fn(|cx| {
                if !self.kept.borrow().is_empty() || !ready.is_empty() {
                    return Poll::Ready(());
                }
                self.sweeper.set(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
            io.sleep(LOOKED_UP_FOR).await;
            self.close_old(io.now());
            ready.sweep();
        }
    }

    fn close_old(&self, now: Instant) {
        let mut old = Vec::new();
        self.kept.borrow_mut().retain(|_, kept| {
            let fresh = is_fresh(kept.entry.looked_up, now);
            if !fresh {
                old.push(Rc::clone(kept));
            }
            fresh
        });
        self.count();
    }

    fn count(&self) {
        self.descriptors.stay_open(self.kept.borrow().len());
    }
}

/// Hosts stay where they are for as long as the worker runs.
pub(crate) fn write_key(key: &mut Vec<u8>, host: &Host, path: &[u8]) {
    key.clear();
    key.extend_from_slice(&ptr::from_ref(host).addr().to_ne_bytes());
    key.extend_from_slice(path);
}
