//! What the fuzz targets check. Each target is one function of bytes that panics at a difference;
//! `fuzz_targets/` hands them to libFuzzer.

// The files under test are compiled into this crate from where they lie: so they have coverage
// counters, need not be public, and the rest of the server need not be built.
#[allow(dead_code)]
#[path = "../../../server/src/encoding.rs"]
mod encoding;
#[allow(dead_code)]
#[path = "../../../server/src/http/mod.rs"]
pub mod http;

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
pub mod sources;
pub mod wild;
