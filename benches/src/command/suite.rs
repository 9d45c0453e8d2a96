//! `ambidex-bench suite`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::Window;
use ambidex_bench::report::{Context, Suite};
use ambidex_bench::suite::{self, Options, Processors, Row};
use ambidex_bench::{Error, machine, parse};
use clap::Args;

use super::common::connections;
use super::progress::Progress;
use crate::{exit_code, start_error};

/// Starts of a server, of which the median counts.
const STARTS: usize = 20;
/// How long a server with nothing to do is watched.
const REST: Duration = Duration::from_secs(60);
/// Connections beside the busy ones.
const IDLE: usize = 15_000;

/// Cold files of 64 KiB: each is asked for, evicted, and asked for again.
const COLD: usize = 8_000;
/// Cold files of 4 MiB.
const LARGE: usize = 64;
/// Small files that are asked for once each: more than a disk of 500 reads a second can look up in all rounds.
const NAMES: usize = 12_000;
/// Bytes of the file that engines read.
const BLOCKS: u64 = 1 << 30;

/// The goals of this project, each measured beside what it is compared with: nginx at its best, fio,
/// other engines. Servers run on one processor, clients on another. What cannot be measured here is told
/// with the reason. Misses do not change the exit status.
#[derive(Args)]
pub(crate) struct SuiteArgs {
    /// Which rows, such as 1,4,7-9; all if not given
    #[arg(long, value_name = "LIST", value_parser = rows)]
    rows: Option<Rows>,
    /// Rounds, in each of which every contestant has its turn
    #[arg(long, value_name = "N", default_value = "5", value_parser = connections)]
    rounds: usize,
    /// Seconds measured, of each contestant in each round
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = parse::seconds)]
    runtime: Duration,
    /// Seconds before that, not counted
    #[arg(long, value_name = "SECONDS", default_value = "0.5",
        value_parser = parse::non_negative_seconds)]
    warm_up: Duration,
    /// nginx
    #[arg(long, value_name = "PROGRAM", default_value = "nginx")]
    nginx: PathBuf,
    /// Our server; the `ambidex` beside this program if not given
    #[arg(long, value_name = "PROGRAM")]
    ambidex: Option<PathBuf>,
    /// fio
    #[arg(long, value_name = "PROGRAM", default_value = "fio")]
    fio: PathBuf,
    /// The processor of servers; the first if not given
    #[arg(long, value_name = "N", requires = "client_core")]
    server_core: Option<usize>,
    /// The processor of clients; the second if not given
    #[arg(long, value_name = "N", requires = "server_core")]
    client_core: Option<usize>,
    /// Where files are made, in a directory that is removed: on a disk
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    directory: PathBuf,
    /// Write JSON there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as Markdown there too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Numbers of rows.
#[derive(Clone)]
struct Rows(Vec<u8>);

/// `1,4,7-9`.
fn rows(text: &str) -> Result<Rows, String> {
    let known: Vec<u8> = Row::all().iter().map(|row| row.number).collect();
    let number = |text: &str| -> Result<u8, String> {
        let found = text.trim().parse().ok().filter(|row| known.contains(row));
        found.ok_or_else(|| format!("there is no row {text:?}: write 1,4,7-9"))
    };
    let mut found = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{part}: the smaller number comes first"));
        }
        found.extend(known.iter().filter(|row| (first..=last).contains(row)));
    }
    Ok(Rows(found))
}

impl SuiteArgs {
    /// `None` if there is only one.
    fn processors(&self) -> Result<Option<Processors>, Error> {
        let usable = machine::processors();
        let Some((server, client)) = self.server_core.zip(self.client_core) else {
            return Ok(match usable[..] {
                [server, client, ..] => Some(Processors { server, client }),
                _ => None,
            });
        };
        for core in [server, client] {
            if !usable.contains(&core) {
                return Err(Error::Start(format!(
                    "there is no processor {core} for us: those are {usable:?}"
                )));
            }
        }
        if server == client {
            return Err(Error::Start(
                "--server-core and --client-core: one each".to_owned(),
            ));
        }
        Ok(Some(Processors { server, client }))
    }

    fn options(self) -> Result<Options, Error> {
        let program = std::env::current_exe().map_err(start_error)?;
        let beside = || program.with_file_name("ambidex");
        let all = || Row::all().iter().map(|row| row.number).collect();
        let directory = self.directory.canonicalize().map_err(|error| {
            Error::Start(format!("--directory {}: {error}", self.directory.display()))
        })?;
        Ok(Options {
            processors: self.processors()?,
            rows: self.rows.clone().map_or_else(all, |rows| rows.0),
            rounds: self.rounds,
            window: Window {
                warm_up: self.warm_up,
                runtime: self.runtime,
            },
            starts: STARTS,
            rest: REST,
            idle_connections: IDLE,
            cold_files: COLD,
            large_files: LARGE,
            names: NAMES,
            blocks_bytes: BLOCKS,
            nginx: self.nginx,
            ambidex: self.ambidex.unwrap_or_else(beside),
            fio: self.fio,
            program,
            directory,
        })
    }
}

/// Refused before anything is measured rather than after it.
fn check_writable(path: &Path) -> Result<(), Error> {
    let opened = fs::OpenOptions::new().append(true).create(true).open(path);
    opened
        .map(drop)
        .map_err(|error| Error::Start(format!("cannot write {}: {error}", path.display())))
}

fn write(path: Option<&PathBuf>, text: &str) -> Result<(), Error> {
    let Some(path) = path else {
        return Ok(());
    };
    fs::write(path, text)
        .map_err(|error| Error::Run(format!("cannot write {}: {error}", path.display())))
}

pub(crate) fn run(args: SuiteArgs) -> Result<ExitCode, Error> {
    let (json, markdown) = (args.json.clone(), args.markdown.clone());
    let options = args.options()?;
    for path in json.iter().chain(&markdown) {
        check_writable(path)?;
    }
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let progress = Progress::of(suite::cells(&options), options.window.total());
    let outcome = suite::run(&options, &interrupt, &mut progress.cells())?;
    drop(progress);
    let report = Suite {
        context: &context,
        options: &options,
        outcome: &outcome,
    };
    // Somebody who closed our output does not want to know.
    let _ = write!(io::stdout(), "{}", report.to_table());
    write(json.as_ref(), &format!("{:#}\n", report.to_json()))?;
    write(markdown.as_ref(), &report.to_markdown())?;
    Ok(exit_code(outcome.interrupted, outcome.failures()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_numbers_and_ranges() {
        assert_eq!(
            rows("1, 2-3,7").ok().map(|rows| rows.0),
            Some(vec![1, 2, 3, 7])
        );
        for text in ["", "0", "13", "3-1", "1-", "x", "1,,2", "-1"] {
            assert!(rows(text).is_err(), "{text:?}");
        }
    }
}
