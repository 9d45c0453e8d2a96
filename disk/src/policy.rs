//! Telling mounts apart: where may the loop touch a file, and where could that hang?
//!
//! Submitting is not free and may block (an `open` on FUSE waits for its daemon inside
//! io_uring_enter). So each mount is judged once, by its type in proc_pid_mountinfo(5), and what
//! is not known to be harmless is treated as remote.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use crate::metadata::Metadata;

/// What may happen when the loop's own thread touches a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Memory: a read never waits for a device (tmpfs, ramfs).
    Memory,
    /// A local disk: what is cached is answered at once, the rest is waited for elsewhere.
    Local,
    /// Anything that may block without end: network, FUSE, unknown. Everything but what is known
    /// without asking goes to a worker thread, and only so much at a time for each mount.
    Remote(Lane),
}

/// Which queue an operation on a remote mount waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Files of this mount.
    Mount(u64),
    /// Opens whose path leaves a known mount. Where they end is not known before, so those that
    /// begin with the same component share a queue; this is its hash.
    Crossing(u64),
}

impl Lane {
    /// The queue of an open of `path` that leaves its mount.
    #[must_use]
    pub fn crossing(path: &[u8]) -> Lane {
        let mut names = path.split(|byte| *byte == b'/');
        let name = names.find(|name| !name.is_empty() && *name != b".");
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Lane::Crossing(hasher.finish())
    }
}

impl Place {
    /// Whether an operation must go to a worker thread at once.
    #[must_use]
    pub fn punt(self) -> bool {
        matches!(self, Place::Remote(_))
    }

    /// Where a call that touches both may be made: where the worse of them may be touched.
    #[must_use]
    pub fn or_worse(self, other: Place) -> Place {
        match (self, other) {
            (Place::Remote(_), _) | (Place::Local, Place::Memory) => self,
            (_, other) => other,
        }
    }

    /// The queue to wait in, if this place has one.
    #[must_use]
    pub fn lane(self) -> Option<Lane> {
        match self {
            Place::Remote(lane) => Some(lane),
            Place::Memory | Place::Local => None,
        }
    }
}

/// The mounts seen so far, by mount id and device: a mount id may be used again after an unmount,
/// a device number of a remote filesystem hardly with it.
#[derive(Debug, Default)]
pub struct Mounts {
    known: RefCell<HashMap<(u64, u64), Place>>,
}

impl Mounts {
    /// Judges the mount of an open file. Reads /proc/self/mountinfo for a mount not seen before;
    /// that asks no filesystem but proc.
    #[must_use]
    pub fn judge(&self, metadata: &Metadata) -> Place {
        self.judge_by(metadata, || fs::read_to_string("/proc/self/mountinfo"))
    }

    /// As [`Mounts::judge`], by the table that `read` tells; it is asked for a mount not seen before.
    #[must_use]
    pub fn judge_by(
        &self,
        metadata: &Metadata,
        read: impl FnOnce() -> io::Result<String>,
    ) -> Place {
        let Some(mount) = metadata.mount() else {
            return Place::Remote(Lane::Mount(metadata.device()));
        };
        let key = (mount, metadata.device());
        if let Some(place) = self.known.borrow().get(&key) {
            return *place;
        }
        let Ok(table) = read() else {
            // Out of descriptors, perhaps: careful with this file, and asked anew for the next.
            return Place::Remote(Lane::Mount(mount));
        };
        let place = match filesystem_of(&table, mount) {
            Some(filesystem) => judge_filesystem(filesystem, mount),
            None => Place::Remote(Lane::Mount(mount)),
        };
        self.known.borrow_mut().insert(key, place);
        place
    }
}

/// The type of mount `id`: the word after the lone `-` in its line.
fn filesystem_of(mountinfo: &str, id: u64) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let mut words = line.split(' ');
        if words.next()?.parse() != Ok(id) {
            return None;
        }
        words.skip_while(|word| *word != "-").nth(1)
    })
}

fn judge_filesystem(filesystem: &str, mount: u64) -> Place {
    match filesystem {
        "tmpfs" | "ramfs" => Place::Memory,
        "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "f2fs" | "bcachefs" | "zfs" | "jfs"
        | "reiserfs" | "nilfs2" | "overlay" | "squashfs" | "erofs" | "iso9660" | "udf" | "vfat"
        | "exfat" | "ntfs3" => Place::Local,
        _ => Place::Remote(Lane::Mount(mount)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::fd::AsFd;

    use super::*;
    use crate::syscalls;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
31 22 0:25 / /run rw,nosuid master:2 shared:7 - tmpfs tmpfs rw
40 22 0:40 / /mnt/slow rw - fuse.sshfs host: rw
41 22 0:41 / /data rw - newfs none rw
";

    #[test]
    fn the_type_is_found_behind_optional_fields() {
        assert_eq!(filesystem_of(TABLE, 22), Some("ext4"));
        assert_eq!(filesystem_of(TABLE, 31), Some("tmpfs"));
        assert_eq!(filesystem_of(TABLE, 2), None);
    }

    #[test]
    fn what_is_not_known_to_be_harmless_is_remote() {
        let judge = |id| judge_filesystem(filesystem_of(TABLE, id).unwrap(), id);
        assert_eq!(judge(22), Place::Local);
        assert_eq!(judge(31), Place::Memory);
        assert_eq!(judge(40), Place::Remote(Lane::Mount(40)));
        assert!(judge(41).punt());
    }

    #[test]
    fn of_two_places_the_worse_decides() {
        for (worse, better) in [
            (far(1), Place::Local),
            (far(1), Place::Memory),
            (Place::Local, Place::Memory),
            (Place::Memory, Place::Memory),
        ] {
            assert_eq!(worse.or_worse(better), worse);
            assert_eq!(better.or_worse(worse), worse);
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        for table in ["", "\n\n", "x y z", "22", "22 1 254:0 / / rw", "22 1 -"] {
            assert_eq!(filesystem_of(table, 22), None, "{table:?}");
        }
    }

    /// An open file of mount `mount` on device `minor`.
    fn on(mount: u64, minor: u32) -> Metadata {
        let file = fs::File::open("/proc/self/mountinfo").expect("a file");
        let mut metadata = syscalls::status_cached(file.as_fd()).expect("its status");
        metadata.statx.stx_mask |= libc::STATX_MNT_ID;
        metadata.statx.stx_mnt_id = mount;
        metadata.statx.stx_dev_major = 0;
        metadata.statx.stx_dev_minor = minor;
        metadata
    }

    fn far(mount: u64) -> Place {
        Place::Remote(Lane::Mount(mount))
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel for a file")]
    fn a_mount_is_judged_once_and_another_device_of_its_number_anew() {
        let mounts = Mounts::default();
        let reads = Cell::new(0);
        let judge = |mount, minor, table: &str| {
            mounts.judge_by(&on(mount, minor), || {
                reads.set(reads.get() + 1);
                Ok(table.to_owned())
            })
        };
        assert_eq!((judge(22, 1, TABLE), reads.get()), (Place::Local, 1));
        assert_eq!((judge(22, 1, ""), reads.get()), (Place::Local, 1));
        assert_eq!((judge(22, 2, ""), reads.get()), (far(22), 2));
        assert_eq!((judge(22, 2, TABLE), reads.get()), (far(22), 2));
        assert_eq!((judge(31, 1, TABLE), reads.get()), (Place::Memory, 3));
        assert_eq!((judge(40, 1, TABLE), reads.get()), (far(40), 4));
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel for a file")]
    fn a_table_that_cannot_be_read_is_asked_for_anew_and_a_mount_without_number_never() {
        let mounts = Mounts::default();
        let out_of_descriptors = || Err(io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(mounts.judge_by(&on(22, 1), out_of_descriptors), far(22));
        let table = || Ok(TABLE.to_owned());
        assert_eq!(mounts.judge_by(&on(22, 1), table), Place::Local);
        let mut old_kernel = on(22, 1);
        old_kernel.statx.stx_mask &= !libc::STATX_MNT_ID;
        let place = mounts.judge_by(&old_kernel, || panic!("it has no number to look for"));
        assert_eq!(place, far(old_kernel.device()));
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel for a file")]
    fn the_kernels_own_table_knows_the_mounts_there_are() {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("proc");
        for path in ["/", "/dev", "/proc"] {
            let file = fs::File::open(path).expect("a directory");
            let status = syscalls::status_cached(file.as_fd()).expect("its status");
            let Some(mount) = status.mount() else {
                assert!(Mounts::default().judge(&status).punt());
                continue;
            };
            // Of a root that was changed into, the table need not know the mount.
            let filesystem = filesystem_of(&table, mount);
            let expected = filesystem.map_or(far(mount), |name| judge_filesystem(name, mount));
            assert_eq!(Mounts::default().judge(&status), expected, "{path}");
        }
    }

    #[test]
    fn what_may_hang_waits_in_a_queue_of_its_own() {
        assert_eq!((far(1).lane(), far(1).punt()), (Some(Lane::Mount(1)), true));
        for near in [Place::Local, Place::Memory] {
            assert_eq!((near.lane(), near.punt()), (None, false));
        }
        let one = Lane::crossing(b"a/b");
        assert_eq!(one, Lane::crossing(b"./a//c"));
        assert_eq!(one, Lane::crossing(b"/a"));
        assert_ne!(one, Lane::crossing(b"b/a"));
    }
}
