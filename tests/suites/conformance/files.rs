//! Files, over the face of a ring: on io_uring and on threads, on each filesystem, buffered and direct, and on the
//! simulated disk as a local one and as one in memory.

#[path = "files/attributes.rs"]
mod attributes;
#[path = "files/bytes.rs"]
mod bytes;
#[path = "files/calling_back.rs"]
mod calling_back;
#[path = "files/direct.rs"]
mod direct;
#[path = "files/extents.rs"]
mod extents;
#[path = "files/names.rs"]
mod names;
#[path = "files/opening.rs"]
mod opening;
#[path = "files/transfers.rs"]
mod transfers;

use std::future::Future;
use std::io;
use std::path::Path;

use ambidex::disk::{
    Choice, File, Handle, IoBuf, OpenOptions, Options, Pool, PoolBuf, Ring, Slice,
};
use ambidex_tests::sim::disk::{Disk, fake};
use ambidex_tests::sim::drive;
use tempfile::TempDir;

use super::divergences::is_simulated;
use super::judge::{Behaviour, Record};
use super::text::{result_text, shape};

/// Room for each transfer.
const BUFFER_BYTES: usize = 32 << 10;

/// What a result is noted as.
pub(crate) trait Noted {
    fn text(&self) -> String;
}

impl Noted for () {
    fn text(&self) -> String {
        "ok".to_owned()
    }
}

impl Noted for usize {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Noted for String {
    fn text(&self) -> String {
        self.clone()
    }
}

/// An empty directory on some kernel, and what happened in it.
pub(crate) struct Files {
    ring: Ring,
    handle: Handle,
    root: File,
    pool: Pool,
    /// Files that [`Files::put`] opens bypass the page cache.
    direct: bool,
    noted: Vec<String>,
}

impl Files {
    fn new(mut ring: Ring, root: &Path, direct: bool) -> Files {
        let handle = ring.handle();
        let options = OpenOptions::new().directory();
        let root = drive(&mut ring, options.open(&handle, root)).expect("an empty directory");
        Files {
            ring,
            handle,
            root,
            pool: Pool::new(4, BUFFER_BYTES),
            direct,
            noted: Vec::new(),
        }
    }

    fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        drive(&mut self.ring, future)
    }

    fn note(&mut self, text: impl Into<String>) {
        self.noted.push(text.into());
    }

    /// Notes how `work` in the directory ended.
    fn tell<T: Noted>(&mut self, work: impl AsyncFnOnce(&File) -> io::Result<T>) {
        let root = self.root.clone();
        let result = self.drive(work(&root));
        self.note(result_text(&result.map(|value| value.text())));
    }

    /// Opens without a note; it must succeed.
    fn opened(&mut self, options: &OpenOptions, name: &str) -> File {
        let root = self.root.clone();
        let file = self.drive(options.open_at(&root, name));
        file.unwrap_or_else(|error| panic!("{name} cannot be opened: {error}"))
    }

    /// Notes whether it can be opened.
    fn open(&mut self, options: &OpenOptions, name: &str) {
        self.tell(async |root| options.open_at(root, name).await.map(drop));
    }

    /// A file with this content, open for reading and writing.
    fn put(&mut self, name: &str, content: &[u8]) -> File {
        let options = OpenOptions::new().write();
        let file = self.opened(&options.clone().create().truncate(), name);
        let written = self.drive(file.write_all_at(content.to_vec(), 0)).0;
        written.expect("content");
        if !self.direct {
            return file;
        }
        self.opened(&options.direct(), name)
    }

    fn buffer(&self) -> PoolBuf {
        self.pool.try_take().expect("each comes back")
    }

    /// An aligned buffer of `length` bytes.
    fn room(&self, length: usize) -> Slice<PoolBuf> {
        self.buffer().slice(0..length)
    }

    /// An aligned buffer that holds `bytes`.
    fn holding(&self, bytes: &[u8]) -> PoolBuf {
        let mut buffer = self.buffer();
        assert_eq!(buffer.copy_from(bytes), bytes.len(), "there is room");
        buffer
    }

    /// Notes how many bytes were read, and which.
    fn read(&mut self, file: &File, offset: u64, length: usize) {
        let room = self.room(length);
        let (result, buffer) = self.drive(file.read_at(room, offset));
        let read = result.map(|count| {
            let bytes = shape(&buffer.into_inner()[..count]);
            format!("{count} {bytes}").trim_end().to_owned()
        });
        self.note(result_text(&read));
    }

    /// Notes how many bytes were written.
    fn write(&mut self, file: &File, offset: u64, bytes: &[u8]) {
        let buffer = self.holding(bytes);
        let (result, _) = self.drive(file.write_at(buffer, offset));
        self.note(result_text(&result));
    }

    /// Notes how long the file is.
    fn length(&mut self, file: &File) {
        let metadata = self.drive(file.metadata());
        self.note(result_text(&metadata.map(|metadata| metadata.len())));
    }

    /// Nothing is left in flight; what happened.
    fn end(mut self) -> String {
        while self.ring.is_busy() {
            ambidex_tests::sim::turn(&mut self.ring);
        }
        let counters = self.ring.counters();
        assert_eq!((counters.stale, counters.bugs), (0, 0));
        self.noted.join("; ")
    }
}

/// All but what is about direct I/O alone.
fn behaviours() -> impl Iterator<Item = &'static Behaviour<Files>> {
    let lists = [
        bytes::ALL,
        extents::ALL,
        opening::ALL,
        names::ALL,
        attributes::ALL,
        calling_back::ALL,
        transfers::ALL,
    ];
    lists.into_iter().flatten()
}

/// Those that make sense with direct I/O: each transfer is of whole blocks.
fn direct_behaviours() -> impl Iterator<Item = &'static Behaviour<Files>> {
    [bytes::ALL, extents::ALL, direct::ALL]
        .into_iter()
        .flatten()
}

fn options(choice: Choice) -> Options {
    Options {
        choice,
        sq_entries: 16,
        cq_entries: 64,
        ..Options::default()
    }
}

/// All behaviours of files on the simulated kernels.
pub(crate) fn simulated(record: &mut Record) {
    for (disk, name) in [(Disk::Local, "local"), (Disk::Memory, "memory")] {
        for direct in [false, true] {
            let kernel = kernel_name(&["sim", name], direct);
            let run = |behaviour: &Behaviour<Files>| {
                let (kernel, control) = fake(16, 64, 1);
                control.disk(disk);
                let ring = Ring::with_kernel(Box::new(kernel.linked()), &Options::default());
                let mut files = Files::new(ring, Path::new("/"), direct);
                (behaviour.script)(&mut files);
                files.end()
            };
            each(direct, |behaviour| {
                if is_simulated(behaviour.name) {
                    record.note(behaviour, &kernel, run(behaviour));
                }
            });
        }
    }
}

fn each(direct: bool, mut run: impl FnMut(&'static Behaviour<Files>)) {
    if direct {
        direct_behaviours().for_each(&mut run);
    } else {
        behaviours().for_each(&mut run);
    }
}

fn kernel_name(words: &[&str], direct: bool) -> String {
    let mut name = words.join(" ");
    if direct {
        name.push_str(" direct");
    }
    name
}

/// What `choice` is called.
pub(crate) fn backend_name(choice: Choice) -> &'static str {
    match choice {
        Choice::Threads => "threads",
        _ => "uring",
    }
}

/// On the real kernel, in directories of `place`, which is of the type `filesystem`.
pub(crate) fn real(record: &mut Record, place: &Path, filesystem: &str, choice: Choice) {
    for direct in [false, true] {
        let kernel = kernel_name(&[filesystem, backend_name(choice)], direct);
        each(direct, |behaviour| {
            let own = TempDir::new_in(place).expect("a directory");
            let ring = Ring::new(&options(choice)).expect("a ring");
            let mut files = Files::new(ring, own.path(), direct);
            (behaviour.script)(&mut files);
            record.note(behaviour, &kernel, files.end());
        });
    }
}
