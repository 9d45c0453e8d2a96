//! One event loop for both models of I/O: sockets by epoll readiness, files by io_uring
//! completion. One thread, one place to sleep.
//!
//! ```
//! use ambidex::{Engine, disk::File};
//!
//! let mut engine = Engine::new()?;
//! let length = engine.run(async |io| {
//!     let file = File::open(io.disk(), "/proc/self/status").await?;
//!     let (result, _buffer) = file.read_at(Vec::with_capacity(4096), 0).await;
//!     result
//! })??;
//! assert!(length > 0);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! User code receives one [`Handle`]: [`Handle::net`] for sockets, [`Handle::disk`] for files,
//! [`Handle::spawn`], [`Handle::sleep`]. Nothing is ambient: two engines fit in one thread, and the
//! same code runs inside a simulator ([`Builder::net_kernel`], [`Builder::disk_kernel`],
//! [`Builder::clock`]).
//!
//! The file to read first is `turn.rs`: one turn of the loop.

pub use ambidex_disk as disk;
pub use ambidex_net as net;

mod accept;
mod blocking;
pub mod clock;
mod connect;
mod deadline;
mod doorbell;
mod drain;
mod engine;
mod handle;
mod interval;
pub mod metrics;
mod nested;
pub mod poll;
mod remote;
mod sync;
mod tasks;
pub mod timers;
#[cfg(feature = "tracing")]
mod trace;
mod turn;

pub use clock::Clock;
pub use engine::{Builder, Engine, Report};
pub use handle::Handle;
pub use interval::Interval;
pub use metrics::Metrics;
pub use poll::Poll;
pub use remote::{HandOverError, Remote, RemoteError};
pub use tasks::{JoinError, JoinHandle, Panic};
pub use timers::{Elapsed, Sleep};
