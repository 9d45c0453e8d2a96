//! `ambidex-bench net`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::echo::EchoEngine;
use ambidex_bench::echo::net::{self, Options};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::Window;
use ambidex_bench::machine;
use ambidex_bench::parse;
use ambidex_bench::report::{Context, Net};
use clap::Args;

use super::common::{connections, each_once};
use super::echo::LoadArgs;
use super::progress::Progress;
use crate::{exit_code, print, start_error};

#[derive(Args)]
pub(crate) struct NetArgs {
    /// Whom to measure, with commas; all if not given
    #[arg(long, value_name = "ENGINES", value_delimiter = ',')]
    engine: Vec<EchoEngine>,
    #[command(flatten)]
    load: LoadArgs,
    /// Rounds, in each of which every engine has its turn
    #[arg(long, value_name = "N", default_value = "3", value_parser = connections)]
    rounds: usize,
    /// Seconds measured, of each engine in each round
    #[arg(long, value_name = "SECONDS", default_value = "1.5", value_parser = parse::seconds)]
    runtime: Duration,
    /// Seconds before that, not counted
    #[arg(long, value_name = "SECONDS", default_value = "0.3",
        value_parser = parse::non_negative_seconds)]
    warm_up: Duration,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: NetArgs) -> Result<ExitCode, Error> {
    args.load.check()?;
    each_once(&args.engine)?;
    machine::allow_most_descriptors();
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let window = Window {
        warm_up: args.warm_up,
        runtime: args.runtime,
    };
    let engines = match args.engine.is_empty() {
        true => EchoEngine::all().to_vec(),
        false => args.engine,
    };
    let options = Options {
        engines,
        load: args
            .load
            .load(SocketAddr::from(([127, 0, 0, 1], 0)), window),
        rounds: args.rounds,
        program: std::env::current_exe().map_err(start_error)?,
        processors: None,
    };
    let progress = Progress::of(options.rounds * options.engines.len(), window.total());
    let outcome = net::run(&options, &interrupt, &mut progress.cells())?;
    drop(progress);
    let report = Net {
        context: &context,
        options: &options,
        outcome: &outcome,
    };
    print(args.json, &report.to_table(), || report.to_json());
    Ok(exit_code(outcome.interrupted, outcome.failures()))
}
