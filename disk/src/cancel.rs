//! Calling operations back: a scope around a future, and who may end it.

use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use smallvec::SmallVec;

use crate::operations::Key;
use crate::ring::Handle;

/// What is in flight on behalf of one [`Cancellable`].
#[derive(Default)]
pub(crate) struct Scope {
    inside: RefCell<Inside>,
}

#[derive(Default)]
struct Inside {
    cancelled: bool,
    /// An operation was not carried out because of it.
    hit: bool,
    in_flight: SmallVec<[Key; 2]>,
    waker: Option<Waker>,
}

impl Scope {
    pub(crate) fn add(&self, key: Key) {
        self.inside.borrow_mut().in_flight.push(key);
    }

    /// An operation has ended, called back or not.
    pub(crate) fn remove(&self, key: Key, called_back: bool) {
        let inside = &mut *self.inside.borrow_mut();
        inside.in_flight.retain(|known| *known != key);
        inside.hit |= called_back && inside.cancelled;
    }

    /// Whether an operation that wants to begin must not.
    pub(crate) fn refuses(&self) -> bool {
        let inside = &mut *self.inside.borrow_mut();
        inside.hit |= inside.cancelled;
        inside.cancelled
    }

    fn cancel(&self, ring: &Handle) {
        let (in_flight, waker) = {
            let inside = &mut *self.inside.borrow_mut();
            inside.cancelled = true;
            (inside.in_flight.clone(), inside.waker.take())
        };
        for key in in_flight {
            ring.cancel_operation(key);
        }
        // What waits for a credit is woken too, to be refused.
        waker.into_iter().for_each(Waker::wake);
    }
}

/// How a [`Cancellable`] ended that was cancelled. Both carry what the future resolved to, so that
/// no buffer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// An operation was called back, or not begun: it answered `ECANCELED`.
    Cancelled(T),
    /// All were carried out: it came too late.
    Completed(T),
}

impl<T> Outcome<T> {
    /// What the future resolved to, either way.
    pub fn into_inner(self) -> T {
        match self {
            Outcome::Cancelled(value) | Outcome::Completed(value) => value,
        }
    }

    /// Whether an operation was called back.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Outcome::Cancelled(_))
    }
}

pin_project! {
    /// A future whose file operations can be called back; see [`Handle::cancellable`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Cancellable<F> {
        #[pin]
        future: F,
        ring: Handle,
        scope: Rc<Scope>,
    }
}

/// Calls the operations of one [`Cancellable`] back. Cheap to clone.
#[derive(Clone)]
pub struct Canceller {
    ring: Handle,
    scope: Rc<Scope>,
}

impl Handle {
    /// Makes the file operations of `future` ones that can be called back: one, or as many as it
    /// makes, one after the other or side by side. Those of tasks that it spawns are not among them.
    ///
    /// Dropping a future also ends the wait for it, and its buffer is lost; this way the buffer
    /// comes back, and what the kernel did is known.
    ///
    /// An operation that waits for a credit, or for a thread, is called back at once. One that a
    /// device works on is waited for: a disk read that was issued cannot be recalled. What is
    /// answered without waiting (a memory filesystem) is carried out all the same.
    ///
    /// # Minimum kernel
    /// Linux 6.0 (`IORING_REGISTER_SYNC_CANCEL`, io_uring_register(2)) to call back what io_uring
    /// holds; before, it is waited for.
    ///
    /// ```no_run
    /// # async fn example(handle: ambidex_disk::Handle) -> std::io::Result<()> {
    /// use ambidex_disk::{File, Outcome};
    /// use std::pin::pin;
    ///
    /// let file = File::open(&handle, "/etc/hostname").await?;
    /// let mut read = pin!(handle.cancellable(file.read_at(vec![0; 4096], 0)));
    /// match read.as_mut().cancel().await {
    ///     Outcome::Cancelled((_error, buffer)) => assert_eq!(buffer.len(), 4096),
    ///     Outcome::Completed((result, _buffer)) => println!("{} bytes", result?),
    /// }
    /// # Ok(()) }
    /// ```
    pub fn cancellable<F: Future>(&self, future: F) -> Cancellable<F> {
        Cancellable {
            future,
            ring: self.clone(),
            scope: Rc::default(),
        }
    }
}

impl<F: Future> Cancellable<F> {
    /// Somebody who may cancel it from elsewhere on this thread.
    pub fn canceller(&self) -> Canceller {
        Canceller {
            ring: self.ring.clone(),
            scope: Rc::clone(&self.scope),
        }
    }

    /// Calls its operations back, waits for what the kernel makes of that, and tells.
    ///
    /// # Panics
    /// If it has been awaited to its end, as the future inside does.
    ///
    /// # Cancel safety
    /// Safe: the operations stay called back, and it can be awaited further.
    pub async fn cancel(mut self: Pin<&mut Self>) -> Outcome<F::Output> {
        self.canceller().cancel();
        let value = poll_fn(|cx| self.as_mut().poll(cx)).await;
        if self.scope.inside.borrow().hit {
            Outcome::Cancelled(value)
        } else {
            Outcome::Completed(value)
        }
    }
}

impl<F: Future> Future for Cancellable<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let waker = cx.waker().clone();
        this.scope.inside.borrow_mut().waker = Some(waker);
        let entered = Entered::new(this.ring, this.scope);
        let polled = this.future.poll(cx);
        drop(entered);
        polled
    }
}

/// Operations that are polled meanwhile join the scope.
struct Entered<'a> {
    ring: &'a Handle,
    scope: &'a Scope,
    outer: Option<Rc<Scope>>,
}

impl<'a> Entered<'a> {
    fn new(ring: &'a Handle, scope: &'a Rc<Scope>) -> Entered<'a> {
        let outer = ring.swap_scope(Some(Rc::clone(scope)));
        let cancelled = |scope: &Scope| scope.inside.borrow().cancelled;
        if outer.as_deref().is_some_and(cancelled) && !cancelled(scope) {
            scope.cancel(ring);
        }
        Entered { ring, scope, outer }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let outer = self.outer.take();
        if let Some(outer) = &outer {
            outer.inside.borrow_mut().hit |= self.scope.inside.borrow().hit;
        }
        self.ring.swap_scope(outer);
    }
}

impl Canceller {
    /// Calls the operations back. The future resolves when the kernel has answered; what it would
    /// begin from now on answers `ECANCELED`.
    pub fn cancel(&self) {
        self.scope.cancel(&self.ring);
    }

    /// Whether it has been cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.scope.inside.borrow().cancelled
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for Cancellable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancellable")
    }
}
