//! Reading with pread(2): what a loop without an engine costs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Instant;

use ambidex::clock::{Clock, Real};
use ambidex::disk::{Pool, PoolBuf};
use rustix::fs::OFlags;

use super::job::whole;
use super::plan::{Count, Plan};
use super::{Options, Outcome};
use crate::Error;
use crate::interrupt::Interrupt;
use crate::rusage::Rusage;

/// Reads between two looks at the clock, if each is not timed anyway.
const READS_PER_LOOK: u64 = 64;

pub(super) fn run(options: &Options, blocks: u64, interrupt: &Interrupt) -> Result<Outcome, Error> {
    let name = options.filename.display();
    let mut open = OpenOptions::new();
    open.read(true);
    if options.direct {
        open.custom_flags(OFlags::DIRECT.bits().cast_signed());
    }
    let opened = open.open(&options.filename);
    let file = opened.map_err(|error| Error::Start(format!("cannot open {name}: {error}")))?;
    // As many buffers as the engine would have: a single one would stay in the nearest cache.
    let pool = Pool::new(options.iodepth, options.bs as usize);
    let mut buffers: Vec<PoolBuf> = std::iter::from_fn(|| pool.try_take()).collect();
    for buffer in &mut buffers {
        buffer.copy_from(&vec![0; options.bs as usize]);
    }
    let mut plan = Plan::new(options, blocks);
    let mut count = Count::default();
    let (start, before) = (Real.now(), Rusage::now());
    let over = |now: Instant| now - start >= options.runtime || interrupt.is_set();
    read_all(&file, &mut buffers, options, &mut plan, &mut count, over)
        .map_err(|error| Error::Run(format!("cannot read {name}: {error}")))?;
    Ok(Outcome {
        used: Rusage::now().since(&before),
        seconds: (Real.now() - start).as_secs_f64(),
        total_ios: count.total_ios,
        io_bytes: count.io_bytes,
        lat: count.lat,
        interrupted: interrupt.is_set(),
    })
}

fn read_all(
    file: &File,
    buffers: &mut [PoolBuf],
    options: &Options,
    plan: &mut Plan,
    count: &mut Count,
    over: impl Fn(Instant) -> bool,
) -> io::Result<()> {
    let mut asked = Real.now();
    let mut number = 0;
    while let Some(offset) = plan.next() {
        let buffer = &mut buffers[number];
        number = if number + 1 == options.iodepth {
            0
        } else {
            number + 1
        };
        let length = whole(file.read_at(buffer, offset)?, options.bs as usize)?;
        if options.gtod_reduce && !count.total_ios.is_multiple_of(READS_PER_LOOK) {
            count.read(length, None);
            continue;
        }
        let now = Real.now();
        let took = now - std::mem::replace(&mut asked, now);
        count.read(length, (!options.gtod_reduce).then_some(took));
        if over(now) {
            break;
        }
    }
    Ok(())
}
