//! monoio on its io_uring driver.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use monoio::fs::File;
use monoio::{IoUringDriver, Runtime, RuntimeBuilder};

use super::{BLOCK_BYTES, Blocks, Contender, check, now};

/// A runtime.
pub(super) struct Monoio {
    runtime: Runtime<IoUringDriver>,
    path: PathBuf,
}

impl Monoio {
    pub(super) fn new(path: &Path) -> io::Result<Monoio> {
        Ok(Monoio {
            runtime: RuntimeBuilder::<IoUringDriver>::new().build()?,
            path: path.to_owned(),
        })
    }
}

impl Contender for Monoio {
    fn read(&mut self, depth: usize, count: u64) -> io::Result<Duration> {
        let blocks = Blocks::new(&self.path, count)?;
        let path = &self.path;
        self.runtime.block_on(async {
            let file = Rc::new(File::open(path).await?);
            let start = now();
            let spawn = |_| monoio::spawn(reader(Rc::clone(&file), Rc::clone(&blocks)));
            let readers: Vec<_> = (0..depth).map(spawn).collect();
            for reader in readers {
                reader.await;
            }
            Ok(now() - start)
        })
    }
}

async fn reader(file: Rc<File>, blocks: Rc<Blocks>) {
    let mut buffer = Vec::with_capacity(BLOCK_BYTES);
    while let Some(offset) = blocks.next() {
        let (result, back) = file.read_at(buffer, offset).await;
        check(result.expect("the file can be read"));
        buffer = back;
    }
}
