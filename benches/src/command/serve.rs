//! `ambidex-bench serve`: our server, for `mixed` to measure.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use ambidex::Engine;
use ambidex::net::TcpListener;
use ambidex_bench::Error;
use ambidex_bench::mixed::server::GREETING;
use ambidex_server::{Config, Site, Stop, serve};
use clap::Args;
use rustix::process::{Signal, set_parent_process_death_signal};

/// As those of `ambidex serve`, which can take its place.
#[derive(Args)]
pub(crate) struct ServeArgs {
    /// The directory to serve
    root: PathBuf,
    /// Where; a free port is port 0
    #[arg(long, value_name = "ADDR:PORT")]
    listen: SocketAddr,
    /// One: more would not tell what one loop does
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=1))]
    workers: u8,
}

pub(crate) fn run(args: ServeArgs) -> Result<ExitCode, Error> {
    // Whoever measures may be killed; nobody else wants this server.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let failed = |error: io::Error| Error::Run(format!("serve: {error}"));
    let mut engine = Engine::new().map_err(failed)?;
    let served = engine.run(async |io| {
        let site = Site::open(&io, args.root).await?;
        let listener = TcpListener::bind(io.net(), args.listen)?;
        let mut output = io::stdout();
        writeln!(output, "{GREETING}http://{}", listener.local_addr()?)?;
        output.flush()?;
        serve(&io, listener, site, Config::default(), &Stop::default()).await
    });
    served.and_then(|result| result).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
