//! `ambidex-bench compare`.

use std::path::PathBuf;
use std::process::ExitCode;

use ambidex_bench::{Error, compare, results};
use clap::Args;

use crate::print;

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// What to compare with: a file that --json has written
    a: PathBuf,
    /// What is compared: another one, of the same command with the same parameters
    b: PathBuf,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: CompareArgs) -> Result<ExitCode, Error> {
    let (first, second) = (results::read(&args.a)?, results::read(&args.b)?);
    let comparison = compare::compare(&first, &second)?;
    print(args.json, &comparison.to_table(), || comparison.to_json());
    Ok(ExitCode::SUCCESS)
}
