//! The command line: `ambidex serve DIR`, `ambidex probe`.

mod cli;
mod cli_limits;
mod cli_plan;
mod cli_usage;
mod file_config;
mod file_site;

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

use ambidex_server::Stop;
use ambidex_server::listen::Address;
use ambidex_server::probe::Report;
use ambidex_server::workers::{self, Error};
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What was asked for cannot be done.
pub(crate) const EXIT_USAGE: u8 = 2;
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
  Each option can be given as AMBIDEX_ and its name: AMBIDEX_PORT=80, AMBIDEX_INDEX=a.html,b.html.
  AMBIDEX_DISK stands for --disk-engine. Options come first, then these, then the file.
  LISTEN_FDS, LISTEN_PID   sockets that systemd passed, used if no address is given
Signals:
  SIGINT, SIGTERM   stop accepting, finish answers in flight, exit 0; a second one ends at once
Examples:
  ambidex serve public                            public/ on http://127.0.0.1:8080
  ambidex serve public -p 80 -b 0.0.0.0 -b ::     on all addresses
  ambidex serve public --spa --immutable          an application made by a bundler
  ambidex serve -c site.toml --check              is the file right?")]
    Serve(Box<cli::Serve>),
    /// Say what this kernel and container allow, and which backend `serve` would use.
    Probe {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli_usage::tell(&error),
    };
    let outcome = match cli.command {
        Command::Serve(options) => serve(*options),
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

fn start_error(error: io::Error) -> Error {
    Error::Start(error.to_string())
}

fn serve(options: cli::Serve) -> Result<(), Error> {
    let plan = options.plan().map_err(Error::Start)?;
    if plan.check {
        workers::check(&plan.options)?;
        let _ = writeln!(io::stdout(), "the settings are good");
        return Ok(());
    }
    let stop = Stop::default();
    watch_signals(stop.clone()).map_err(start_error)?;
    workers::run(&plan.options, &stop, |started| {
        if let Some(remark) = workers::remark(started.capabilities, plan.options.disk) {
            eprintln!("ambidex: {remark}");
        }
        let misspelt = cli_usage::misspelt_variables();
        for remark in workers::remarks(&plan.options).into_iter().chain(misspelt) {
            eprintln!("ambidex: {remark}");
        }
        let mut out = io::stdout().lock();
        for address in started.addresses {
            let scheme = match address {
                Address::Tcp(_) => "http://",
                Address::Unix(_) | Address::Passed(_) => "",
            };
            // Somebody who closed our output does not want to know.
            let _ = writeln!(out, "listening on {scheme}{address}");
        }
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
