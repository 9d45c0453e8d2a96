//! A ring on a kernel that answers when it is told to, and ways to poll several futures.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ambidex::disk::{File, OpenOptions, Options, Ring};
use ambidex_tests::sim::disk::{Control, CountedBuf, fake};
use ambidex_tests::sim::{Bell, drive, turn};

use super::{Read, poll_with, reading};

/// A ring with a file on a kernel that keeps what it takes.
pub(crate) struct Stage {
    pub(crate) ring: Ring,
    pub(crate) control: Control,
    pub(crate) file: File,
    pub(crate) alive: Rc<Cell<usize>>,
}

impl Stage {
    pub(crate) fn new(credits: usize) -> Stage {
        let (kernel, control) = fake(credits, credits, 0x0A1D_0011);
        control.file("data", (0..=255).collect());
        let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
        let handle = ring.handle();
        let options = OpenOptions::new().write();
        let file = drive(&mut ring, options.open(&handle, "data")).expect("open");
        control.hang(true);
        Stage {
            ring,
            control,
            file,
            alive: Rc::default(),
        }
    }

    pub(crate) fn read(&self) -> Read {
        reading(&self.file, CountedBuf::new(64, &self.alive))
    }

    /// Nothing is left in flight, in line or lent.
    pub(crate) fn at_rest(&mut self) {
        self.control.hang(false);
        while self.ring.in_flight() > 0 {
            self.control.finish_one();
            turn(&mut self.ring);
        }
        let handle = self.ring.handle();
        assert_eq!((handle.waiting(), self.alive.get()), (0, 0));
    }
}

pub(crate) type Part<T> = Pin<Box<dyn Future<Output = T>>>;

/// A part, who wakes it, and what it resolved to.
type Watched<T> = (Option<Part<T>>, Arc<Bell>, Option<T>);

/// Polls each of `parts` only if its own waker was called, as FuturesUnordered does; all at first.
pub(crate) fn one_by_one<T>(parts: Vec<Part<T>>) -> impl Future<Output = Vec<T>> {
    let mut parts: Vec<Watched<T>> = parts
        .into_iter()
        .map(|part| {
            let bell = Bell::new();
            bell.waker().wake();
            (Some(part), bell, None)
        })
        .collect();
    poll_fn(move |cx| {
        for (part, bell, result) in &mut parts {
            let Some(future) = part.as_mut().filter(|_| bell.take() > 0) else {
                continue;
            };
            if let Poll::Ready(value) = poll_with(future.as_mut(), bell) {
                (*part, *result) = (None, Some(value));
            }
        }
        // Whoever polls this polls often enough: it is who is polled inside that matters.
        cx.waker().wake_by_ref();
        if parts.iter().any(|(part, ..)| part.is_some()) {
            return Poll::Pending;
        }
        Poll::Ready(
            parts
                .iter_mut()
                .filter_map(|(.., result)| result.take())
                .collect(),
        )
    })
}

/// Polls all of them each time.
pub(crate) fn together<T>(mut parts: Vec<Part<T>>) -> impl Future<Output = Vec<T>> {
    let mut results: Vec<Option<T>> = parts.iter().map(|_| None).collect();
    poll_fn(move |cx: &mut Context<'_>| {
        for (part, result) in parts.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(value) = part.as_mut().poll(cx)
            {
                *result = Some(value);
            }
        }
        if results.iter().any(Option::is_none) {
            return Poll::Pending;
        }
        Poll::Ready(results.iter_mut().filter_map(Option::take).collect())
    })
}
