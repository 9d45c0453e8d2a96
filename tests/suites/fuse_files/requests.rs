//! The requests of the kernel, each an [`Act`](crate::daemon::Act).

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::daemon::{Op, Orders, Shared};
use crate::tree::Tree;

/// Names and attributes are asked for each time.
const TTL: Duration = Duration::ZERO;

/// No page cache: each write of the engine arrives as it was made.
const DIRECT: FopenFlags = FopenFlags::FOPEN_DIRECT_IO;

pub(crate) struct Requests {
    pub(crate) shared: Arc<Shared>,
}

impl Orders {
    /// Carries out `act`, unless it is to fail.
    fn carry_out<R>(&self, act: impl FnOnce() -> Result<R, Errno>) -> Result<R, Errno> {
        match self.errno {
            Some(errno) => Err(errno),
            None => act(),
        }
    }
}

impl Requests {
    /// A request that is answered by nothing but its success.
    fn plain(
        &self,
        op: Op,
        reply: ReplyEmpty,
        act: impl FnOnce(&mut Tree) -> Result<(), Errno> + Send + 'static,
    ) {
        let act = move |tree: &mut Tree, orders: Orders| match orders.carry_out(|| act(tree)) {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        };
        self.shared.arrived(op, Box::new(act));
    }

    /// A request that is answered by bytes, or, if it has no room, by how many there are.
    fn xattr(
        &self,
        op: Op,
        room: u32,
        reply: ReplyXattr,
        act: impl FnOnce(&mut Tree) -> Result<Vec<u8>, Errno> + Send + 'static,
    ) {
        let act = move |tree: &mut Tree, orders: Orders| match orders.carry_out(|| act(tree)) {
            Ok(value) if room == 0 => reply.size(value.len() as u32),
            Ok(value) if value.len() > room as usize => reply.error(Errno::ERANGE),
            Ok(value) => reply.data(&value),
            Err(errno) => reply.error(errno),
        };
        self.shared.arrived(op, Box::new(act));
    }
}

impl Filesystem for Requests {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.shared.quietly(|tree| {
            let inode = tree.find(parent.0, name)?;
            tree.attr(inode)
        });
        match found {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.shared.quietly(|tree| tree.attr(ino.0)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let act = move |tree: &mut Tree, orders: Orders| {
            let done = orders.carry_out(|| {
                if let Some(size) = size {
                    tree.node(ino.0)?.bytes.resize(size as usize, 0);
                }
                tree.attr(ino.0)
            });
            match done {
                Ok(attr) => reply.attr(&TTL, &attr),
                Err(errno) => reply.error(errno),
            }
        };
        self.shared.arrived(Op::SetAttr, Box::new(act));
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let name = name.to_owned();
        let act = move |tree: &mut Tree, orders: Orders| {
            let made = orders.carry_out(|| {
                let inode = tree.make(parent.0, &name, false)?;
                tree.attr(inode)
            });
            match made {
                Ok(attr) => {
                    tree.handles += 1;
                    reply.created(&TTL, &attr, Generation(0), FileHandle(0), DIRECT);
                }
                Err(errno) => reply.error(errno),
            }
        };
        self.shared.arrived(Op::Create, Box::new(act));
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let name = name.to_owned();
        let act = move |tree: &mut Tree, orders: Orders| {
            let made = orders.carry_out(|| {
                let inode = tree.make(parent.0, &name, true)?;
                tree.attr(inode)
            });
            match made {
                Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
                Err(errno) => reply.error(errno),
            }
        };
        self.shared.arrived(Op::MakeDir, Box::new(act));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.plain(Op::Unlink, reply, move |tree| {
            tree.remove(parent.0, &name, false)
        });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.plain(Op::RemoveDir, reply, move |tree| {
            tree.remove(parent.0, &name, true)
        });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, newname) = (name.to_owned(), newname.to_owned());
        self.plain(Op::Rename, reply, move |tree| {
            tree.rename((parent.0, &name), (newparent.0, &newname), flags.bits())
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let act = move |tree: &mut Tree, orders: Orders| match orders.errno {
            None => {
                tree.handles += 1;
                reply.opened(FileHandle(0), DIRECT);
            }
            Some(errno) => reply.error(errno),
        };
        self.shared.arrived(Op::Open, Box::new(act));
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
        self.shared.released();
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
        let act = move |tree: &mut Tree, orders: Orders| {
            let length = u64::from(size).min(orders.most as u64);
            match orders.carry_out(|| tree.read(ino.0, offset, length)) {
                Ok(bytes) => reply.data(&bytes),
                Err(errno) => reply.error(errno),
            }
        };
        self.shared.arrived(Op::Read, Box::new(act));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        let act = move |tree: &mut Tree, orders: Orders| {
            let data = &data[..data.len().min(orders.most)];
            match orders.carry_out(|| tree.write(ino.0, offset, data)) {
                Ok(()) => reply.written(data.len() as u32),
                Err(errno) => reply.error(errno),
            }
        };
        self.shared.arrived(Op::Write, Box::new(act));
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _: FileHandle,
        offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        length: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let act = move |tree: &mut Tree, orders: Orders| {
            let length = length.min(orders.most as u64);
            let copied = orders.carry_out(|| {
                let bytes = tree.read(from.0, offset, length)?;
                tree.write(to.0, to_offset, &bytes)?;
                Ok(bytes.len() as u32)
            });
            match copied {
                Ok(copied) => reply.written(copied),
                Err(errno) => reply.error(errno),
            }
        };
        self.shared.arrived(Op::Copy, Box::new(act));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.plain(Op::Flush, reply, |_| Ok(()));
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.plain(Op::Sync, reply, |_| Ok(()));
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.plain(Op::Allocate, reply, move |tree| {
            let bytes = &mut tree.node(ino.0)?.bytes;
            let end = (offset + length) as usize;
            if mode & libc::FALLOC_FL_KEEP_SIZE == 0 && bytes.len() < end {
                bytes.resize(end, 0);
            }
            if mode & libc::FALLOC_FL_PUNCH_HOLE != 0 {
                let end = bytes.len().min(end);
                bytes[offset as usize..end].fill(0);
            }
            Ok(())
        });
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let act = move |tree: &mut Tree, orders: Orders| {
            let entries = match orders.carry_out(|| tree.list(ino.0)) {
                Ok(entries) => entries,
                Err(errno) => return reply.error(errno),
            };
            for (at, (name, inode, kind)) in (1..).zip(entries).skip(offset as usize) {
                if reply.add(INodeNo(inode), at, kind, name) {
                    break;
                }
            }
            reply.ok();
        };
        self.shared.arrived(Op::ReadDir, Box::new(act));
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.to_owned(), value.to_vec());
        self.plain(Op::SetAttribute, reply, move |tree| {
            let attributes = &mut tree.node(ino.0)?.attributes;
            match attributes.contains_key(&name) {
                true if flags & libc::XATTR_CREATE != 0 => return Err(Errno::EEXIST),
                false if flags & libc::XATTR_REPLACE != 0 => return Err(Errno::ENODATA),
                _ => attributes.insert(name, value),
            };
            Ok(())
        });
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.to_owned();
        self.xattr(Op::GetAttribute, size, reply, move |tree| {
            let value = tree.node(ino.0)?.attributes.get(&name);
            value.cloned().ok_or(Errno::ENODATA)
        });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.xattr(Op::ListAttributes, size, reply, move |tree| {
            let names = tree.node(ino.0)?.attributes.keys();
            let names = names.flat_map(|name| [name.as_encoded_bytes(), b"\0"].concat());
            Ok(names.collect())
        });
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.plain(Op::RemoveAttribute, reply, move |tree| {
            let removed = tree.node(ino.0)?.attributes.remove(&name);
            removed.map(drop).ok_or(Errno::ENODATA)
        });
    }
}
