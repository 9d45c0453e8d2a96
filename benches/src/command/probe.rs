//! `ambidex-bench probe`.

use std::path::PathBuf;
use std::process::ExitCode;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::probe;
use ambidex_bench::report::{Context, Probe};
use clap::Args;

use crate::{exit_code, print, start_error};

/// What the kernel allows is told by `ambidex probe`.
#[derive(Args)]
pub(crate) struct ProbeArgs {
    /// A file, which is read and evicted from the page cache but not changed; or a directory, in
    /// which a file of 16 MiB is made and removed again
    path: PathBuf,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ProbeArgs) -> Result<ExitCode, Error> {
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let Some(findings) = probe::run(&args.path, &interrupt)? else {
        return Ok(exit_code(true, 0));
    };
    let report = Probe {
        context: &context,
        path: &args.path,
        findings: &findings,
    };
    print(args.json, &report.to_table(), || report.to_json());
    Ok(exit_code(interrupt.is_set(), 0))
}
