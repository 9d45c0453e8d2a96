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

/// What is in flight, and what waits to be, on behalf of one [`Cancellable`] and of those inside it.
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
    waiting: SmallVec<[Rc<Waiter>; 1]>,
    /// The scope that this one was first polled in: what is here is there too.
    outer: Option<Rc<Scope>>,
}

/// An operation that waits for a credit or for its mount. It has a waker of its own: who polls
/// several in one scope may do so one by one, each when it was woken.
pub(crate) struct Waiter {
    waker: RefCell<Waker>,
}

impl Waiter {
    pub(crate) fn new(waker: &Waker) -> Rc<Waiter> {
        Rc::new(Waiter {
            waker: RefCell::new(waker.clone()),
        })
    }

    pub(crate) fn poll(&self, waker: &Waker) {
        if !self.waker.borrow().will_wake(waker) {
            // Dropped after the borrow: nobody knows what else goes with a waker.
            let _known = self.waker.replace(waker.clone());
        }
    }

    fn wake(&self) {
        let waker = self.waker.borrow().clone();
        waker.wake();
    }
}

impl Scope {
    /// Of this scope and of all around it.
    fn each(&self, mut act: impl FnMut(&mut Inside)) {
        let mut act = |scope: &Scope| {
            let inside = &mut *scope.inside.borrow_mut();
            act(inside);
            inside.outer.clone()
        };
        let mut outer = act(self);
        while let Some(scope) = outer {
            outer = act(&scope);
        }
    }

    pub(crate) fn add(&self, key: Key) {
        self.each(|inside| inside.in_flight.push(key));
    }

    /// An operation has ended, called back or not, or belongs elsewhere from now on.
    pub(crate) fn remove(&self, key: Key, called_back: bool) {
        self.each(|inside| {
            inside.in_flight.retain(|known| *known != key);
            inside.hit |= called_back && inside.cancelled;
        });
    }

    pub(crate) fn wait(&self, waiter: &Rc<Waiter>) {
        self.each(|inside| inside.waiting.push(Rc::clone(waiter)));
    }

    /// It waits no more.
    pub(crate) fn leave(&self, waiter: &Rc<Waiter>) {
        self.each(|inside| inside.waiting.retain(|known| !Rc::ptr_eq(known, waiter)));
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        let mut cancelled = false;
        self.each(|inside| cancelled |= inside.cancelled);
        cancelled
    }

    /// Whether an operation that wants to begin must not; then it is one that was not carried out.
    pub(crate) fn refuses(&self) -> bool {
        self.each(|inside| inside.hit |= inside.cancelled);
        self.is_cancelled()
    }

    fn cancel(&self, ring: &Handle) {
        self.inside.borrow_mut().cancelled = true;
        self.call_back(ring);
    }

    fn call_back(&self, ring: &Handle) {
        let (in_flight, waiting) = {
            let inside = self.inside.borrow();
            (inside.in_flight.clone(), inside.waiting.clone())
        };
        for key in in_flight {
            ring.cancel_operation(key);
        }
        // To be refused.
        waiting.iter().for_each(|waiter| waiter.wake());
    }

    /// It is polled in `outer` now, and so is what is in it.
    fn enter(self: &Rc<Scope>, outer: &Rc<Scope>, ring: &Handle) {
        let known = self.inside.borrow().outer.clone();
        if known.as_ref().is_some_and(|known| Rc::ptr_eq(known, outer)) {
            return;
        }
        let (in_flight, waiting) = {
            let inside = &mut *self.inside.borrow_mut();
            inside.outer = Some(Rc::clone(outer));
            (inside.in_flight.clone(), inside.waiting.clone())
        };
        for key in in_flight {
            known.iter().for_each(|known| known.remove(key, false));
            outer.add(key);
        }
        for waiter in waiting {
            known.iter().for_each(|known| known.leave(&waiter));
            outer.wait(&waiter);
        }
        if outer.is_cancelled() {
            self.call_back(ring);
        }
    }
}

/// How a [`Cancellable`] ended that was cancelled. Both carry what the future resolved to, so that
/// no buffer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// An operation was called back, or not begun: it answered `ECANCELED`. One that may have been
    /// carried out in part, such as an open that creates, answered `EINTR`.
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
        let entered = Entered::new(this.ring, this.scope);
        let polled = this.future.poll(cx);
        drop(entered);
        polled
    }
}

/// Operations that are polled meanwhile join the scope.
struct Entered<'a> {
    ring: &'a Handle,
    outer: Option<Rc<Scope>>,
}

impl<'a> Entered<'a> {
    fn new(ring: &'a Handle, scope: &Rc<Scope>) -> Entered<'a> {
        let outer = ring.swap_scope(Some(Rc::clone(scope)));
        if let Some(outer) = &outer {
            scope.enter(outer, ring);
        }
        Entered { ring, outer }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.ring.swap_scope(self.outer.take());
    }
}

impl Canceller {
    /// Calls the operations back. The future resolves when the kernel has answered; what it would
    /// begin from now on answers `ECANCELED`.
    pub fn cancel(&self) {
        self.scope.cancel(&self.ring);
    }

    /// Whether it has been cancelled, or one that it is inside of.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.scope.is_cancelled()
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
