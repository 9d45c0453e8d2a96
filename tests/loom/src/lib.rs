//! Every interleaving, with at most three preemptions, of what the loop shares with other threads.
//!
//! The product's own files are compiled here against loom's atomics, locks and threads (`sync.rs`), and the models
//! run them: nothing is written twice. What stands in for the rest of the engine is small: a [`handle`] that spawns,
//! and [`syscalls`] that answer at once.
//!
//! What loom cannot see:
//! * The atomics of `async-task`, on which `JoinHandle` stands. Its calls are single steps here, entered and left
//!   wherever they lock our run queue; inside them Miri looks, which runs these models with several seeds
//!   (`tests/lanes/miri`).
//! * `std::sync::Arc`, which is taken as it is.
//! * The flags that io_uring shares with the kernel (`fence` in `disk/src/linux.rs`): the `io-uring` crate reads
//!   them, and the other half of that protocol is the kernel's.
//! * Timeouts: a wait with one waits for ever, so an idle worker ends when its pool does.
#![cfg(test)]
#![allow(dead_code, unused_imports, reason = "the product uses the rest")]

use ambidex_disk::kernel;

#[path = "../../../engine/src/doorbell.rs"]
mod doorbell;
mod handle;
mod models;
#[path = "../../../engine/src/remote.rs"]
mod remote;
mod sync;
mod syscalls;
#[path = "../../../engine/src/tasks/mod.rs"]
mod tasks;
#[path = "../../../disk/src/workers.rs"]
mod workers;
