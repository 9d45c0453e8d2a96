//! One read after the other by a bare ring, and what became of each.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex::disk::Pool;
use rustix::thread::gettid;

use super::BLOCK_BYTES;
use crate::cold::evict;
use crate::disk::engine::queue::Queue;
use crate::disk::engine::uring::Uring;
use crate::disk::plan::Kind;
use crate::usage::disk_read_bytes;

/// What became of some reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads {
    /// How many.
    pub count: u64,
    /// Those that were answered when submitting them returned.
    pub inside: u64,
    /// The most io-wq worker threads of the kernel that were seen at a time.
    pub workers: usize,
    /// The median time inside of submitting.
    pub submit: Duration,
    /// The longest time inside of submitting.
    pub submit_max: Duration,
    /// The median time until the answer.
    pub whole: Duration,
    /// Bytes that came from a device meanwhile, in reads of a block; `None` if that may not be known.
    pub device_reads: Option<u64>,
}

/// Reads them all, so that they are in memory.
pub(super) fn warm(file: &File, offsets: &[u64]) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    offsets
        .iter()
        .try_for_each(|offset| file.read_exact_at(&mut block, *offset))
}

pub(super) fn hot(file: &File, offsets: &[u64]) -> io::Result<Reads> {
    warm(file, offsets)?;
    measured(file, offsets)
}

pub(super) fn cold(file: &File, path: &Path, offsets: &[u64]) -> io::Result<Reads> {
    evict(path)?;
    measured(file, offsets)
}

/// On a thread of its own: io-wq's workers carry the number of the thread that they work for.
fn measured(file: &File, offsets: &[u64]) -> io::Result<Reads> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| read_all(file, offsets));
        let panicked = |_| Err(io::Error::other("the reads panicked"));
        thread.join().unwrap_or_else(panicked)
    })
}

fn read_all(file: &File, offsets: &[u64]) -> io::Result<Reads> {
    let pool = Pool::new(1, BLOCK_BYTES);
    let mut buffer = pool.try_take().ok_or(io::ErrorKind::OutOfMemory)?;
    buffer.copy_from(&[0; BLOCK_BYTES]);
    // Not deferred: what is answered inside of submitting is seen at once.
    let mut ring = Uring::new(file.try_clone()?, vec![buffer], false)?;
    let (mut inside, mut workers) = (0, 0);
    let (mut submits, mut wholes) = (Vec::new(), Vec::new());
    let before = disk_read_bytes(std::process::id()).ok();
    for offset in offsets {
        ring.push(0, Kind::Read, *offset);
        let start = Real.now();
        ring.submit()?;
        let submitted = Real.now();
        let mut answer = ring.complete();
        inside += u64::from(answer.is_some());
        if answer.is_none() {
            workers = workers.max(count_workers());
        }
        while answer.is_none() {
            ring.turn()?;
            answer = ring.complete();
        }
        wholes.push(Real.now() - start);
        submits.push(submitted - start);
        if let Some((_, result)) = answer {
            result?;
        }
    }
    let after = disk_read_bytes(std::process::id()).ok();
    let bytes = after.zip(before).map(|(after, before)| after - before);
    submits.sort_unstable();
    wholes.sort_unstable();
    Ok(Reads {
        count: offsets.len() as u64,
        inside,
        workers,
        submit: submits[submits.len() / 2],
        submit_max: submits[submits.len() - 1],
        whole: wholes[wholes.len() / 2],
        device_reads: bytes.map(|bytes| bytes / BLOCK_BYTES as u64),
    })
}

/// Workers of io-wq that work for this thread.
fn count_workers() -> usize {
    let name = format!("iou-wrk-{}", gettid().as_raw_nonzero());
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return 0;
    };
    let names =
        threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}
