//! A slow disk: a limit on the reads per second of one process, through cgroup v1's blkio controller.
//!
//! Only reads that reach the device count, so evict the files first ([`super::cold`]). While a limit is
//! low, a process with reads in flight cannot exit; drop the [`Throttle`] before waiting for it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{major, minor};

use super::group::Group;

const ROOT: &str = "/sys/fs/cgroup/blkio";
const READ_IOPS: &str = "blkio.throttle.read_iops_device";

/// A control group whose processes read from one disk at a limited rate.
pub struct Throttle {
    group: Group,
    device: String,
}

impl Throttle {
    /// A group limited to `reads_per_second` on the disk that holds `directory`.
    ///
    /// # Errors
    ///
    /// `Unsupported` where `directory` is on no disk (tmpfs, overlay, network), else what the
    /// control group file system answers: `NotFound` without cgroup v1, `PermissionDenied` without root.
    pub fn new(directory: &Path, reads_per_second: u64) -> io::Result<Self> {
        let device = disk_of(directory)?;
        let group = Group::new(Path::new(ROOT))?;
        // Made first, so that a refused limit still removes the group.
        let throttle = Self { group, device };
        throttle.limit(reads_per_second)?;
        Ok(throttle)
    }

    /// Changes the limit; reads already waiting go by the new one. 0 lifts it.
    ///
    /// # Errors
    ///
    /// That of the write to the control file.
    pub fn limit(&self, reads_per_second: u64) -> io::Result<()> {
        let line = format!("{} {reads_per_second}", self.device);
        self.group.write(READ_IOPS, &line)
    }

    /// Moves the process `pid`, with all its threads, into the group.
    ///
    /// # Errors
    ///
    /// That of the write to `cgroup.procs`.
    pub fn attach(&self, pid: u32) -> io::Result<()> {
        self.group.attach(pid)
    }

    /// How many reads of the group the disk has been given so far.
    ///
    /// # Errors
    ///
    /// That of reading the control file, or `InvalidData` if it has an unknown form.
    pub fn reads(&self) -> io::Result<u64> {
        let text = self.group.read("blkio.throttle.io_serviced")?;
        let prefix = format!("{} Read ", self.device);
        match text.lines().find_map(|line| line.strip_prefix(&prefix)) {
            Some(count) => count.parse().map_err(io::Error::other),
            None => Ok(0),
        }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // Before the group goes, or what is in flight would hold its process for minutes.
        if let Err(error) = self.limit(0) {
            eprintln!("lifting the limit of {}: {error}", self.device);
        }
    }
}

/// `MAJOR:MINOR` of the whole disk under `directory`: the controller refuses partitions.
fn disk_of(directory: &Path) -> io::Result<String> {
    let dev = fs::metadata(directory)?.dev();
    let node = format!("{}:{}", major(dev), minor(dev));
    let sys = Path::new("/sys/dev/block").join(&node);
    if !sys.exists() {
        let what = format!("{} is not on a block device", directory.display());
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    if !sys.join("partition").exists() {
        return Ok(node);
    }
    let disk = fs::canonicalize(sys)?.join("../dev");
    Ok(fs::read_to_string(disk)?.trim().to_owned())
}
