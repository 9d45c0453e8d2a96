//! Open files of the fake kernel: what they are open for, and what is read from, written to and changed in them.

use std::cell::Cell;
use std::ops::Range;
use std::os::fd::{IntoRawFd, RawFd};
use std::rc::Rc;

use ambidex::disk::kernel::{Change, OpenHow, Transfer};

use super::World;
use super::names::directory_entries;
use super::tree::{Errno, NANOSECONDS, Node, Trail};

/// What direct I/O asks memory, offsets and lengths to be a multiple of.
const DIRECT_BYTES: u32 = 512;
/// No file of this kernel is longer.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// An open file, which several descriptors may share.
pub(super) struct Opened {
    pub(super) node: Node,
    /// Of a directory: where it lies.
    trail: Trail,
    flags: i32,
    /// Of a directory: entries read.
    position: Cell<usize>,
}

impl Opened {
    fn has(&self, flag: i32) -> bool {
        self.flags & flag != 0
    }

    fn reads(&self) -> bool {
        !self.has(libc::O_PATH) && self.flags & libc::O_ACCMODE != libc::O_WRONLY
    }

    fn writes(&self) -> bool {
        !self.has(libc::O_PATH) && self.flags & libc::O_ACCMODE != libc::O_RDONLY
    }

    /// What statx(2) tells of the file alone.
    pub(super) fn describe(&self, status: &mut libc::statx) {
        let mut node = self.node.borrow_mut();
        status.stx_mode = node.type_and_mode() as u16;
        status.stx_ino = node.number;
        status.stx_nlink = node.links;
        status.stx_mtime.tv_sec = (node.modified / NANOSECONDS) as i64;
        status.stx_mtime.tv_nsec = (node.modified % NANOSECONDS) as u32;
        status.stx_ctime = status.stx_mtime;
        status.stx_size = node.content().map_or(0, |content| content.len() as u64);
        status.stx_dio_mem_align = DIRECT_BYTES;
        status.stx_dio_offset_align = DIRECT_BYTES;
    }
}

/// A range of a file as the kernel takes it.
fn range(offset: u64, length: u64) -> Result<Range<u64>, Errno> {
    let end = offset.checked_add(length).ok_or(libc::EINVAL)?;
    if i64::try_from(end).is_err() {
        return Err(libc::EINVAL);
    }
    Ok(offset..end)
}

impl World {
    /// openat2(2), up to the descriptor.
    pub(super) fn open_at(
        &mut self,
        dir: RawFd,
        path: &[u8],
        how: &OpenHow,
    ) -> Result<RawFd, Errno> {
        let (from, flags) = (self.trail(dir), how.flags as i32);
        let (node, trail) = self.open_path(&from, path, flags, how.mode as u32, how.resolve)?;
        let fd = self.descriptor();
        let fd = fd.map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))?;
        let (fd, position) = (fd.into_raw_fd(), Cell::new(0));
        let opened = Opened {
            node,
            trail,
            flags,
            position,
        };
        self.held += 1;
        self.seen.opens += 1;
        // A descriptor that was closed past this kernel may have had the number before.
        self.open.insert(fd, Rc::new(opened));
        Ok(fd)
    }

    /// Where a relative path starts from.
    pub(super) fn trail(&self, dir: RawFd) -> Trail {
        if dir == libc::AT_FDCWD {
            return self.tree.root();
        }
        let opened = self.opened(dir);
        if opened.node.borrow().is_directory() {
            return opened.trail.clone();
        }
        // Walking finds that this is none.
        vec![Rc::clone(&opened.node)]
    }

    pub(super) fn opened(&self, fd: RawFd) -> Rc<Opened> {
        Rc::clone(self.open.get(&fd).expect("the descriptor is pinned"))
    }

    /// The file itself, unless it is open as a path only.
    pub(super) fn node(&self, fd: RawFd) -> Result<Node, Errno> {
        let opened = self.opened(fd);
        if opened.has(libc::O_PATH) {
            return Err(libc::EBADF);
        }
        Ok(Rc::clone(&opened.node))
    }

    /// Whether a transfer of these buffers is aligned as direct I/O asks.
    pub(super) fn aligned(
        &self,
        fd: RawFd,
        offset: u64,
        mut buffers: impl Iterator<Item = (usize, usize)>,
    ) -> Result<(), Errno> {
        let unit = DIRECT_BYTES as usize;
        let odd = |value: usize| !value.is_multiple_of(unit);
        if self.opened(fd).has(libc::O_DIRECT)
            && (odd(offset as usize) || buffers.any(|(at, length)| odd(at) || odd(length)))
        {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    /// Up to `length` bytes from `offset` on.
    pub(super) fn bytes_at(&self, fd: RawFd, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let opened = self.opened(fd);
        if !opened.reads() {
            return Err(libc::EBADF);
        }
        let mut node = opened.node.borrow_mut();
        let content = node.content().ok_or(libc::EISDIR)?;
        range(offset, length as u64)?;
        let start = (offset as usize).min(content.len());
        let count = length.min(content.len() - start);
        Ok(content[start..start + count].to_vec())
    }

    /// Writes at `offset`, or at the end.
    pub(super) fn write_bytes(
        &mut self,
        fd: RawFd,
        offset: u64,
        bytes: &[u8],
        append: bool,
    ) -> Result<usize, Errno> {
        let opened = self.opened(fd);
        if !opened.writes() {
            return Err(libc::EBADF);
        }
        let mut node = opened.node.borrow_mut();
        let modified = self.tree.tick();
        let content = node.content().ok_or(libc::EISDIR)?;
        let append = append || opened.has(libc::O_APPEND);
        let at = if append { content.len() as u64 } else { offset };
        let end = range(at, bytes.len() as u64)?.end;
        if end > FILE_BYTES_MAX {
            return Err(libc::EFBIG);
        }
        if !bytes.is_empty() {
            content.resize(content.len().max(end as usize), 0);
            content[at as usize..end as usize].copy_from_slice(bytes);
            node.modified = modified;
        }
        Ok(bytes.len())
    }

    pub(super) fn change(&mut self, fd: RawFd, change: Change) -> Result<(), Errno> {
        let opened = self.opened(fd);
        let node = self.node(fd)?;
        let mut node = node.borrow_mut();
        let modified = self.tree.tick();
        match change {
            Change::Sync | Change::SyncData => return Ok(()),
            Change::SyncRange { offset, length, .. } => return range(offset, length).map(drop),
            Change::Advise { advice, .. } if !(0..=libc::POSIX_FADV_NOREUSE).contains(&advice) => {
                return Err(libc::EINVAL);
            }
            Change::Advise { .. } => return Ok(()),
            Change::Truncate { length } => {
                let content = node.content().filter(|_| opened.writes());
                let content = content.ok_or(libc::EINVAL)?;
                let end = range(0, length)?.end;
                if end > FILE_BYTES_MAX {
                    return Err(libc::EFBIG);
                }
                content.resize(end as usize, 0);
            }
            Change::Allocate {
                mode,
                offset,
                length,
            } => {
                if length == 0 {
                    return Err(libc::EINVAL);
                }
                let range = range(offset, length)?;
                if !opened.writes() {
                    return Err(libc::EBADF);
                }
                let content = node.content().ok_or(libc::EISDIR)?;
                allocate(content, mode, &range)?;
            }
        }
        node.modified = modified;
        Ok(())
    }

    /// Copies; everything else wants a pipe, and there is none.
    pub(super) fn transfer(
        &mut self,
        from: RawFd,
        to: RawFd,
        length: u32,
        transfer: Transfer,
    ) -> Result<usize, Errno> {
        let Transfer::Copy { from: at, to: into } = transfer else {
            return Err(libc::EINVAL);
        };
        let (source, target) = (self.opened(from), self.opened(to));
        if !source.reads() || !target.writes() || target.has(libc::O_APPEND) {
            return Err(libc::EBADF);
        }
        let (asked, placed) = (range(at, length.into())?, range(into, length.into())?);
        if Rc::ptr_eq(&source.node, &target.node)
            && asked.start < placed.end
            && placed.start < asked.end
        {
            return Err(libc::EINVAL);
        }
        let bytes = self.bytes_at(from, at, length as usize)?;
        self.write_bytes(to, into, &bytes, false)
    }

    /// getdents64(2)
    pub(super) fn next_entries(&mut self, fd: RawFd, room: usize) -> Result<Vec<u8>, Errno> {
        let (opened, node) = (self.opened(fd), self.node(fd)?);
        if !node.borrow().is_directory() {
            return Err(libc::ENOTDIR);
        }
        let (bytes, count) = directory_entries(&node, opened.position.get(), room);
        opened.position.set(opened.position.get() + count);
        Ok(bytes)
    }
}

/// fallocate(2) of a range.
fn allocate(content: &mut Vec<u8>, mode: i32, range: &Range<u64>) -> Result<(), Errno> {
    let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    let punch = mode & libc::FALLOC_FL_PUNCH_HOLE != 0;
    let known = libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
    if mode & !known != 0 || punch && !keep {
        return Err(libc::EOPNOTSUPP);
    }
    if range.end > FILE_BYTES_MAX {
        return Err(libc::EFBIG);
    }
    let (start, end) = (range.start as usize, range.end as usize);
    if !keep {
        content.resize(content.len().max(end), 0);
    }
    if mode & (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE) != 0 {
        let length = content.len();
        content[start.min(length)..end.min(length)].fill(0);
    }
    Ok(())
}
