//! `ambidex-bench scale`.

use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::report::{Context, Scale};
use ambidex_bench::scale::{self, Options, Watcher};
use clap::Args;

use super::common::{connections, each_once};
use super::progress::Progress;
use crate::{exit_code, print, start_error};

/// -n, -a and -w are those of libevent's bench.
#[derive(Args)]
pub(crate) struct ScaleArgs {
    /// Pairs of sockets that are watched; several numbers with commas
    #[arg(short = 'n', long, value_name = "N", default_values_t = [100, 1000, 5000],
        value_delimiter = ',', value_parser = connections)]
    pairs: Vec<usize>,
    /// Pairs that are ready at the start of a run
    #[arg(short = 'a', long, value_name = "N", default_value = "1", value_parser = connections)]
    active: usize,
    /// Bytes written beyond those, each when another was read
    #[arg(short = 'w', long, value_name = "N", default_value = "1000")]
    writes: usize,
    /// Who watches, with commas; all if not given
    #[arg(long, value_name = "WATCHERS", value_delimiter = ',')]
    engine: Vec<Watcher>,
    /// Runs of each watcher in each round, after one that is not counted
    #[arg(long, value_name = "N", default_value = "5", value_parser = connections)]
    runs: usize,
    /// Rounds, in each of which every watcher has its turn
    #[arg(long, value_name = "N", default_value = "5", value_parser = connections)]
    rounds: usize,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: ScaleArgs) -> Result<ExitCode, Error> {
    each_once(&args.engine)?;
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let options = Options {
        watchers: match args.engine.is_empty() {
            true => Watcher::all().to_vec(),
            false => args.engine,
        },
        pairs: args.pairs,
        active: args.active,
        writes: args.writes,
        runs: args.runs,
        rounds: args.rounds,
    };
    let cells = options.rounds * options.watchers.len() * options.pairs.len();
    let progress = Progress::of(cells, Duration::ZERO);
    let outcome = scale::run(&options, &interrupt, &mut progress.cells())?;
    drop(progress);
    let report = Scale {
        context: &context,
        options: &options,
        outcome: &outcome,
    };
    print(args.json, &report.to_table(), || report.to_json());
    // Who cannot watch so many is a result, not an error.
    Ok(exit_code(outcome.interrupted, 0))
}
