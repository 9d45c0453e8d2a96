//! By cgroup v1's blkio controller: a limit on the reads per second of one server
//! (the kernel's Documentation/admin-guide/cgroup-v1/blkio-controller.rst).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{major, minor};

const ROOT: &str = "/sys/fs/cgroup/blkio";
const READ_IOPS: &str = "blkio.throttle.read_iops_device";
/// Tries to remove the group: a thread that is ending keeps it for a moment.
const REMOVALS_MAX: u32 = 100;
const REMOVAL_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// A control group around a server, without a limit at first. Dropping it moves the server back to
/// where it was and removes the group.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
    /// `MAJOR:MINOR` of the disk.
    device: String,
    /// Where each process came from.
    origins: Vec<(u32, PathBuf)>,
}

impl Group {
    /// Puts the processes `pids`, with all their threads, into a group of their own, which can be
    /// limited on the disk that holds `dir`.
    ///
    /// # Errors
    /// Why not: no cgroup v1, no root, `dir` is on no disk, or no process is known.
    pub(super) fn around(pids: &[u32], dir: &Path) -> Result<Group, String> {
        if pids.is_empty() {
            return Err("no process of the server is known: say --server-pid".to_owned());
        }
        let refused = |error: io::Error| {
            format!(
                "it needs root, cgroup v1 at {ROOT} and the cold files on a local disk: {error}"
            )
        };
        let device = disk_of(dir).map_err(refused)?;
        // One for each server that is measured.
        static GROUPS: AtomicU32 = AtomicU32::new(0);
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let name = format!("ambidex-bench-{}-{number}", std::process::id());
        let path = Path::new(ROOT).join(name);
        fs::create_dir(&path).map_err(refused)?;
        // Made first, so that a failure below still takes everything back.
        let mut group = Group {
            path,
            device,
            origins: Vec::new(),
        };
        group.limit(0).map_err(refused)?;
        for pid in pids {
            let attached = group.attach(*pid);
            attached.map_err(|error| format!("it cannot have process {pid}: {error}"))?;
        }
        Ok(group)
    }

    fn attach(&mut self, pid: u32) -> io::Result<()> {
        let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let origin = blkio_path(&table).ok_or(io::ErrorKind::Unsupported)?;
        self.origins.push((pid, origin));
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// Limits the reads a second, of those that wait already too; 0 lifts the limit.
    ///
    /// # Errors
    /// Those of writing the control file.
    pub(super) fn limit(&self, reads_per_second: u64) -> io::Result<()> {
        let line = format!("{} {reads_per_second}", self.device);
        fs::write(self.path.join(READ_IOPS), line)
    }

    /// Moves every process back: those that were put here, and those they have started since.
    fn empty(&self) {
        for (pid, origin) in &self.origins {
            // A process may have ended, which is as good as moved.
            let _ = fs::write(origin.join("cgroup.procs"), pid.to_string());
        }
        let origin = self
            .origins
            .first()
            .map_or(Path::new(ROOT), |(_, path)| path);
        let members = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            let _ = fs::write(origin.join("cgroup.procs"), pid);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // First the limit: reads in flight would else go on at its pace.
        let _ = self.limit(0);
        for tries_left in (0..REMOVALS_MAX).rev() {
            self.empty();
            match fs::remove_dir(&self.path) {
                Err(error) if tries_left == 0 => {
                    eprintln!("ambidex-bench: removing {}: {error}", self.path.display());
                }
                Err(_) => std::thread::sleep(REMOVAL_PAUSE),
                Ok(()) => return,
            }
        }
    }
}

/// The group that a process is in, from the text of its /proc/PID/cgroup; cgroups(7).
fn blkio_path(table: &str) -> Option<PathBuf> {
    let path = table.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == "blkio")
            .then_some(path)
    })?;
    Some(Path::new(ROOT).join(path.trim_start_matches('/')))
}

/// `MAJOR:MINOR` of the whole disk under `dir`: the controller refuses partitions.
fn disk_of(dir: &Path) -> io::Result<String> {
    let device = fs::metadata(dir)?.dev();
    let node = format!("{}:{}", major(device), minor(device));
    let sys = Path::new("/sys/dev/block").join(&node);
    if !sys.exists() {
        let what = format!("{} is on no block device", dir.display());
        return Err(io::Error::new(io::ErrorKind::Unsupported, what));
    }
    if !sys.join("partition").exists() {
        return Ok(node);
    }
    let disk = fs::canonicalize(sys)?.join("../dev");
    Ok(fs::read_to_string(disk)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_goes_back_to_where_it_was() {
        let table = "12:cpuset:/\n7:memory,blkio:/web/front\n0::/unified\n";
        let expected = Path::new(ROOT).join("web/front");
        assert_eq!(blkio_path(table), Some(expected));
        assert_eq!(blkio_path("3:blkio:/\n"), Some(Path::new(ROOT).join("")));
        assert_eq!(blkio_path("0::/only/v2\n"), None);
        assert_eq!(blkio_path("garbage"), None);
    }
}
