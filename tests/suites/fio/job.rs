//! The jobs that fio is given.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A job of fio: one file, written and verified, or laid out by one job and verified by the next.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    name: String,
    pattern: &'static str,
    depth: u32,
    size: String,
    /// Further lines.
    more: Vec<&'static str>,
    /// The job whose file it reads.
    after: Option<String>,
    /// Where its file lies, if not beside the others.
    folder: PathBuf,
    verifies: bool,
}

impl Job {
    /// A job of 32 blocks, buffered.
    pub(crate) fn new(pattern: &'static str, depth: u32) -> Job {
        Job {
            name: format!("{pattern}-{depth}"),
            pattern,
            depth,
            size: "128k".to_owned(),
            more: Vec::new(),
            after: None,
            folder: PathBuf::new(),
            verifies: true,
        }
    }

    fn with(mut self, line: &'static str) -> Job {
        self.name = format!("{}-{}", self.name, line.replace('=', "-"));
        self.more.push(line);
        self
    }

    /// Whether what it reads back is what it wrote.
    pub(crate) fn writes(&self) -> bool {
        self.after.is_none()
    }

    /// Whether it writes only, for the next to verify.
    pub(crate) fn lays_out(&self) -> bool {
        !self.verifies
    }

    /// Its section of a file of jobs.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "[{}]\nioengine=libaio\nverify=crc32c\nverify_fatal=1\nrandrepeat=1\nbs=4k\n\
             unlink={}\nrw={}\niodepth={}\nsize={}\ndo_verify={}\n",
            self.name,
            u8::from(self.verifies),
            self.pattern,
            self.depth,
            self.size,
            u8::from(self.verifies),
        );
        let file = self.after.as_ref().unwrap_or(&self.name);
        let file = self.folder.join(format!("file-{file}"));
        writeln!(text, "filename={}", file.display()).expect("a String takes all");
        if let Some(writer) = &self.after {
            writeln!(text, "wait_for={writer}").expect("a String takes all");
        }
        if self.after.is_some() || self.lays_out() {
            // Who reads what another job wrote does not know its seeds: each block holds its offset.
            text.push_str("verify_pattern=%o\"ambidex\"\n");
        }
        for line in &self.more {
            writeln!(text, "{line}").expect("a String takes all");
        }
        text
    }
}

/// Reading and writing, in order and at random, buffered and direct, 1 to 64 at a time; some on `memory`, a directory of
/// a filesystem in memory.
pub(crate) fn matrix(size: &str, memory: Option<&Path>) -> Vec<Job> {
    let mut jobs = Vec::new();
    for pattern in ["write", "randwrite", "rw", "randrw"] {
        for depth in [1, 4, 16, 64] {
            let job = Job::new(pattern, depth);
            jobs.push(job.clone().with("direct=1"));
            // Threads and processes of fio by turns.
            jobs.push(if depth == 4 { job.with("thread") } else { job });
        }
    }
    jobs.push(Job::new("randwrite", 32).with("verify_backlog=24"));
    jobs.push(Job::new("randwrite", 16).with("bsrange=512-24k"));
    jobs.push(Job::new("write", 8).with("bs=64k").with("direct=1"));
    for pattern in ["randwrite", "rw"] {
        let Some(folder) = memory else { break };
        let mut job = Job::new(pattern, 16);
        job.name.push_str("-memory");
        job.folder = folder.to_owned();
        jobs.push(job);
    }
    for job in &mut jobs {
        job.size = size.to_owned();
    }
    for (pattern, depth) in [("read", 16), ("randread", 64)] {
        for cache in ["direct=0", "direct=1"] {
            jobs.extend(pair(pattern, depth, cache, size));
        }
    }
    jobs
}

/// A job that only writes, and one that only reads and verifies.
pub(crate) fn pair(pattern: &'static str, depth: u32, cache: &'static str, size: &str) -> [Job; 2] {
    let mut writer = Job::new("write", depth).with(cache);
    writer.name = format!("for-{pattern}-{cache}").replace('=', "-");
    writer.size = size.to_owned();
    writer.verifies = false;
    let mut reader = Job::new(pattern, depth).with(cache);
    reader.size = size.to_owned();
    reader.after = Some(writer.name.clone());
    [writer, reader]
}
