//! A ring and a directory to work in.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use crate::sim::{backends, drive, poison, skip};
use ambidex::disk::{Choice, File, OpenOptions, Options, Ring};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// See the [module](self).
pub struct Bench {
    /// The ring.
    pub ring: Ring,
    directory: PathBuf,
    _own: Option<TempDir>,
}

/// One for each backend, in a directory of `disk`, and one in memory.
///
/// # Panics
/// If there is no such directory.
pub fn benches(test: &str, disk: &'static str) -> impl Iterator<Item = Bench> {
    backends(test).into_iter().flat_map(move |choice| {
        [disk, "/dev/shm"].map(|place| {
            let own = TempDir::new_in(place).expect("a directory");
            let mut bench = Bench::at(choice, own.path());
            bench._own = Some(own);
            bench
        })
    })
}

/// One on io_uring without the operation `name`, in a directory of `disk`. `None`, and a word about it, where there is
/// no io_uring.
///
/// # Panics
/// If there is no such directory.
#[must_use]
pub fn masked(name: &'static str, disk: &str) -> Option<Bench> {
    let own = TempDir::new_in(disk).expect("a directory");
    let options = Options {
        choice: Choice::Uring,
        masked: vec![name],
        ..Options::default()
    };
    match Bench::with(&options, own.path()) {
        Ok(bench) => Some(Bench {
            _own: Some(own),
            ..bench
        }),
        Err(error) => {
            skip(&format!("{name} is missing"), &error.to_string());
            None
        }
    }
}

impl Bench {
    /// On `choice`, in a directory that is there.
    ///
    /// # Panics
    /// If there is no such ring.
    #[must_use]
    pub fn at(choice: Choice, directory: &Path) -> Bench {
        let options = Options {
            choice,
            sq_entries: 16,
            cq_entries: 64,
            ..Options::default()
        };
        Bench::with(&options, directory).expect("a ring")
    }

    fn with(options: &Options, directory: &Path) -> io::Result<Bench> {
        Ok(Bench {
            ring: poison::ring(options)?,
            directory: directory.to_owned(),
            _own: None,
        })
    }

    /// Turns the ring until `future` has resolved.
    pub fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        drive(&mut self.ring, future)
    }

    /// Where `name` lies.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the file `name` holds.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("content")
    }

    /// Opens `name`.
    ///
    /// # Errors
    /// Those of the open.
    pub fn open(&mut self, options: &OpenOptions, name: &str) -> io::Result<File> {
        let (handle, path) = (self.ring.handle(), self.path(name));
        self.drive(options.open(&handle, path))
    }

    /// The directory, to work relative to.
    ///
    /// # Panics
    /// If it cannot be opened.
    pub fn directory(&mut self) -> File {
        let options = OpenOptions::new().directory();
        self.open(&options, "").expect("a directory")
    }

    /// A file with this content, open for reading and writing.
    ///
    /// # Panics
    /// If it cannot be had.
    pub fn create(&mut self, name: &str, content: &[u8]) -> File {
        fs::write(self.path(name), content).expect("content");
        self.open(&OpenOptions::new().write(), name).expect("open")
    }
}

/// The errno that was answered instead of a result; 0 for a result.
///
/// # Panics
/// If the error has none.
pub fn errno<T>(result: io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().expect("an errno"),
    }
}

/// A mount that ends with the test.
pub struct Mount(TempDir);

impl Mount {
    /// A tmpfs with `options`. `None`, and a word about it, where that is not allowed.
    ///
    /// # Panics
    /// If there is no directory to mount it on.
    #[must_use]
    pub fn tmpfs(test: &str, options: &str) -> Option<Mount> {
        let directory = TempDir::new().expect("a directory");
        let (flags, data) = match options {
            "ro" => (MountFlags::RDONLY, None),
            other => (MountFlags::empty(), Some(other)),
        };
        let data = data.map(|data| std::ffi::CString::new(data).expect("no NUL"));
        match mount("none", directory.path(), "tmpfs", flags, data.as_deref()) {
            Ok(()) => Some(Mount(directory)),
            Err(error) => {
                skip(test, &format!("a tmpfs cannot be mounted: {error}"));
                None
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}
