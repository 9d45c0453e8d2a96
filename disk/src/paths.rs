//! Names in directories: rename, remove, make, link.

use std::ffi::{CString, OsString};
use std::io;
use std::ops::BitOr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::buffer::IoBufMut;
use crate::file::File;
use crate::loan::settle;
use crate::operation;
use crate::policy::{Lane, Place};
use crate::request::{Request, Spot, Task};
use crate::ring::Handle;

/// The most bytes that a symbolic link holds, and one for the NUL that is not reported.
const PATH_MAX: usize = 4096;

/// How a name is moved: `RENAME_*` of renameat2(2).
///
/// ```
/// use ambidex_disk::Rename;
/// assert_ne!(Rename::NO_REPLACE, Rename::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rename(u32);

impl Rename {
    /// Fail with `EEXIST` instead of replacing what has the new name.
    pub const NO_REPLACE: Rename = Rename(libc::RENAME_NOREPLACE);
    /// Both names exist and change places.
    pub const EXCHANGE: Rename = Rename(libc::RENAME_EXCHANGE);
}

impl BitOr for Rename {
    type Output = Rename;
    fn bitor(self, other: Rename) -> Rename {
        Rename(self.0 | other.0)
    }
}

/// A name: a path, relative to a directory ([`File::at`]) or to the process ([`Handle::at`]).
///
/// A single component of a directory on a local mount stays there, so it goes to the ring, which
/// hands it to a thread of the kernel; on a memory filesystem making a directory or a link is done
/// on the calling thread. Any other path may lead anywhere, and goes to a worker thread, in a queue
/// of its own by its first component (decision 002).
///
/// `EINTR`, which only remote filesystems answer, is not retried: the change may have been made.
///
/// ```no_run
/// # async fn example(handle: ambidex_disk::Handle) -> std::io::Result<()> {
/// use ambidex_disk::{OpenOptions, Rename};
/// let site = OpenOptions::new().directory().open(&handle, "site").await?;
/// site.at("page.new").rename_to(site.at("page"), Rename::default()).await?;
/// handle.at("/tmp/old").unlink().await?;
/// # Ok(()) }
/// ```
#[must_use = "a name does nothing by itself"]
#[derive(Debug)]
pub struct At<'a> {
    ring: &'a Handle,
    dir: Option<&'a File>,
    path: PathBuf,
}

impl File {
    /// The name `path` relative to this directory, which may be opened with
    /// [`OpenOptions::directory`](crate::OpenOptions::directory).
    pub fn at(&self, path: impl AsRef<Path>) -> At<'_> {
        At {
            ring: self.ring(),
            dir: Some(self),
            path: path.as_ref().to_owned(),
        }
    }
}

impl Handle {
    /// The name `path`, absolute or relative to the working directory.
    pub fn at(&self, path: impl AsRef<Path>) -> At<'_> {
        At {
            ring: self,
            dir: None,
            path: path.as_ref().to_owned(),
        }
    }
}

/// Whether `path` cannot lead out of its directory.
fn is_one_name(path: &[u8]) -> bool {
    !path.contains(&b'/') && path != b".." && path != b"."
}

impl At<'_> {
    fn place(&self) -> Place {
        let path = self.path.as_os_str().as_bytes();
        match self.dir.map(File::place) {
            Some(place) if place.punt() || is_one_name(path) => place,
            _ => Place::Remote(Lane::crossing(path)),
        }
    }

    fn spot(&self) -> io::Result<Spot> {
        Ok(Spot {
            dir: self.dir.map(|dir| Rc::clone(dir.descriptor())),
            path: terminated(&self.path)?,
        })
    }

    async fn perform(&self, task: Task, place: Place) -> io::Result<(u32, Request)> {
        let request = Request::Name {
            at: self.spot()?,
            task,
        };
        let (result, request) = operation::run(self.ring, request, place).await;
        result.map(|result| (result, request))
    }

    async fn change(&self, task: Task) -> io::Result<()> {
        self.perform(task, self.place()).await.map(drop)
    }

    /// Removes the name of a file: unlinkat(2). The file goes with its last name and descriptor.
    ///
    /// # Errors
    /// Those of unlinkat(2), unchanged: `ENOENT`, `EISDIR`, `EACCES`, `EROFS`...
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn unlink(self) -> io::Result<()> {
        self.change(Task::Unlink).await
    }

    /// Removes an empty directory: unlinkat(2) with `AT_REMOVEDIR`.
    ///
    /// # Errors
    /// Those of unlinkat(2), unchanged: `ENOTEMPTY`, `ENOTDIR`, `ENOENT`...
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn remove_dir(self) -> io::Result<()> {
        self.change(Task::RemoveDir).await
    }

    /// Makes a directory with the permissions `mode`, less the umask: mkdirat(2).
    ///
    /// # Errors
    /// Those of mkdirat(2), unchanged: `EEXIST`, `ENOENT` for a missing parent...
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn create_dir(self, mode: u32) -> io::Result<()> {
        self.change(Task::CreateDir { mode }).await
    }

    /// Makes this name a symbolic link to `target`, which need not exist: symlinkat(2).
    ///
    /// # Errors
    /// Those of symlinkat(2), unchanged: `EEXIST`, `ENOENT` for an empty target...; `InvalidInput`
    /// for a NUL byte.
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn symlink_to(self, target: impl AsRef<Path>) -> io::Result<()> {
        let target = terminated(target.as_ref())?;
        self.change(Task::Symlink { target }).await
    }

    /// Gives this file `to` as a further name: linkat(2). A symbolic link is linked itself.
    ///
    /// # Errors
    /// Those of linkat(2), unchanged: `EEXIST`, `EXDEV` for another mount, `EPERM` for a
    /// directory...; `InvalidInput` if the two belong to different rings.
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn hard_link_to(self, to: At<'_>) -> io::Result<()> {
        let (place, to) = self.with(&to)?;
        self.perform(Task::HardLink { to }, place).await.map(drop)
    }

    /// Moves this name to `to`, replacing what is there, in one step: renameat2(2).
    ///
    /// # Errors
    /// Those of renameat2(2), unchanged: `EXDEV` for another mount, `ENOENT`, `ENOTEMPTY`, `EINVAL`
    /// for a directory into itself, and where the filesystem does not know the flag;
    /// `InvalidInput` if the two belong to different rings.
    ///
    /// # Cancel safety
    /// Dropped, it may still happen.
    pub async fn rename_to(self, to: At<'_>, how: Rename) -> io::Result<()> {
        let (place, to) = self.with(&to)?;
        let task = Task::Rename { to, flags: how.0 };
        self.perform(task, place).await.map(drop)
    }

    /// What a symbolic link says: readlinkat(2), on a worker thread.
    ///
    /// # Errors
    /// Those of readlinkat(2), unchanged: `EINVAL` for what is no link, `ENOENT`...
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn read_link(self) -> io::Result<PathBuf> {
        let loan = Vec::with_capacity(PATH_MAX).lend();
        let task = Task::ReadLink { loan };
        let (length, request) = self.perform(task, self.place()).await?;
        let Request::Name {
            task: Task::ReadLink { loan },
            ..
        } = request
        else {
            unreachable!("an operation returns its own request");
        };
        let (_, target) = settle::<Vec<u8>>(Ok(length), loan);
        Ok(OsString::from_vec(target).into())
    }

    fn with(&self, to: &At<'_>) -> io::Result<(Place, Spot)> {
        if !self.ring.is_same(to.ring) {
            let text = "two files of one operation belong to the same ring";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok((self.place().or_worse(to.place()), to.spot()?))
    }
}

fn terminated(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::is_one_name;

    #[test]
    fn only_a_lone_component_stays_in_its_directory() {
        assert!(is_one_name(b"name") && is_one_name(b"...") && is_one_name(b""));
        for path in [&b"a/b"[..], b"name/", b"/", b"..", b".", b"../name"] {
            assert!(!is_one_name(path), "{path:?}");
        }
    }
}
