//! Buffers on loan: what a slot holds while the kernel works.
#![allow(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::slice;

use bytes::{Bytes, BytesMut};

use crate::buffer::{BufResult, IoBuf, IoBufMut};
use crate::pool::PoolBuf;

/// A buffer to be filled whose type the slot does not know.
pub(crate) trait Target: Any {
    fn pointer(&mut self) -> *mut u8;
    fn room(&self) -> usize;
}

impl<B: IoBufMut> Target for B {
    fn pointer(&mut self) -> *mut u8 {
        self.stable_mut_ptr()
    }
    fn room(&self) -> usize {
        self.capacity()
    }
}

/// A buffer to be written out whose type the slot does not know.
pub(crate) trait Source: Any {
    fn start(&self) -> *const u8;
    fn length(&self) -> usize;
}

impl<B: IoBuf> Source for B {
    fn start(&self) -> *const u8 {
        self.stable_ptr()
    }
    fn length(&self) -> usize {
        self.init_len()
    }
}

/// The buffer types that a slot holds without a box, and boxes for the others.
pub(crate) enum Memory {
    Vec(Vec<u8>),
    Boxed(Box<[u8]>),
    BytesMut(BytesMut),
    Pool(PoolBuf),
    Bytes(Bytes),
    Static(&'static [u8]),
    Target(Box<dyn Target>),
    Source(Box<dyn Source>),
}

/// A buffer on loan.
#[doc(hidden)]
pub struct Loan {
    pub(crate) memory: Memory,
    /// The part that is lent; all of it if `None`.
    pub(crate) range: Option<Range<usize>>,
}

impl Loan {
    pub(crate) fn new(memory: Memory) -> Loan {
        Loan {
            memory,
            range: None,
        }
    }

    pub(crate) fn target_of<B: IoBufMut>(buffer: B) -> Loan {
        Loan::new(Memory::Target(Box::new(buffer)))
    }

    pub(crate) fn source_of<B: IoBuf>(buffer: B) -> Loan {
        Loan::new(Memory::Source(Box::new(buffer)))
    }

    /// A box's content, which is of the type that lent it.
    pub(crate) fn unbox<B: IoBuf>(self) -> B {
        let any: Box<dyn Any> = match self.memory {
            Memory::Target(boxed) => boxed,
            Memory::Source(boxed) => boxed,
            _ => unreachable!("a loan returns to the type that lent it"),
        };
        *any.downcast()
            .expect("a loan returns to the type that lent it")
    }

    /// The part that the kernel may write.
    pub(crate) fn target(&mut self) -> (*mut u8, usize) {
        let (start, room) = match &mut self.memory {
            Memory::Vec(buffer) => (buffer.stable_mut_ptr(), buffer.capacity()),
            Memory::Boxed(buffer) => (buffer.stable_mut_ptr(), buffer.len()),
            Memory::BytesMut(buffer) => (buffer.stable_mut_ptr(), buffer.capacity()),
            Memory::Pool(buffer) => (buffer.stable_mut_ptr(), buffer.capacity()),
            Memory::Target(buffer) => (buffer.pointer(), buffer.room()),
            Memory::Bytes(_) | Memory::Static(_) | Memory::Source(_) => {
                unreachable!("lent for reading from, not for writing to")
            }
        };
        let (begin, length) = self.part(room);
        // SAFETY: `begin <= room`, so the pointer stays within the buffer or one past its end.
        (unsafe { start.add(begin) }, length)
    }

    /// The part that the kernel may read.
    pub(crate) fn source(&self) -> (*const u8, usize) {
        let (start, filled) = match &self.memory {
            Memory::Vec(buffer) => (buffer.stable_ptr(), buffer.len()),
            Memory::Boxed(buffer) => (buffer.stable_ptr(), buffer.len()),
            Memory::BytesMut(buffer) => (buffer.stable_ptr(), buffer.len()),
            Memory::Pool(buffer) => (buffer.stable_ptr(), buffer.init_len()),
            Memory::Bytes(buffer) => (buffer.stable_ptr(), buffer.len()),
            Memory::Static(buffer) => (buffer.stable_ptr(), buffer.len()),
            Memory::Source(buffer) => (buffer.start(), buffer.length()),
            Memory::Target(_) => unreachable!("lent for writing to, not for reading from"),
        };
        let (begin, length) = self.part(filled);
        // SAFETY: `begin <= filled`, so the pointer stays within the buffer or one past its end.
        (unsafe { start.add(begin) }, length)
    }

    /// Start and length of the part that is lent, of a buffer of `whole` bytes.
    fn part(&self, whole: usize) -> (usize, usize) {
        let Some(range) = &self.range else {
            return (0, whole);
        };
        let begin = range.start.min(whole);
        (begin, range.end.min(whole) - begin)
    }

    /// [`Loan::target`] for a call on this thread.
    pub(crate) fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        let (start, room) = self.target();
        // SAFETY: IoBufMut promises `room` writable bytes from `start`, borrowed with `self`.
        unsafe { slice::from_raw_parts_mut(start.cast(), room) }
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan").finish_non_exhaustive()
    }
}

/// Marks `length` bytes as filled and hands the buffer back.
pub(crate) fn settle<B: IoBufMut>(result: io::Result<u32>, loan: Loan) -> BufResult<usize, B> {
    let mut buffer = B::reclaim(loan);
    let result = result.map(|length| length as usize);
    if let Ok(length) = result {
        fill(&mut buffer, length);
    }
    (result, buffer)
}

/// As [`settle`], for buffers that were filled one after the other.
pub(crate) fn settle_all<B: IoBufMut>(
    result: io::Result<u32>,
    loans: Vec<Loan>,
) -> BufResult<usize, Vec<B>> {
    let result = result.map(|length| length as usize);
    let mut left = *result.as_ref().unwrap_or(&0);
    let settle_one = |loan| {
        let mut buffer = B::reclaim(loan);
        if result.is_ok() {
            let length = left.min(buffer.capacity());
            left -= length;
            fill(&mut buffer, length);
        }
        buffer
    };
    let buffers = loans.into_iter().map(settle_one).collect();
    assert_eq!(left, 0, "the kernel read no more than asked");
    (result, buffers)
}

fn fill<B: IoBufMut>(buffer: &mut B, length: usize) {
    assert!(
        length <= buffer.capacity(),
        "the kernel read no more than asked"
    );
    // SAFETY: the kernel has written `length` bytes (G1: nobody else touched them since).
    unsafe { buffer.set_init(length) };
}
