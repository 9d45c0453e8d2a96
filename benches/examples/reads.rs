//! A fixed number of cached 4 KiB reads, and what they cost in processor time: for profilers, which
//! want the same work twice, and for the comparison of runtimes in `scripts/`.
//!
//! ```text
//! reads CONTENDER FILE DEPTH COUNT
//! ```

#[path = "../benches/contenders/mod.rs"]
mod contenders;

use std::error::Error;
use std::path::PathBuf;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::json;

/// Processor time of this process, all its threads, in microseconds, and its context switches.
fn used() -> Result<(f64, i64), nix::Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let switches = usage.voluntary_context_switches() + usage.involuntary_context_switches();
    let time = usage.user_time() + usage.system_time();
    Ok((time.num_microseconds() as f64, switches))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, path, depth, count] = &arguments[..] else {
        let names = contenders::NAMES.join("|");
        return Err(format!("usage: reads {names} FILE DEPTH COUNT").into());
    };
    let (depth, count): (usize, u64) = (depth.parse()?, count.parse()?);
    let mut contender = contenders::contender(name, &PathBuf::from(path))?;
    // What is started at the first read is not counted.
    contender.read(depth, count / 10)?;
    let (before, switches_before) = used()?;
    let took = contender.read(depth, count)?;
    let (after, switches_after) = used()?;
    let each = |total: f64| total / count as f64;
    let report = json!({
        "contender": name,
        "depth": depth,
        "reads": count,
        "reads_per_second": count as f64 / took.as_secs_f64(),
        "cpu_us_per_read": each(after - before),
        "switches_per_read": each((switches_after - switches_before) as f64),
    });
    println!("{report}");
    Ok(())
}
