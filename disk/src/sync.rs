//! What the loop shares with its threads is made of these. `tests/loom` compiles the file that uses them
//! against loom's instead, and tries every interleaving.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
pub(crate) use std::thread::Builder;
