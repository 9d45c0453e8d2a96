//! Reaching an engine from other threads.

use std::fmt;
use std::future::Future;
use std::io;

use ambidex_net as net;
use ambidex_net::Socket;
use ambidex_net::socket::Protocol;

use crate::handle::Handle;
use crate::sync::{Arc, Ordering};
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
        self.push(|| {
            Box::new(|handle: &Handle| {
                // Inside the task: a panic of `make` is the task's.
                let own = handle.clone();
                handle.spawn(async move { make(own).await }).detach();
            })
        })
    }

    /// Hands a socket to the engine, whose thread calls `serve` with it and spawns the task that it
    /// returns: a thread that only accepts, and others that serve.
    ///
    /// # Errors
    /// Those of [`Remote::spawn`] and [`Socket::into_fd`]. The socket is closed then, except that it
    /// comes back from an engine that is full or closed.
    ///
    /// # Blocking
    /// As [`Remote::spawn`].
    ///
    /// ```no_run
    /// # async fn example(io: ambidex::Handle, workers: Vec<ambidex::Remote>) -> std::io::Result<()> {
    /// let address = "127.0.0.1:7000".parse().unwrap();
    /// let listener = ambidex::net::TcpListener::bind(io.net(), address)?;
    /// for worker in workers.iter().cycle() {
    ///     let (stream, _peer) = io.accept(&listener).await?;
    ///     worker.hand_over(io.net(), stream, async |_io, stream| {
    ///         let _ = stream.write_all(b"hello\n").await;
    ///     })?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn hand_over<P: Protocol + 'static>(
        &self,
        from: &net::Handle,
        socket: Socket<P>,
        serve: impl AsyncFnOnce(Handle, Socket<P>) + Send + 'static,
    ) -> Result<(), HandOverError<P>> {
        let mut fd = Some(socket.into_fd()?);
        let pushed = self.push(|| {
            let fd = fd.take().expect("called once");
            Box::new(move |handle: &Handle| {
                let own = handle.clone();
                let task = async move {
                    // It was of this kind before.
                    if let Ok(socket) = Socket::from_owned(own.net(), fd) {
                        serve(own, socket).await;
                    }
                };
                handle.spawn(task).detach();
            })
        });
        match (pushed, fd) {
            (Err(error), Some(fd)) => Err(HandOverError {
                error: error.into(),
                socket: Socket::from_owned(from, fd).ok(),
            }),
            _ => Ok(()),
        }
    }

    /// `arrival` is asked for only if there is room for it.
    fn push(&self, arrival: impl FnOnce() -> Arrival) -> Result<(), RemoteError> {
        {
            let mut arrivals = self.shared.arrivals();
            if self.shared.closed.load(Ordering::Acquire) {
                return Err(RemoteError::Closed);
            }
            if arrivals.len() >= ARRIVALS_MAX {
                return Err(RemoteError::Full);
            }
            arrivals.push_back(arrival());
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

impl From<RemoteError> for io::Error {
    fn from(error: RemoteError) -> io::Error {
        let kind = match error {
            RemoteError::Full => io::ErrorKind::WouldBlock,
            RemoteError::Closed => io::ErrorKind::BrokenPipe,
        };
        io::Error::new(kind, error)
    }
}

/// A socket that was not handed over, and why.
#[derive(Debug)]
pub struct HandOverError<P> {
    /// A [`RemoteError`] inside, or what [`Socket::into_fd`] answered.
    pub error: io::Error,
    /// The socket, on the reactor that it came from. `None` if it could not be had back.
    pub socket: Option<Socket<P>>,
}

impl<P> From<io::Error> for HandOverError<P> {
    fn from(error: io::Error) -> HandOverError<P> {
        HandOverError {
            error,
            socket: None,
        }
    }
}

impl<P> From<HandOverError<P>> for io::Error {
    fn from(error: HandOverError<P>) -> io::Error {
        error.error
    }
}

impl<P> fmt::Display for HandOverError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the socket was not handed over: {}", self.error)
    }
}

impl<P: fmt::Debug> std::error::Error for HandOverError<P> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
