//! Filesystems of one's own: an image in a temporary directory, mounted by way of a loop device, and overlayfs.
//!
//! Needs root, and the Debian packages `e2fsprogs`, `xfsprogs` and `btrfs-progs` for what is asked of them.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

/// What can be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filesystem {
    /// `mkfs.ext4`
    Ext4,
    /// `mkfs.xfs`
    Xfs,
    /// `mkfs.btrfs`
    Btrfs,
    /// Two directories of the temporary one, one over the other.
    Overlay,
}

impl Filesystem {
    /// As mount(8) calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Filesystem::Ext4 => "ext4",
            Filesystem::Xfs => "xfs",
            Filesystem::Btrfs => "btrfs",
            Filesystem::Overlay => "overlay",
        }
    }

    /// Further options of its mkfs.
    fn options(self) -> &'static [&'static str] {
        match self {
            // Small images get small blocks, which no disk of today has.
            Filesystem::Ext4 => &["-b", "4096"],
            _ => &[],
        }
    }

    /// The smallest image that its mkfs takes, or some more.
    fn image_bytes(self) -> u64 {
        match self {
            Filesystem::Xfs => 320 << 20,
            Filesystem::Btrfs => 128 << 20,
            Filesystem::Ext4 | Filesystem::Overlay => 64 << 20,
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mount that ends with its owner, even by a panic. The loop device ends with it.
#[derive(Debug)]
pub struct LoopFs {
    own: TempDir,
}

impl LoopFs {
    /// Makes a filesystem and mounts it.
    ///
    /// # Errors
    /// Why this machine cannot: no root, a package that is missing, no loop devices.
    pub fn mount(filesystem: Filesystem) -> io::Result<LoopFs> {
        let own = TempDir::new()?;
        let at = own.path().join("mount");
        fs::create_dir(&at)?;
        if filesystem == Filesystem::Overlay {
            let options = ["lowerdir", "upperdir", "workdir"].map(|part| {
                let path = own.path().join(part);
                fs::create_dir(&path).map(|()| format!("{part}={}", path.display()))
            });
            let options = options.into_iter().collect::<io::Result<Vec<_>>>()?;
            let mut mount = Command::new("mount");
            mount.args(["-t", "overlay", "overlay", "-o", &options.join(",")]);
            run(mount.arg(&at))?;
        } else {
            let image = own.path().join("image");
            File::create(&image)?.set_len(filesystem.image_bytes())?;
            let mut mkfs = Command::new(format!("mkfs.{filesystem}"));
            mkfs.arg("-q").args(filesystem.options());
            run(mkfs.arg(&image))?;
            let kind = filesystem.name();
            let mut mount = Command::new("mount");
            run(mount.args(["-t", kind, "-o", "loop"]).arg(&image).arg(&at))?;
        }
        Ok(LoopFs { own })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.own.path().join("mount")
    }
}

/// Runs to its end; its complaint is the error.
fn run(command: &mut Command) -> io::Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let text = format!("{program}: {}", complaint.trim());
    Err(io::Error::other(text))
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        // Detached: whoever still has a file open ends the filesystem with it.
        if let Err(error) = unmount(self.path(), UnmountFlags::DETACH) {
            eprintln!("unmounting {}: {error}", self.path().display());
        }
    }
}
