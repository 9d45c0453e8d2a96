//! `ambidex-bench http`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::http::{self, Options};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::parse::{self, Url};
use ambidex_bench::report::{Context, Http};
use clap::Args;

use super::common::{Common, connections};
use super::progress::Progress;
use crate::{exit_code, print, start_error};

/// Unless another is asked for.
const RUNTIME: Duration = Duration::from_secs(5);

/// Flags are spelled as wrk and wrk2 spell them, where those have them.
#[derive(Args)]
pub(crate) struct HttpArgs {
    /// What to ask for: http://HOST:PORT/PATH
    url: Url,
    /// Clients, each with a connection that is kept
    #[arg(long, value_name = "N", default_value = "64", value_parser = connections)]
    connections: usize,
    /// An open loop: requests a second of all clients together, answered or not; latencies count
    /// from when a request was due
    #[arg(long, value_name = "RATE", value_parser = parse::interval)]
    rate: Option<Duration>,
    /// A new connection for each request
    #[arg(long, conflicts_with = "pipeline")]
    no_keepalive: bool,
    /// Requests sent at once; the next when all are answered
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "rate",
        value_parser = connections)]
    pipeline: usize,
    /// Ask for the paths that FILE lists, one a line, instead of that of URL
    #[arg(long, value_name = "FILE")]
    paths: Option<PathBuf>,
    /// Ask for the n-th path with a weight of 1/n^S; all weigh the same if not given
    #[arg(long, value_name = "S", requires = "paths", value_parser = parse::exponent)]
    zipf: Option<f64>,
    /// The directory that is served: compare the bytes of each body too
    #[arg(long, value_name = "DIR")]
    verify: Option<PathBuf>,
    /// The same seed, the same paths
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Rounds, for medians and for `compare`
    #[arg(long, value_name = "N", default_value = "1", value_parser = connections)]
    rounds: usize,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: HttpArgs) -> Result<ExitCode, Error> {
    args.common.check()?;
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let options = Options {
        url: args.url,
        connections: args.connections,
        interval: args.rate,
        keep_alive: !args.no_keepalive,
        pipeline: args.pipeline,
        paths: args.paths,
        zipf: args.zipf,
        verify: args.verify,
        seed: args.seed,
        window: args.common.window(RUNTIME),
        rounds: args.rounds,
        server_pids: args.common.server_pid,
    };
    let progress = Progress::of(options.rounds, options.window.total());
    let outcome = http::run(&options, &interrupt, &mut progress.cells())?;
    drop(progress);
    let report = Http {
        context: &context,
        options: &options,
        outcome: &outcome,
    };
    print(args.common.json, &report.to_table(), || report.to_json());
    Ok(exit_code(outcome.interrupted, report.errors()))
}
