//! Disk and socket workloads measured side by side: one disturbing the other is what decides a real
//! server's tail, and what tools for disks alone or sockets alone cannot see.
//!
//! [`load`] is an HTTP/1.1 load generator on the engine itself, and [`http`] runs it on one server;
//! [`mixed`] interleaves rounds of hot clients with and without clients of cold files; [`disk`] reads
//! one file as fio does; [`report`] says what came out, as a table, as JSON and as a page.
//!
//! A closed loop asks again when it was answered, so a server that stalls is asked less: compare rates
//! first, then percentiles. An open loop (`--rate`) asks when it is time, and its latencies count from
//! then on.

use std::fmt;

pub mod baselines;
pub mod cold;
pub mod compare;
pub mod disk;
pub mod echo;
mod exchange;
pub mod http;
pub mod interrupt;
pub mod load;
pub mod machine;
pub mod mixed;
pub mod page;
pub mod parse;
pub mod probe;
pub mod report;
pub mod results;
pub mod rusage;
pub mod scale;
pub mod slow_disk;
pub mod statistics;
pub mod suite;
mod table;
pub mod tally;
pub mod usage;

pub use exchange::{Answer, Failure};

/// Why nothing was measured, or not all: one line that says what is wrong and what to do.
#[derive(Debug)]
pub enum Error {
    /// What was asked for cannot be done.
    Start(String),
    /// It had started, and then failed.
    Run(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Start(text) | Error::Run(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
