//! `ambidex-bench mixed`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::cold::Files;
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::mixed;
use ambidex_bench::parse::{self, Url};
use ambidex_bench::report::{Context, Mixed};
use clap::Args;

use super::common::{Common, connections};
use crate::{exit_code, print, start_error};

#[derive(Args)]
pub(crate) struct MixedArgs {
    /// What hot clients ask for: http://HOST:PORT/PATH
    #[arg(long, value_name = "URL")]
    hot: Url,
    /// The address of the directory of cold files
    #[arg(long, value_name = "PREFIX")]
    cold_url: Url,
    /// The same directory on this machine; files that are missing are made
    #[arg(long, value_name = "DIR")]
    cold_dir: PathBuf,
    /// Cold files: cold-00000.bin and on
    #[arg(long, value_name = "N", default_value = "2000", value_parser = connections)]
    cold_files: usize,
    /// Bytes of each: 512, 64k, 4M
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = parse::size)]
    cold_size: u64,
    /// Clients of the hot file
    #[arg(long, value_name = "N", default_value = "16", value_parser = connections)]
    hot_connections: usize,
    /// Clients of cold files
    #[arg(long, value_name = "N", default_value = "32", value_parser = connections)]
    cold_connections: usize,
    /// Requests a second of all cold clients together, at most, warm or cold
    #[arg(long, value_name = "RATE", value_parser = parse::interval)]
    cold_rate: Option<Duration>,
    /// Rounds, each of A (beside warm files), B (beside cold files) and C (hot alone)
    #[arg(long, value_name = "N", default_value = "3", value_parser = connections)]
    rounds: usize,
    /// In condition B, let the server's disk do so many reads a second; needs root and cgroup v1
    #[arg(long, value_name = "IOPS", requires = "server_pid",
        value_parser = clap::value_parser!(u64).range(1..))]
    slow_disk: Option<u64>,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: MixedArgs) -> Result<ExitCode, Error> {
    args.common.check()?;
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let options = mixed::Options {
        hot: args.hot,
        cold: args.cold_url,
        files: Files {
            dir: args.cold_dir,
            count: args.cold_files,
            size: args.cold_size,
        },
        hot_connections: args.hot_connections,
        cold_connections: args.cold_connections,
        cold_interval: args.cold_rate,
        window: args.common.window(),
        rounds: args.rounds,
        server_pids: args.common.server_pid.clone(),
        slow_disk: args.slow_disk,
    };
    let outcome = mixed::run(&options, &interrupt)?;
    let report = Mixed {
        context: &context,
        outcome: &outcome,
    };
    print(args.common.json, &report.to_table(), || report.to_json());
    Ok(exit_code(outcome.interrupted, report.errors()))
}
