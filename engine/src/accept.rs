//! Accepting when descriptors run out.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ambidex_net::{TcpListener, TcpStream};

use crate::handle::Handle;

/// How long to wait for descriptors or memory: the connections stay in the kernel's queue.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

impl Handle {
    /// Waits for the next connection, through shortages: at `EMFILE`, `ENFILE`, `ENOBUFS` and
    /// `ENOMEM` it waits a tenth of a second before it looks again, and does not spin.
    ///
    /// # Errors
    /// Only those that end the listener: accept(2).
    ///
    /// # Cancel safety
    /// Safe: a connection is taken only by the poll that returns it.
    ///
    /// ```no_run
    /// # async fn example(io: ambidex::Handle) -> std::io::Result<()> {
    /// let address = "127.0.0.1:7000".parse().unwrap();
    /// let listener = ambidex::net::TcpListener::bind(io.net(), address)?;
    /// loop {
    ///     let (stream, _peer) = io.accept(&listener).await?;
    ///     io.spawn(async move { stream.write_all(b"hello\n").await }).detach();
    /// }
    /// # }
    /// ```
    pub async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match listener.accept().await {
                Err(error) if is_shortage(&error) => self.sleep(EXHAUSTED_PAUSE).await,
                result => return result,
            }
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
