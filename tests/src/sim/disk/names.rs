//! What the fake kernel does with names: opening, removing, renaming, linking, and reading directories.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::World;
use super::tree::{Errno, Kind, Node, Rules, Spot, Trail};

/// A change of names, with its paths in memory of its own.
pub(super) enum Renaming {
    Unlink,
    RemoveDir,
    CreateDir(u32),
    Symlink(Vec<u8>),
    Rename(Trail, Vec<u8>, u32),
    HardLink(Trail, Vec<u8>),
}

/// The last name itself, whatever it is.
const ITSELF: Rules = Rules {
    follow: false,
    resolve: 0,
};

impl World {
    /// openat2(2): what is opened, and where a directory lies.
    pub(super) fn open_path(
        &mut self,
        from: &Trail,
        path: &[u8],
        flags: i32,
        mode: u32,
        resolve: u64,
    ) -> Result<(Node, Trail), Errno> {
        let has = |flag| flags & flag == flag;
        let exclusive = has(libc::O_CREAT | libc::O_EXCL);
        let follow = !has(libc::O_NOFOLLOW) && !exclusive;
        let spot = self.tree.walk(from, path, Rules { follow, resolve })?;
        let Some(node) = spot.node.clone() else {
            if !has(libc::O_CREAT) || has(libc::O_PATH) {
                return Err(libc::ENOENT);
            }
            if spot.slash {
                return Err(libc::EISDIR);
            }
            let node = self.tree.make(Kind::File(Vec::new()), mode & !UMASK);
            self.name_it(&spot, &node);
            return Ok((node, spot.above));
        };
        if exclusive {
            return Err(libc::EEXIST);
        }
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || has(libc::O_CREAT);
        match &mut node.borrow_mut().kind {
            Kind::Directory(_) if writes && !has(libc::O_PATH) => return Err(libc::EISDIR),
            Kind::Directory(_) => {}
            _ if has(libc::O_DIRECTORY) || spot.slash => return Err(libc::ENOTDIR),
            Kind::Link(_) if !has(libc::O_PATH) => return Err(libc::ELOOP),
            Kind::File(content) if has(libc::O_TRUNC) => content.clear(),
            Kind::File(_) | Kind::Link(_) => {}
        }
        let mut trail = spot.above;
        if node.borrow().is_directory() && !spot.name.is_empty() {
            trail.push(Rc::clone(&node));
        }
        Ok((node, trail))
    }

    /// Gives a file its name.
    fn name_it(&mut self, spot: &Spot, node: &Node) {
        spot.put(Some(Rc::clone(node)));
        let directory = spot.above.last().expect("the root");
        directory.borrow_mut().modified = self.tree.tick();
    }

    /// One of the calls that change names.
    pub(super) fn rename(
        &mut self,
        from: &Trail,
        path: &[u8],
        what: &Renaming,
    ) -> Result<(), Errno> {
        let spot = self.tree.walk(from, path, ITSELF)?;
        match what {
            Renaming::Unlink => {
                if spot.found()?.borrow().is_directory() {
                    return Err(libc::EISDIR);
                }
                spot.put(None);
            }
            Renaming::RemoveDir => {
                let node = spot.found()?;
                let empty = node.borrow_mut().names().ok_or(libc::ENOTDIR)?.is_empty();
                if !empty {
                    return Err(libc::ENOTEMPTY);
                }
                if spot.name.is_empty() {
                    return Err(libc::EINVAL);
                }
                spot.put(None);
            }
            Renaming::CreateDir(mode) => {
                let directory = Kind::Directory(BTreeMap::new());
                self.add(&spot, directory, *mode & !UMASK, true)?;
            }
            Renaming::Symlink(target) => {
                if target.is_empty() {
                    return Err(libc::ENOENT);
                }
                self.add(&spot, Kind::Link(target.clone()), 0o777, false)?;
            }
            Renaming::HardLink(to_from, to) => {
                let node = spot.found()?;
                let to = self.tree.walk(to_from, to, ITSELF)?;
                if to.node.is_some() {
                    return Err(libc::EEXIST);
                }
                if to.slash {
                    return Err(libc::ENOENT);
                }
                if node.borrow().is_directory() {
                    return Err(libc::EPERM);
                }
                self.name_it(&to, &node);
            }
            Renaming::Rename(to_from, to, flags) => {
                let to = self.tree.walk(to_from, to, ITSELF)?;
                return self.move_name(&spot, &to, *flags);
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        spot: &Spot,
        kind: Kind,
        mode: u32,
        slash_allowed: bool,
    ) -> Result<(), Errno> {
        if spot.node.is_some() {
            return Err(libc::EEXIST);
        }
        if spot.slash && !slash_allowed {
            return Err(libc::ENOENT);
        }
        let node = self.tree.make(kind, mode);
        self.name_it(spot, &node);
        Ok(())
    }

    /// renameat2(2)
    fn move_name(&mut self, from: &Spot, to: &Spot, flags: u32) -> Result<(), Errno> {
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        let keep = flags & libc::RENAME_NOREPLACE != 0;
        if exchange && keep {
            return Err(libc::EINVAL);
        }
        if from.name.is_empty() || to.name.is_empty() {
            return Err(libc::EBUSY);
        }
        let node = from.node.clone().ok_or(libc::ENOENT)?;
        if keep && to.node.is_some() {
            return Err(libc::EEXIST);
        }
        let is_directory = node.borrow().is_directory();
        if (from.slash || to.slash) && !is_directory {
            return Err(libc::ENOTDIR);
        }
        if to.above.iter().any(|above| Rc::ptr_eq(above, &node)) {
            return Err(libc::EINVAL);
        }
        let Some(there) = to.node.clone() else {
            if exchange {
                return Err(libc::ENOENT);
            }
            from.put(None);
            self.name_it(to, &node);
            return Ok(());
        };
        if exchange {
            from.put(Some(there));
            self.name_it(to, &node);
            return Ok(());
        }
        if Rc::ptr_eq(&there, &node) {
            return Ok(());
        }
        match there.borrow_mut().names() {
            Some(_) if !is_directory => return Err(libc::EISDIR),
            None if is_directory => return Err(libc::ENOTDIR),
            Some(names) if !names.is_empty() => return Err(libc::ENOTEMPTY),
            _ => {}
        }
        from.put(None);
        self.name_it(to, &node);
        Ok(())
    }

    /// readlinkat(2)
    pub(super) fn link_target(&self, from: &Trail, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let spot = self.tree.walk(from, path, ITSELF)?;
        match &spot.found()?.borrow().kind {
            Kind::Link(target) => Ok(target.clone()),
            _ => Err(libc::EINVAL),
        }
    }
}

/// What every file of this kernel is made with less.
const UMASK: u32 = 0o022;

/// As many entries from `position` on as fit into `room` bytes, as getdents64(2) writes them, and how many those are.
pub(super) fn directory_entries(
    directory: &Node,
    position: usize,
    room: usize,
) -> (Vec<u8>, usize) {
    let mut directory = directory.borrow_mut();
    let own = directory.number;
    let names = directory.names().expect("a directory");
    let dots = [b".".to_vec(), b"..".to_vec()].map(|name| (name, own, libc::DT_DIR));
    let others = names.iter().map(|(name, node)| {
        let node = node.borrow();
        let kind = match node.kind {
            Kind::File(_) => libc::DT_REG,
            Kind::Directory(_) => libc::DT_DIR,
            Kind::Link(_) => libc::DT_LNK,
        };
        (name.clone(), node.number, kind)
    });
    let (mut bytes, mut taken) = (Vec::new(), 0);
    for (name, number, kind) in dots.into_iter().chain(others).skip(position) {
        // d_ino, d_off, d_reclen, d_type, the name and its NUL.
        let length = (8 + 8 + 2 + 1 + name.len() + 1).next_multiple_of(8);
        if bytes.len() + length > room {
            break;
        }
        taken += 1;
        let end = bytes.len() + length;
        bytes.extend(number.to_ne_bytes());
        bytes.extend(((position + taken) as u64).to_ne_bytes());
        bytes.extend((length as u16).to_ne_bytes());
        bytes.push(kind);
        bytes.extend(name);
        bytes.resize(end, 0);
    }
    (bytes, taken)
}
