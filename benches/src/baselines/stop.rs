//! Ending a server that sleeps.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};

/// Readable from the moment on at which a server is to end: one more descriptor to wait for, which
/// every way of waiting can.
#[derive(Debug)]
pub struct Stop {
    bell: UnixStream,
}

/// Ends a server, at the latest when the last of its clones is dropped.
#[derive(Clone, Debug)]
pub struct Stopper {
    rope: Arc<UnixStream>,
}

impl Stop {
    /// One that nobody has rung, and what rings it.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn new() -> io::Result<(Stopper, Stop)> {
        let (rope, bell) = UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        let rope = Arc::new(rope);
        Ok((Stopper { rope }, Stop { bell }))
    }

    /// For loops with sockets of their own type. It is never to be written to.
    #[must_use]
    pub fn into_stream(self) -> UnixStream {
        self.bell
    }

    /// Sleeps until it is rung.
    pub fn wait(&self) {
        let _ = (&self.bell).read(&mut [0]);
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Stopper {
    /// Ends the server, now or as soon as it starts.
    pub fn stop(&self) {
        // A full pipe has been rung.
        let _ = (&*self.rope).write(&[0]);
    }

    /// SIGINT and SIGTERM end the server too.
    ///
    /// # Errors
    /// Those of sigaction(2).
    pub fn stop_on_signals(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            signal_hook::low_level::pipe::register(signal, self.rope.try_clone()?)?;
        }
        Ok(())
    }
}
