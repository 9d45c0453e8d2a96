//! A directory that nothing leads out of.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use ambidex::Handle;
use ambidex::disk::policy::Place;
use ambidex::disk::{File, Metadata, OpenOptions, Pool, Resolve};

use crate::error_page::Kept;
use crate::files::{Files, Symlinks};
use crate::listing;

/// A directory to serve, held open: every path is resolved from its descriptor.
///
/// Where openat2(2) can be had, the kernel itself refuses whatever leads outside: `..`, absolute
/// paths, symbolic links, magic links (`RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS`); links that stay
/// inside are followed. Where it is denied, each component is opened from the one before it and no
/// symbolic link is followed at all (`O_NOFOLLOW`).
///
/// The directory is held, not its name: if another is moved to its place (a deploy that swaps a
/// directory or a link to it), the old one is served until the server starts anew. To deploy
/// without that, swap a link below the root.
#[derive(Clone, Debug)]
pub struct Site {
    root: File,
    openat2: bool,
    /// The page for when the disk does not answer.
    pub(crate) kept: Rc<RefCell<Option<Rc<Kept>>>>,
    /// Whoever reads a directory, or sends a long listing, holds one of these.
    pub(crate) lists: Pool,
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
            kept: Rc::default(),
            lists: Pool::new(listing::AT_ONCE_MAX, 1),
        })
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
        let options = OpenOptions::new().nonblocking();
        self.resolve(options, path, Symlinks::Inside, false).await
    }

    /// As [`Site::find`], within what `files` allows.
    ///
    /// # Errors
    /// Those of [`Site::find`].
    pub(crate) async fn find_within(&self, path: &[u8], files: &Files) -> io::Result<File> {
        let options = OpenOptions::new().nonblocking();
        self.resolve(options, path, files.symlinks, files.same_mount)
            .await
    }

    /// What `path` leads to, without opening it for reading: that takes no permission, and a device
    /// does not notice.
    ///
    /// # Errors
    /// Those of [`Site::find`].
    pub(crate) async fn look(&self, path: &[u8], files: &Files) -> io::Result<Metadata> {
        let options = OpenOptions::new().custom_flags(libc::O_PATH);
        let found = self
            .resolve(options, path, files.symlinks, files.same_mount)
            .await?;
        metadata(&found).await
    }

    async fn resolve(
        &self,
        options: OpenOptions,
        path: &[u8],
        symlinks: Symlinks,
        same_mount: bool,
    ) -> io::Result<File> {
        let path = if path.is_empty() { b"." } else { path };
        if !self.openat2 {
            return self.walk(options, path, same_mount).await;
        }
        let mut how = match symlinks {
            Symlinks::Inside => Resolve::BENEATH | Resolve::NO_MAGICLINKS,
            Symlinks::None => Resolve::BENEATH | Resolve::NO_MAGICLINKS | Resolve::NO_SYMLINKS,
            // Links may lead anywhere; the path itself still may not.
            Symlinks::All if climbs(path) => return Err(io::ErrorKind::NotFound.into()),
            Symlinks::All => Resolve::NO_MAGICLINKS,
        };
        if same_mount {
            how = how | Resolve::NO_XDEV;
        }
        let options = options.resolve(how);
        options.open_at(&self.root, OsStr::from_bytes(path)).await
    }

    /// Without openat2(2): one component after the other, following no link.
    async fn walk(&self, options: OpenOptions, path: &[u8], same_mount: bool) -> io::Result<File> {
        if climbs(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut dir = self.root.clone();
        let mut components = path.split(|byte| *byte == b'/').peekable();
        loop {
            let name = OsStr::from_bytes(components.next().unwrap_or(b"."));
            let last = components.peek().is_none();
            let step = if last {
                options.clone().no_follow()
            } else {
                OpenOptions::new().directory().no_follow()
            };
            dir = step.open_at(&dir, name).await?;
            if same_mount && mount(&dir) != mount(&self.root) {
                return Err(io::Error::from_raw_os_error(libc::EXDEV));
            }
            if last {
                return Ok(dir);
            }
        }
    }
}

/// Whether a path says itself that it leads out.
fn climbs(path: &[u8]) -> bool {
    path.starts_with(b"/") || path.split(|byte| *byte == b'/').any(|name| name == b"..")
}

/// The mount, where the kernel tells (Linux 5.8), else the device.
fn mount(file: &File) -> u64 {
    let metadata = file.metadata_at_open();
    metadata.mount().unwrap_or(metadata.device())
}

/// What an open file is like now.
///
/// # Errors
/// Those of statx(2).
pub(crate) async fn metadata(file: &File) -> io::Result<Metadata> {
    match file.place() {
        // What was known at opening may be what the daemon said long ago.
        Place::Remote(_) => file.metadata().await,
        Place::Local | Place::Memory => Ok(*file.metadata_at_open()),
    }
}
