//! Tasks: cells by the `async-task` crate, a run queue of our own.

mod join;
mod queue;

pub use join::{JoinError, JoinHandle, Panic};
pub(crate) use queue::{Shared, Tasks};
