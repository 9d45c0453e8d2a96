//! `ambidex-bench disk`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::disk::{self, IoEngine, Options, Pattern};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::parse;
use ambidex_bench::report::{Context, Disk};
use clap::Args;

use crate::{exit_code, print, start_error};

/// Flags are spelled as fio spells them.
#[derive(Args)]
pub(crate) struct DiskArgs {
    /// The file to read; made if it is missing and --size is given
    #[arg(long, value_name = "FILE")]
    filename: PathBuf,
    /// Bytes of the file to read: 64k, 4M, 1g; all of it if not given
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    size: Option<u64>,
    /// Which blocks: read (in order) or randread (anywhere, some more than once)
    #[arg(long, value_name = "PATTERN", default_value = "randread", value_parser = parse::rw)]
    rw: Pattern,
    /// Bytes of one read, a multiple of 4k
    #[arg(long, value_name = "SIZE", default_value = "4k", value_parser = parse::bs)]
    bs: u64,
    /// Reads at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse::iodepth)]
    iodepth: usize,
    /// Past the page cache (O_DIRECT)
    #[arg(long)]
    direct: bool,
    /// Seconds
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse::seconds)]
    runtime: Duration,
    /// Reads to stop after, if the time is not over by then
    #[arg(long = "number_ios", value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..))]
    number_ios: Option<u64>,
    /// Who reads: hybrid (io_uring), threads, or pread (a plain loop, one at a time)
    #[arg(long, value_name = "ENGINE", default_value = "hybrid", value_parser = parse::io_engine)]
    engine: IoEngine,
    /// The same seed, the same blocks
    #[arg(long, alias = "randseed", value_name = "N", default_value = "0")]
    seed: u64,
    /// Do not look at the clock for each read: no latencies, and less processor time
    #[arg(long = "gtod_reduce")]
    gtod_reduce: bool,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: DiskArgs) -> Result<ExitCode, Error> {
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let options = Options {
        filename: args.filename,
        size: args.size,
        rw: args.rw,
        bs: args.bs,
        iodepth: args.iodepth,
        direct: args.direct,
        runtime: args.runtime,
        number_ios: args.number_ios,
        engine: args.engine,
        seed: args.seed,
        gtod_reduce: args.gtod_reduce,
    };
    let outcome = disk::run(&options, &interrupt)?;
    let report = Disk {
        context: &context,
        options: &options,
        outcome: &outcome,
    };
    print(args.json, &report.to_table(), || report.to_json());
    Ok(exit_code(outcome.interrupted, 0))
}
