//! What `engine/src/sync.rs` and `disk/src/sync.rs` name, of loom; and of std under Miri, which sees the atomics of
//! `async-task` too, but takes one schedule for each of its seeds.

#[cfg(not(miri))]
pub(crate) use loom::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle, ThreadId, current, spawn, yield_now},
};
// Not loom's: `Wake` is implemented for it.
pub(crate) use std::sync::Arc;
#[cfg(miri)]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle, ThreadId, current, spawn, yield_now},
    thread_local,
};

/// loom's, which knows no `const` blocks.
#[cfg(not(miri))]
macro_rules! per_thread {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const { $value:expr };) => {
        loom::thread_local! { $(#[$attribute])* static $name: $type = $value; }
    };
}
#[cfg(not(miri))]
pub(crate) use per_thread as thread_local;
