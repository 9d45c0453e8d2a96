//! compio on its io_uring driver.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::fs::{File, OpenOptions};
use compio::io::{AsyncReadAt, AsyncWriteAt};
use compio::runtime::Runtime;

use super::super::gate::Pass;
use super::super::job::Job;
use super::tasks::{self, Aligned, Futures};
use super::{Options, cannot, flags, noise};
use crate::Error;

pub(super) fn run(
    options: &Options,
    path: &Path,
    job: Job,
    pass: &mut Pass<'_>,
) -> Result<Job, Error> {
    let runtime = Runtime::new().map_err(cannot("compio"))?;
    runtime.block_on(async {
        let mut open = OpenOptions::new();
        open.read(true).write(options.rw.writes());
        open.custom_flags(flags(options));
        let name = path.display();
        let opened = open.open(path).await;
        let file = opened.map_err(|error| Error::Start(format!("cannot open {name}: {error}")))?;
        let file = Rc::new(OfCompio(file));
        let buffer = |number| Aligned::new(&noise(options, number));
        let buffers: Vec<Aligned> = (0..options.iodepth).map(buffer).collect();
        let job = Rc::new(RefCell::new(job));
        if pass.begin() {
            job.borrow_mut().start(options);
            let spawn = |buffer| {
                compio::runtime::spawn(tasks::work(Rc::clone(&file), Rc::clone(&job), buffer))
            };
            let tasks: Vec<_> = buffers.into_iter().map(spawn).collect();
            for task in tasks {
                if task.await.is_err() {
                    job.borrow_mut().fail("a task panicked".to_owned());
                }
            }
            pass.end();
        }
        Ok(tasks::back(job))
    })
}

struct OfCompio(File);

impl Futures for OfCompio {
    type Buffer = Aligned;

    fn block(buffer: &mut Aligned) -> &mut [u8] {
        buffer.block()
    }

    async fn read_at(&self, buffer: Aligned, offset: u64) -> (io::Result<usize>, Aligned) {
        let Aligned { vector, start, end } = buffer;
        let BufResult(result, slice) = self.0.read_at(vector.slice(start..end), offset).await;
        let vector = slice.into_inner();
        (result, Aligned { vector, start, end })
    }

    async fn write_at(&self, buffer: Aligned, offset: u64) -> (io::Result<usize>, Aligned) {
        let Aligned { vector, start, end } = buffer;
        let mut file = &self.0;
        let BufResult(result, slice) = file.write_at(vector.slice(start..end), offset).await;
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
