//! A fixed number of page-aligned buffers. When none is left, takers wait in order.
#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::gate::{Gate, Ticket};

/// A gate wakes two at most; so many need no allocation.
type Wakers = SmallVec<[Waker; 2]>;

/// What O_DIRECT and page-wise DMA ask for at most on the filesystems in use.
const ALIGNMENT: usize = 4096;

/// A fixed number of buffers of one size, each aligned to 4096 bytes.
///
/// The memory is asked for once and zeroed; pages never used are never backed. Buffers may be
/// dropped on any thread.
///
/// ```
/// let pool = ambidex_disk::Pool::new(4, 65536);
/// let buffer = pool.try_take().unwrap();
/// assert_eq!((pool.free(), buffer.len()), (3, 0));
/// drop(buffer);
/// assert_eq!(pool.free(), 4);
/// ```
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    start: NonNull<u8>,
    /// All of it.
    bytes: usize,
    /// Bytes of each buffer, a multiple of the alignment.
    size: usize,
    state: Mutex<State>,
}

struct State {
    free: Vec<u32>,
    gate: Gate,
}

// SAFETY: `start` is plain memory; each buffer in it has one owner, by way of `state.free`.
unsafe impl Send for Shared {}
// SAFETY: as above; everything else is behind the mutex.
unsafe impl Sync for Shared {}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this length; no PoolBuf is left, each holds an Arc.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Zeroed pages, backed only when they are used. An allocator asked for aligned zeroes writes all of them.
fn map(bytes: usize) -> NonNull<u8> {
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    match NonNull::new(start.cast::<u8>()) {
        Some(mapped) if start != libc::MAP_FAILED => mapped,
        _ => {
            let layout = Layout::from_size_align(bytes, ALIGNMENT).expect("a pool fits");
            handle_alloc_error(layout)
        }
    }
}

impl Pool {
    /// Makes a pool of `count` buffers of `size` bytes, rounded up to whole pages.
    ///
    /// # Panics
    /// If `count` or `size` is 0, or their product overflows.
    #[must_use]
    pub fn new(count: usize, size: usize) -> Pool {
        assert!(
            count > 0 && size > 0,
            "a pool has buffers and they have bytes"
        );
        let size = size.checked_next_multiple_of(ALIGNMENT);
        let size = size.expect("a pool fits the address space");
        let total = size
            .checked_mul(count)
            .expect("a pool fits the address space");
        let state = State {
            // The last one used is the first to be used again: its cache lines are warm.
            free: (0..u32::try_from(count).expect("fewer than 2^32 buffers"))
                .rev()
                .collect(),
            gate: Gate::new(count),
        };
        Pool {
            shared: Arc::new(Shared {
                start: map(total),
                bytes: total,
                size,
                state: Mutex::new(state),
            }),
        }
    }

    /// Takes a buffer if one is free and nobody waits.
    #[must_use]
    pub fn try_take(&self) -> Option<PoolBuf> {
        let mut state = self.shared.state();
        state.gate.try_take().then(|| self.buffer(&mut state))
    }

    /// Takes a buffer, waiting in order of arrival while none is free.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue.
    pub async fn take(&self) -> PoolBuf {
        let mut waiting = Waiting {
            pool: self,
            ticket: None,
        };
        poll_fn(|cx| waiting.poll(cx)).await
    }

    fn buffer(&self, state: &mut State) -> PoolBuf {
        let index = state.free.pop().expect("the gate counts the free list");
        PoolBuf {
            shared: Arc::clone(&self.shared),
            index,
            filled: 0,
        }
    }

    /// All of its memory: start and bytes.
    pub(crate) fn memory(&self) -> (*const u8, usize) {
        (self.shared.start.as_ptr(), self.shared.bytes)
    }

    /// How many buffers are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.shared.state().gate.free()
    }

    /// How many buffers there are, free or not.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.bytes / self.shared.size
    }

    /// Bytes of each buffer.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.shared.size
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("size", &self.shared.size)
            .field("free", &self.free())
            .finish_non_exhaustive()
    }
}

struct Waiting<'a> {
    pool: &'a Pool,
    ticket: Option<Ticket>,
}

impl Waiting<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<PoolBuf> {
        let mut wake = Wakers::new();
        let mut state = self.pool.shared.state();
        let taken = state.gate.take(&mut self.ticket, cx.waker(), &mut wake);
        let buffer = taken.then(|| self.pool.buffer(&mut state));
        drop(state);
        wake.into_iter().for_each(Waker::wake);
        buffer.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let mut wake = Wakers::new();
            self.pool.shared.state().gate.leave(ticket, &mut wake);
            wake.into_iter().for_each(Waker::wake);
        }
    }
}

/// A buffer of a [`Pool`]; it returns there when dropped.
///
/// It derefs to the bytes that the last read has filled.
pub struct PoolBuf {
    shared: Arc<Shared>,
    index: u32,
    filled: usize,
}

impl PoolBuf {
    pub(crate) fn start(&self) -> *mut u8 {
        let offset = self.index as usize * self.shared.size;
        // SAFETY: the arena has `count * size` bytes and the index is below `count`.
        unsafe { self.shared.start.as_ptr().add(offset) }
    }

    pub(crate) fn room(&self) -> usize {
        self.shared.size
    }

    pub(crate) fn set_filled(&mut self, length: usize) {
        self.filled = length.min(self.shared.size);
    }

    /// Makes `bytes`, or as many of them as fit, the content. Tells how many.
    ///
    /// ```
    /// let pool = ambidex_disk::Pool::new(1, 4096);
    /// let mut buffer = pool.try_take().unwrap();
    /// assert_eq!((buffer.copy_from(b"abc"), &*buffer), (3, &b"abc"[..]));
    /// ```
    pub fn copy_from(&mut self, bytes: &[u8]) -> usize {
        // The arena was zeroed: more of it than has been read into is initialised all the same.
        self.set_filled(bytes.len());
        let length = self.filled;
        self.copy_from_slice(&bytes[..length]);
        length
    }

    /// Turns the buffer into shared immutable bytes, without a copy. The pool gets it back when
    /// the last clone is gone.
    ///
    /// ```
    /// let pool = ambidex_disk::Pool::new(1, 4096);
    /// let bytes = pool.try_take().unwrap().freeze();
    /// assert!(bytes.is_empty() && pool.free() == 0);
    /// ```
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Deref for PoolBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the arena was zeroed, so all of it is initialised; this buffer is ours alone.
        unsafe { slice::from_raw_parts(self.start(), self.filled) }
    }
}

impl DerefMut for PoolBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.start(), self.filled) }
    }
}

impl AsRef<[u8]> for PoolBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PoolBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolBuf({} of {} bytes)", self.filled, self.shared.size)
    }
}

impl Drop for PoolBuf {
    fn drop(&mut self) {
        let mut wake = Wakers::new();
        let mut state = self.shared.state();
        state.free.push(self.index);
        state.gate.give_back(&mut wake);
        drop(state);
        wake.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of `pool` that have memory; mincore(2).
    fn backed(pool: &Pool) -> usize {
        let (start, bytes) = pool.memory();
        let mut pages = vec![0u8; bytes / ALIGNMENT];
        // SAFETY: the pool's own mapping, and a byte for each page of it.
        let told = unsafe { libc::mincore(start.cast_mut().cast(), bytes, pages.as_mut_ptr()) };
        assert_eq!(told, 0);
        pages.iter().filter(|page| **page & 1 == 1).count()
    }

    #[test]
    #[cfg_attr(miri, ignore = "it asks the kernel which pages there are")]
    fn memory_that_is_never_used_is_never_backed() {
        // One use may back a huge page, and the mapping's ends may share one with a neighbour's.
        const FEW: usize = 4 * 512;
        let pool = Pool::new(8, 16 * FEW * ALIGNMENT / 8);
        assert!(backed(&pool) < FEW);
        let mut buffer = pool.try_take().expect("a buffer");
        buffer.copy_from(b"one page");
        assert!((1..FEW).contains(&backed(&pool)));
    }
}
