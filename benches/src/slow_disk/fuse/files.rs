//! The files of a directory as FUSE asks for them: read-only, without its subdirectories.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    Request,
};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno as SystemErrno;
use slab::Slab;

use super::{Answer, Disk};

const NOENT: SystemErrno = SystemErrno::NOENT;
/// How long the kernel may keep names and attributes. Nobody changes them meanwhile.
const VALID: Duration = Duration::from_secs(3600);
/// Reads ahead that the kernel may have on their way: fewer would be a limit of their own.
const BACKGROUND_MAX: u16 = 256;

/// A read that waits.
#[derive(Debug)]
pub(super) struct Read {
    file: Arc<File>,
    offset: u64,
    bytes: usize,
    reply: ReplyData,
}

impl Answer for Read {
    fn answer(self) {
        let mut bytes = vec![0; self.bytes];
        match read_at(&self.file, &mut bytes, self.offset) {
            Ok(length) => self.reply.data(&bytes[..length]),
            Err(error) => self.reply.error(error.into()),
        }
    }
}

/// An open that waits.
#[derive(Debug)]
pub(super) struct Open {
    handle: usize,
    reply: ReplyOpen,
}

impl Answer for Open {
    fn answer(self) {
        let handle = FileHandle(self.handle as u64);
        // Else an open would evict it.
        self.reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE);
    }
}

/// As much of `bytes` as the file has at `offset`: a short answer would be its end.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[derive(Debug, Default)]
struct Known {
    /// The names that were looked up, by inode.
    names: HashMap<INodeNo, OsString>,
    open: Slab<Arc<File>>,
}

/// The files of a directory.
#[derive(Debug)]
pub(super) struct Files {
    /// What the mount hides.
    directory: OwnedFd,
    disk: Arc<Disk>,
    known: Mutex<Known>,
}

impl Files {
    /// Those of `dir`, which is not mounted over yet; they are read by `disk`.
    pub(super) fn of(dir: &Path, disk: Arc<Disk>) -> io::Result<Files> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Files {
            directory: openat(CWD, dir, flags, Mode::empty())?,
            disk,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_name(&self, name: &OsStr) -> io::Result<(File, Metadata)> {
        // A pipe would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.directory, name, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(NOENT.into());
        }
        Ok((file, metadata))
    }

    fn open_inode(&self, inode: INodeNo) -> io::Result<(File, Metadata)> {
        let name = self.known().names.get(&inode).cloned();
        self.open_name(&name.ok_or(NOENT)?)
    }
}

fn file_attributes(metadata: &Metadata) -> FileAttr {
    FileAttr {
        ino: INodeNo(metadata.ino()),
        size: metadata.len(),
        blocks: metadata.blocks(),
        mtime: metadata.modified().unwrap_or(UNIX_EPOCH),
        kind: FileType::RegularFile,
        perm: 0o444,
        nlink: 1,
        uid: metadata.uid(),
        gid: metadata.gid(),
        ..root_attributes()
    }
}

fn root_attributes() -> FileAttr {
    FileAttr {
        ino: INodeNo::ROOT,
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::Directory,
        perm: 0o555,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Files {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let set = config.set_max_background(BACKGROUND_MAX);
        set.map(drop)
            .map_err(|_| io::ErrorKind::InvalidInput.into())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.open_name(name) {
            Ok((_, metadata)) => {
                let attributes = file_attributes(&metadata);
                let mut known = self.known();
                known.names.insert(attributes.ino, name.to_owned());
                drop(known);
                reply.entry(&VALID, &attributes, Generation(0));
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if inode == INodeNo::ROOT {
            return reply.attr(&VALID, &root_attributes());
        }
        match self.open_inode(inode) {
            Ok((_, metadata)) => reply.attr(&VALID, &file_attributes(&metadata)),
            Err(error) => reply.error(error.into()),
        }
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_inode(inode) {
            Ok((file, _)) => {
                let handle = self.known().open.insert(Arc::new(file));
                self.disk.opens.take(Open { handle, reply });
            }
            Err(error) => reply.error(error.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        bytes: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file = self.known().open.get(handle.0 as usize).cloned();
        match file {
            Some(file) => self.disk.reads.take(Read {
                file,
                offset,
                bytes: bytes as usize,
                reply,
            }),
            None => reply.error(Errno::EBADF),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.known().open.try_remove(handle.0 as usize);
        reply.ok();
    }
}
