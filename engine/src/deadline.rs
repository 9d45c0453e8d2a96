//! A deadline for file operations that gives the buffer back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ambidex_disk::Outcome;

use crate::handle::Handle;

impl Handle {
    /// Waits for `future`, and calls its file operations back when `duration` has passed. Then it
    /// waits for what the kernel makes of that, so that the result and the buffer are not lost:
    /// [`Outcome::Cancelled`] if an operation was called back, [`Outcome::Completed`] if all were
    /// carried out. A read that a device works on is waited for beyond the deadline; who cannot
    /// wait takes [`Handle::timeout`], which gives the future up at once, and its buffer with it.
    ///
    /// # Cancel safety
    /// That of `future`.
    ///
    /// ```
    /// use ambidex::disk::{File, Outcome};
    /// use std::time::Duration;
    /// # let mut engine = ambidex::Engine::new()?;
    /// engine.run(async |io| {
    ///     let file = File::open(io.disk(), "/proc/self/stat").await?;
    ///     let read = file.read_at(Vec::with_capacity(512), 0);
    ///     match io.deadline(Duration::from_secs(5), read).await {
    ///         Outcome::Completed((result, _buffer)) => result.map(drop),
    ///         Outcome::Cancelled((_, _buffer)) => Err(std::io::ErrorKind::TimedOut.into()),
    ///     }
    /// })??;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub async fn deadline<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Outcome<T> {
        let mut work = pin!(self.disk().cancellable(future));
        let mut sleep = pin!(self.sleep(duration));
        let in_time = poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
        });
        match in_time.await {
            Some(value) => Outcome::Completed(value),
            None => work.as_mut().cancel().await,
        }
    }
}
