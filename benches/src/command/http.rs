//! `ambidex-bench http`.

use std::process::ExitCode;
use std::rc::Rc;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::{self, Ask, Class};
use ambidex_bench::parse::Url;
use ambidex_bench::report::{Context, Http};
use ambidex_bench::usage::Meter;
use clap::Args;

use super::common::{Common, connections};
use crate::{exit_code, print, start_error};

#[derive(Args)]
pub(crate) struct HttpArgs {
    /// What to ask for: http://HOST:PORT/PATH
    url: Url,
    /// Clients, each with a connection that is kept
    #[arg(long, value_name = "N", default_value = "64", value_parser = connections)]
    connections: usize,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &HttpArgs) -> Result<ExitCode, Error> {
    args.common.check()?;
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let mut engine = load::engine()?;
    let address = load::resolve(&args.url)?;
    let answer = load::preflight(&mut engine, address, &args.url)?;
    let supply = Ask {
        request: args.url.request().into(),
        length: answer.length,
        ticket: 0,
    };
    let class = Class::new(address, args.connections, Rc::new(supply));
    let measurement = load::measure(
        &mut engine,
        vec![class],
        args.common.window(),
        &Meter::new(&args.common.server_pid),
        &interrupt,
        || {},
    )?;
    let report = Http {
        context: &context,
        measurement: &measurement,
        interrupted: interrupt.is_set(),
    };
    print(args.common.json, &report.to_table(), || report.to_json());
    Ok(exit_code(report.interrupted, measurement.errors()))
}
