//! The seam of files itself, without a ring before it: entries, completions, links, cancels and the doorbell.
#![allow(unsafe_code)]

#[path = "seam/behaviours.rs"]
mod behaviours;

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ambidex::disk::kernel::{self, Call, Entry, Link, OpenHow};
use ambidex::disk::{Backend, Choice, Kernel, Options};
use ambidex_tests::sim::Patience;
use ambidex_tests::sim::disk::{Control, Disk, fake};
use rustix::pipe::{PipeFlags, pipe_with};
use tempfile::TempDir;

use super::divergences::is_simulated;
use super::files::backend_name;
use super::judge::Record;
use super::text::errno_name;

/// What the file `data` holds.
const CONTENT: &[u8] = b"0123456789";
/// Places of both queues.
const ENTRIES: u32 = 8;

/// A kernel with one file, open, and what happened.
pub(crate) struct Seam {
    kernel: Box<dyn Kernel>,
    /// Of the simulated one.
    control: Option<Control>,
    /// Where `data` lies.
    path: CString,
    file: RawFd,
    /// Lent to entries: kept to the end, and each only once.
    buffers: Vec<Box<[u8]>>,
    paths: Vec<CString>,
    /// How each is opened.
    how: Box<OpenHow>,
    /// A pipe that nothing is written to before [`Seam::let_go`].
    pipe: (OwnedFd, OwnedFd),
    noted: Vec<String>,
}

impl Seam {
    fn new(kernel: Box<dyn Kernel>, control: Option<Control>, path: &Path) -> Seam {
        let mut seam = Seam {
            kernel,
            control,
            path: CString::new(path.as_os_str().as_bytes()).expect("no NUL"),
            file: -1,
            buffers: Vec::new(),
            paths: Vec::new(),
            how: Box::new(OpenHow {
                flags: (libc::O_RDWR | libc::O_CLOEXEC) as u64,
                ..OpenHow::default()
            }),
            pipe: pipe_with(PipeFlags::CLOEXEC).expect("a pipe"),
            noted: Vec::new(),
        };
        let path = seam.path.clone();
        let open = seam.opening(path);
        seam.file = seam.all(vec![seam.entry(0, open)])[0].1;
        assert!(seam.file >= 0, "data is there");
        seam
    }

    fn note(&mut self, text: impl Into<String>) {
        self.noted.push(text.into());
    }

    fn entry(&self, user_data: u64, call: Call) -> Entry {
        Entry {
            call,
            punt: false,
            given_up: false,
            table: None,
            link: Link::None,
            user_data,
        }
    }

    /// A read of `length` bytes of `data`.
    fn reading(&mut self, offset: u64, length: usize) -> Call {
        self.reading_from(self.file, offset, length)
    }

    /// A read that does not end before [`Seam::let_go`].
    fn hanging(&mut self) -> Call {
        match &self.control {
            Some(control) => {
                control.hang(true);
                self.reading(0, 1)
            }
            None => self.reading_from(self.pipe.0.as_raw_fd(), 0, 1),
        }
    }

    /// Submits what hangs, and waits until somebody works on it.
    fn enter_hanging(&mut self) {
        let before = self.kernel.calls().1;
        self.enter();
        let patience = Patience::new();
        while self.kernel.capabilities().backend == Backend::Threads
            && self.kernel.calls().1 == before
        {
            std::thread::yield_now();
            patience.check("a thread");
        }
    }

    /// Waits until there is something to reap: the bell cannot be armed.
    fn wait_for_completion(&mut self) {
        let patience = Patience::new();
        while self.kernel.arm() {
            std::thread::yield_now();
            patience.check("a completion");
        }
        self.kernel.disarm();
    }

    fn let_go(&self) {
        match &self.control {
            Some(control) => {
                control.hang(false);
                control.finish_one();
            }
            None => {
                rustix::io::write(&self.pipe.1, b"x").expect("room in a pipe");
            }
        }
    }

    fn reading_from(&mut self, fd: RawFd, offset: u64, length: usize) -> Call {
        self.buffers.push(vec![0; length].into_boxed_slice());
        let buffer = self.buffers.last_mut().expect("just pushed").as_mut_ptr();
        Call::Read {
            fd,
            buffer,
            length: length as u32,
            offset,
            flags: 0,
        }
    }

    fn opening(&mut self, path: CString) -> Call {
        self.paths.push(path);
        Call::Open {
            dir: libc::AT_FDCWD,
            path: self.paths.last().expect("just pushed").as_ptr(),
            how: &raw const *self.how,
        }
    }

    /// An open of a file that is missing.
    fn missing(&mut self) -> Call {
        let path = [self.path.as_bytes(), b"-missing"].concat();
        self.opening(CString::new(path).expect("no NUL"))
    }

    fn push(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            // SAFETY: buffers and paths are kept until `end`, which waits for all answers.
            unsafe { self.kernel.push(&entry) };
        }
    }

    fn enter(&mut self) {
        while self.kernel.queued() > 0 || self.kernel.deferred() {
            self.kernel.enter().expect("enter");
        }
    }

    /// The next `count` completions, in order of `user_data`.
    fn reap(&mut self, count: usize) -> Vec<(u64, i32)> {
        let patience = Patience::new();
        let mut found = Vec::new();
        while found.len() < count {
            match self.kernel.next() {
                Some(completion) => found.push((completion.user_data, completion.result)),
                None => {
                    self.enter();
                    std::thread::yield_now();
                    patience.check("a completion");
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Pushes, enters and reaps them all.
    fn all(&mut self, entries: Vec<Entry>) -> Vec<(u64, i32)> {
        let count = entries.len();
        self.push(entries);
        self.enter();
        self.reap(count)
    }

    /// Notes what each was answered.
    fn answers(&mut self, answers: &[(u64, i32)]) {
        let each = answers.iter().map(|(user_data, result)| {
            let result = if *result < 0 {
                errno_name(-result)
            } else {
                result.to_string()
            };
            format!("{user_data}: {result}")
        });
        let text: Vec<String> = each.collect();
        self.note(text.join(", "));
    }

    /// Pushes the calls as one chain; notes the answers.
    fn chain(&mut self, calls: Vec<Call>, link: Link) {
        let last = calls.len() - 1;
        let entries = calls.into_iter().enumerate().map(|(at, call)| Entry {
            link: if at < last { link } else { Link::None },
            ..self.entry(at as u64 + 1, call)
        });
        let entries = entries.collect();
        let answers = self.all(entries);
        self.answers(&answers);
    }

    /// What the buffer of the read that was made `number`th holds.
    fn held(&self, number: usize) -> String {
        String::from_utf8_lossy(&self.buffers[number]).into_owned()
    }

    /// Makes `call` on this thread.
    fn now(&mut self, call: &Call) -> i32 {
        // SAFETY: as for `push`.
        unsafe { self.kernel.perform_now(call) }
    }

    fn end(mut self) -> String {
        let close = self.entry(0, Call::Close { fd: self.file });
        assert_eq!(self.all(vec![close]), [(0, 0)], "nothing else is left");
        assert!(self.kernel.next().is_none(), "nothing is answered twice");
        self.noted.join("; ")
    }
}

/// Ends with its owner; for descriptors that an open has answered.
fn adopt(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "a descriptor");
    // SAFETY: answered by an open, once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// All behaviours of the seam on the simulated kernels.
pub(crate) fn simulated(record: &mut Record) {
    for (disk, name) in [(Disk::Local, "sim local"), (Disk::Memory, "sim memory")] {
        for behaviour in behaviours::ALL.iter().filter(|one| is_simulated(one.name)) {
            let (kernel, control) = fake(ENTRIES as usize, ENTRIES as usize, 1);
            control.disk(disk);
            control.file("data", CONTENT.to_vec());
            let kernel = Box::new(kernel.linked());
            let mut seam = Seam::new(kernel, Some(control), Path::new("data"));
            (behaviour.script)(&mut seam);
            record.note(behaviour, name, seam.end());
        }
    }
}

/// On the real kernel, in directories of `place`, which is of the type `filesystem`.
pub(crate) fn real(record: &mut Record, place: &Path, filesystem: &str, choice: Choice) {
    let backend = backend_name(choice);
    let options = Options {
        choice,
        sq_entries: ENTRIES,
        cq_entries: ENTRIES,
        ..Options::default()
    };
    for behaviour in behaviours::ALL {
        let kernel = kernel::set_up(&options).expect("a kernel");
        let own = TempDir::new_in(place).expect("a directory");
        let path = own.path().join("data");
        fs::write(&path, CONTENT).expect("content");
        let mut seam = Seam::new(kernel, None, &path);
        (behaviour.script)(&mut seam);
        record.note(behaviour, &format!("{filesystem} {backend}"), seam.end());
    }
}
