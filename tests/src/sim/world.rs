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
mod judge;
mod kernel;
mod machine;
mod net;
mod parts;
mod peer;
mod plan;
mod request;
mod run;
mod server;
mod site;
mod socket;
mod tasks;
mod time;
mod transfer;

pub use client::Heard;
pub use disk::{SimDisk, Stale};
pub use faults::{Network, Tally};
pub use judge::KINDS;
pub use net::{Beyond, SimNet};
pub use peer::Manner;
pub use plan::{Alteration, Change, Cut, FAULTS, Plan, Visit};
pub use request::{Ask, Condition, Date, Request, Span, Tag};
pub use run::{Outcome, run, shrink};
pub use time::{Event, Time};
