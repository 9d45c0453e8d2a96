//! tokio::fs on a current-thread runtime.
//!
//! It has no positional read, and a seek is a second trip to another thread. So each task has the
//! file open for itself and reads on from where it is, which favours it.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::{BLOCK_BYTES, Blocks, Contender, check, now};

/// A runtime, which keeps its threads.
pub(super) struct Tokio {
    runtime: Runtime,
    path: PathBuf,
}

impl Tokio {
    pub(super) fn new(path: &Path) -> io::Result<Tokio> {
        Ok(Tokio {
            runtime: Builder::new_current_thread().build()?,
            path: path.to_owned(),
        })
    }
}

impl Contender for Tokio {
    fn read(&mut self, depth: usize, count: u64) -> io::Result<Duration> {
        let blocks = Blocks::new(&self.path, count)?;
        let path = &self.path;
        LocalSet::new().block_on(&self.runtime, async {
            let mut files = Vec::with_capacity(depth);
            for _ in 0..depth {
                let mut file = File::open(path).await?;
                let offset = blocks.scattered(files.len() as u64);
                file.seek(io::SeekFrom::Start(offset)).await?;
                files.push(file);
            }
            let start = now();
            let spawn = |file| tokio::task::spawn_local(reader(file, Rc::clone(&blocks)));
            let readers: Vec<_> = files.into_iter().map(spawn).collect();
            for reader in readers {
                reader.await.expect("a reader does not panic")?;
            }
            Ok(now() - start)
        })
    }
}

async fn reader(mut file: File, blocks: Rc<Blocks>) -> io::Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while blocks.next().is_some() {
        let mut length = file.read(&mut buffer).await?;
        if length == 0 {
            file.rewind().await?;
            length = file.read(&mut buffer).await?;
        }
        check(length);
    }
    Ok(())
}
