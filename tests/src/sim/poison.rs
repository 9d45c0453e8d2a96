//! Memory that nobody may touch while the kernel has it, held to by AddressSanitizer.
//!
//! A suite asks here for its ring or engine. With the feature `asan` (`tests/lanes/asan`) a [`Poisoning`] stands before
//! the real kernel: each buffer is poisoned from its push to its completion, so that whoever reads, writes or frees it in
//! between ends the process with a report. What the kernel still has when its ring goes stays poisoned. Without the
//! feature all this is nothing.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use ambidex::disk::kernel::{self, Attribute, Call, Completion, Entry, Naming};
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

/// What `call` lends. Not the rest that it points to, paths and descriptions: worker threads of this process read those.
fn parts(call: &Call) -> Vec<Part> {
    match *call {
        Call::Read { buffer, length, .. }
        | Call::Entries { buffer, length, .. }
        | Call::Name {
            naming: Naming::ReadLink { buffer, length },
            ..
        }
        | Call::Attribute {
            value: buffer,
            length,
            attribute: Attribute::Get | Attribute::List | Attribute::Set { .. },
            ..
        } => vec![(buffer, length as usize)],
        Call::Write { buffer, length, .. } => vec![(buffer, length as usize)],
        Call::Status { into, .. } => vec![(into.cast(), size_of::<libc::statx>())],
        Call::Vectored { buffers, count, .. } => {
            // SAFETY: the pusher keeps the descriptions until the completion.
            let all = unsafe { std::slice::from_raw_parts(buffers, count as usize) };
            let part = |one: &libc::iovec| (one.iov_base.cast_const().cast(), one.iov_len);
            all.iter().map(part).collect()
        }
        _ => Vec::new(),
    }
}

/// From now on nobody may touch what `call` lends.
pub fn lay(call: &Call) {
    for (start, length) in parts(call) {
        shadow::poison(start, length);
    }
}

/// What `call` has lent is its owner's again. Several writes may share a buffer: the first to end lifts it for all.
pub fn lift(call: &Call) {
    for (start, length) in parts(call) {
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
    unsafe fn push(&mut self, entry: &Entry) {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.kernel.push(entry) };
        lay(&entry.call);
        let before = self.lent.insert(entry.user_data, entry.call);
        assert!(before.is_none(), "one user_data for two entries");
    }

    fn next(&mut self) -> Option<Completion> {
        let completion = self.kernel.next()?;
        let call = self.lent.remove(&completion.user_data);
        lift(&call.expect("a completion answers an entry"));
        Some(completion)
    }

    unsafe fn perform_now(&self, call: &Call) -> i32 {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.kernel.perform_now(call) }
    }

    forward! { kernel:
        fn capabilities() -> &Capabilities;
        fn room() -> usize;
        fn queued() -> usize;
        fn calls() -> (u64, u64);
        fn doorbell() -> BorrowedFd<'_>;
        fn read_now(
            fd: BorrowedFd<'_>,
            into: &mut [MaybeUninit<u8>],
            offset: u64,
            flags: i32
        ) -> io::Result<usize>;
        fn duplicate(fd: BorrowedFd<'_>) -> io::Result<OwnedFd>;
        fn status_cached(fd: BorrowedFd<'_>) -> io::Result<Metadata>;
    }

    forward! { mut kernel:
        fn enter() -> io::Result<()>;
        fn deferred() -> bool;
        fn next_parted() -> Option<u64>;
        fn set_table(index: u32, file: Option<BorrowedFd<'_>>) -> io::Result<()>;
        fn register_memory(start: *const u8, length: usize) -> io::Result<()>;
        fn cancel(user_data: u64);
        fn arm() -> bool;
        fn disarm();
        fn stop();
    }
}

/// AddressSanitizer's side: `sanitizer/asan_interface.h` and `sanitizer/allocator_interface.h`.
#[cfg(feature = "asan")]
mod shadow {
    use std::ffi::c_void;
    use std::io::Write;
    use std::sync::Once;

    type Allocated = extern "C" fn(*const c_void, usize);
    type Freed = extern "C" fn(*const c_void);

    unsafe extern "C" {
        fn __asan_poison_memory_region(start: *const c_void, length: usize);
        fn __asan_unpoison_memory_region(start: *const c_void, length: usize);
        fn __asan_region_is_poisoned(start: *const c_void, length: usize) -> *const c_void;
        fn __sanitizer_get_ownership(start: *const c_void) -> i32;
        fn __sanitizer_get_allocated_size(start: *const c_void) -> usize;
        fn __sanitizer_install_malloc_and_free_hooks(allocated: Allocated, freed: Freed) -> i32;
        fn __sanitizer_print_stack_trace();
    }

    pub(super) fn poison(start: *const u8, length: usize) {
        static HOOKS: Once = Once::new();
        HOOKS.call_once(|| {
            // SAFETY: both functions live as long as the process.
            unsafe { __sanitizer_install_malloc_and_free_hooks(allocated, freed) };
        });
        // SAFETY: only shadow memory is written.
        unsafe { __asan_poison_memory_region(start.cast(), length) };
    }

    pub(super) fn unpoison(start: *const u8, length: usize) {
        // SAFETY: only shadow memory is written.
        unsafe { __asan_unpoison_memory_region(start.cast(), length) };
    }

    extern "C" fn allocated(_start: *const c_void, _length: usize) {}

    /// AddressSanitizer itself lets poisoned memory be freed.
    extern "C" fn freed(start: *const c_void) {
        // SAFETY: it takes any pointer.
        if unsafe { __sanitizer_get_ownership(start) } == 0 {
            return;
        }
        // SAFETY: the start of an allocation, which is not freed yet.
        let length = unsafe { __sanitizer_get_allocated_size(start) };
        // SAFETY: only shadow memory is read.
        if !unsafe { __asan_region_is_poisoned(start, length) }.is_null() {
            let _ = std::io::stderr().write_all(b"ERROR: lent memory is freed here:\n");
            // SAFETY: it only prints.
            unsafe { __sanitizer_print_stack_trace() };
            std::process::abort();
        }
    }
}

#[cfg(not(feature = "asan"))]
mod shadow {
    pub(super) fn poison(_start: *const u8, _length: usize) {}
    pub(super) fn unpoison(_start: *const u8, _length: usize) {}
}
