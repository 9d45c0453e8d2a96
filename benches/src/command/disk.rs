//! `ambidex-bench disk`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::disk::{self, IoEngine, Options, Pattern, Place, SyncEvery};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::parse;
use ambidex_bench::report::{Context, Disk};
use clap::Args;

use super::common::each_once;
use super::progress::Progress;
use crate::{exit_code, print, start_error};

/// Rounds, if there is somebody to be compared with.
const ROUNDS_DEFAULT: usize = 3;

/// Flags are spelled as fio spells them. Without any, three engines read a temporary file in turns,
/// for less than a minute.
#[derive(Args)]
pub(crate) struct DiskArgs {
    /// The file; made and kept if it is missing and --size is given. None: a temporary one
    #[arg(long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Where a temporary file is made, and removed again
    #[arg(long, value_name = "DIR", conflicts_with = "filename")]
    directory: Option<PathBuf>,
    /// Bytes of the file to use: 64k, 4M, 1g; all of it if not given, 1g of a temporary one
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    size: Option<u64>,
    /// Which blocks: read, write, readwrite (in order), randread, randwrite, randrw (anywhere, some
    /// more than once)
    #[arg(long, alias = "readwrite", value_name = "PATTERN", default_value = "randread",
        value_parser = parse::rw)]
    rw: Pattern,
    /// Reads among a hundred operations of readwrite and randrw
    #[arg(long, value_name = "PERCENT", default_value = "50")]
    rwmixread: u8,
    /// Bytes of one operation, a multiple of 512
    #[arg(long, value_name = "SIZE", default_value = "4k", value_parser = parse::bs)]
    bs: u64,
    /// Operations at a time, for each job
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse::iodepth)]
    iodepth: usize,
    /// Operations that uring and libaio submit at a time
    #[arg(long = "iodepth_batch", alias = "iodepth_batch_submit", value_name = "N", default_value = "1",
        value_parser = parse::iodepth)]
    iodepth_batch: usize,
    /// Threads, each with its own stretch of the file
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse::numjobs)]
    numjobs: usize,
    /// Past the page cache (O_DIRECT)
    #[arg(long)]
    direct: bool,
    /// Each write is on the disk when it is answered (O_SYNC)
    #[arg(long)]
    sync: bool,
    /// fsync after so many writes
    #[arg(long, value_name = "N", conflicts_with = "fdatasync",
        value_parser = clap::value_parser!(u64).range(1..))]
    fsync: Option<u64>,
    /// fdatasync after so many writes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    fdatasync: Option<u64>,
    /// Empty the page cache of the file before each run; --direct always does
    #[arg(long)]
    invalidate: bool,
    /// Seconds of each run
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse::seconds)]
    runtime: Duration,
    /// Operations of each job to stop after, if the time is not over by then
    #[arg(long = "number_ios", value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..))]
    number_ios: Option<u64>,
    /// Who, in turns: hybrid, threads, uring, libaio, pread, mmap, tokio, monoio, compio
    #[arg(long, alias = "ioengine", value_name = "ENGINES", default_value = "hybrid,uring,pread",
        value_delimiter = ',', value_parser = parse::io_engine)]
    engine: Vec<IoEngine>,
    /// Runs of each engine: 3 if there are several, else 1
    #[arg(long, value_name = "N", value_parser = parse::numjobs)]
    rounds: Option<usize>,
    /// The same seed, the same blocks
    #[arg(long, alias = "randseed", value_name = "N", default_value = "0")]
    seed: u64,
    /// Compare what is read with what was written; a wrong byte ends it
    #[arg(long)]
    verify: bool,
    /// A file that is there already may be written to: its contents are lost
    #[arg(long)]
    overwrite: bool,
    /// Do not look at the clock for each operation: no latencies, and less processor time
    #[arg(long = "gtod_reduce")]
    gtod_reduce: bool,
    /// JSON on standard output; the table goes to standard error
    #[arg(long)]
    json: bool,
}

impl DiskArgs {
    fn into_options(self) -> Options {
        let place = match (self.filename, self.directory) {
            (Some(path), _) => Place::Filename(path),
            (None, Some(path)) => Place::Directory(path),
            (None, None) => Place::Temporary,
        };
        let every = |writes, data_only| SyncEvery { writes, data_only };
        let fsync = self.fsync.map(|writes| every(writes, false));
        let fdatasync = self.fdatasync.map(|writes| every(writes, true));
        let several = self.engine.len() > 1;
        Options {
            place,
            size: self.size,
            rw: self.rw,
            rwmixread: self.rwmixread,
            bs: self.bs,
            iodepth: self.iodepth,
            iodepth_batch: self.iodepth_batch,
            numjobs: self.numjobs,
            direct: self.direct,
            sync: self.sync,
            sync_every: fsync.or(fdatasync),
            runtime: self.runtime,
            number_ios: self.number_ios,
            rounds: self
                .rounds
                .unwrap_or(if several { ROUNDS_DEFAULT } else { 1 }),
            engines: self.engine,
            seed: self.seed,
            gtod_reduce: self.gtod_reduce,
            verify: self.verify,
            overwrite: self.overwrite,
            invalidate: self.invalidate,
        }
    }
}

pub(crate) fn run(args: DiskArgs) -> Result<ExitCode, Error> {
    each_once(&args.engine)?;
    let context = Context::new(Real.wall());
    let interrupt = Interrupt::install().map_err(start_error)?;
    let as_json = args.json;
    let options = args.into_options();
    let progress = Progress::of(1, Duration::ZERO);
    let mut show = |share: f64, engine: IoEngine| progress.at(share, engine.name());
    // Nobody is told of anything while nobody watches.
    let show: Option<&mut dyn FnMut(f64, IoEngine)> = match progress.is_shown() {
        true => Some(&mut show),
        false => None,
    };
    let series = disk::run(&options, &interrupt, show)?;
    drop(progress);
    let report = Disk {
        context: &context,
        options: &options,
        series: &series,
    };
    print(as_json, &report.to_table(), || report.to_json());
    let errors = u64::from(series.failure().is_some());
    Ok(exit_code(series.interrupted, errors))
}
