//! The command line: `ambidex-bench COMMAND ...`.

mod command;

use std::io::{self, Write};
use std::process::ExitCode;

use ambidex_bench::Error;
use clap::{Parser, Subcommand};
use serde_json::Value;

/// What was asked for cannot be done.
const EXIT_USAGE: u8 = 2;
/// It had started, and then failed, or requests failed.
const EXIT_FAILURE: u8 = 1;
/// 128 + SIGINT, as shells have it.
const EXIT_INTERRUPTED: u8 = 130;

/// Disk and socket workloads measured side by side.
///
/// Loads are closed loops, in which a client asks again when it was answered, unless --rate is given.
#[derive(Parser)]
#[command(name = "ambidex-bench", version, max_term_width = 90)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask an HTTP server for one file, again and again.
    Http(command::http::HttpArgs),
    /// Hot clients beside clients of cold files: what each costs the other.
    Mixed(command::mixed::MixedArgs),
    /// Read and write a file in fio's terms, engine against engine: IOPS, latency, processor time.
    Disk(command::disk::DiskArgs),
    /// What a filesystem does with reads: at once, by a worker thread, or by blocking.
    Probe(command::probe::ProbeArgs),
    /// Echo on any engine, until Ctrl-C.
    EchoServer(command::echo::EchoServerArgs),
    /// Ask an echo server: rate and latency, with a message on its way or at a constant rate.
    EchoClient(command::echo::EchoClientArgs),
    /// Echo servers and their client on processors of their own, engine against engine.
    Net(command::net::NetArgs),
    /// What an event costs as more descriptors are watched: select, poll, epoll, the engine.
    Scale(command::scale::ScaleArgs),
    /// Twelve rows beside nginx, fio and other engines: the project's goals, and what is measured.
    Suite(command::suite::SuiteArgs),
    /// Serve a directory, to be measured by `mixed`.
    #[command(hide = true)]
    Serve(command::serve::ServeArgs),
    /// One page of any results: plots, tables, and what each was measured on and with.
    Report(command::report::ReportArgs),
    /// Two results of one command, round against round: ratios with their confidence intervals.
    Compare(command::compare::CompareArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outcome = match cli.command {
        Command::Http(args) => command::http::run(args),
        Command::Mixed(args) => command::mixed::run(args),
        Command::Disk(args) => command::disk::run(args),
        Command::Probe(args) => command::probe::run(&args),
        Command::EchoServer(args) => command::echo::serve(args),
        Command::EchoClient(args) => command::echo::ask(args),
        Command::Net(args) => command::net::run(args),
        Command::Scale(args) => command::scale::run(args),
        Command::Suite(args) => command::suite::run(args),
        Command::Serve(args) => command::serve::run(args),
        Command::Report(args) => command::report::run(args),
        Command::Compare(args) => command::compare::run(args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ambidex-bench: {error}");
            ExitCode::from(match error {
                Error::Start(_) => EXIT_USAGE,
                Error::Run(_) => EXIT_FAILURE,
            })
        }
    }
}

/// Help as it is; a mistake in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    if !text.starts_with("error:") {
        // No subcommand at all: show what there is.
        eprint!("{text}");
        return ExitCode::from(EXIT_USAGE);
    }
    let detail = text.lines().take_while(|line| !line.is_empty());
    let line: Vec<&str> = detail.map(str::trim).collect();
    let line = line.join(" ");
    let line = line.trim_start_matches("error: ");
    eprintln!("ambidex-bench: {line}; try 'ambidex-bench --help'");
    ExitCode::from(EXIT_USAGE)
}

fn start_error(error: io::Error) -> Error {
    Error::Start(error.to_string())
}

/// Somebody who closed our output does not want to know.
fn print(as_json: bool, table: &str, json: impl FnOnce() -> Value) {
    if as_json {
        let _ = write!(io::stderr(), "{table}");
        let _ = writeln!(io::stdout(), "{:#}", json());
    } else {
        let _ = write!(io::stdout(), "{table}");
    }
}

fn exit_code(interrupted: bool, errors: u64) -> ExitCode {
    match (interrupted, errors) {
        (true, _) => ExitCode::from(EXIT_INTERRUPTED),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::from(EXIT_FAILURE),
    }
}
