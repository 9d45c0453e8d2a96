//! A slow disk: one that does so many reads a second, by whatever this machine allows.
//!
//! [`Means::Blkio`] slows a real disk for one server; [`Means::Fuse`] puts a filesystem of this process
//! over the cold files. A server may treat the two differently, so figures of one are not to be compared
//! with figures of the other.

mod blkio;
mod fuse;

use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use clap::ValueEnum;

use crate::Error;
use blkio::Group;
use fuse::Mount;

/// What slows the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Means {
    /// cgroup v1's blkio controller
    Blkio,
    /// A FUSE filesystem over the cold files
    Fuse,
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Means::Blkio => "blkio",
            Means::Fuse => "fuse",
        })
    }
}

/// How slow a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slowness {
    /// It does so many reads a second, one at a time; 0 is no limit.
    Reads(u64),
    /// Each takes so long, whatever else goes on; [`Duration::MAX`] is until that is lifted. By FUSE only.
    Delays {
        /// To open a file.
        open: Duration,
        /// To read some of it.
        read: Duration,
    },
}

impl Slowness {
    /// It is not.
    pub const NONE: Slowness = Slowness::Reads(0);
}

/// The disk of one server, without a limit at first. What was set up for it goes with it.
#[derive(Debug)]
pub struct SlowDisk(Brake);

#[derive(Debug)]
enum Brake {
    Blkio(Group),
    /// Of all servers.
    Fuse(Rc<Mount>),
}

impl SlowDisk {
    /// One for each of `servers`, which are known by their processes and read files of `dir`: by `means`,
    /// or by the first that this machine allows.
    ///
    /// # Errors
    /// [`Error::Start`] with the reason for each means that was tried.
    pub fn for_each(
        servers: &[&[u32]],
        dir: &Path,
        means: Option<Means>,
    ) -> Result<Vec<SlowDisk>, Error> {
        let mut refusals = String::new();
        for one in Means::value_variants() {
            if means.is_some_and(|means| means != *one) {
                continue;
            }
            match by(*one, servers, dir) {
                Ok(disks) => return Ok(disks),
                Err(why) => refusals += &format!("{one}: {why}; "),
            }
        }
        Err(Error::Start(format!(
            "--slow-disk cannot be had. {refusals}else leave it out and put the cold files on a disk \
             that is slow by itself"
        )))
    }

    /// What slows it.
    #[must_use]
    pub fn means(&self) -> Means {
        match self.0 {
            Brake::Blkio(_) => Means::Blkio,
            Brake::Fuse(_) => Means::Fuse,
        }
    }

    /// How slow it is from now on, also for those that wait already.
    ///
    /// # Errors
    /// Those of writing the control file, and `Unsupported` for what needs FUSE.
    pub fn limit(&self, slowness: Slowness) -> io::Result<()> {
        match (&self.0, slowness) {
            (Brake::Fuse(mount), _) => {
                mount.limit(slowness);
                Ok(())
            }
            (Brake::Blkio(group), Slowness::Reads(number)) => group.limit(number),
            (Brake::Blkio(_), Slowness::Delays { .. }) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "delays need --slow-disk-by fuse",
            )),
        }
    }

    /// Reads that it was asked for so far, if it knows.
    #[must_use]
    pub fn reads(&self) -> Option<u64> {
        match &self.0 {
            Brake::Blkio(_) => None,
            Brake::Fuse(mount) => Some(mount.reads()),
        }
    }
}

fn by(means: Means, servers: &[&[u32]], dir: &Path) -> Result<Vec<SlowDisk>, String> {
    match means {
        Means::Blkio => {
            let disks = servers.iter().map(|pids| {
                let group = Group::around(pids, dir)?;
                Ok(SlowDisk(Brake::Blkio(group)))
            });
            disks.collect()
        }
        Means::Fuse => {
            let mount = Mount::over(dir)
                .map_err(|error| format!("it needs /dev/fuse, and fusermount3 or root: {error}"))?;
            let mount = Rc::new(mount);
            let disks = servers
                .iter()
                .map(|_| SlowDisk(Brake::Fuse(Rc::clone(&mount))));
            Ok(disks.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_have_neither_is_told_why_and_what_to_do() {
        let told = |means| {
            let disks = SlowDisk::for_each(&[&[1]], Path::new("/nowhere/at/all"), means);
            disks.expect_err("there is no such directory").to_string()
        };
        let all = told(None);
        for expected in ["blkio: ", "fuse: ", "a disk that is slow by itself"] {
            assert!(all.contains(expected), "{expected} in {all}");
        }
        assert!(!told(Some(Means::Fuse)).contains("blkio"));
    }

    #[test]
    fn a_server_of_unknown_processes_has_no_group() {
        let disks = SlowDisk::for_each(&[&[]], Path::new("/var/tmp"), Some(Means::Blkio));
        let told = disks.expect_err("whose group?").to_string();
        assert!(told.contains("--server-pid"), "{told}");
    }
}
