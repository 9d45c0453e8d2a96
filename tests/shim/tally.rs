//! What a context has done, in a file that a test reads: a process that is ended at once (`_exit`) leaves it too.

use std::env;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process;

use ambidex::disk::ring::Counters;

use super::request::Call;

/// Counts of one context. Each only grows, so that each text covers the one before.
#[derive(Debug)]
pub(crate) struct Tally {
    file: Option<File>,
    reads: u64,
    writes: u64,
    syncs: u64,
    failed: u64,
    bytes: u64,
    text: String,
}

impl Tally {
    /// In `AMBIDEX_SHIM_TALLY`, if that is set.
    pub(crate) fn new(number: u64) -> io::Result<Tally> {
        let folder = env::var_os("AMBIDEX_SHIM_TALLY").map(PathBuf::from);
        let name = format!("{}.{number}", process::id());
        let file = folder.map(|folder| File::create(folder.join(name)));
        Ok(Tally {
            file: file.transpose()?,
            reads: 0,
            writes: 0,
            syncs: 0,
            failed: 0,
            bytes: 0,
            text: String::new(),
        })
    }

    pub(crate) fn count(&mut self, call: Call, result: i64) {
        match call {
            Call::Read | Call::ReadVectored => self.reads += 1,
            Call::Write | Call::WriteVectored => self.writes += 1,
            Call::Sync | Call::SyncData => self.syncs += 1,
        }
        match u64::try_from(result) {
            Ok(bytes) => self.bytes += bytes,
            Err(_) => self.failed += 1,
        }
    }

    /// Writes all that is known.
    pub(crate) fn write(&mut self, backend: &str, counters: &Counters) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        self.text.clear();
        let fields = [
            ("reads", self.reads),
            ("writes", self.writes),
            ("syncs", self.syncs),
            ("failed", self.failed),
            ("bytes", self.bytes),
            ("submitted", counters.submitted),
            ("completed", counters.completed),
            ("stale", counters.stale),
            ("bugs", counters.bugs),
        ];
        self.text.push_str(backend);
        for (name, count) in fields {
            write!(self.text, "\n{name} {count}").expect("a String takes all");
        }
        file.write_all_at(self.text.as_bytes(), 0)
    }
}
