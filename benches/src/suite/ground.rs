//! Filesystems that are made to be measured, and taken down.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::process::geteuid;

use super::stage::Stage;
use crate::Error;
use crate::cold::Files;

/// What statfs(2) says of ext4.
const EXT4_MAGIC: u64 = 0xef53;
/// What an image has beside its files: tables, and room.
const IMAGE_BYTES: u64 = 32 << 20;

/// Where files are served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filesystem {
    Ext4,
    /// Over ext4.
    Overlay,
}

impl Filesystem {
    pub(super) const ALL: [Filesystem; 2] = [Filesystem::Ext4, Filesystem::Overlay];
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Filesystem::Ext4 => "ext4",
            Filesystem::Overlay => "overlayfs",
        })
    }
}

/// From now on this thread, and what it starts, mounts for itself only: the last of them to end takes all
/// mounts along, however it ends.
///
/// # Errors
/// [`Error::Start`] unless root.
pub(super) fn enter_own_mounts() -> Result<(), Error> {
    let cannot = |error: &dyn fmt::Display| {
        Error::Start(format!("it needs root, to mount what is measured: {error}"))
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| cannot(&error))?;
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", flags).map_err(|error| cannot(&error))
}

/// A directory with `hot.bin`, `index.html` and `cold/`, on a filesystem.
#[derive(Debug)]
pub(super) struct Ground {
    /// What is served.
    pub(super) root: PathBuf,
    /// The same files, on the disk.
    pub(super) below: PathBuf,
    /// Taken down in this order.
    _mounts: Vec<Mounted>,
}

impl Ground {
    /// `files` in a directory, which is made once.
    pub(super) fn of_directory(
        stage: &Stage<'_>,
        files: &Files,
        filesystem: Filesystem,
    ) -> Result<Ground, Error> {
        let below = fill(stage, files, &format!("{}-of-{}", files.count, files.size))?;
        let found = rustix::fs::statfs(&below).map_err(|error| Error::Run(error.to_string()))?;
        if found.f_type as u64 != EXT4_MAGIC {
            let place = stage.options.directory.display();
            return Err(Error::Start(format!(
                "{place} is not on ext4: say --directory"
            )));
        }
        Ground::over(stage, below, Vec::new(), filesystem)
    }

    /// `files` in an image that is mounted anew: nobody has looked at any of them.
    pub(super) fn of_image(
        stage: &Stage<'_>,
        files: &Files,
        filesystem: Filesystem,
    ) -> Result<Ground, Error> {
        let name = format!("{}-of-{}", files.count, files.size);
        let image = stage.directory("images")?.join(&name);
        if !image.exists() {
            let content = fill(stage, files, &format!("nested-{name}"))?;
            make_image(&image, &content, files)?;
        }
        let at = stage.directory(&format!("image-{filesystem}"))?;
        let mounted = Mounted::new(&at, &["-o", "loop,ro"], &image.to_string_lossy())?;
        Ground::over(stage, at, vec![mounted], filesystem)
    }

    fn over(
        stage: &Stage<'_>,
        below: PathBuf,
        mut mounts: Vec<Mounted>,
        filesystem: Filesystem,
    ) -> Result<Ground, Error> {
        let mut root = below.clone();
        if filesystem == Filesystem::Overlay {
            let part = |name| stage.directory(&format!("overlay/{name}"));
            let (upper, work) = (part("upper")?, part("work")?);
            root = part("root")?;
            let [lower, upper, work] = [&below, &upper, &work].map(|path| path.display());
            let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
            let mounted = Mounted::new(&root, &["-t", "overlay", "-o", &options], "overlay")?;
            mounts.insert(0, mounted);
        }
        Ok(Ground {
            root,
            below,
            _mounts: mounts,
        })
    }
}

/// The files of a site, in a directory of that name.
fn fill(stage: &Stage<'_>, files: &Files, name: &str) -> Result<PathBuf, Error> {
    let root = stage.files(&format!("site-{name}"), &[("hot.bin".to_owned(), 1024)])?;
    let cold = stage.directory(&format!("site-{name}/cold"))?;
    let files = Files {
        dir: cold,
        ..files.clone()
    };
    files.create_missing(stage.interrupt)?;
    Ok(root)
}

/// An ext4 image of what is in `content`.
fn make_image(image: &Path, content: &Path, files: &Files) -> Result<(), Error> {
    // A file has a directory of its own, of a block.
    let bytes = files.count as u64 * (files.size + 4096) * 2 + IMAGE_BYTES;
    let mut command = Command::new("mke2fs");
    command
        .args(["-q", "-t", "ext4", "-O", "^has_journal", "-d"])
        .arg(content);
    command.args(["-N", &(files.count * 2 + 1000).to_string()]);
    command.arg(image).arg(format!("{}k", bytes / 1024));
    succeed(command)
}

/// Runs it to its end.
fn succeed(mut command: Command) -> Result<(), Error> {
    let name = command.get_program().display().to_string();
    let failed = |why: &dyn fmt::Display| Error::Start(format!("{name}: {why}"));
    let output = command.output().map_err(|error| failed(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(&said.lines().next().unwrap_or("it failed")))
}

/// Something mounted, until this goes.
#[derive(Debug)]
struct Mounted {
    at: PathBuf,
}

impl Mounted {
    fn new(at: &Path, options: &[&str], what: &str) -> Result<Mounted, Error> {
        if !geteuid().is_root() {
            return Err(Error::Start("mounting needs root".to_owned()));
        }
        let mut command = Command::new("mount");
        command.args(options).arg(what).arg(at);
        succeed(command)?;
        Ok(Mounted { at: at.to_owned() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Detached: who still has a file open there keeps nobody from removing the directory.
        if let Err(error) = unmount(&self.at, UnmountFlags::DETACH) {
            eprintln!("ambidex-bench: unmounting {}: {error}", self.at.display());
        }
    }
}
