//! The handle of a spawned task.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use async_task::FallibleTask;
use pin_project_lite::pin_project;

pub(crate) type Caught<T> = Result<T, Box<dyn Any + Send>>;

/// Waits for a task and takes its result. Dropping it lets the task go on alone.
///
/// # Cancel safety
/// Safe: awaiting a reference to it loses nothing.
#[must_use = "dropping it detaches the task: call detach() to say so"]
pub struct JoinHandle<T> {
    /// `None` once detached.
    task: Option<FallibleTask<Caught<T>>>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(task: FallibleTask<Caught<T>>) -> JoinHandle<T> {
        JoinHandle { task: Some(task) }
    }

    /// Stops the task where it waits and drops its future. Its operations are abandoned.
    pub fn abort(mut self) {
        self.task = None;
    }

    /// Lets the task go on alone. If it panics, the panic hook has the only word of it.
    pub fn detach(self) {}

    /// Whether the task has ended, one way or another.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(FallibleTask::is_finished)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = &mut self.task else {
            return Poll::Ready(Err(JoinError::Cancelled));
        };
        Pin::new(task).poll(cx).map(|ended| match ended {
            None => Err(JoinError::Cancelled),
            Some(Ok(value)) => Ok(value),
            Some(Err(panic)) => Err(JoinError::Panicked(Panic::new(panic))),
        })
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// Why a task has no result.
#[non_exhaustive]
pub enum JoinError {
    /// It was aborted, or its engine was shut down.
    Cancelled,
    /// It panicked.
    Panicked(Panic),
}

/// What a task panicked with. The mutex only makes it `Sync`, as error types should be.
pub struct Panic(Mutex<Box<dyn Any + Send>>);

impl Panic {
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Panic {
        Panic(Mutex::new(payload))
    }

    /// The payload, for [`std::panic::resume_unwind`] or a downcast.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Any + Send> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(error)
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinError::Cancelled => "the task was cancelled",
            JoinError::Panicked(_) => "the task panicked",
        })
    }
}

impl std::error::Error for JoinError {}

pin_project! {
    /// Keeps a panic inside its task, be it in a poll or in a destructor: other tasks live on.
    ///
    /// `guard` is dropped after the future. An async block that held both would keep the future twice: as it was
    /// captured, and as it is awaited.
    pub(crate) struct Supervised<F, G> {
        #[pin]
        future: Option<F>,
        guard: Option<G>,
    }

    impl<F, G> PinnedDrop for Supervised<F, G> {
        fn drop(this: Pin<&mut Self>) {
            // The panic hook has reported it; there is nobody else to tell.
            let _ = catch_unwind(AssertUnwindSafe(|| this.end()));
        }
    }
}

impl<F, G> Supervised<F, G> {
    pub(crate) fn new(future: F, guard: G) -> Supervised<F, G> {
        Supervised {
            future: Some(future),
            guard: Some(guard),
        }
    }

    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.future.set(None);
        *this.guard = None;
    }
}

impl<F: Future, G> Future for Supervised<F, G> {
    type Output = Caught<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let future = self.as_mut().project().future.as_pin_mut();
            let polled = future.expect("polled after its end").poll(cx);
            if polled.is_ready() {
                self.as_mut().end();
            }
            polled
        }));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
