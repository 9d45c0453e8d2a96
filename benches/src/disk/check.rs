//! What cannot be asked for, and why.

use std::io;
use std::path::Path;

use ambidex::Engine;
use ambidex::disk::{Choice, DirectIo, File, Options as DiskOptions};

use super::{IoEngine, Options};
use crate::Error;

/// The most memory for buffers.
const MEMORY_MAX: u64 = 4 << 30;

/// Refuses what does not go together, before any file is touched.
pub(super) fn combination(options: &Options) -> Result<(), Error> {
    let refused = refusals(options)
        .into_iter()
        .find_map(|(wrong, reason)| wrong.then_some(reason));
    match refused {
        Some(reason) => Err(Error::Start(reason)),
        None => options.engines.iter().try_for_each(|engine| built(*engine)),
    }
}

fn refusals(options: &Options) -> Vec<(bool, String)> {
    let has = |engine| options.engines.contains(&engine);
    let synchronous = options.engines.iter().find(|one| one.is_synchronous());
    let name = synchronous.map_or("", |engine| engine.name());
    let memory = options
        .bs
        .saturating_mul(options.iodepth as u64)
        .saturating_mul(options.numjobs as u64);
    let mixed = options.rw.reads() && options.rw.writes();
    vec![
        (
            options.engines.is_empty() || options.rounds == 0,
            "--engine and --rounds ask for nothing".to_owned(),
        ),
        (
            synchronous.is_some() && options.iodepth > 1,
            format!(
                "{name} does one operation at a time: say --iodepth 1, or --numjobs {} for as many threads",
                options.iodepth
            ),
        ),
        (
            has(IoEngine::Mmap) && options.direct,
            "mmap goes through the page cache: leave --direct out".to_owned(),
        ),
        (
            has(IoEngine::Mmap) && options.sync,
            "a mapping knows no --sync: say --fsync 1".to_owned(),
        ),
        (
            !options.rw.writes() && (options.sync || options.sync_every.is_some()),
            format!(
                "--rw {} writes nothing that could be synced",
                options.rw.name()
            ),
        ),
        (
            mixed && !(1..=99).contains(&options.rwmixread),
            "--rwmixread is from 1 to 99: for one kind alone there are read and write".to_owned(),
        ),
        (
            memory > MEMORY_MAX,
            format!("iodepth times bs times numjobs is {memory} bytes of memory: ask for less"),
        ),
    ]
}

#[cfg(feature = "peers")]
fn built(_: IoEngine) -> Result<(), Error> {
    Ok(())
}

#[cfg(not(feature = "peers"))]
fn built(engine: IoEngine) -> Result<(), Error> {
    match engine {
        IoEngine::Tokio | IoEngine::Monoio | IoEngine::Compio => Err(Error::Start(format!(
            "this ambidex-bench was built without the feature 'peers', so without {}",
            engine.name()
        ))),
        _ => Ok(()),
    }
}

/// Refuses what the file does not allow.
pub(super) fn alignment(options: &Options, path: &Path) -> Result<(), Error> {
    if !options.direct {
        return Ok(());
    }
    match direct_io(path) {
        Ok(Some(asked)) if !options.bs.is_multiple_of(u64::from(asked.offset)) => {
            Err(Error::Start(format!(
                "--direct on {} wants blocks that are multiples of {} bytes, not {}",
                path.display(),
                asked.offset,
                options.bs
            )))
        }
        // Where the kernel does not tell, opening or the first operation will.
        _ => Ok(()),
    }
}

/// What direct I/O on the file asks for, if the kernel tells.
fn direct_io(path: &Path) -> io::Result<Option<DirectIo>> {
    let threads = DiskOptions {
        choice: Choice::Threads,
        ..DiskOptions::default()
    };
    let mut engine = Engine::builder().disk(threads).build()?;
    let opened = engine.run(async |io| File::open(io.disk(), path).await)?;
    Ok(opened?.metadata_at_open().direct_io())
}
