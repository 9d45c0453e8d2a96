//! Extended attributes of the fake kernel's files, xattr(7).

use std::os::fd::RawFd;

use super::World;
use super::tree::Errno;

impl World {
    pub(super) fn attribute_value(&self, fd: RawFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let node = self.node(fd)?;
        check(name)?;
        let value = node.borrow().attributes.get(name).cloned();
        value.ok_or(libc::ENODATA)
    }

    /// The names, each with a NUL after it.
    pub(super) fn attribute_names(&self, fd: RawFd) -> Result<Vec<u8>, Errno> {
        let node = self.node(fd)?;
        let mut list = Vec::new();
        for name in node.borrow().attributes.keys() {
            list.extend_from_slice(name);
            list.push(0);
        }
        Ok(list)
    }

    pub(super) fn set_attribute(
        &mut self,
        fd: RawFd,
        name: Vec<u8>,
        value: Vec<u8>,
        flags: i32,
    ) -> Result<(), Errno> {
        let node = self.node(fd)?;
        check(&name)?;
        let attributes = &mut node.borrow_mut().attributes;
        match attributes.contains_key(&name) {
            true if flags & libc::XATTR_CREATE != 0 => return Err(libc::EEXIST),
            false if flags & libc::XATTR_REPLACE != 0 => return Err(libc::ENODATA),
            _ => {}
        }
        attributes.insert(name, value);
        Ok(())
    }

    pub(super) fn remove_attribute(&mut self, fd: RawFd, name: &[u8]) -> Result<(), Errno> {
        let node = self.node(fd)?;
        check(name)?;
        let removed = node.borrow_mut().attributes.remove(name);
        removed.map(drop).ok_or(libc::ENODATA)
    }
}

/// Whether there are attributes with such a name.
fn check(name: &[u8]) -> Result<(), Errno> {
    if !name.starts_with(b"user.") {
        return Err(libc::EOPNOTSUPP);
    }
    Ok(())
}
