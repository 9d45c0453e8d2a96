//! Changes of files as events: inotify(7).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::task::{Context, Poll};

use crate::reactor::Handle;
use crate::readiness::Direction;
use crate::source::Source;

/// Read at once: some 15 events of the longest names, 250 of none.
const BUFFER_BYTES: usize = 4096;

/// `sizeof(struct inotify_event)` without the name.
const HEADER_BYTES: usize = 16;

/// Which changes to hear of; `IN_*` of inotify(7). [`Change::Removed`], [`Change::Unmounted`] and
/// [`Change::Overflow`] are always told.
///
/// ```
/// use ambidex_net::event::Changes;
/// let complete_files = Changes::CLOSED_AFTER_WRITE | Changes::MOVED;
/// assert_ne!(complete_files, Changes::ALL);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes(u32);

impl Changes {
    /// Something was created in the directory (`IN_CREATE`).
    pub const CREATED: Changes = Changes(libc::IN_CREATE);
    /// Contents changed (`IN_MODIFY`): once for each write, or once for several.
    pub const MODIFIED: Changes = Changes(libc::IN_MODIFY);
    /// A file that was open for writing was closed (`IN_CLOSE_WRITE`).
    pub const CLOSED_AFTER_WRITE: Changes = Changes(libc::IN_CLOSE_WRITE);
    /// Mode, owner, times or the count of links changed (`IN_ATTRIB`).
    pub const ATTRIBUTES: Changes = Changes(libc::IN_ATTRIB);
    /// Something was moved out of, into or within the directory, or is the watched file itself
    /// (`IN_MOVE`, `IN_MOVE_SELF`).
    pub const MOVED: Changes = Changes(libc::IN_MOVE | libc::IN_MOVE_SELF);
    /// Something in the directory, or the watched file itself, was deleted (`IN_DELETE`,
    /// `IN_DELETE_SELF`).
    pub const DELETED: Changes = Changes(libc::IN_DELETE | libc::IN_DELETE_SELF);
    /// All of them. Not those that only read: opening, reading, closing.
    pub const ALL: Changes = Changes(
        Changes::CREATED.0
            | Changes::MODIFIED.0
            | Changes::CLOSED_AFTER_WRITE.0
            | Changes::ATTRIBUTES.0
            | Changes::MOVED.0
            | Changes::DELETED.0,
    );
}

impl BitOr for Changes {
    type Output = Changes;
    fn bitor(self, other: Changes) -> Changes {
        Changes(self.0 | other.0)
    }
}

/// One file or directory that a [`Watch`] watches. The kernel gives out a number anew only after
/// two thousand million others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(i32);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// Created in the watched directory.
    Created,
    /// Contents changed.
    Modified,
    /// Closed by somebody who had it open for writing.
    ClosedAfterWrite,
    /// Mode, owner, times or count of links changed.
    Attributes,
    /// Moved away under this name. The [`Change::MovedTo`] with the same cookie, if its directory
    /// is watched as well, is the other half.
    MovedFrom {
        /// Pairs the halves.
        cookie: u32,
    },
    /// Moved here under this name.
    MovedTo {
        /// Pairs the halves.
        cookie: u32,
    },
    /// The watched file itself was moved; it is still watched.
    SelfMoved,
    /// Deleted from the watched directory.
    Deleted,
    /// The watched file itself was deleted; [`Change::Removed`] follows.
    SelfDeleted,
    /// The filesystem of the watched file was unmounted; [`Change::Removed`] follows.
    Unmounted,
    /// Watching has ended: [`Watch::remove`], or the file or its filesystem is gone. The last
    /// event of its [`WatchId`].
    Removed,
    /// Events were lost: the queue of this source was full (`fs.inotify.max_queued_events`). Look
    /// at the files themselves. Concerns all watches of the source.
    Overflow,
    /// Bits that this crate has no name for, such as those of a later kernel.
    Other {
        /// `IN_*`
        mask: u32,
    },
}

/// One event of a [`Watch`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WatchEvent {
    /// Who it concerns; `None` for [`Change::Overflow`].
    pub watch: Option<WatchId>,
    /// What happened.
    pub change: Change,
    /// Whether it happened to a directory.
    pub directory: bool,
    /// The name in the watched directory, as the bytes that the filesystem holds
    /// ([`OsStrExt::from_bytes`](std::os::unix::ffi::OsStrExt::from_bytes)); empty if it happened
    /// to the watched file itself.
    pub name: Vec<u8>,
}

/// Reads the events that inotify(7) has put into `bytes`, which may lie anywhere and say anything.
///
/// Each item is an event or, once and last, `InvalidData`: the kernel never cuts an event, so what
/// is cut did not come from it.
///
/// ```
/// use ambidex_net::event::{Change, parse};
/// let overflow = [u32::MAX, 0x4000, 0, 0].map(u32::to_ne_bytes).concat();
/// let events: Vec<_> = parse(&overflow).collect::<Result<_, _>>()?;
/// assert_eq!((events[0].watch, events[0].change), (None, Change::Overflow));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn parse(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<WatchEvent>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let event = take_event(&mut bytes);
        if event.is_none() {
            bytes = &[];
        }
        let cut = || io::Error::new(io::ErrorKind::InvalidData, "an inotify event is cut short");
        Some(event.ok_or_else(cut))
    })
}

/// Takes the first event off `bytes`. `None` if it is cut.
fn take_event(bytes: &mut &[u8]) -> Option<WatchEvent> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let descriptor = i32::from_ne_bytes(word(0));
    let mask = u32::from_ne_bytes(word(4));
    let cookie = u32::from_ne_bytes(word(8));
    let length = usize::try_from(u32::from_ne_bytes(word(12))).ok()?;
    let (name, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    // Padded with at least one zero, if there is a name at all.
    let end = name.iter().position(|byte| *byte == 0);
    Some(WatchEvent {
        watch: (descriptor >= 0).then_some(WatchId(descriptor)),
        change: change(mask, cookie),
        directory: mask & libc::IN_ISDIR != 0,
        name: name[..end.unwrap_or(length)].to_vec(),
    })
}

fn change(mask: u32, cookie: u32) -> Change {
    // The kernel sets one of these, and `IN_ISDIR` beside it.
    match mask & !libc::IN_ISDIR {
        libc::IN_CREATE => Change::Created,
        libc::IN_MODIFY => Change::Modified,
        libc::IN_CLOSE_WRITE => Change::ClosedAfterWrite,
        libc::IN_ATTRIB => Change::Attributes,
        libc::IN_MOVED_FROM => Change::MovedFrom { cookie },
        libc::IN_MOVED_TO => Change::MovedTo { cookie },
        libc::IN_MOVE_SELF => Change::SelfMoved,
        libc::IN_DELETE => Change::Deleted,
        libc::IN_DELETE_SELF => Change::SelfDeleted,
        libc::IN_UNMOUNT => Change::Unmounted,
        libc::IN_IGNORED => Change::Removed,
        libc::IN_Q_OVERFLOW => Change::Overflow,
        mask => Change::Other { mask },
    }
}

/// Watches files and directories (not what lies in directories below them).
///
/// It sees what is done through this machine's kernel: not changes made on a network filesystem by
/// others, nor writes through a memory map.
///
/// Bounds: the kernel queues up to `fs.inotify.max_queued_events` (16,384) events, then says
/// [`Change::Overflow`]; the source holds one read of them, 4 KiB.
///
/// ```
/// use ambidex_net::{Reactor, event::{Change, Changes, Watch}};
/// use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
///
/// # let directory = std::env::temp_dir().join(format!("ambidex-watch-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let mut reactor = Reactor::new()?;
/// let watch = Watch::new(&reactor.handle())?;
/// let id = watch.add(&directory, Changes::CREATED)?;
/// std::fs::write(directory.join("new"), "")?;
/// let mut next = pin!(watch.next());
/// let mut cx = Context::from_waker(Waker::noop());
/// let event = loop {
///     match next.as_mut().poll(&mut cx) {
///         Poll::Ready(event) => break event?,
///         Poll::Pending => reactor.turn(None)?,
///     };
/// };
/// assert_eq!((event.watch, event.change), (Some(id), Change::Created));
/// assert_eq!(event.name, b"new");
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// Minimum kernel: Linux 4.18 (`IN_MASK_CREATE`; before it, adding a file twice is no error).
pub struct Watch {
    source: Source,
    /// Read, but not yet told.
    read: RefCell<VecDeque<WatchEvent>>,
}

impl Watch {
    /// Makes a source that watches nothing yet.
    ///
    /// # Errors
    /// `EMFILE` also at the user's limit (`fs.inotify.max_user_instances`), `ENFILE`, `ENOMEM`;
    /// inotify_init1(2).
    pub fn new(handle: &Handle) -> io::Result<Watch> {
        let fd = handle.inner.kernel.watch_create()?;
        Ok(Watch {
            source: Source::new(handle, fd)?,
            read: RefCell::default(),
        })
    }

    /// Starts watching the file or directory that `path` leads to now; it goes with the file, not
    /// with the name.
    ///
    /// # Errors
    /// `EEXIST` if this source watches the file already, under this name or another; `ENOENT`,
    /// `EACCES` (it must be readable), `ENOSPC` at the user's limit
    /// (`fs.inotify.max_user_watches`), `InvalidInput` for a path with a zero byte;
    /// inotify_add_watch(2).
    ///
    /// # Blocking
    /// Looks the path up, which on a disk may wait and on a network filesystem may hang.
    pub fn add(&self, path: impl AsRef<Path>, changes: Changes) -> io::Result<WatchId> {
        let mask = changes.0 | libc::IN_MASK_CREATE;
        let kernel = self.source.kernel();
        let added = kernel.watch_add(self.as_fd(), path.as_ref(), mask);
        added.map(WatchId)
    }

    /// Stops watching. What has happened before is still told; [`Change::Removed`] comes last.
    ///
    /// # Errors
    /// `EINVAL` if it is not watched (any more); inotify_rm_watch(2).
    pub fn remove(&self, watch: WatchId) -> io::Result<()> {
        self.source.kernel().watch_remove(self.as_fd(), watch.0)
    }

    /// Waits for the next event. Events come in order; each to one of the tasks that wait.
    ///
    /// # Errors
    /// None that a user can cause; read(2).
    ///
    /// # Cancel safety
    /// Safe: an event is taken only by the poll that returns it.
    pub async fn next(&self) -> io::Result<WatchEvent> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The poll of [`Watch::next`].
    ///
    /// # Errors
    /// Those of [`Watch::next`].
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<io::Result<WatchEvent>> {
        if let Some(event) = self.read.borrow_mut().pop_front() {
            return Poll::Ready(Ok(event));
        }
        self.source.poll_io(cx, Direction::Read, |kernel, fd| {
            let mut buffer = [0; BUFFER_BYTES];
            let length = kernel.read_events(fd, &mut buffer)?;
            let mut read = self.read.borrow_mut();
            for event in parse(&buffer[..length]) {
                read.push_back(event?);
            }
            read.pop_front().ok_or(io::ErrorKind::WouldBlock.into())
        })
    }
}

impl AsFd for Watch {
    /// The inotify descriptor; readable while the kernel has events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(descriptor: i32, mask: u32, cookie: u32, name: &[u8]) -> Vec<u8> {
        let length = u32::try_from(name.len()).unwrap();
        let words = [mask, cookie, length].map(u32::to_ne_bytes).concat();
        [&descriptor.to_ne_bytes(), &words[..], name].concat()
    }

    fn all(bytes: &[u8]) -> Vec<io::Result<WatchEvent>> {
        parse(bytes).collect()
    }

    #[test]
    fn names_are_raw_bytes_up_to_the_first_zero_or_all_of_them() {
        let names: [(&[u8], &[u8]); 5] = [
            (b"a\0\0\0", b"a"),
            (b"\xff\n\0\0", b"\xff\n"),
            (b"", b""),
            (b"\0\0\0\0", b""),
            (b"full", b"full"),
        ];
        let bytes = names.map(|(name, _)| raw(1, libc::IN_CREATE, 0, name));
        let events = all(&bytes.concat());
        assert_eq!(events.len(), names.len());
        for (event, (_, name)) in events.into_iter().zip(names) {
            assert_eq!(event.unwrap().name, name);
        }
    }

    #[test]
    fn the_halves_of_a_move_have_one_cookie_and_directories_say_so() {
        let from = raw(1, libc::IN_MOVED_FROM | libc::IN_ISDIR, 77, b"a\0");
        let to = raw(2, libc::IN_MOVED_TO | libc::IN_ISDIR, 77, b"b\0");
        let events: Vec<_> = parse(&[from, to].concat()).map(Result::unwrap).collect();
        assert_eq!(events[0].change, Change::MovedFrom { cookie: 77 });
        assert_eq!(events[1].change, Change::MovedTo { cookie: 77 });
        assert!(events.iter().all(|event| event.directory));
        assert_eq!(events[1].watch, Some(WatchId(2)));
    }

    #[test]
    fn an_event_that_is_cut_anywhere_is_an_error_after_those_that_are_whole() {
        let whole = raw(1, libc::IN_MODIFY, 0, b"name\0\0\0\0");
        let two = [whole.clone(), whole.clone()].concat();
        for length in 0..two.len() {
            let events = all(&two[..length]);
            let complete = length / whole.len();
            let cut = usize::from(length % whole.len() != 0);
            assert_eq!(events.len(), complete + cut, "{length}");
            assert!(events[..complete].iter().all(Result::is_ok));
            assert!(events[complete..].iter().all(Result::is_err));
        }
    }

    #[test]
    fn lengths_beyond_the_buffer_and_unknown_bits_do_no_harm() {
        for length in [1, 5, u32::MAX] {
            let mut bytes = raw(1, libc::IN_CREATE, 0, b"");
            bytes[12..16].copy_from_slice(&length.to_ne_bytes());
            assert!(matches!(&all(&bytes)[..], [Err(_)]));
        }
        let events = all(&raw(i32::MIN, 0, 0, b""));
        let event = events[0].as_ref().unwrap();
        assert_eq!(
            (event.watch, event.change),
            (None, Change::Other { mask: 0 })
        );
    }

    #[test]
    fn events_may_lie_at_any_address() {
        let event = raw(3, libc::IN_DELETE, 0, b"x\0");
        for shift in 0..8 {
            let shifted = [vec![0xaa; shift], event.clone()].concat();
            let events = all(&shifted[shift..]);
            assert_eq!(events[0].as_ref().unwrap().change, Change::Deleted);
        }
    }
}
