//! What the loop shares with other threads is made of these. `tests/loom` compiles the files that use
//! them against loom's instead, and tries every interleaving.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
pub(crate) use std::thread::yield_now;
pub(crate) use std::thread_local;
