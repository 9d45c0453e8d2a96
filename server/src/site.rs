//! A directory that nothing leads out of.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ambidex::Handle;
use ambidex::disk::policy::Lane;
use ambidex::disk::{File, OpenOptions, Resolve};

/// A directory to serve, held open: every path is resolved from its descriptor.
///
/// Where openat2(2) can be had, the kernel itself refuses whatever leads outside: `..`, absolute
/// paths, symbolic links, magic links (`RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS`); links that stay
/// inside are followed. Where it is denied, each component is opened from the one before it and no
/// symbolic link is followed at all (`O_NOFOLLOW`).
#[derive(Clone, Debug)]
pub struct Site {
    root: File,
    openat2: bool,
}

impl Site {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`; open(2).
    pub async fn open(io: &Handle, path: impl AsRef<Path>) -> io::Result<Site> {
        let directory = OpenOptions::new().directory();
        let root = directory.open(io.disk(), path).await?;
        // Holding a directory takes no permission; finding something in it does.
        directory.open_at(&root, ".").await?;
        Ok(Site {
            root,
            openat2: io.disk().capabilities().openat2,
        })
    }

    /// The queue in which opening `path` waits, if it leads to a mount that may hang.
    pub(crate) fn lane(&self, path: &[u8]) -> Lane {
        let lane = self.root.place().lane();
        lane.unwrap_or_else(|| Lane::crossing(path))
    }

    /// Opens what `path`, relative and without `..`, names inside the site. It may be of any kind;
    /// nothing is waited for but the filesystem.
    ///
    /// # Errors
    /// `EXDEV` for what leads outside; those of openat2(2).
    ///
    /// # Cancel safety
    /// Dropping it abandons the open; a descriptor that arrives later is closed.
    pub async fn find(&self, path: &[u8]) -> io::Result<File> {
        let path = if path.is_empty() { b"." } else { path };
        let options = OpenOptions::new().nonblocking();
        if self.openat2 {
            let contained = Resolve::BENEATH | Resolve::NO_MAGICLINKS;
            let options = options.resolve(contained);
            return options.open_at(&self.root, OsStr::from_bytes(path)).await;
        }
        let mut dir = self.root.clone();
        let mut components = path.split(|byte| *byte == b'/').peekable();
        loop {
            let name = OsStr::from_bytes(components.next().unwrap_or(b"."));
            if name == ".." {
                return Err(io::ErrorKind::NotFound.into());
            }
            if components.peek().is_none() {
                return options.no_follow().open_at(&dir, name).await;
            }
            let step = OpenOptions::new().directory().no_follow();
            dir = step.open_at(&dir, name).await?;
        }
    }
}
