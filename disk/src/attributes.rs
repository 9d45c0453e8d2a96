//! Extended attributes: xattr(7).

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::rc::Rc;

use crate::buffer::IoBufMut;
use crate::file::File;
use crate::kernel::Attribute;
use crate::loan::{Loan, settle};
use crate::request::Request;

/// Enough for most values.
const FIRST_TRY: usize = 256;
/// The most that a value, or a list of names, may take: `XATTR_SIZE_MAX`, `XATTR_LIST_MAX`.
const SIZE_MAX: usize = 65536;

/// Whether an attribute must be there before it is set: fsetxattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetAttribute {
    /// It is made or replaced.
    #[default]
    Either,
    /// It is made; `EEXIST` if it is there.
    Create,
    /// It is replaced; `ENODATA` if it is not there.
    Replace,
}

/// The file must be opened for reading or writing: one opened with
/// [`OpenOptions::directory`](crate::OpenOptions::directory) answers `EBADF`. On a memory filesystem
/// attributes are answered on the calling thread. Looking is retried after `EINTR`; a change, which
/// may have been made, is not.
impl File {
    async fn attribute(
        &self,
        name: &OsStr,
        value: Loan,
        attribute: Attribute,
    ) -> (io::Result<u32>, Option<Loan>) {
        let name = match CString::new(name.as_bytes()) {
            Ok(name) => name,
            Err(error) => return (Err(error.into()), None),
        };
        let request = Request::Attribute {
            file: Rc::clone(self.descriptor()),
            name,
            value,
            attribute,
        };
        let (result, request) = self.run(request).await;
        let Request::Attribute { value, .. } = request else {
            unreachable!("an operation returns its own request");
        };
        (result, Some(value))
    }

    /// `name` is not used where all are listed.
    async fn fetch(&self, name: &OsStr, attribute: Attribute) -> io::Result<Vec<u8>> {
        let mut room = FIRST_TRY;
        loop {
            let loan = Vec::with_capacity(room).lend();
            let (result, loan) = self.attribute(name, loan, attribute).await;
            match (result, loan) {
                (Err(error), _)
                    if error.raw_os_error() == Some(libc::ERANGE) && room < SIZE_MAX =>
                {
                    room = SIZE_MAX;
                }
                (Ok(length), Some(loan)) => return Ok(settle(Ok(length), loan).1),
                (Err(error), _) => return Err(error),
                (Ok(_), None) => unreachable!("what was carried out returns its loan"),
            }
        }
    }

    /// The value of an extended attribute: fgetxattr(2), Linux 5.19 on the ring.
    ///
    /// # Errors
    /// Those of fgetxattr(2), unchanged: `ENODATA` if there is none, `EOPNOTSUPP`...;
    /// `InvalidInput` for a name with a NUL byte.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn attribute_value(&self, name: impl AsRef<OsStr>) -> io::Result<Vec<u8>> {
        self.fetch(name.as_ref(), Attribute::Get).await
    }

    /// The names of all extended attributes: flistxattr(2), on a worker thread.
    ///
    /// # Errors
    /// Those of flistxattr(2), unchanged: `EOPNOTSUPP`; `E2BIG` for more than 64 KiB of names.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn attribute_names(&self) -> io::Result<Vec<OsString>> {
        let list = self.fetch(OsStr::new(""), Attribute::List).await?;
        let names = list.split(|byte| *byte == 0);
        let names = names.filter(|name| !name.is_empty());
        Ok(names
            .map(|name| OsString::from_vec(name.to_vec()))
            .collect())
    }

    /// Sets an extended attribute: fsetxattr(2), Linux 5.19 on the ring.
    ///
    /// # Errors
    /// Those of fsetxattr(2), unchanged: `ENOSPC`, `EDQUOT`, `EPERM`, `EOPNOTSUPP` for a namespace
    /// that the filesystem does not have...; `InvalidInput` for a name with a NUL byte.
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn set_attribute(
        &self,
        name: impl AsRef<OsStr>,
        value: Vec<u8>,
        how: SetAttribute,
    ) -> io::Result<()> {
        use crate::buffer::IoBuf;
        let flags = match how {
            SetAttribute::Either => 0,
            SetAttribute::Create => libc::XATTR_CREATE,
            SetAttribute::Replace => libc::XATTR_REPLACE,
        };
        let attribute = Attribute::Set { flags };
        let value = value.lend_source();
        self.attribute(name.as_ref(), value, attribute).await.0?;
        Ok(())
    }

    /// Removes an extended attribute: fremovexattr(2), on a worker thread.
    ///
    /// # Errors
    /// Those of fremovexattr(2), unchanged: `ENODATA` if there is none...; `InvalidInput` for a
    /// name with a NUL byte.
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn remove_attribute(&self, name: impl AsRef<OsStr>) -> io::Result<()> {
        let nothing = Vec::new().lend();
        let result = self
            .attribute(name.as_ref(), nothing, Attribute::Remove)
            .await;
        result.0.map(drop)
    }
}
