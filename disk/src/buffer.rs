//! Memory that can be lent to the kernel.
//!
//! A completion outlives the call that asked for it, so a borrowed `&mut [u8]` cannot be lent:
//! the borrow would end when the future is dropped, and the kernel would go on writing. Buffers
//! are therefore given by value, live in the operation's slot meanwhile, and come back with the
//! result ([`BufResult`]).
//!
//! The names are those of tokio-uring, monoio and compio.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

#[doc(hidden)]
pub use crate::loan::Loan;
use crate::loan::Memory;
use crate::pool::PoolBuf;

/// A result together with the buffer that was lent for it.
pub type BufResult<T, B> = (io::Result<T>, B);

/// A buffer that may be lent for writing from.
///
/// # Safety
/// While the value is not accessed, `stable_ptr` must stay the same and point to `init_len`
/// initialised bytes, wherever the value itself is moved.
pub unsafe trait IoBuf: 'static {
    /// Where the buffer starts.
    fn stable_ptr(&self) -> *const u8;

    /// How many bytes from the start are initialised.
    fn init_len(&self) -> usize;

    /// An owned view of `range`, so that a part of a buffer can be lent.
    ///
    /// ```
    /// use ambidex_disk::IoBuf;
    /// let view = vec![1, 2, 3, 4].slice(1..3);
    /// assert_eq!(view.init_len(), 2);
    /// assert_eq!(view.into_inner(), [1, 2, 3, 4]);
    /// ```
    ///
    /// # Panics
    /// If `range` is backwards.
    fn slice(self, range: Range<usize>) -> Slice<Self>
    where
        Self: Sized,
    {
        assert!(range.start <= range.end, "a slice starts before its end");
        Slice { inner: self, range }
    }

    /// Whether a loan of this type carries a range already.
    #[doc(hidden)]
    const SLICED: bool = false;

    /// Moves the buffer into a slot, to be written out. The types of this crate do it without
    /// allocating.
    #[doc(hidden)]
    fn lend_source(self) -> Loan
    where
        Self: Sized,
    {
        Loan::source_of(self)
    }

    /// The way back of [`IoBuf::lend_source`].
    #[doc(hidden)]
    fn reclaim_source(loan: Loan) -> Self
    where
        Self: Sized,
    {
        loan.unbox()
    }
}

/// A buffer that may be lent for reading into.
///
/// # Safety
/// As [`IoBuf`], and `stable_mut_ptr` points to `capacity` bytes that may be written.
pub unsafe trait IoBufMut: IoBuf {
    /// Where the buffer starts.
    fn stable_mut_ptr(&mut self) -> *mut u8;

    /// How many bytes from the start may be written.
    fn capacity(&self) -> usize;

    /// The kernel has filled exactly the first `length` bytes: that is the buffer's length now, if
    /// it has one.
    ///
    /// # Safety
    /// The first `length` bytes are initialised, and `length <= capacity`.
    unsafe fn set_init(&mut self, length: usize);

    /// Moves the buffer into a slot, to be filled. The types of this crate do it without allocating.
    #[doc(hidden)]
    fn lend(self) -> Loan
    where
        Self: Sized,
    {
        Loan::target_of(self)
    }

    /// The way back of [`IoBufMut::lend`].
    #[doc(hidden)]
    fn reclaim(loan: Loan) -> Self
    where
        Self: Sized,
    {
        loan.unbox()
    }
}

/// A type that a slot holds without a box, lent and reclaimed by these two names.
macro_rules! held_in_place {
    ($lend:ident, $reclaim:ident, $variant:ident) => {
        fn $lend(self) -> Loan {
            Loan::new(Memory::$variant(self))
        }
        fn $reclaim(loan: Loan) -> Self {
            match loan.memory {
                Memory::$variant(buffer) => buffer,
                _ => unreachable!("a loan returns to the type that lent it"),
            }
        }
    };
}

// SAFETY: a Vec's heap block stays where it is when the Vec is moved.
unsafe impl IoBuf for Vec<u8> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn init_len(&self) -> usize {
        self.len()
    }
    held_in_place!(lend_source, reclaim_source, Vec);
}

// SAFETY: as above; `capacity` bytes are allocated.
unsafe impl IoBufMut for Vec<u8> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        self.capacity()
    }
    unsafe fn set_init(&mut self, length: usize) {
        // SAFETY: the caller promises that `length` bytes are initialised.
        unsafe { self.set_len(length) };
    }
    held_in_place!(lend, reclaim, Vec);
}

// SAFETY: a boxed slice stays where it is when the Box is moved.
unsafe impl IoBuf for Box<[u8]> {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn init_len(&self) -> usize {
        self.len()
    }
    held_in_place!(lend_source, reclaim_source, Boxed);
}

// SAFETY: as above.
unsafe impl IoBufMut for Box<[u8]> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        self.len()
    }
    unsafe fn set_init(&mut self, _length: usize) {}
    held_in_place!(lend, reclaim, Boxed);
}

// SAFETY: the heap block of a BytesMut stays where it is when the BytesMut is moved.
unsafe impl IoBuf for BytesMut {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn init_len(&self) -> usize {
        self.len()
    }
    held_in_place!(lend_source, reclaim_source, BytesMut);
}

// SAFETY: as above; `capacity` bytes are allocated and exclusively ours.
unsafe impl IoBufMut for BytesMut {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        self.capacity()
    }
    unsafe fn set_init(&mut self, length: usize) {
        // SAFETY: the caller promises that `length` bytes are initialised.
        unsafe { self.set_len(length) };
    }
    held_in_place!(lend, reclaim, BytesMut);
}

// SAFETY: the arena of the pool stays where it is for as long as a buffer of it lives.
unsafe impl IoBuf for PoolBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.start()
    }
    fn init_len(&self) -> usize {
        self.len()
    }
    held_in_place!(lend_source, reclaim_source, Pool);
}

// SAFETY: as above; a pool hands each buffer to one owner at a time.
unsafe impl IoBufMut for PoolBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.start()
    }
    fn capacity(&self) -> usize {
        self.room()
    }
    unsafe fn set_init(&mut self, length: usize) {
        self.set_filled(length);
    }
    held_in_place!(lend, reclaim, Pool);
}

// SAFETY: the content of a Bytes is immutable and stays where it is.
unsafe impl IoBuf for Bytes {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn init_len(&self) -> usize {
        self.len()
    }
    held_in_place!(lend_source, reclaim_source, Bytes);
}

// SAFETY: static memory stays where it is.
unsafe impl IoBuf for &'static [u8] {
    fn stable_ptr(&self) -> *const u8 {
        self.as_ptr()
    }
    fn init_len(&self) -> usize {
        self.len()
    }
    held_in_place!(lend_source, reclaim_source, Static);
}

/// An owned view of a part of a buffer; see [`IoBuf::slice`].
#[derive(Debug)]
pub struct Slice<B> {
    inner: B,
    range: Range<usize>,
}

impl<B> Slice<B> {
    /// The whole buffer again.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// The part of the buffer.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Lends the inner buffer, and the range with it.
    fn lent(self, lend: impl FnOnce(B) -> Loan) -> Loan {
        let mut loan = lend(self.inner);
        loan.range = Some(self.range);
        loan
    }

    fn reclaimed(mut loan: Loan, reclaim: impl FnOnce(Loan) -> B) -> Self {
        let range = loan.range.take().expect("a slice lends a range");
        Slice {
            inner: reclaim(loan),
            range,
        }
    }
}

// SAFETY: a part of a stable buffer is stable; the range is clamped to the initialised bytes.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn stable_ptr(&self) -> *const u8 {
        let begin = self.range.start.min(self.inner.init_len());
        // SAFETY: `begin` is at most the initialised length.
        unsafe { self.inner.stable_ptr().add(begin) }
    }
    fn init_len(&self) -> usize {
        let length = self.inner.init_len();
        self.range.end.min(length) - self.range.start.min(length)
    }
    const SLICED: bool = true;

    fn lend_source(self) -> Loan {
        // A loan has room for one range; a slice of a slice pays for a box.
        if B::SLICED {
            return Loan::source_of(self);
        }
        self.lent(B::lend_source)
    }
    fn reclaim_source(loan: Loan) -> Self {
        if B::SLICED {
            return loan.unbox();
        }
        Slice::reclaimed(loan, B::reclaim_source)
    }
}

// SAFETY: a part of a stable buffer is stable; the range is clamped to the capacity.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        let begin = self.range.start.min(self.inner.capacity());
        // SAFETY: `begin` is at most the capacity.
        unsafe { self.inner.stable_mut_ptr().add(begin) }
    }
    fn capacity(&self) -> usize {
        let capacity = self.inner.capacity();
        self.range.end.min(capacity) - self.range.start.min(capacity)
    }
    unsafe fn set_init(&mut self, length: usize) {
        // What lies before the view keeps its length: only a view that starts within the
        // initialised part may extend it.
        if self.range.start <= self.inner.init_len() {
            let end = self.range.start + length;
            // SAFETY: the part before the view is initialised, and so is the view up to `length`.
            unsafe { self.inner.set_init(end) };
        }
    }

    fn lend(self) -> Loan {
        if B::SLICED {
            return Loan::target_of(self);
        }
        self.lent(B::lend)
    }
    fn reclaim(loan: Loan) -> Self {
        if B::SLICED {
            return loan.unbox();
        }
        Slice::reclaimed(loan, B::reclaim)
    }
}
