//! Who reads: this engine on both backends, plain `pread`, and the runtimes that people would use
//! instead. Each reads 4 KiB blocks of one cached file, `depth` tasks with a buffer of their own.

mod compio;
mod engine;
mod monoio;
mod pread;
mod tokio;

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ambidex::clock::{Clock, Real};
use ambidex::disk::Choice;

/// Bytes of one read.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// What is measured.
pub(crate) trait Contender {
    /// Reads `count` blocks, `depth` at a time, and tells how long that took: opening the file and
    /// starting the runtime is not counted.
    fn read(&mut self, depth: usize, count: u64) -> io::Result<Duration>;
}

/// Those that can be measured.
pub(crate) const NAMES: [&str; 6] = ["uring", "threads", "pread", "tokio", "monoio", "compio"];

/// Makes the contender `name` for the file at `path`.
///
/// # Errors
/// `NotFound` for a name not in [`NAMES`], and why its runtime cannot be had.
pub(crate) fn contender(name: &str, path: &Path) -> io::Result<Box<dyn Contender>> {
    Ok(match name {
        "uring" => Box::new(engine::Engine::new(Choice::Uring, path)?),
        "threads" => Box::new(engine::Engine::new(Choice::Threads, path)?),
        "pread" => Box::new(pread::Pread::new(path)?),
        "tokio" => Box::new(tokio::Tokio::new(path)?),
        "monoio" => Box::new(monoio::Monoio::new(path)?),
        "compio" => Box::new(compio::Compio::new(path)?),
        _ => return Err(io::ErrorKind::NotFound.into()),
    })
}

/// The blocks that are left to read, shared by the tasks of one runtime.
struct Blocks {
    left: Cell<u64>,
    blocks: u64,
}

impl Blocks {
    /// `count` reads somewhere in the file at `path`.
    fn new(path: &Path, count: u64) -> io::Result<Rc<Blocks>> {
        let blocks = std::fs::metadata(path)?.len() / BLOCK_BYTES as u64;
        let left = Cell::new(count);
        Ok(Rc::new(Blocks { left, blocks }))
    }

    /// The offset of the next read. Scattered, and the same for every contender.
    fn next(&self) -> Option<u64> {
        let number = self.left.get().checked_sub(1)?;
        self.left.set(number);
        Some(self.scattered(number))
    }

    /// Where the `number`-th read begins.
    fn scattered(&self, number: u64) -> u64 {
        let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        scattered % self.blocks * BLOCK_BYTES as u64
    }
}

/// A block was read, all of it.
fn check(length: usize) {
    assert_eq!(length, BLOCK_BYTES, "a whole block is read");
}

fn now() -> Instant {
    Real.now()
}
