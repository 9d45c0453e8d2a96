//! One file for each command: its arguments, and what it does with them.

mod common;
pub(crate) mod compare;
pub(crate) mod disk;
pub(crate) mod echo;
pub(crate) mod http;
pub(crate) mod mixed;
pub(crate) mod net;
pub(crate) mod probe;
mod progress;
pub(crate) mod report;
pub(crate) mod scale;
pub(crate) mod serve;
pub(crate) mod suite;
