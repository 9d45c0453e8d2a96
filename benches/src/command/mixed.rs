//! `ambidex-bench mixed`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::cold::Files;
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::mixed::{self, Condition, Options, Server, Site, Target, site};
use ambidex_bench::parse::{self, Url};
use ambidex_bench::report::{Context, Mixed};
use ambidex_bench::slow_disk::{Means, Slowness};
use clap::Args;

use super::common::{Common, connections, each_once};
use super::progress::Progress;
use crate::{exit_code, print, start_error};

/// Unless another is asked for: all of it is to end within two minutes.
const RUNTIME: Duration = Duration::from_millis(2500);

/// Without an address our own server is measured, with each of --engine in turn.
#[derive(Args)]
pub(crate) struct MixedArgs {
    /// How our own server reads files: hybrid (io_uring), threads; each is a target
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "hybrid,threads",
        value_parser = ["hybrid", "threads"], conflicts_with_all = ["url", "hot"])]
    engine: Vec<String>,
    /// The program to be served by: `PROGRAM serve DIR --workers 1 --listen 127.0.0.1:0`
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["url", "hot"])]
    serve: Option<PathBuf>,
    /// A server that serves --directory, its root at URL; again for each further target
    #[arg(long, value_name = "[NAME=]URL", requires = "directory", value_parser = named_url,
        conflicts_with = "hot")]
    url: Vec<(String, Url)>,
    /// The directory that is served: hot.bin and cold/ are made in it. A directory in /var/tmp, which
    /// is removed, if not given
    #[arg(long, value_name = "DIR", conflicts_with = "hot")]
    directory: Option<PathBuf>,
    /// Bytes of hot.bin
    #[arg(long, value_name = "SIZE", default_value = "1k", value_parser = parse::size)]
    hot_size: u64,
    /// For a server with a layout of its own, what hot clients ask for: http://HOST:PORT/PATH
    #[arg(long, value_name = "URL", requires = "cold_url", requires = "cold_dir")]
    hot: Option<Url>,
    /// With --hot: the address of the directory of cold files
    #[arg(long, value_name = "PREFIX", requires = "hot")]
    cold_url: Option<Url>,
    /// With --hot: the same directory on this machine; files that are missing are made
    #[arg(long, value_name = "DIR", requires = "hot")]
    cold_dir: Option<PathBuf>,
    /// Cold files: cold-00000.bin and on
    #[arg(long, value_name = "N", default_value = "1000", value_parser = connections)]
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
    /// Rounds, each of A (hot beside warm files), B (beside cold ones), C (hot alone), D (cold alone)
    #[arg(long, value_name = "N", default_value = "3", value_parser = connections)]
    rounds: usize,
    /// In B and D, let the server's disk do so many reads a second
    #[arg(long, value_name = "IOPS", value_parser = clap::value_parser!(u64).range(1..))]
    slow_disk: Option<u64>,
    /// How: blkio needs root and cgroup v1, fuse needs FUSE; the first that can be had if not given
    #[arg(long, value_name = "MEANS", requires = "slow_disk")]
    slow_disk_by: Option<Means>,
    #[command(flatten)]
    common: Common,
}

/// `NAME=http://...`, or an address that is its own name.
fn named_url(text: &str) -> Result<(String, Url), String> {
    let named = text.split_once('=').filter(|(name, _)| !name.contains('/'));
    let (name, address) = named.unwrap_or((text, text));
    Ok((name.to_owned(), address.parse()?))
}

impl MixedArgs {
    fn refuse_bad_combinations(&self) -> Result<(), Error> {
        let is_ours = self.url.is_empty() && self.hot.is_none();
        let is_by_group = self.slow_disk_by == Some(Means::Blkio);
        let pids = !self.common.server_pid.is_empty();
        let why = if pids && is_ours {
            "--server-pid is for servers given by address; ours are known"
        } else if pids && self.url.len() > 1 {
            "--server-pid cannot tell which of several --url it belongs to: measure one at a time"
        } else if is_by_group && !is_ours && !pids {
            "--slow-disk-by blkio needs --server-pid, to know whose disk is to be slow"
        } else {
            return Ok(());
        };
        Err(Error::Start(why.to_owned()))
    }
}

/// What is measured, and what has to live as long.
struct Stage {
    targets: Vec<Target>,
    cold: PathBuf,
    /// Ended before the directory goes.
    _servers: Vec<Server>,
    _site: Option<Site>,
}

fn stage(args: &MixedArgs) -> Result<Stage, Error> {
    let pids = &args.common.server_pid;
    if let (Some(hot), Some(cold), Some(dir)) = (&args.hot, &args.cold_url, &args.cold_dir) {
        site::check_on_disk(dir)?;
        let target = Target {
            name: "server".to_owned(),
            hot: hot.clone(),
            cold: cold.clone(),
            pids: pids.clone(),
        };
        return Ok(Stage {
            targets: vec![target],
            cold: dir.clone(),
            _servers: Vec::new(),
            _site: None,
        });
    }
    let site = Site::make(args.directory.as_deref(), args.hot_size)?;
    let (mut targets, mut servers) = (Vec::new(), Vec::new());
    for (name, url) in &args.url {
        targets.push(Target::of_site(name, url, pids.clone()));
    }
    if targets.is_empty() {
        let program = args.serve.clone().map_or_else(std::env::current_exe, Ok);
        let program = program.map_err(start_error)?;
        for engine in &args.engine {
            let disk = if engine == "hybrid" {
                "uring"
            } else {
                "threads"
            };
            let server = Server::start(&program, site.path(), disk)?;
            targets.push(Target::of_site(engine, server.url(), vec![server.pid()]));
            servers.push(server);
        }
    }
    Ok(Stage {
        targets,
        cold: site.cold(),
        _servers: servers,
        _site: Some(site),
    })
}

pub(crate) fn run(args: MixedArgs) -> Result<ExitCode, Error> {
    args.refuse_bad_combinations()?;
    args.common.check()?;
    each_once(&args.engine)?;
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let stage = stage(&args)?;
    let options = Options {
        targets: stage.targets.clone(),
        files: Files {
            dir: stage.cold.clone(),
            count: args.cold_files,
            size: args.cold_size,
            nested: false,
        },
        hot_connections: args.hot_connections,
        cold_connections: args.cold_connections,
        cold_interval: args.cold_rate,
        window: args.common.window(RUNTIME),
        rounds: args.rounds,
        conditions: Condition::ALL.to_vec(),
        once: false,
        slow_disk: args.slow_disk.map(Slowness::Reads),
        slow_disk_by: args.slow_disk_by,
    };
    let cells = options.rounds * options.targets.len() * Condition::ALL.len();
    let progress = Progress::of(cells, options.window.total());
    let outcome = mixed::run(&options, &interrupt, &mut progress.cells())?;
    drop(progress);
    let report = Mixed {
        context: &context,
        options: &options,
        outcome: &outcome,
    };
    print(args.common.json, &report.to_table(), || report.to_json());
    Ok(exit_code(outcome.interrupted, report.errors()))
}
