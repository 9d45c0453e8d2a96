//! The file that is read and written. Never one of somebody's own by accident.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ambidex::clock::{Clock, Real};
use tempfile::{NamedTempFile, TempPath};

use super::contents::{self, UNIT};
use super::ledger::Ledger;
use super::{Options, Place, check};
use crate::Error;
use crate::interrupt::Interrupt;

/// Bytes of a file that is made and whose size nobody has said.
const SIZE_DEFAULT: u64 = 1 << 30;
/// Bytes that are made at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// A file, its blocks, and what they hold.
pub(super) struct Target {
    pub(super) path: PathBuf,
    /// Blocks of each job.
    pub(super) blocks: u64,
    pub(super) ledgers: Vec<Option<Ledger>>,
    /// Removes the file when it goes.
    temporary: Option<TempPath>,
}

impl Target {
    /// Finds or makes the file. `None` if it was interrupted meanwhile; nothing is left then.
    pub(super) fn prepare(
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Option<Target>, Error> {
        let (path, temporary, size, made) = match &options.place {
            Place::Filename(path) => match existing(options, path)? {
                Some(found) => (path.clone(), None, found, false),
                None => {
                    let Some(size) = options.size else {
                        let name = path.display();
                        return start(format!("there is no {name}: say --size to have it made"));
                    };
                    blocks(options, size)?;
                    let directory = path.parent().filter(|path| !path.as_os_str().is_empty());
                    let directory = directory.unwrap_or(Path::new("."));
                    let Some(file) = make(options, directory, size, interrupt)? else {
                        return Ok(None);
                    };
                    check::alignment(options, file.path())?;
                    // Somebody may have made one meanwhile: theirs stays.
                    file.persist_noclobber(path).map_err(|failed| {
                        let name = path.display();
                        Error::Start(format!("cannot make {name}: {}", failed.error))
                    })?;
                    (path.clone(), None, size, true)
                }
            },
            Place::Directory(_) | Place::Temporary => {
                let size = options.size.unwrap_or(SIZE_DEFAULT);
                blocks(options, size)?;
                let Some(file) = make(options, &directory(&options.place), size, interrupt)? else {
                    return Ok(None);
                };
                let path = file.into_temp_path();
                (path.to_path_buf(), Some(path), size, true)
            }
        };
        check::alignment(options, &path)?;
        Target::divided(options, path, temporary, (size, made)).map(Some)
    }

    fn divided(
        options: &Options,
        path: PathBuf,
        temporary: Option<TempPath>,
        (size, made): (u64, bool),
    ) -> Result<Target, Error> {
        let blocks = blocks(options, size)?;
        let since = Real.wall().duration_since(std::time::UNIX_EPOCH);
        let base = since.map_or(0, |since| since.as_micros() as u64);
        let ledger = || Ledger::new(blocks, made.then_some(0), base);
        let ledgers = (0..options.numjobs)
            .map(|_| options.verify.then(ledger))
            .collect();
        Ok(Target {
            path,
            blocks,
            ledgers,
            temporary,
        })
    }

    /// Whether it goes when this goes.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }
}

/// The blocks of each job in a file of `size` bytes: enough, or nothing is made.
fn blocks(options: &Options, size: u64) -> Result<u64, Error> {
    let blocks = size / options.bs / options.numjobs as u64;
    let busy = options.verify && options.rw.writes();
    if blocks == 0 {
        let jobs = options.numjobs;
        let each = if jobs > 1 { " for each job" } else { "" };
        let bs = options.bs;
        return start(format!(
            "{size} bytes are less than one block of {bs}{each}"
        ));
    }
    if busy && blocks <= options.iodepth as u64 {
        return start(format!(
            "--verify wants more blocks than are written at a time: a job has {blocks}, --iodepth is {}",
            options.iodepth
        ));
    }
    Ok(blocks)
}

fn start<T>(text: String) -> Result<T, Error> {
    Err(Error::Start(text))
}

/// The bytes of the file at `path` that may be used, if there is one and it may be used so.
fn existing(options: &Options, path: &Path) -> Result<Option<u64>, Error> {
    let name = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return start(format!("cannot read {name}: {error}")),
    };
    if !found.is_file() {
        return start(format!("{name} is not a file"));
    }
    if options.rw.writes() && !options.overwrite {
        return start(format!(
            "{name} is there already and would be written to: say --overwrite if it may be lost"
        ));
    }
    let size = options.size.unwrap_or(found.len());
    if size > found.len() {
        return start(format!(
            "{name} has {} bytes, not {size}: remove it or say --size {}",
            found.len(),
            found.len()
        ));
    }
    Ok(Some(size))
}

fn directory(place: &Place) -> PathBuf {
    match place {
        Place::Directory(path) => path.clone(),
        _ if Path::new("target").is_dir() => PathBuf::from("target"),
        _ => std::env::temp_dir(),
    }
}

/// A file of `size` bytes of generation 0 in `directory`, removed again unless it is persisted.
fn make(
    options: &Options,
    directory: &Path,
    size: u64,
    interrupt: &Interrupt,
) -> Result<Option<NamedTempFile>, Error> {
    let named = tempfile::Builder::new()
        .prefix("ambidex-bench-")
        .suffix(".bin")
        .tempfile_in(directory);
    let name = directory.display();
    let file =
        named.map_err(|error| Error::Start(format!("cannot make a file in {name}: {error}")))?;
    let laid = lay(file.as_file(), options.seed, size, interrupt);
    let whole = laid.map_err(|error| {
        let text = format!("cannot make a file of {size} bytes in {name}: {error}");
        Error::Start(text)
    })?;
    Ok(whole.then_some(file))
}

/// Writes the pattern, all of it: what lies in a hole is no measure. `false` if interrupted.
pub(crate) fn lay(
    mut file: &File,
    seed: u64,
    size: u64,
    interrupt: &Interrupt,
) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < size {
        if interrupt.is_set() {
            return Ok(false);
        }
        contents::fill(&mut chunk, seed, offset, 0);
        let length = (size - offset).min(CHUNK_BYTES as u64);
        file.write_all(&chunk[..length as usize])?;
        offset += length;
    }
    file.sync_all()?;
    Ok(true)
}

const _: () = assert!(CHUNK_BYTES.is_multiple_of(UNIT));
