//! What the fuzz targets check. Each target is one function of bytes that panics at a difference;
//! `fuzz_targets/` hands them to libFuzzer.

// The files under test are compiled into this crate from where they lie: so they have coverage
// counters, need not be public, and the rest of the server need not be built.
#[allow(dead_code)]
#[path = "../../../server/src"]
mod server {
    pub(crate) mod cli;
    pub(crate) mod cli_limits;
    pub(crate) mod cli_plan;
    pub(crate) mod config;
    pub(crate) mod encoding;
    pub(crate) mod file_config;
    pub(crate) mod file_site;
    pub(crate) mod files;
    pub mod http;
    pub(crate) mod limits;
    pub mod listen;
    pub(crate) mod mime;
    pub(crate) mod policy;
}
mod stand_ins;
pub(crate) use server::{
    cli, cli_limits, config, encoding, file_config, file_site, files, limits, mime, policy,
};
pub use server::{http, listen};
pub use stand_ins::{hook, workers};

// What reads options and files takes these from the library.
extern crate self as ambidex_server;
pub use config::Config;
pub use encoding::Encoding;
pub use files::{Files, Listing, Symlinks};
pub use limits::Limits;
pub use mime::Types;
pub use policy::{CacheRule, Change, Cors, HeaderRule, Policy, Redirect, Rewrite};

// The simulation and the models name themselves by the package that they belong to.
extern crate self as ambidex_tests;
#[allow(dead_code)]
#[path = "../../suites/schedules/loans.rs"]
mod loans;
#[path = "../../src/sim/mod.rs"]
pub mod sim;

pub mod conditions;
pub mod connection;
pub mod reference;
pub mod ring;
pub mod rings;
pub mod schedule;
pub mod settings;
pub mod sources;
pub mod wild;
