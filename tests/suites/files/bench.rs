//! A ring and a directory to work in.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use ambidex::disk::{Choice, File, OpenOptions, Options, Ring};
use ambidex_tests::sim::{backends, drive, skip};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

/// See the [module](self).
pub(crate) struct Bench {
    pub(crate) ring: Ring,
    directory: PathBuf,
    _own: Option<TempDir>,
}

/// One for each backend, on a disk, and one in memory.
pub(crate) fn benches(test: &str) -> impl Iterator<Item = Bench> {
    let places = [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"];
    backends(test).into_iter().flat_map(move |choice| {
        places.map(|place| {
            let own = TempDir::new_in(place).expect("a directory");
            let mut bench = Bench::at(choice, own.path());
            bench._own = Some(own);
            bench
        })
    })
}

impl Bench {
    pub(crate) fn at(choice: Choice, directory: &Path) -> Bench {
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
            ring: Ring::new(options)?,
            directory: directory.to_owned(),
            _own: None,
        })
    }

    pub(crate) fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        drive(&mut self.ring, future)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("content")
    }

    pub(crate) fn open(&mut self, options: &OpenOptions, name: &str) -> io::Result<File> {
        let (handle, path) = (self.ring.handle(), self.path(name));
        self.drive(options.open(&handle, path))
    }

    /// A file with this content, open for reading and writing.
    pub(crate) fn create(&mut self, name: &str, content: &[u8]) -> File {
        fs::write(self.path(name), content).expect("content");
        self.open(&OpenOptions::new().write(), name).expect("open")
    }
}

/// The errno that was answered instead of a result.
pub(crate) fn errno<T>(result: io::Result<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().expect("an errno"),
    }
}

/// A mount that ends with the test.
pub(crate) struct Mount(TempDir);

impl Mount {
    /// A tmpfs with `options`. `None`, and a word about it, where that is not allowed.
    pub(crate) fn tmpfs(test: &str, options: &str) -> Option<Mount> {
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

    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// Rings that lack an operation.
pub(crate) mod masked {
    use super::*;

    /// What files need.
    pub(crate) const FILES: &[&str] = &[
        "OPENAT2",
        "STATX",
        "CLOSE",
        "WRITE",
        "READV",
        "WRITEV",
        "FSYNC",
        "SYNC_FILE_RANGE",
        "FALLOCATE",
        "FTRUNCATE",
        "FADVISE",
    ];

    /// A ring without the operation `name`. `None` where there is no io_uring.
    pub(crate) fn bench(name: &'static str) -> Option<Bench> {
        let own = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
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
}
