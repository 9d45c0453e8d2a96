//! What the teaching servers have in common: the flags of the article's programs, and a line every
//! few seconds that says what was looked at. The chapter "Exercises" of the book uses them.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ambidex_bench::baselines::{Counters, Serve, Service, Stop};
use ambidex_bench::echo;
use clap::Parser;

/// An echo server to learn from.
#[derive(Parser)]
struct Args {
    /// The address to listen on
    #[arg(short = 'i', visible_short_alias = 's', default_value = "0.0.0.0")]
    ip: IpAddr,
    /// The port
    #[arg(short = 'p', default_value = "9999")]
    port: u16,
    /// Seconds from one line of counts to the next
    #[arg(short = 't', default_value = "10", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Answer in upper case
    #[arg(short = 'u')]
    upper: bool,
}

/// Serves with `serve` as the command line says, until Ctrl-C.
pub(crate) fn main(serve: Serve) -> ExitCode {
    match run(&Args::parse(), serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args, serve: Serve) -> io::Result<()> {
    let listener = echo::listen(SocketAddr::new(args.ip, args.port))?;
    let (stopper, stop) = Stop::new()?;
    stopper.stop_on_signals()?;
    let counters = Arc::new(Counters::default());
    let watched = Arc::clone(&counters);
    let pause = Duration::from_secs(args.timeout);
    thread::spawn(move || tell(pause, &watched));
    let served = serve(Service {
        listener,
        upper: args.upper,
        verbose: true,
        stop,
        counters: Arc::clone(&counters),
    });
    // Of no interest to whoever has closed our output.
    let _ = writeln!(io::stdout(), "in all: {}", counters.counts());
    served
}

fn tell(pause: Duration, counters: &Counters) {
    let mut before = counters.counts();
    loop {
        thread::sleep(pause);
        let now = counters.counts();
        let counts = now.since(&before);
        let _ = writeln!(io::stdout(), "in {} s: {counts}", pause.as_secs());
        before = now;
    }
}
