//! Who reads and writes. An engine opens the file, passes the gate, does one step after the other
//! with so many at a time, and passes the gate again.

mod blocking;
#[cfg(feature = "peers")]
mod compio;
mod hybrid;
mod libaio;
mod mmap;
#[cfg(feature = "peers")]
mod monoio;
mod pread;
pub(crate) mod queue;
mod tasks;
#[cfg(feature = "peers")]
mod tokio;
pub(crate) mod uring;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ambidex::disk::{Choice, Pool, PoolBuf};
use rustix::fs::OFlags;

use super::gate::Pass;
use super::job::Job;
use super::{IoEngine, Options};
use crate::Error;

/// Has `engine` do `job` on the file at `path`.
pub(super) fn run(
    engine: IoEngine,
    options: &Options,
    path: &Path,
    mut job: Job,
    pass: &mut Pass<'_>,
) -> Result<Job, Error> {
    match engine {
        IoEngine::Hybrid => hybrid::run(Choice::Uring, options, path, job, pass),
        IoEngine::Threads => hybrid::run(Choice::Threads, options, path, job, pass),
        IoEngine::Uring => {
            let ring = uring::Uring::new(open(options, path)?, buffers(options), true);
            queue::run(ring.map_err(cannot("io_uring"))?, options, &mut job, pass);
            Ok(job)
        }
        IoEngine::Libaio => {
            let context = libaio::Libaio::new(open(options, path)?, options);
            queue::run(context.map_err(cannot("libaio"))?, options, &mut job, pass);
            Ok(job)
        }
        IoEngine::Pread => {
            let file = pread::Pread::new(open(options, path)?);
            blocking::run(file, options, &mut job, pass);
            Ok(job)
        }
        IoEngine::Mmap => {
            let mapping = mmap::Mapping::new(&open(options, path)?, options);
            blocking::run(mapping.map_err(cannot("mmap"))?, options, &mut job, pass);
            Ok(job)
        }
        #[cfg(feature = "peers")]
        IoEngine::Tokio => tokio::run(options, path, job, pass),
        #[cfg(feature = "peers")]
        IoEngine::Monoio => monoio::run(options, path, job, pass),
        #[cfg(feature = "peers")]
        IoEngine::Compio => compio::run(options, path, job, pass),
        // Those that were built in are checked for before anything begins.
        #[cfg(not(feature = "peers"))]
        _ => unreachable!("an engine that was not built in"),
    }
}

fn cannot(what: &str) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::Start(format!("cannot use {what} here: {error}"))
}

/// `O_DIRECT` and `O_SYNC`, if they are asked for.
fn flags(options: &Options) -> i32 {
    let mut flags = OFlags::empty();
    flags.set(OFlags::DIRECT, options.direct);
    flags.set(OFlags::SYNC, options.sync);
    flags.bits().cast_signed()
}

fn open(options: &Options, path: &Path) -> Result<File, Error> {
    let mut open = File::options();
    open.read(true).write(options.rw.writes());
    open.custom_flags(flags(options));
    let name = path.display();
    let opened = open.open(path);
    opened.map_err(|error| Error::Start(format!("cannot open {name}: {error}")))
}

/// Buffers of one block, aligned for direct I/O, each page used once already.
fn buffers(options: &Options) -> Vec<PoolBuf> {
    let pool = Pool::new(options.iodepth, options.bs as usize);
    let mut buffers: Vec<PoolBuf> = std::iter::from_fn(|| pool.try_take()).collect();
    for (number, buffer) in buffers.iter_mut().enumerate() {
        buffer.copy_from(&noise(options, number));
    }
    buffers
}

/// What is written if nobody compares: a disk that compresses gains nothing by it.
fn noise(options: &Options, number: usize) -> Vec<u8> {
    let words = crate::cold::words(options.seed.wrapping_add(number as u64));
    let bytes = words.flat_map(u64::to_le_bytes);
    bytes.take(options.bs as usize).collect()
}
