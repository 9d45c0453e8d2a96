//! This engine.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ambidex::disk::{Choice, File, Options};

use super::{BLOCK_BYTES, Blocks, Contender, check, now};

/// An engine and its file.
pub(super) struct Engine {
    engine: ambidex::Engine,
    file: File,
    path: PathBuf,
}

impl Engine {
    pub(super) fn new(choice: Choice, path: &Path) -> io::Result<Engine> {
        let options = Options {
            choice,
            ..Options::default()
        };
        let mut engine = ambidex::Engine::builder().disk(options).build()?;
        let file = engine.run(async |io| File::open(io.disk(), path).await)??;
        Ok(Engine {
            engine,
            file,
            path: path.to_owned(),
        })
    }
}

impl Contender for Engine {
    fn read(&mut self, depth: usize, count: u64) -> io::Result<Duration> {
        let blocks = Blocks::new(&self.path, count)?;
        let file = &self.file;
        self.engine.run(async |io| {
            let start = now();
            let spawn = |_| io.spawn(reader(file.clone(), Rc::clone(&blocks)));
            let readers: Vec<_> = (0..depth).map(spawn).collect();
            for reader in readers {
                reader.await.expect("a reader does not panic");
            }
            now() - start
        })
    }
}

async fn reader(file: File, blocks: Rc<Blocks>) {
    let mut buffer = Vec::with_capacity(BLOCK_BYTES);
    while let Some(offset) = blocks.next() {
        let (result, back) = file.read_at(buffer, offset).await;
        check(result.expect("the file can be read"));
        buffer = back;
    }
}
