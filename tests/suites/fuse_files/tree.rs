//! What the daemon keeps: files and directories in memory, as a file system has them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::UNIX_EPOCH;

use fuser::{Errno, FileAttr, FileType, INodeNo};

const ROOT: u64 = 1;

/// A directory entry: its name, inode and kind.
pub(crate) type Entry = (OsString, u64, FileType);

#[derive(Default)]
pub(crate) struct Node {
    pub(crate) bytes: Vec<u8>,
    pub(crate) attributes: BTreeMap<OsString, Vec<u8>>,
    /// `None` for a file.
    entries: Option<BTreeMap<OsString, u64>>,
    names: u32,
}

/// Files and directories by inode.
pub(crate) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Opens that have not been released.
    pub(crate) handles: usize,
}

impl Default for Tree {
    fn default() -> Tree {
        let root = Node {
            entries: Some(BTreeMap::new()),
            names: 1,
            ..Node::default()
        };
        Tree {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            handles: 0,
        }
    }
}

impl Tree {
    pub(crate) fn node(&mut self, inode: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::ENOENT)
    }

    fn entries(&mut self, inode: u64) -> Result<&mut BTreeMap<OsString, u64>, Errno> {
        self.node(inode)?.entries.as_mut().ok_or(Errno::ENOTDIR)
    }

    pub(crate) fn find(&mut self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.entries(parent)?
            .get(name)
            .copied()
            .ok_or(Errno::ENOENT)
    }

    pub(crate) fn attr(&mut self, inode: u64) -> Result<FileAttr, Errno> {
        let node = self.node(inode)?;
        let (kind, perm) = match node.entries {
            Some(_) => (FileType::Directory, 0o755),
            None => (FileType::RegularFile, 0o644),
        };
        let size = node.bytes.len() as u64;
        Ok(FileAttr {
            ino: INodeNo(inode),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: node.names,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    pub(crate) fn make(&mut self, parent: u64, name: &OsStr, dir: bool) -> Result<u64, Errno> {
        let inode = self.next;
        let entries = self.entries(parent)?;
        if entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        entries.insert(name.to_owned(), inode);
        self.next += 1;
        let node = Node {
            entries: dir.then(BTreeMap::new),
            names: 1,
            ..Node::default()
        };
        self.nodes.insert(inode, node);
        Ok(inode)
    }

    pub(crate) fn remove(&mut self, parent: u64, name: &OsStr, dir: bool) -> Result<(), Errno> {
        let inode = self.find(parent, name)?;
        match &self.node(inode)?.entries {
            Some(_) if !dir => return Err(Errno::EISDIR),
            None if dir => return Err(Errno::ENOTDIR),
            Some(entries) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
            _ => {}
        }
        self.entries(parent)?.remove(name);
        // The node stays: somebody may have it open.
        self.node(inode)?.names -= 1;
        Ok(())
    }

    pub(crate) fn rename(
        &mut self,
        (from, name): (u64, &OsStr),
        (to, new): (u64, &OsStr),
        flags: u32,
    ) -> Result<(), Errno> {
        let moved = self.find(from, name)?;
        let there = self.find(to, new).ok();
        if flags & libc::RENAME_EXCHANGE != 0 {
            let there = there.ok_or(Errno::ENOENT)?;
            self.entries(from)?.insert(name.to_owned(), there);
        } else {
            if there.is_some() && flags & libc::RENAME_NOREPLACE != 0 {
                return Err(Errno::EEXIST);
            }
            self.entries(from)?.remove(name);
            if let Some(there) = there {
                self.node(there)?.names -= 1;
            }
        }
        self.entries(to)?.insert(new.to_owned(), moved);
        Ok(())
    }

    pub(crate) fn list(&mut self, inode: u64) -> Result<Vec<Entry>, Errno> {
        let entries = self.entries(inode)?.clone();
        let mut list = vec![
            (".".into(), inode, FileType::Directory),
            ("..".into(), ROOT, FileType::Directory),
        ];
        for (name, inode) in entries {
            list.push((name, inode, self.attr(inode)?.kind));
        }
        Ok(list)
    }

    pub(crate) fn write(&mut self, inode: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let bytes = &mut self.node(inode)?.bytes;
        let offset = offset as usize;
        if bytes.len() < offset + data.len() {
            bytes.resize(offset + data.len(), 0);
        }
        bytes[offset..offset + data.len()].copy_from_slice(data);
        Ok(())
    }

    pub(crate) fn read(&mut self, inode: u64, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let bytes = &self.node(inode)?.bytes;
        let from = bytes.len().min(offset as usize);
        let to = bytes.len().min(from.saturating_add(length as usize));
        Ok(bytes[from..to].to_vec())
    }
}
