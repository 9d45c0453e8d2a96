//! Calling operations back: at each moment of an operation's life its buffer comes back once with the truth about it,
//! credits and places of mounts return, and what was opened is closed once (G1, G2, G3, G5).

#[path = "cancel/moments.rs"]
mod moments;
#[path = "moments/scene.rs"]
#[allow(dead_code, reason = "another suite uses the rest")]
mod scene;
#[path = "cancel/schedule.rs"]
mod schedule;
#[path = "cancel/scopes.rs"]
mod scopes;
#[path = "cancel/stage.rs"]
mod stage;
#[path = "cancel/stuck.rs"]
mod stuck;
#[path = "cancel/tasks.rs"]
mod tasks;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ambidex::disk::{BufResult, Cancellable, File, Outcome, Ring};
use ambidex_tests::sim::Bell;
use ambidex_tests::sim::disk::CountedBuf;

/// A read that tells all.
type Read = Pin<Box<dyn Future<Output = BufResult<usize, CountedBuf>>>>;

fn reading(file: &File, buffer: CountedBuf) -> Read {
    let file = file.clone();
    Box::pin(async move { file.read_at(buffer, 0).await })
}

/// The outcome, if it is known without turning the ring.
fn outcome_now<F: Future>(operation: Pin<&mut Cancellable<F>>) -> Outcome<F::Output> {
    match ambidex_tests::sim::poll_once(std::pin::pin!(operation.cancel())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// The outcome, once the kernel has told.
fn outcome<F: Future>(ring: &mut Ring, operation: Pin<&mut Cancellable<F>>) -> Outcome<F::Output> {
    ambidex_tests::sim::drive(ring, operation.cancel())
}

/// The buffer of a read that was called back.
fn called_back(outcome: Outcome<BufResult<usize, CountedBuf>>) -> CountedBuf {
    match outcome {
        Outcome::Cancelled((result, buffer)) => {
            assert_eq!(errno(&result), Some(libc::ECANCELED));
            assert!(buffer.filled().is_empty(), "nothing was read");
            buffer
        }
        Outcome::Completed((result, _)) => panic!("it was carried out: {result:?}"),
    }
}

/// The buffer of a read that was carried out.
fn carried_out(outcome: Outcome<BufResult<usize, CountedBuf>>) -> CountedBuf {
    match outcome {
        Outcome::Completed((result, buffer)) => {
            assert_eq!(result.expect("read"), buffer.filled().len());
            buffer
        }
        Outcome::Cancelled((result, _)) => panic!("it was called back: {result:?}"),
    }
}

fn errno<T>(result: &io::Result<T>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// Polls once, to be told by `bell`.
fn poll_with<T>(
    future: Pin<&mut (impl Future<Output = T> + ?Sized)>,
    bell: &std::sync::Arc<Bell>,
) -> Poll<T> {
    let waker = bell.waker();
    future.poll(&mut Context::from_waker(&waker))
}
