//! `ambidex-bench report`.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use ambidex_bench::results::{self, Results};
use ambidex_bench::{Error, page};
use clap::Args;

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Files that --json has written, of any command
    #[arg(required = true, value_name = "RESULTS")]
    results: Vec<PathBuf>,
    /// Where to write it; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Markdown, without plots, instead of HTML
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: ReportArgs) -> Result<ExitCode, Error> {
    let read = args.results.iter().map(|path| results::read(path));
    let all: Vec<Results> = read.collect::<Result<_, _>>()?;
    let page = if args.markdown {
        page::markdown(&all)
    } else {
        page::html(&all)
    };
    match &args.output {
        Some(path) => fs::write(path, page)
            .map_err(|error| Error::Run(format!("cannot write {}: {error}", path.display())))?,
        None => {
            let _ = io::stdout().write_all(page.as_bytes());
        }
    }
    Ok(ExitCode::SUCCESS)
}
