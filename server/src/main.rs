//! The command line: `ambidex serve DIR`, `ambidex probe`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use ambidex::disk::Choice;
use ambidex_server::probe::Report;
use ambidex_server::workers::{self, Error, Options};
use ambidex_server::{Config, Limits, Stop};
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What was asked for cannot be done.
const EXIT_USAGE: u8 = 2;
/// It had started, and then failed.
const EXIT_FAILURE: u8 = 1;

/// A static file server: a cold disk read never delays a hot socket.
#[derive(Parser)]
#[command(name = "ambidex", version, max_term_width = 90)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a directory over HTTP.
    #[command(after_help = "\
Environment:
  AMBIDEX_DISK=auto|uring|threads   how files are read: io_uring if it can be had (auto), io_uring
                                    or an error, a pool of threads
Signals:
  SIGINT, SIGTERM   stop accepting, finish answers in flight, exit 0; a second one ends at once")]
    Serve {
        /// The directory to serve. Nothing leads out of it.
        dir: PathBuf,
        /// Address and port to listen on; port 0 takes a free one.
        #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// Threads, each with an engine of its own [default: one for each processor]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
        workers: Option<u16>,
        /// Seconds from the first byte of a request to the end of its header
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        header_timeout: Duration,
        /// Seconds that a connection may rest between requests
        #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
        idle_timeout: Duration,
        /// Seconds that a client may take no byte of its answer
        #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
        write_timeout: Duration,
        /// Bytes a second that a client must take of its answer on average; 0 is no limit
        #[arg(long, value_name = "BYTES", default_value = "100")]
        min_rate: u64,
        /// Seconds that a disk may take to open a file or to give some of it; 0 is no limit
        #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds_or_none)]
        disk_deadline: Duration,
        /// Connections at a time
        #[arg(long, value_name = "N", default_value = "16384")]
        max_connections: usize,
        /// Connections of one client at a time [default: no limit]
        #[arg(long, value_name = "N")]
        max_connections_per_address: Option<usize>,
        /// Seconds for answers in flight after a signal to stop
        #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
        grace_period: Duration,
    },
    /// Say what this kernel and container allow, and which backend `serve` would use.
    Probe {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("give a number of seconds above 0".to_owned()),
    }
}

/// 0 stands for no limit.
fn seconds_or_none(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(0.0) => Ok(Duration::ZERO),
        _ => seconds(text),
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match cli.command {
        Command::Serve {
            dir,
            listen,
            workers,
            header_timeout,
            idle_timeout,
            write_timeout,
            min_rate,
            disk_deadline,
            max_connections,
            max_connections_per_address,
            grace_period,
        } => {
            let limits = Limits {
                header_timeout,
                idle_timeout,
                write_timeout,
                min_rate: Some(min_rate).filter(|rate| *rate > 0),
                disk_deadline: Some(disk_deadline).filter(|deadline| !deadline.is_zero()),
                connections_max: max_connections,
                connections_per_address_max: max_connections_per_address,
                grace_period,
            };
            let config = Config {
                limits,
                ..Config::default()
            };
            serve(dir, listen, workers, config)
        }
        Command::Probe { json } => probe(json),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ambidex: {error}");
            ExitCode::from(match error {
                Error::Start(_) => EXIT_USAGE,
                Error::Run(_) => EXIT_FAILURE,
            })
        }
    }
}

/// Help as it is; a mistake in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    if text.contains("Usage:") && !text.starts_with("error:") {
        // No subcommand at all: show what there is.
        eprint!("{text}");
        return ExitCode::from(EXIT_USAGE);
    }
    let first = text.lines().next().unwrap_or("bad usage");
    let first = first.trim_start_matches("error: ").trim_end_matches(':');
    let missing: Vec<&str> = text
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .map(str::trim)
        .collect();
    let missing = missing.join(" ");
    let space = if missing.is_empty() { "" } else { " " };
    eprintln!("ambidex: {first}{space}{missing}; try 'ambidex --help'");
    ExitCode::from(EXIT_USAGE)
}

fn start_error(error: io::Error) -> Error {
    Error::Start(error.to_string())
}

fn serve(
    root: PathBuf,
    listen: SocketAddr,
    workers: Option<u16>,
    config: Config,
) -> Result<(), Error> {
    let disk = Choice::from_environment().map_err(start_error)?;
    let workers = workers.map_or_else(
        || thread::available_parallelism().map_or(1, Into::into),
        usize::from,
    );
    let options = Options {
        root,
        listen,
        workers,
        config,
        disk,
    };
    let stop = Stop::default();
    watch_signals(stop.clone()).map_err(start_error)?;
    workers::run(&options, &stop, |started| {
        if let Some(remark) = workers::remark(started.capabilities, disk) {
            eprintln!("ambidex: {remark}");
        }
        let mut out = io::stdout().lock();
        // Somebody who closed our output does not want to know.
        let _ = writeln!(out, "listening on http://{}", started.address);
        let _ = out.flush();
    })
}

fn watch_signals(stop: Stop) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                if stop.is_set() {
                    std::process::exit(128 + signal);
                }
                stop.set();
            }
        })?;
    Ok(())
}

fn probe(json: bool) -> Result<(), Error> {
    let report = Report::new().map_err(start_error)?;
    let text = if json {
        format!("{:#}", report.to_json())
    } else {
        report.to_string()
    };
    let _ = writeln!(io::stdout(), "{text}");
    Ok(())
}
