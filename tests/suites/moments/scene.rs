//! A ring on the real kernel, a directory, and operations that tell where their buffers are.

use std::cell::Cell;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;

use ambidex::disk::{Choice, File, Options, Pool, Ring};
use ambidex_tests::sim::disk::CountedBuf;
use ambidex_tests::sim::{descriptors, drive, poison, poll_once, turn, turn_until};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

/// An operation, whatever it resolves to.
pub(crate) type Operation = Pin<Box<dyn Future<Output = ()>>>;

/// A ring, a directory, and buffers that tell where they are.
pub(crate) struct Scene {
    pub(crate) ring: Ring,
    directory: TempDir,
    pub(crate) alive: Rc<Cell<usize>>,
    pool: Pool,
}

impl Scene {
    /// Two credits, one place for each remote mount, one worker.
    pub(crate) fn new(choice: Choice) -> Scene {
        let options = Options {
            choice,
            sq_entries: 2,
            cq_entries: 2,
            workers_max: 1,
            remote_max: 1,
            ..Options::default()
        };
        let scene = Scene {
            ring: poison::ring(&options).expect("a ring"),
            directory: TempDir::new().expect("a directory"),
            alive: Rc::default(),
            pool: Pool::new(1, 4096),
        };
        fs::write(scene.path("data"), [7; 4096]).expect("a file");
        mkfifoat(CWD, scene.path("fifo"), Mode::RUSR | Mode::WUSR).expect("a FIFO");
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The regular file, cached.
    pub(crate) fn file(&mut self) -> File {
        let path = self.path("data");
        let handle = self.ring.handle();
        drive(&mut self.ring, async move {
            let file = File::open(&handle, path).await.expect("open");
            let (result, _) = file.read_at(Vec::with_capacity(4096), 0).await;
            assert_eq!(result.expect("read"), 4096);
            file
        })
    }

    /// A file whose reads go to a worker, one at a time.
    pub(crate) fn remote(&mut self) -> File {
        let handle = self.ring.handle();
        let opened = drive(&mut self.ring, async move {
            File::open(&handle, "/proc/self/stat").await
        });
        opened.expect("proc")
    }

    /// The FIFO, open at the other end too. Reads of it wait until something is written there.
    pub(crate) fn fifo(&mut self) -> (File, fs::File) {
        let writer = self.fifo_writer();
        let (handle, path) = (self.ring.handle(), self.path("fifo"));
        let opened = drive(
            &mut self.ring,
            async move { File::open(&handle, path).await },
        );
        (opened.expect("open"), writer)
    }

    /// Opens the FIFO at both ends, which does not wait.
    pub(crate) fn fifo_writer(&self) -> fs::File {
        let both = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path("fifo"));
        both.expect("a FIFO")
    }

    /// Two reads, one into a counted buffer, one into that of the pool.
    pub(crate) fn reads(&self, file: &File) -> Vec<Operation> {
        let buffer = CountedBuf::new(512, &self.alive);
        let pooled = self.pool.try_take().expect("it is free");
        let (one, two) = (file.clone(), file.clone());
        vec![
            Box::pin(async move {
                let (result, buffer) = one.read_at(buffer, 0).await;
                assert_eq!(result.unwrap_or(0), buffer.filled().len());
            }),
            Box::pin(async move {
                let _ = two.read_at(pooled, 0).await;
            }),
        ]
    }

    /// An open of `name` that holds what it opened.
    pub(crate) fn open(&self, name: &str) -> Operation {
        let (handle, path) = (self.ring.handle(), self.path(name));
        Box::pin(async move {
            let _ = File::open(&handle, path).await;
        })
    }

    /// Takes the worker, if that is the only one, until the FIFO is opened at the other end.
    pub(crate) fn occupy_worker(&mut self) -> Operation {
        let mut hung = self.open("fifo");
        assert!(poll_once(hung.as_mut()).is_pending());
        for _ in 0..10 {
            turn(&mut self.ring);
        }
        assert_eq!(self.ring.in_flight(), 1, "the open hangs");
        hung
    }

    /// Counted buffers alive, pool buffers out.
    pub(crate) fn lent(&self) -> (usize, usize) {
        (self.alive.get(), 1 - self.pool.free())
    }

    /// Descriptors of this process inside the directory.
    pub(crate) fn descriptors(&self) -> usize {
        descriptors(&self.directory.path().to_string_lossy())
    }

    pub(crate) fn drain(&mut self) {
        turn_until(&mut self.ring, "the last completion", |ring| {
            ring.in_flight() == 0 && !ring.wants_enter()
        });
    }
}

pub(crate) fn poll_all(operations: &mut [Operation]) {
    for operation in operations {
        assert!(poll_once(operation.as_mut()).is_pending());
    }
}
