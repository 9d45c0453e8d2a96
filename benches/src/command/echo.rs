//! `ambidex-bench echo-server` and `ambidex-bench echo-client`.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::baselines::{Counters, Service, Stop, Stopper};
use ambidex_bench::echo::client::{self, Load};
use ambidex_bench::echo::net::Sample;
use ambidex_bench::echo::{self, EchoEngine};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::Window;
use ambidex_bench::machine;
use ambidex_bench::parse;
use ambidex_bench::report::{Context, Echo};
use clap::Args;

use super::common::connections;
use crate::{exit_code, print, start_error};

#[derive(Args)]
pub(crate) struct EchoServerArgs {
    /// Who echoes
    #[arg(long, value_name = "ENGINE", default_value = "hybrid")]
    engine: EchoEngine,
    /// Where to listen; port 0 is a free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999")]
    listen: SocketAddr,
    /// Answer in upper case (ASCII)
    #[arg(long)]
    upper: bool,
    /// Tell of each connection (baselines and mio)
    #[arg(long)]
    verbose: bool,
    /// Run on this processor only
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// A sample of the counters for each line on standard input; its end ends the server
    #[arg(long, hide = true)]
    control: bool,
}

/// What `echo-client` and `net` ask for.
#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Connections that send
    #[arg(long, value_name = "N", default_value = "64", value_parser = connections)]
    pub(crate) connections: usize,
    /// Further connections that only exist
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) idle: usize,
    /// Bytes of a message: 64, 4k
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = parse::size)]
    pub(crate) size: u64,
    /// Messages a second of all connections together, whether the server keeps up or not; else
    /// each connection sends again when it was answered
    #[arg(long, value_name = "RATE", value_parser = parse::interval)]
    pub(crate) rate: Option<Duration>,
}

impl LoadArgs {
    pub(crate) fn load(&self, address: SocketAddr, window: Window) -> Load {
        Load {
            address,
            connections: self.connections,
            idle: self.idle,
            size: usize::try_from(self.size).unwrap_or(usize::MAX),
            interval: self.rate,
            window,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.size > SIZE_MAX {
            return Err(Error::Start(
                "--size: a message has at most 64 MiB".to_owned(),
            ));
        }
        let all = self.connections.saturating_add(self.idle);
        machine::allow_descriptors(all as u64)
    }
}

/// Each connection of a server might hold one back, and the client has one of its own.
const SIZE_MAX: u64 = 64 << 20;

#[derive(Args)]
pub(crate) struct EchoClientArgs {
    /// The echo server
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999")]
    connect: SocketAddr,
    #[command(flatten)]
    load: LoadArgs,
    /// Seconds measured
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse::seconds)]
    runtime: Duration,
    /// Seconds before that, not counted
    #[arg(long, value_name = "SECONDS", default_value = "0.5",
        value_parser = parse::non_negative_seconds)]
    warm_up: Duration,
    /// Run on this processor only
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

pub(crate) fn serve(args: EchoServerArgs) -> Result<ExitCode, Error> {
    if let Some(cpu) = args.cpu {
        machine::run_on(cpu)?;
    }
    machine::allow_most_descriptors();
    let listener = echo::listen(args.listen)
        .map_err(|error| Error::Start(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(start_error)?;
    let (stopper, stop) = Stop::new().map_err(start_error)?;
    let counters = Arc::new(Counters::default());
    if args.control {
        let (stopper, counters) = (stopper.clone(), Arc::clone(&counters));
        thread::spawn(move || obey(&stopper, &counters));
    } else {
        stopper.stop_on_signals().map_err(start_error)?;
    }
    let _ = writeln!(io::stdout(), "listening on {address}");
    let service = Service {
        listener,
        upper: args.upper,
        verbose: args.verbose,
        stop,
        counters: Arc::clone(&counters),
    };
    let served = args.engine.serve()(service);
    if args.engine.scans() && !args.control {
        let _ = writeln!(io::stderr(), "{}", counters.counts());
    }
    served.map_err(|error| Error::Run(format!("{} cannot serve: {error}", args.engine)))?;
    Ok(ExitCode::SUCCESS)
}

/// Answers each line of standard input with a sample, and ends the server with it: whoever started
/// it may have been killed.
fn obey(stopper: &Stopper, counters: &Counters) {
    for line in io::stdin().lock().lines() {
        let told = writeln!(io::stdout(), "{}", Sample::now(counters).to_json());
        if line.is_err() || told.is_err() {
            break;
        }
    }
    stopper.stop();
}

pub(crate) fn ask(args: EchoClientArgs) -> Result<ExitCode, Error> {
    args.load.check()?;
    if let Some(cpu) = args.cpu {
        machine::run_on(cpu)?;
    }
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let window = Window {
        warm_up: args.warm_up,
        runtime: args.runtime,
    };
    let load = args.load.load(args.connect, window);
    let outcome = client::run(&load, &interrupt, || Ok(()))?;
    let report = Echo {
        context: &context,
        load: &load,
        outcome: &outcome,
    };
    print(args.json, &report.to_table(), || report.to_json());
    Ok(exit_code(interrupt.is_set(), outcome.summary.errors))
}
