//! What commands have in common.

use std::io;
use std::time::Duration;

use ambidex_bench::Error;
use ambidex_bench::load::Window;
use ambidex_bench::parse;
use ambidex_bench::usage;
use clap::Args;

#[derive(Args)]
pub(crate) struct Common {
    /// Seconds measured, for each condition; 5, or 2.5 for `mixed`, if not given
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    pub(crate) runtime: Option<Duration>,
    /// Seconds before that, not counted
    #[arg(long, value_name = "SECONDS", default_value = "0.5",
        value_parser = parse::non_negative_seconds)]
    pub(crate) warm_up: Duration,
    /// A process of the server, to count its processor time; again for each further one
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Vec<u32>,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

impl Common {
    /// How long to measure, with what `runtime` is if not given.
    pub(crate) fn window(&self, runtime: Duration) -> Window {
        Window {
            warm_up: self.warm_up,
            runtime: self.runtime.unwrap_or(runtime),
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
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

/// A number of clients, files or rounds.
pub(crate) fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("give a number from 1 to 1000000".to_owned()),
    }
}

/// Refuses to take turns with oneself: medians and ratios go by name.
pub(crate) fn each_once<T: PartialEq>(list: &[T]) -> Result<(), Error> {
    let twice = |(at, one)| list[..at].contains(one);
    if list.iter().enumerate().any(twice) {
        return Err(Error::Start("--engine: name each once".to_owned()));
    }
    Ok(())
}
