//! monoio on its io_uring driver.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use monoio::buf::IoBufMut;
use monoio::fs::File;
use monoio::{IoUringDriver, RuntimeBuilder};

use super::super::gate::Pass;
use super::super::job::Job;
use super::tasks::{self, Aligned, Futures};
use super::{Options, cannot, noise, open};
use crate::Error;

pub(super) fn run(
    options: &Options,
    path: &Path,
    job: Job,
    pass: &mut Pass<'_>,
) -> Result<Job, Error> {
    let entries = u32::try_from(options.iodepth).unwrap_or(u32::MAX);
    let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(entries.max(1024));
    let mut runtime = builder.build().map_err(cannot("monoio"))?;
    let file = open(options, path)?;
    runtime.block_on(async {
        let file = Rc::new(OfMonoio(File::from_std(file).map_err(cannot("monoio"))?));
        let buffer = |number| Aligned::new(&noise(options, number));
        let buffers: Vec<Aligned> = (0..options.iodepth).map(buffer).collect();
        let job = Rc::new(RefCell::new(job));
        if pass.begin() {
            job.borrow_mut().start(options);
            let spawn =
                |buffer| monoio::spawn(tasks::work(Rc::clone(&file), Rc::clone(&job), buffer));
            let tasks: Vec<_> = buffers.into_iter().map(spawn).collect();
            for task in tasks {
                task.await;
            }
            pass.end();
        }
        Ok(tasks::back(job))
    })
}

struct OfMonoio(File);

impl Futures for OfMonoio {
    type Buffer = Aligned;

    fn block(buffer: &mut Aligned) -> &mut [u8] {
        buffer.block()
    }

    async fn read_at(&self, buffer: Aligned, offset: u64) -> (io::Result<usize>, Aligned) {
        let Aligned { vector, start, end } = buffer;
        let (result, slice) = self.0.read_at(vector.slice_mut(start..end), offset).await;
        let vector = slice.into_inner();
        (result, Aligned { vector, start, end })
    }

    async fn write_at(&self, buffer: Aligned, offset: u64) -> (io::Result<usize>, Aligned) {
        let Aligned { vector, start, end } = buffer;
        let (result, slice) = self.0.write_at(vector.slice_mut(start..end), offset).await;
        let vector = slice.into_inner();
        (result, Aligned { vector, start, end })
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        match data_only {
            true => self.0.sync_data().await,
            false => self.0.sync_all().await,
        }
    }
}
