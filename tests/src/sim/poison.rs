//! Memory that nobody may touch while the kernel has it, held to by AddressSanitizer.
//!
//! A suite asks here for its ring or engine. With the feature `asan` (`tests/lanes/asan`) a [`Poisoning`] stands before
//! the real kernel: each buffer is poisoned from its push to its completion, so that whoever reads or writes it in
//! between ends the process with a report, and so does a completion whose buffer was freed meanwhile. What the kernel
//! still has when its ring goes stays poisoned. Without the feature all this is nothing.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use ambidex::disk::kernel::{self, Attribute, Call, Completion, Entry, Naming, Way};
use ambidex::disk::{Capabilities, Kernel, Metadata, Options, Ring};
use ambidex::{Builder, Engine};

/// Whether touching lent memory is caught.
pub const ACTIVE: bool = cfg!(feature = "asan");

/// A ring on the real kernel.
///
/// # Errors
/// Those of [`Ring::new`].
pub fn ring(options: &Options) -> io::Result<Ring> {
    Ok(Ring::with_kernel(kernel(options)?, options))
}

/// What makes an engine on the real kernel.
///
/// # Errors
/// Those of [`Ring::new`].
pub fn builder(options: Options) -> io::Result<Builder> {
    let kernel = kernel(&options)?;
    Ok(Engine::builder().disk_kernel(kernel).disk(options))
}

fn kernel(options: &Options) -> io::Result<Box<dyn Kernel>> {
    let kernel = kernel::set_up(options)?;
    if !ACTIVE {
        return Ok(kernel);
    }
    Ok(Box::new(Poisoning {
        kernel,
        lent: HashMap::new(),
    }))
}

/// The part of a buffer that a call lends: where it begins, and its length.
type Part = (*const u8, usize);

/// What `call` has the kernel fill, and what it has it read. Of the rest, paths and descriptions, a worker thread of
/// this process reads some itself.
fn parts(call: &Call) -> (Vec<Part>, Vec<Part>) {
    let one = |start: *const u8, length: u32| vec![(start, length as usize)];
    match *call {
        Call::Read { buffer, length, .. }
        | Call::Entries { buffer, length, .. }
        | Call::Attribute {
            value: buffer,
            length,
            attribute: Attribute::Get | Attribute::List,
            ..
        }
        | Call::Name {
            naming: Naming::ReadLink { buffer, length },
            ..
        } => (one(buffer, length), Vec::new()),
        Call::Status { into, .. } => (vec![(into.cast(), size_of_val_of(into))], Vec::new()),
        Call::Write { buffer, length, .. } => (Vec::new(), one(buffer, length)),
        Call::Attribute {
            value,
            length,
            attribute: Attribute::Set { .. },
            ..
        } => (Vec::new(), one(value, length)),
        Call::Vectored {
            buffers,
            count,
            way,
            ..
        } => {
            // SAFETY: the pusher keeps the descriptions until the completion.
            let all = unsafe { std::slice::from_raw_parts(buffers, count as usize) };
            let all = all
                .iter()
                .map(|one| (one.iov_base.cast_const().cast(), one.iov_len))
                .collect();
            match way {
                Way::Read => (all, Vec::new()),
                Way::Write => (Vec::new(), all),
            }
        }
        _ => (Vec::new(), Vec::new()),
    }
}

fn size_of_val_of<T>(_: *const T) -> usize {
    size_of::<T>()
}

/// From now on nobody may touch what `call` lends.
pub fn lay(call: &Call) {
    let (targets, sources) = parts(call);
    for (start, length) in targets.into_iter().chain(sources) {
        shadow::poison(start, length);
    }
}

/// What `call` has lent is its owner's again. Ends the process if it was freed meanwhile.
pub fn lift(call: &Call) {
    let (targets, sources) = parts(call);
    for (start, length) in targets {
        shadow::check(start, length);
        shadow::unpoison(start, length);
    }
    // Several writes may share one buffer: the first to end lifts it for all.
    for (start, length) in sources {
        shadow::unpoison(start, length);
    }
}

/// The real kernel; see the [module](self).
struct Poisoning {
    kernel: Box<dyn Kernel>,
    /// Pushed and not answered, by `user_data`.
    lent: HashMap<u64, Call>,
}

impl Kernel for Poisoning {
    fn capabilities(&self) -> &Capabilities {
        self.kernel.capabilities()
    }

    fn room(&self) -> usize {
        self.kernel.room()
    }

    unsafe fn push(&mut self, entry: &Entry) {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.kernel.push(entry) };
        lay(&entry.call);
        let before = self.lent.insert(entry.user_data, entry.call);
        assert!(before.is_none(), "one user_data for two entries");
    }

    fn queued(&self) -> usize {
        self.kernel.queued()
    }

    fn enter(&mut self) -> io::Result<()> {
        self.kernel.enter()
    }

    fn deferred(&mut self) -> bool {
        self.kernel.deferred()
    }

    fn next(&mut self) -> Option<Completion> {
        let completion = self.kernel.next()?;
        let call = self.lent.remove(&completion.user_data);
        lift(&call.expect("a completion answers an entry"));
        Some(completion)
    }

    fn calls(&self) -> (u64, u64) {
        self.kernel.calls()
    }

    fn doorbell(&self) -> BorrowedFd<'_> {
        self.kernel.doorbell()
    }

    fn next_parted(&mut self) -> Option<u64> {
        self.kernel.next_parted()
    }

    fn set_table(&mut self, index: u32, file: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.kernel.set_table(index, file)
    }

    fn register_memory(&mut self, start: *const u8, length: usize) -> io::Result<()> {
        self.kernel.register_memory(start, length)
    }

    fn cancel(&mut self, user_data: u64) {
        self.kernel.cancel(user_data);
    }

    fn arm(&mut self) -> bool {
        self.kernel.arm()
    }

    fn disarm(&mut self) {
        self.kernel.disarm();
    }

    fn stop(&mut self) {
        self.kernel.stop();
    }

    fn read_now(
        &self,
        fd: BorrowedFd<'_>,
        into: &mut [MaybeUninit<u8>],
        offset: u64,
        flags: i32,
    ) -> io::Result<usize> {
        self.kernel.read_now(fd, into, offset, flags)
    }

    unsafe fn perform_now(&self, call: &Call) -> i32 {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.kernel.perform_now(call) }
    }

    fn duplicate(&self, fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        self.kernel.duplicate(fd)
    }

    fn status_cached(&self, fd: BorrowedFd<'_>) -> io::Result<Metadata> {
        self.kernel.status_cached(fd)
    }
}

/// AddressSanitizer's side: `sanitizer/asan_interface.h`.
#[cfg(feature = "asan")]
mod shadow {
    use std::ffi::c_void;

    /// One byte of shadow tells of so many.
    const GRANULE: usize = 8;

    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const c_void, length: usize);
        fn __asan_unpoison_memory_region(start: *const c_void, length: usize);
        fn __asan_address_is_poisoned(address: *const c_void) -> i32;
        fn __asan_describe_address(address: *const c_void);
        fn __asan_get_free_stack(
            address: *const c_void,
            trace: *mut *const c_void,
            size: usize,
            thread: *mut i32,
        ) -> usize;
    }

    pub(super) fn poison(start: *const u8, length: usize) {
        // SAFETY: only shadow memory is written.
        unsafe { __asan_poison_memory_region(start.cast(), length) };
    }

    pub(super) fn unpoison(start: *const u8, length: usize) {
        // SAFETY: only shadow memory is written.
        unsafe { __asan_unpoison_memory_region(start.cast(), length) };
    }

    /// Ends the process if this memory has not been poisoned all the time, or was freed.
    pub(super) fn check(start: *const u8, length: usize) {
        let skipped = start.align_offset(GRANULE);
        if skipped + GRANULE > length {
            return;
        }
        let whole: *const c_void = start.wrapping_add(skipped).cast();
        // SAFETY: only shadow memory is read.
        let lent = unsafe { __asan_address_is_poisoned(whole) } == 1;
        let (mut trace, mut thread) = ([std::ptr::null(); 1], 0);
        // SAFETY: it writes at most one address, and a thread's number.
        let freed = unsafe {
            __asan_get_free_stack(whole, trace.as_mut_ptr(), trace.len(), &raw mut thread)
        } > 0;
        if lent && !freed {
            return;
        }
        eprintln!("ERROR: lent memory was freed before its completion");
        // SAFETY: it only describes.
        unsafe { __asan_describe_address(whole) };
        std::process::abort();
    }
}

#[cfg(not(feature = "asan"))]
mod shadow {
    pub(super) fn poison(_start: *const u8, _length: usize) {}
    pub(super) fn unpoison(_start: *const u8, _length: usize) {}
    pub(super) fn check(_start: *const u8, _length: usize) {}
}
