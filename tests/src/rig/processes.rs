//! Few processes: a limit on how many processes and threads one process may have, those that the kernel
//! makes for its rings among them, through the pids controller of cgroup v1 or v2.

use std::fs;
use std::io;
use std::path::Path;

use super::group::Group;

const V1: &str = "/sys/fs/cgroup/pids";
const V2: &str = "/sys/fs/cgroup";

/// A control group whose processes can be kept from making more.
pub struct FewProcesses(Group);

impl FewProcesses {
    /// A group without a limit.
    ///
    /// # Errors
    ///
    /// `Unsupported` without a pids controller, else what the control group file system answers:
    /// `PermissionDenied` without root.
    pub fn new() -> io::Result<Self> {
        let given = Path::new(V2).join("cgroup.subtree_control");
        let given = fs::read_to_string(given).unwrap_or_default();
        let root = if Path::new(V1).join("cgroup.procs").exists() {
            V1
        } else if given.split_whitespace().any(|one| one == "pids") {
            V2
        } else {
            let what = "no pids controller of cgroup v1 or v2";
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        };
        Group::new(Path::new(root)).map(Self)
    }

    /// Moves the process `pid`, with all its threads, into the group.
    ///
    /// # Errors
    ///
    /// That of the write to `cgroup.procs`.
    pub fn attach(&self, pid: u32) -> io::Result<()> {
        self.0.attach(pid)
    }

    /// From now on there are no more than there are now.
    ///
    /// # Errors
    ///
    /// Those of the control files.
    pub fn freeze(&self) -> io::Result<()> {
        let current = self.0.read("pids.current")?;
        self.0.write("pids.max", current.trim())
    }

    /// Lifts the limit.
    ///
    /// # Errors
    ///
    /// That of the write.
    pub fn thaw(&self) -> io::Result<()> {
        self.0.write("pids.max", "max")
    }

    /// How often one more was refused.
    ///
    /// # Errors
    ///
    /// That of reading the control file, or `Other` if it has an unknown form.
    pub fn refused(&self) -> io::Result<u64> {
        let text = self.0.read("pids.events")?;
        let mut counts = text.lines().filter_map(|line| line.strip_prefix("max "));
        let count = counts.next().unwrap_or_default();
        count.parse().map_err(io::Error::other)
    }
}
