//! A disk that breaks below a real file system: ext4 on a loop device whose image is a file of a [`fuse`](super::fuse)
//! rig. What the rig delays or fails there, the server meets as a slow or failing disk.
//!
//! As with a rig, what waits for this disk can only end when it is healed or dropped: drop it before
//! anything that waits for the process under test.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::fuse::{CACHED, Pace, Rig, Script};

const BLOCK_BYTES: usize = 4096;
/// What ext4 needs beside the files.
const SPARE_BYTES: u64 = 4 << 20;
const IMAGE: &str = "image";

/// Why this machine cannot mount one, or `None` when it can.
pub fn missing() -> Option<String> {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let probe = TempDir::new().and_then(|at| {
            let files = TempDir::new()?;
            LoopDisk::mount(at.path(), files.path()).map(drop)
        });
        let needs = "ext4 on a loop device over FUSE (root, losetup, mkfs.ext4)";
        probe.err().map(|error| format!("{needs}: {error}"))
    });
    reason.clone()
}

/// A mounted disk. Unmounted when dropped, with all that waits for it answered `EIO`.
pub struct LoopDisk {
    at: PathBuf,
    device: String,
    image: Arc<[u8]>,
    mounted: bool,
    // Last: the device above it goes first.
    rig: Rig,
    _folder: TempDir,
}

impl LoopDisk {
    /// Mounts at `at`, read-only, a file system that holds copies of what is in the directory `files`.
    ///
    /// # Errors
    ///
    /// Those of `mkfs.ext4`, `losetup`, `mount(2)` and [`Rig::mount`].
    pub fn mount(at: &Path, files: &Path) -> io::Result<Self> {
        let folder = TempDir::new()?;
        let image = image(files, &folder.path().join(IMAGE))?;
        let below = folder.path().join("below");
        fs::create_dir(&below)?;
        let script = Script::new(image.clone()).direct();
        let rig = Rig::mount(&below, CACHED, vec![(IMAGE, script)])?;
        let mut losetup = Command::new("losetup");
        losetup.args(["--read-only", "--find", "--show"]);
        let device = output(losetup.arg(below.join(IMAGE)))?;
        let mut disk = Self {
            at: at.to_owned(),
            device: device.trim().to_owned(),
            image,
            mounted: false,
            rig,
            _folder: folder,
        };
        mount(&disk.device, at, "ext4", MountFlags::RDONLY, c"noload")?;
        disk.mounted = true;
        Ok(disk)
    }

    /// Fails with `EIO` each read of the block that holds `bytes`, a part of a file that begins and ends
    /// with a block.
    ///
    /// # Panics
    ///
    /// When no block of the disk holds them.
    pub fn fail(&self, bytes: &[u8]) {
        let mut blocks = self.image.chunks(BLOCK_BYTES);
        let at = blocks.position(|block| block == bytes);
        let from = (at.expect("a block of a file") * BLOCK_BYTES) as u64;
        let to = from + BLOCK_BYTES as u64;
        self.rig
            .change(IMAGE, |script| script.fail_within(from, to));
    }

    /// Answers each read of the device at this pace.
    pub fn pace(&self, pace: Pace) {
        self.rig.change(IMAGE, |script| script.read(pace));
    }

    /// What is underneath, to look at what it holds back.
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// Answers all that waits, and reads right and at once from now on.
    pub fn heal(&self) {
        let whole = Script::new(self.image.clone()).direct();
        self.rig.change(IMAGE, |_| whole);
        self.rig.release();
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        self.heal();
        if self.mounted
            && let Err(error) = unmount(&self.at, UnmountFlags::DETACH)
        {
            eprintln!("unmounting {}: {error}", self.at.display());
        }
        // Lazily, if somebody has a file open: it goes with the last of them.
        let detached = output(Command::new("losetup").args(["--detach", &self.device]));
        if let Err(error) = detached {
            eprintln!("detaching {}: {error}", self.device);
        }
    }
}

/// An ext4 image of what is in `files`.
fn image(files: &Path, at: &Path) -> io::Result<Arc<[u8]>> {
    let mut bytes = SPARE_BYTES;
    for file in fs::read_dir(files)? {
        bytes += file?.metadata()?.len();
    }
    fs::File::create(at)?.set_len(bytes.next_multiple_of(BLOCK_BYTES as u64))?;
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args([
        "-q",
        "-F",
        "-b",
        &BLOCK_BYTES.to_string(),
        "-O",
        "^has_journal",
        "-d",
    ]);
    output(mkfs.arg(files).arg(at))?;
    Ok(fs::read(at)?.into())
}

fn output(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(words));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
