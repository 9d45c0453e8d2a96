//! The command line: `ambidex-bench COMMAND ...`.

mod command;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::cold::Files;
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::{self, Ask, Class, Window};
use ambidex_bench::mixed;
use ambidex_bench::parse::{self, Url};
use ambidex_bench::report::{Context, Http, Mixed};
use ambidex_bench::usage::{self, Meter};
use clap::{Args, Parser, Subcommand};
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
    Http(HttpArgs),
    /// Hot clients beside clients of cold files: what each costs the other.
    Mixed(MixedArgs),
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
}

#[derive(Args)]
struct HttpArgs {
    /// What to ask for: http://HOST:PORT/PATH
    url: Url,
    /// Clients, each with a connection that is kept
    #[arg(long, value_name = "N", default_value = "64", value_parser = connections)]
    connections: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct MixedArgs {
    /// What hot clients ask for: http://HOST:PORT/PATH
    #[arg(long, value_name = "URL")]
    hot: Url,
    /// The address of the directory of cold files
    #[arg(long, value_name = "PREFIX")]
    cold_url: Url,
    /// The same directory on this machine; files that are missing are made
    #[arg(long, value_name = "DIR")]
    cold_dir: PathBuf,
    /// Cold files: cold-00000.bin and on
    #[arg(long, value_name = "N", default_value = "2000", value_parser = connections)]
    cold_files: usize,
    /// Bytes of each: 512, 64k, 4M
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = parse::size)]
    cold_size: u64,
    /// Clients of the hot file
    #[arg(long, value_name = "N", default_value = "16", value_parser = connections)]
    hot_connections: usize,
    /// Clients of cold files
    #[arg(long, value_name = "N", default_value = "32", value_parser = connections)]
    cold_connections: usize,
    /// Requests a second of all cold clients together, at most, warm or cold
    #[arg(long, value_name = "RATE", value_parser = parse::interval)]
    cold_rate: Option<Duration>,
    /// Rounds, each of A (beside warm files), B (beside cold files) and C (hot alone)
    #[arg(long, value_name = "N", default_value = "3", value_parser = connections)]
    rounds: usize,
    /// In condition B, let the server's disk do so many reads a second; needs root and cgroup v1
    #[arg(long, value_name = "IOPS", requires = "server_pid",
        value_parser = clap::value_parser!(u64).range(1..))]
    slow_disk: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// Seconds measured, for each condition
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse::seconds)]
    runtime: Duration,
    /// Seconds before that, not counted
    #[arg(long, value_name = "SECONDS", default_value = "0.5",
        value_parser = parse::non_negative_seconds)]
    warm_up: Duration,
    /// A process of the server, to count its processor time; again for each further one
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

impl Common {
    fn window(&self) -> Window {
        Window {
            warm_up: self.warm_up,
            runtime: self.runtime,
        }
    }

    fn check(&self) -> Result<(), Error> {
        for pid in &self.server_pid {
            usage::processor_time(*pid).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    Error::Start(format!("--server-pid {pid}: there is no such process"))
                }
                _ => Error::Start(format!("--server-pid {pid}: {error}")),
            })?;
        }
        Ok(())
    }
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("give a number from 1 to 1000000".to_owned()),
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let outcome = match cli.command {
        Command::Http(args) => http(&args),
        Command::Mixed(args) => mixed(args),
        Command::Disk(args) => command::disk::run(args),
        Command::Probe(args) => command::probe::run(&args),
        Command::EchoServer(args) => command::echo::serve(args),
        Command::EchoClient(args) => command::echo::ask(args),
        Command::Net(args) => command::net::run(args),
        Command::Scale(args) => command::scale::run(args),
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

fn http(args: &HttpArgs) -> Result<ExitCode, Error> {
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

fn mixed(args: MixedArgs) -> Result<ExitCode, Error> {
    args.common.check()?;
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let options = mixed::Options {
        hot: args.hot,
        cold: args.cold_url,
        files: Files {
            dir: args.cold_dir,
            count: args.cold_files,
            size: args.cold_size,
        },
        hot_connections: args.hot_connections,
        cold_connections: args.cold_connections,
        cold_interval: args.cold_rate,
        window: args.common.window(),
        rounds: args.rounds,
        server_pids: args.common.server_pid.clone(),
        slow_disk: args.slow_disk,
    };
    let outcome = mixed::run(&options, &interrupt)?;
    let report = Mixed {
        context: &context,
        outcome: &outcome,
    };
    print(args.common.json, &report.to_table(), || report.to_json());
    Ok(exit_code(outcome.interrupted, report.errors()))
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
