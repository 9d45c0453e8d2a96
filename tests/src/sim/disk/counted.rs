//! A buffer that tells what was done to it.

use std::cell::Cell;
use std::rc::Rc;

use ambidex::disk::{IoBuf, IoBufMut};

/// What a [`CountedBuf`] leaves behind.
const FREED: u8 = 0xDD;

/// Bytes on either side of a [`CountedBuf`] that nobody may write.
const FENCE: usize = 32;

/// A buffer that counts how many of its kind are alive, has a fence on either side, and overwrites itself when dropped.
pub struct CountedBuf {
    memory: Box<[u8]>,
    filled: usize,
    alive: Rc<Cell<usize>>,
}

impl CountedBuf {
    /// A buffer of `capacity` bytes, counted in `alive`.
    #[must_use]
    pub fn new(capacity: usize, alive: &Rc<Cell<usize>>) -> CountedBuf {
        alive.set(alive.get() + 1);
        CountedBuf {
            memory: vec![0; capacity + 2 * FENCE].into_boxed_slice(),
            filled: 0,
            alive: Rc::clone(alive),
        }
    }

    /// A buffer that holds `content`, to be written out.
    #[must_use]
    pub fn holding(content: &[u8], alive: &Rc<Cell<usize>>) -> CountedBuf {
        let mut buffer = CountedBuf::new(content.len(), alive);
        buffer.memory[FENCE..FENCE + content.len()].copy_from_slice(content);
        buffer.filled = content.len();
        buffer
    }

    /// What the last read has filled.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.memory[FENCE..FENCE + self.filled]
    }
}

impl Drop for CountedBuf {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
        let end = self.memory.len() - FENCE;
        let mut fences = self.memory[..FENCE].iter().chain(&self.memory[end..]);
        let intact = fences.all(|byte| *byte == 0);
        self.memory.fill(FREED);
        assert!(intact || std::thread::panicking(), "written past a buffer");
    }
}

// SAFETY: a boxed slice stays where it is when the Box is moved; `filled` bytes are initialised.
unsafe impl IoBuf for CountedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.memory[FENCE..].as_ptr()
    }
    fn init_len(&self) -> usize {
        self.filled
    }
}

// SAFETY: as above; the bytes between the fences may be written.
unsafe impl IoBufMut for CountedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.memory[FENCE..].as_mut_ptr()
    }
    fn capacity(&self) -> usize {
        self.memory.len() - 2 * FENCE
    }
    unsafe fn set_init(&mut self, length: usize) {
        self.filled = length;
    }
}
