//! What a filesystem does with reads by io_uring: answers them while they are submitted, by an
//! interrupt, on a worker thread of the kernel, or by keeping the submitter waiting.
//!
//! What the kernel allows is another question; `ambidex probe` answers that one.

mod advice;
mod reads;

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::path::Path;

use ambidex::Engine;
use ambidex::disk::policy::Place;
use ambidex::disk::{self, Choice, DirectIo};
use rustix::fs::{Advice as Fadvice, OFlags, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::Error;
use crate::cold::evict;
use crate::disk::target::lay;
use crate::interrupt::Interrupt;

pub use advice::{Advice, Verdict};
pub use reads::Reads;

/// Bytes of a file of our own.
const FILE_BYTES: u64 = 16 << 20;
/// Bytes of one read.
const BLOCK_BYTES: usize = 4096;
/// Reads of each kind.
const READS: u64 = 64;

/// What is in the page cache and nowhere else.
const MEMORY: &str = "memory";

/// What `RWF_NOWAIT` does, preadv2(2): read only what is there without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nowait {
    /// Cached blocks are read, others are refused with `EAGAIN`.
    Works,
    /// Cached blocks are read, and what was evicted as well: it is always there.
    AlwaysThere,
    /// It is refused.
    Unsupported,
}

/// What was found. `None` is what could not be found out.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The file's filesystem, as /proc/self/mountinfo names it.
    pub filesystem: Option<String>,
    /// How the engine would treat it: `memory`, `local` or `remote`.
    pub place: &'static str,
    /// Why there is no ring here.
    pub uring_denied: Option<String>,
    /// Reads of what is in the page cache.
    pub hot: Option<Reads>,
    /// Reads of what was evicted; `None` also if it cannot be evicted.
    pub cold: Option<Reads>,
    /// What `RWF_NOWAIT` does.
    pub nowait: Option<Nowait>,
    /// What direct I/O asks for, as statx(2) has it (Linux 6.1).
    pub direct: Option<DirectIo>,
    /// Whether the file can be opened with `O_DIRECT`.
    pub direct_opens: bool,
}

/// Looks at the file at `path`, which is read and evicted from the page cache but not changed, or at
/// a file of our own in that directory, which is removed again. `None` if it was interrupted.
///
/// # Errors
/// [`Error::Start`] for what cannot be read.
///
/// # Blocking
/// For reads of the device.
pub fn run(path: &Path, interrupt: &Interrupt) -> Result<Option<Findings>, Error> {
    let name = path.display();
    let told = |error: io::Error| Error::Start(format!("cannot probe {name}: {error}"));
    if !path.is_dir() {
        return look(path).map(Some).map_err(told);
    }
    let made = tempfile::Builder::new()
        .prefix("ambidex-bench-")
        .tempfile_in(path);
    let made = made.map_err(told)?;
    if !lay(made.as_file(), 0, FILE_BYTES, interrupt).map_err(told)? {
        return Ok(None);
    }
    look(made.path()).map(Some).map_err(told)
}

fn look(path: &Path) -> io::Result<Findings> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    let blocks = found.len() / BLOCK_BYTES as u64;
    if !found.is_file() || blocks == 0 {
        let text = "a file of at least 4096 bytes is wanted, or a directory";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // What is read ahead would be hot.
    fadvise(&file, 0, None, Fadvice::Random)?;
    let offsets = scattered(blocks);
    let nowait = nowait(&file, path, &offsets)?;
    let (place, direct) = of_engine(path)?;
    let hot = reads::hot(&file, &offsets);
    let stays = place == MEMORY || nowait == Some(Nowait::AlwaysThere);
    let cold = match stays {
        true => None,
        false => reads::cold(&file, path, &offsets).ok(),
    };
    Ok(Findings {
        filesystem: filesystem(&found),
        place,
        uring_denied: hot.as_ref().err().map(ToString::to_string),
        hot: hot.ok(),
        cold,
        nowait,
        direct,
        direct_opens: opens_direct(path),
    })
}

/// Offsets of at most [`READS`] blocks, far from each other.
fn scattered(blocks: u64) -> Vec<u64> {
    let count = blocks.min(READS);
    let stride = blocks / count;
    (0..count)
        .map(|number| number * stride * BLOCK_BYTES as u64)
        .collect()
}

fn read_nowait(file: &File, offset: u64) -> Result<bool, Errno> {
    let mut block = vec![0; BLOCK_BYTES];
    let mut slices = [IoSliceMut::new(&mut block)];
    match preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        Ok(length) => Ok(length > 0),
        Err(Errno::AGAIN) => Ok(false),
        Err(error) => Err(error),
    }
}

fn nowait(file: &File, path: &Path, offsets: &[u64]) -> io::Result<Option<Nowait>> {
    reads::warm(file, offsets)?;
    match read_nowait(file, offsets[0]) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(Errno::OPNOTSUPP) => return Ok(Some(Nowait::Unsupported)),
        Err(error) => return Err(error.into()),
    }
    evict(path)?;
    // Pages that are in somebody's hands stay: one block alone would prove nothing.
    let there = offsets
        .iter()
        .map(|offset| read_nowait(file, *offset))
        .collect::<Result<Vec<bool>, Errno>>()?;
    let all = there.iter().all(|there| *there);
    Ok(Some(if all {
        Nowait::AlwaysThere
    } else {
        Nowait::Works
    }))
}

fn of_engine(path: &Path) -> io::Result<(&'static str, Option<DirectIo>)> {
    let threads = disk::Options {
        choice: Choice::Threads,
        ..disk::Options::default()
    };
    let mut engine = Engine::builder().disk(threads).build()?;
    let file = engine.run(async |io| disk::File::open(io.disk(), path).await)??;
    let place = match file.place() {
        Place::Memory => MEMORY,
        Place::Local => "local",
        Place::Remote(_) => "remote",
    };
    Ok((place, file.metadata_at_open().direct_io()))
}

fn opens_direct(path: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    let mut open = File::options();
    open.read(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed());
    open.open(path).is_ok()
}

/// The type of the mount that has the file's device; proc_pid_mountinfo(5).
fn filesystem(found: &std::fs::Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let device = found.dev();
    let device = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        let its = mount.split(' ').nth(2)?;
        let kind = source.split(' ').next()?;
        (its == device).then(|| kind.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_left_as_it_was_and_reads_are_accounted_for() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let found = run(dir.path(), &Interrupt::default()).expect("it can be probed");
        let found = found.expect("nobody interrupts");
        let left = std::fs::read_dir(dir.path()).expect("it is there");
        assert_eq!(left.count(), 0);
        if let Some(reason) = &found.uring_denied {
            println!("SKIPPED the reads of a probe: {reason}");
            return;
        }
        let hot = found.hot.expect("there is a ring");
        assert_eq!(hot.count, READS);
        assert!(hot.inside <= hot.count && hot.submit <= hot.whole);
        if let Some(cold) = found.cold {
            assert_eq!(cold.count, READS);
            // Evicted blocks come from a device, whoever fetches them: which the kernel counts for
            // local filesystems only.
            let counted = cold.device_reads.filter(|_| found.place == "local");
            assert!(counted.is_none_or(|reads| reads > 0), "{cold:?}");
        }
    }

    #[test]
    fn a_file_is_not_changed_and_what_is_no_file_is_refused() {
        let dir = tempfile::tempdir_in("/var/tmp").expect("a directory");
        let path = dir.path().join("one");
        std::fs::write(&path, vec![7; 5000]).expect("a file");
        let found = run(&path, &Interrupt::default()).expect("it can be probed");
        assert!(found.is_some_and(|found| found.hot.is_none_or(|hot| hot.count == 1)));
        assert_eq!(std::fs::read(&path).expect("the file"), vec![7; 5000]);
        std::fs::write(&path, "short").expect("a file");
        for path in [path, dir.path().join("absent")] {
            assert!(run(&path, &Interrupt::default()).is_err(), "{path:?}");
        }
        let ended = run(dir.path(), &Interrupt::set()).expect("no error");
        assert!(ended.is_none());
    }

    #[test]
    fn blocks_are_far_apart_and_inside_the_file() {
        assert_eq!(scattered(1), [0]);
        assert_eq!(scattered(3), [0, 4096, 8192]);
        let many = scattered(1000);
        assert_eq!(many.len() as u64, READS);
        assert_eq!(many.last(), Some(&(63 * 15 * 4096)));
    }
}
