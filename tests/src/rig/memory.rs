//! Little memory: a limit on what one process may take, the page cache of what it reads included, through
//! the memory controller of cgroup v1 or v2.
//!
//! Pages are charged to whoever reads them first, so evict the files before ([`super::cold`]).

use std::fs;
use std::io;
use std::path::Path;

use super::group::Group;

/// The controller's files in one version of control groups.
struct Version {
    root: &'static str,
    limit: &'static str,
    /// Says how often the limit was met, after this word.
    met: (&'static str, &'static str),
}

const V1: Version = Version {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    met: ("memory.failcnt", ""),
};

const V2: Version = Version {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    met: ("memory.events", "max "),
};

/// A control group whose processes have little memory.
pub struct LittleMemory {
    group: Group,
    version: &'static Version,
}

impl LittleMemory {
    /// A group of `bytes`.
    ///
    /// # Errors
    ///
    /// `Unsupported` without a memory controller, else what the control group file system answers:
    /// `PermissionDenied` without root.
    pub fn new(bytes: u64) -> io::Result<Self> {
        let version = version().ok_or_else(|| {
            let what = "no memory controller of cgroup v1 or v2";
            io::Error::new(io::ErrorKind::Unsupported, what)
        })?;
        let group = Group::new(Path::new(version.root))?;
        group.write(version.limit, &bytes.to_string())?;
        Ok(Self { group, version })
    }

    /// Moves the process `pid`, with all its threads, into the group. What it has already stays where it
    /// is accounted for.
    ///
    /// # Errors
    ///
    /// That of the write to `cgroup.procs`.
    pub fn attach(&self, pid: u32) -> io::Result<()> {
        self.group.attach(pid)
    }

    /// How often the group wanted more than it may have.
    ///
    /// # Errors
    ///
    /// That of reading the control file, or `Other` if it has an unknown form.
    pub fn met(&self) -> io::Result<u64> {
        let (file, word) = self.version.met;
        let text = self.group.read(file)?;
        let mut counts = text.lines().filter_map(|line| line.strip_prefix(word));
        let count = counts.next().unwrap_or_default();
        count.parse().map_err(io::Error::other)
    }
}

fn version() -> Option<&'static Version> {
    if Path::new(V1.root).join(V1.limit).exists() {
        return Some(&V1);
    }
    let given = Path::new(V2.root).join("cgroup.subtree_control");
    let given = fs::read_to_string(given).unwrap_or_default();
    given
        .split_whitespace()
        .any(|one| one == "memory")
        .then_some(&V2)
}
