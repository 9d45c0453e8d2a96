//! Whole machines in memory: one seed drives the network, the disk, the clock and whoever uses them.
//!
//! [`run()`] runs the unmodified server, on a simulated directory and with simulated clients, in one engine. [`SimNet`] is
//! a kernel for sockets by itself. Each call goes into the trace of its [`Time`], so that two runs of one seed can be
//! compared (G10).

mod answer;
mod client;
mod descriptors;
mod disk;
mod epoll;
mod faults;
mod kernel;
mod machine;
mod net;
mod peer;
mod plan;
mod run;
mod server;
mod socket;
mod tasks;
mod time;
mod transfer;

pub use client::Heard;
pub use disk::{SimDisk, Stale};
pub use faults::{Network, Tally};
pub use net::{Beyond, SimNet};
pub use peer::{Ask, Manner, Request};
pub use plan::{Cut, FAULTS, Plan, Visit};
pub use run::{Outcome, run, shrink};
pub use time::{Event, Time};
