//! Reaching an engine from other threads.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::handle::Handle;
use crate::tasks::Shared;

/// Work that waits to be adopted.
pub(crate) type Arrival = Box<dyn FnOnce(&Handle) + Send>;

/// Most arrivals that wait to be adopted; the next is refused.
const ARRIVALS_MAX: usize = 4096;

/// Reaches an engine from any thread. Cheap to clone.
///
/// ```
/// use ambidex::Engine;
/// use std::sync::mpsc;
///
/// let mut engine = Engine::new()?;
/// let remote = engine.handle().remote();
/// let (sender, receiver) = mpsc::channel();
/// let thread = std::thread::spawn(move || {
///     remote.spawn(move |_io| async move { sender.send(7).unwrap() }).unwrap();
/// });
/// engine.run(async |io| {
///     while receiver.try_recv() != Ok(7) {
///         io.sleep(std::time::Duration::from_millis(1)).await;
///     }
/// })?;
/// # thread.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Remote {
    pub(crate) shared: Arc<Shared>,
}

impl Remote {
    /// Has the engine's thread call `make` and spawn the task that it returns.
    ///
    /// # Errors
    /// [`RemoteError::Full`] if 4,096 others wait already, [`RemoteError::Closed`] if the engine is
    /// shut down; `make` is dropped then.
    ///
    /// # Blocking
    /// Only for a lock that nobody holds for long.
    pub fn spawn<F>(
        &self,
        make: impl FnOnce(Handle) -> F + Send + 'static,
    ) -> Result<(), RemoteError>
    where
        F: Future<Output = ()> + 'static,
    {
        {
            let mut arrivals = self.shared.arrivals();
            if self.shared.closed.load(Ordering::Acquire) {
                return Err(RemoteError::Closed);
            }
            if arrivals.len() >= ARRIVALS_MAX {
                return Err(RemoteError::Full);
            }
            arrivals.push_back(Box::new(|handle: &Handle| {
                // Inside the task: a panic of `make` is the task's.
                let own = handle.clone();
                handle.spawn(async move { make(own).await }).detach();
            }));
        }
        self.shared.doorbell.ring();
        Ok(())
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// Why work from another thread was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteError {
    /// Too much waits to be adopted: the loop is behind.
    Full,
    /// The engine is shut down.
    Closed,
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RemoteError::Full => "the engine has too much work waiting to be adopted",
            RemoteError::Closed => "the engine is shut down",
        })
    }
}

impl std::error::Error for RemoteError {}
