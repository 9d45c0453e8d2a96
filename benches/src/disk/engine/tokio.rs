//! tokio on a current-thread runtime.
//!
//! Its own file has no positional read, and seeks on other threads. So the calls are made where it
//! makes them itself, in `spawn_blocking`, which favours it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use ambidex::disk::PoolBuf;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

use super::super::gate::Pass;
use super::super::job::Job;
use super::tasks::{self, Futures};
use super::{Options, buffers, cannot, open};
use crate::Error;

pub(super) fn run(
    options: &Options,
    path: &Path,
    job: Job,
    pass: &mut Pass<'_>,
) -> Result<Job, Error> {
    let runtime = Builder::new_current_thread().build();
    let runtime = runtime.map_err(cannot("tokio"))?;
    let file = Rc::new(OfTokio(Arc::new(open(options, path)?)));
    let buffers = buffers(options);
    let job = Rc::new(RefCell::new(job));
    if pass.begin() {
        job.borrow_mut().start(options);
        LocalSet::new().block_on(&runtime, async {
            let spawn =
                |buffer| spawn_local(tasks::work(Rc::clone(&file), Rc::clone(&job), buffer));
            let tasks: Vec<_> = buffers.into_iter().map(spawn).collect();
            for task in tasks {
                if let Err(error) = task.await {
                    job.borrow_mut().fail(format!("a task failed: {error}"));
                }
            }
        });
        pass.end();
    }
    Ok(tasks::back(job))
}

struct OfTokio(Arc<File>);

impl OfTokio {
    async fn elsewhere<T: Send + 'static>(
        &self,
        call: impl FnOnce(&File) -> T + Send + 'static,
    ) -> T {
        let file = Arc::clone(&self.0);
        let called = spawn_blocking(move || call(&file)).await;
        called.expect("a system call does not panic")
    }
}

impl Futures for OfTokio {
    type Buffer = PoolBuf;

    fn block(buffer: &mut PoolBuf) -> &mut [u8] {
        buffer
    }

    async fn read_at(&self, mut buffer: PoolBuf, offset: u64) -> (io::Result<usize>, PoolBuf) {
        self.elsewhere(move |file| (file.read_at(&mut buffer, offset), buffer))
            .await
    }

    async fn write_at(&self, buffer: PoolBuf, offset: u64) -> (io::Result<usize>, PoolBuf) {
        self.elsewhere(move |file| (file.write_at(&buffer, offset), buffer))
            .await
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        self.elsewhere(move |file| match data_only {
            true => file.sync_data(),
            false => file.sync_all(),
        })
        .await
    }
}
