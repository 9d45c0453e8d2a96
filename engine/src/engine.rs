//! The engine: a loop, and the tasks that run on it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll as Progress, Waker};
use std::time::Duration;

use ambidex_disk::Ring;
use ambidex_net::Reactor;

use crate::blocking::Places;
use crate::clock::{Clock, Real};
use crate::drain::Drain;
use crate::handle::{Core, Handle};
use crate::poll::{DROP_PATIENCE, Poll};
use crate::tasks::{Shared, Tasks};

/// Makes an engine with other than the default parts.
///
/// ```
/// use ambidex::{Engine, disk};
/// let engine = Engine::builder()
///     .disk(disk::Options { choice: disk::Choice::Threads, ..Default::default() })
///     .build()?;
/// assert_eq!(engine.handle().disk().capabilities().backend, disk::Backend::Threads);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "call build()"]
pub struct Builder {
    disk: ambidex_disk::Options,
    net_kernel: Option<Rc<dyn ambidex_net::Kernel>>,
    disk_kernel: Option<Box<dyn ambidex_disk::Kernel>>,
    clock: Rc<dyn Clock>,
    /// `None`: one for each processor.
    cpu_threads: Option<usize>,
}

impl Builder {
    /// The default parts, but what `AMBIDEX_DISK` decides.
    pub(crate) fn from_environment() -> io::Result<Builder> {
        Ok(Engine::builder().disk(ambidex_disk::Options {
            choice: ambidex_disk::Choice::from_environment()?,
            ..ambidex_disk::Options::default()
        }))
    }

    /// How the ring is set up.
    pub fn disk(mut self, options: ambidex_disk::Options) -> Builder {
        self.disk = options;
        self
    }

    /// Another kernel for sockets, such as a simulated one.
    pub fn net_kernel(mut self, kernel: Rc<dyn ambidex_net::Kernel>) -> Builder {
        self.net_kernel = Some(kernel);
        self
    }

    /// Another kernel for files, such as a simulated one.
    pub fn disk_kernel(mut self, kernel: Box<dyn ambidex_disk::Kernel>) -> Builder {
        self.disk_kernel = Some(kernel);
        self
    }

    /// How many threads may be at work for [`Handle::spawn_blocking`] at a time; the default is
    /// one for each processor.
    pub fn cpu_threads(mut self, threads: usize) -> Builder {
        self.cpu_threads = Some(threads);
        self
    }

    /// Another clock.
    pub fn clock(mut self, clock: Rc<dyn Clock>) -> Builder {
        self.clock = clock;
        self
    }

    /// Makes the engine, on the thread that will run it.
    ///
    /// # Errors
    /// `EMFILE` and its like; and, if io_uring was insisted on, why it cannot be had.
    pub fn build(self) -> io::Result<Engine> {
        // Asked for only here: it reads the limits of the control group, file by file.
        let count = || std::thread::available_parallelism().map_or(1, Into::into);
        let cpu_threads = self.cpu_threads.unwrap_or_else(count);
        let poll = self.build_poll()?;
        let shared = Shared::new(Arc::clone(&poll.doorbell));
        let core = Core {
            net: poll.net().clone(),
            disk: poll.disk().clone(),
            clock: Rc::clone(&poll.clock),
            timers: Rc::clone(&poll.timers),
            tasks: Tasks::new(&shared),
            shared,
            places: Places::new(cpu_threads),
            drain: Drain::default(),
            metrics: Cell::default(),
        };
        Ok(Engine {
            poll,
            handle: Handle {
                core: Rc::new(core),
            },
        })
    }

    /// Makes the loop alone: the token face.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn build_poll(self) -> io::Result<Poll> {
        let reactor = match self.net_kernel {
            Some(kernel) => Reactor::with_kernel(kernel)?,
            None => Reactor::new()?,
        };
        let ring = match self.disk_kernel {
            Some(kernel) => Ring::with_kernel(kernel, &self.disk),
            None => Ring::new(&self.disk)?,
        };
        Poll::assemble(reactor, ring, self.clock)
    }
}

/// One loop for sockets and files. Not `Send`: it lives and dies on one thread; make one a core.
///
/// See the [crate] for an example.
pub struct Engine {
    pub(crate) poll: Poll,
    pub(crate) handle: Handle,
}

/// How an engine ended; see [`Engine::shut_down`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Tasks that ended before the engine did, while it drained: returned, panicked or were aborted;
    /// see [`Engine::drain`].
    pub tasks_finished: u64,
    /// Tasks that had not ended and were dropped, with those that another thread had sent and that
    /// had not begun.
    pub tasks_cancelled: usize,
    /// Operations that the kernel had not finished at the deadline. Their memory is leaked, for
    /// the kernel may still write to it.
    pub operations_given_up: usize,
}

impl Engine {
    /// An engine on io_uring where it can be had, else on threads; `AMBIDEX_DISK` decides
    /// otherwise.
    ///
    /// # Errors
    /// Those of [`Builder::build`], and `InvalidInput` for a value of `AMBIDEX_DISK` that is none.
    pub fn new() -> io::Result<Engine> {
        Builder::from_environment()?.build()
    }

    /// Makes an engine with other than the default parts.
    pub fn builder() -> Builder {
        Builder {
            disk: ambidex_disk::Options::default(),
            net_kernel: None,
            disk_kernel: None,
            clock: Rc::new(Real),
            cpu_threads: None,
        }
    }

    /// The handle that user code gets.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs `main` and every task until `main` has finished. Tasks that have not ended stay, and go
    /// on with the next `run`.
    ///
    /// # Errors
    /// Those of the loop itself, which a user cannot cause: epoll_wait(2), io_uring_enter(2).
    ///
    /// # Panics
    /// If `main` panics. A panic of a task stays in that task.
    ///
    /// # Blocking
    /// Sleeps whenever there is nothing to do.
    pub fn run<T>(&mut self, main: impl AsyncFnOnce(Handle) -> T) -> io::Result<T> {
        let shared = Arc::clone(&self.handle.core.shared);
        let waker = Waker::from(Arc::clone(&shared));
        let mut main = pin!(main(self.handle()));
        waker.wake_by_ref();
        loop {
            if shared.take_main()
                && let Progress::Ready(value) = main.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return Ok(value);
            }
            self.turn()?;
        }
    }

    /// Ends the engine: drops every task, then turns the ring until the kernel has finished every
    /// operation or `patience` is over. Dropping an engine does this with a patience of a second.
    ///
    /// What is still in flight then is given up: its memory is leaked and counted, its descriptor
    /// stays with the kernel, and a future of it that somebody kept never resolves.
    ///
    /// # Blocking
    /// For up to `patience`.
    pub fn shut_down(mut self, patience: Duration) -> Report {
        self.end(patience)
    }

    fn end(&mut self, patience: Duration) -> Report {
        let core = Rc::clone(&self.handle.core);
        let Some(never_adopted) = core.shared.close() else {
            return Report::default();
        };
        let tasks_cancelled = never_adopted + core.tasks.cancel_all();
        let mut report = Report {
            tasks_cancelled,
            ..Report::default()
        };
        report.operations_given_up = self.poll.end(patience);
        report
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end(DROP_PATIENCE);
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("tasks", &self.handle.tasks())
            .field("ring", &self.poll.ring)
            .finish_non_exhaustive()
    }
}
