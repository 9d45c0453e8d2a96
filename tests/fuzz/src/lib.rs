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

pub mod conditions;
pub mod connection;
pub mod reference;
