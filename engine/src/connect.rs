//! Connecting, but not for ever.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ambidex_net::TcpStream;

use crate::handle::Handle;

impl Handle {
    /// Connects to `address`, but waits no longer than `timeout`; without one, the kernel gives up
    /// after minutes (`tcp_syn_retries`, tcp(7)).
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if the time was up first, and those of [`TcpStream::connect`].
    ///
    /// # Cancel safety
    /// Dropping it abandons the attempt and closes the socket.
    ///
    /// ```no_run
    /// # async fn example(io: ambidex::Handle) -> std::io::Result<()> {
    /// use std::time::Duration;
    /// let address = "192.0.2.1:80".parse().unwrap();
    /// let stream = io.connect(address, Duration::from_secs(5)).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(&self, address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        let connected = self.timeout(timeout, TcpStream::connect(self.net(), address));
        connected.await.map_err(|_| io::ErrorKind::TimedOut)?
    }
}
