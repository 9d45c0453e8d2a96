//! Completion: io_uring, files, and the memory lent to the kernel.
//!
//! A [`Ring`] owns one submission and one completion queue. Each [`File`] holds a cheap [`Handle`]
//! to it. An operation takes its buffer by value, keeps it in a slot for as long as the kernel may
//! touch it, and gives it back with the result. Dropping the future abandons the operation; its
//! memory stays lent until the kernel is done with it.
//!
//! A file belongs to the ring that opened it. Whoever polls its operations, they go on only while
//! that ring is turned: awaited inside another loop, they wait until their own goes round. Once the
//! ring is shut down, each new one is an error at once.
//!
//! Where io_uring is denied or missing, a bounded pool of threads stands behind the same face.
//!
//! This crate knows no sockets and no executor. Its upward seam is [`std::task::Waker`]; its
//! sideways seam is [`Ring::doorbell`], an eventfd for somebody else's epoll set.
//!
//! ```
//! use ambidex_disk::{File, Options, Ring};
//! use std::pin::pin;
//! use std::task::{Context, Poll, Waker};
//!
//! let mut ring = Ring::new(&Options::default())?;
//! let handle = ring.handle();
//! let mut work = pin!(async move {
//!     let file = File::open(&handle, "/proc/self/stat").await?;
//!     let (result, buffer) = file.read_at(Vec::with_capacity(4096), 0).await;
//!     result.map(|length| assert_eq!(length, buffer.len()))
//! });
//! // An engine turns the ring; by hand it looks like this.
//! let mut cx = Context::from_waker(Waker::noop());
//! while work.as_mut().poll(&mut cx).is_pending() {
//!     ring.submit()?;
//!     ring.reap(64);
//! }
//! # use std::future::Future;
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod attributes;
pub mod buffer;
pub mod cancel;
pub mod capabilities;
mod chain;
pub mod direct;
pub mod directory;
pub mod extent;
pub mod file;
pub mod gate;
pub mod kernel;
mod linux;
mod loan;
pub mod metadata;
pub mod op;
pub mod open;
mod operation;
pub mod operations;
pub mod options;
pub mod paths;
pub mod policy;
pub mod pool;
mod request;
pub mod retry;
pub mod ring;
pub mod stream;
mod sync;
mod syscalls;
mod table;
mod threads;
pub mod transfer;
pub mod vectored;
mod workers;
pub mod write;

pub use attributes::SetAttribute;
pub use buffer::{BufResult, IoBuf, IoBufMut, Slice};
pub use cancel::{Cancellable, Canceller, Outcome};
pub use capabilities::{Backend, Capabilities};
pub use direct::DirectIo;
pub use directory::{DirEntry, EntryKind, ReadDir};
pub use extent::{Advice, Allocate, Flush};
pub use file::{File, ReadFlags};
pub use kernel::Kernel;
pub use metadata::Metadata;
pub use op::{BeginError, Complete, Op, OpId};
pub use open::{OpenOptions, Resolve};
pub use options::{Choice, Options};
pub use paths::{At, Rename};
pub use pool::{Pool, PoolBuf};
pub use ring::{EpollChange, Handle, Ring};
pub use stream::ReadAhead;
pub use transfer::Splice;
