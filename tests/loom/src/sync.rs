//! What `engine/src/sync.rs` and `disk/src/sync.rs` name, of loom.

// Not loom's: `Wake` is implemented for it.
pub(crate) use std::sync::Arc;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread::{Builder, yield_now};

/// loom's, which knows no `const` blocks.
macro_rules! per_thread {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const { $value:expr };) => {
        loom::thread_local! { $(#[$attribute])* static $name: $type = $value; }
    };
}
pub(crate) use per_thread as thread_local;
