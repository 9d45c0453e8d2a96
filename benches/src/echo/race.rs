//! Two futures, of which the first to end decides.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Runs both until one has ended; the other is dropped.
pub(super) async fn race<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(value),
        Poll::Pending => other.as_mut().poll(cx),
    })
    .await
}
