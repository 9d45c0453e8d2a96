//! A control group of our own, for the rigs that limit what one process may have.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Removed when dropped; who is in it then goes back to the root.
pub(super) struct Group {
    root: PathBuf,
    path: PathBuf,
}

impl Group {
    /// A new group below `root`, where a controller is mounted.
    ///
    /// # Errors
    ///
    /// What the control group file system answers: `NotFound` without it, `PermissionDenied` without root.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ambidex-{}-{serial}", std::process::id());
        let path = root.join(name);
        fs::create_dir(&path)?;
        let root = root.to_owned();
        Ok(Self { root, path })
    }

    /// Moves the process `pid`, with all its threads, into the group.
    ///
    /// # Errors
    ///
    /// That of the write to `cgroup.procs`.
    pub(super) fn attach(&self, pid: u32) -> io::Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// Sets the control file `name`.
    ///
    /// # Errors
    ///
    /// That of the write.
    pub(super) fn write(&self, name: &str, value: &str) -> io::Result<()> {
        fs::write(self.path.join(name), value)
    }

    /// What the control file `name` says.
    ///
    /// # Errors
    ///
    /// That of reading it.
    pub(super) fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.path.join(name))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for pid in self.read("cgroup.procs").unwrap_or_default().lines() {
            // A process may be gone by now, which is as good as moved.
            let _ = fs::write(self.root.join("cgroup.procs"), pid);
        }
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("removing {}: {error}", self.path.display());
        }
    }
}
