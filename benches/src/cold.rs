//! Files that are on the disk but not in memory, and are put back there as they are read.

#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::fs::{Advice, fadvise, syncfs};

use crate::Error;
use crate::interrupt::Interrupt;
use crate::load::{Ask, Supply};
use crate::parse::Url;

/// Evicts a file from the page cache: the next read of it goes to the device. Pages that somebody
/// reads at this moment stay; posix_fadvise(2).
///
/// # Errors
/// Those of open(2), fdatasync(2), posix_fadvise(2).
pub fn evict(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // Dirty pages would stay.
    file.sync_data()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    Ok(())
}

/// `cold-00000.bin`, `cold-00001.bin`...: `count` files of `size` bytes in a directory.
#[derive(Clone, Debug)]
pub struct Files {
    /// Where they are.
    pub dir: PathBuf,
    /// How many.
    pub count: usize,
    /// Bytes of each.
    pub size: u64,
    /// Each is in a directory of its own.
    pub nested: bool,
}

impl Files {
    /// The name of file `index`.
    #[must_use]
    pub fn name(&self, index: usize) -> String {
        let directory = if self.nested {
            format!("{index:05}/")
        } else {
            String::new()
        };
        format!("{directory}cold-{index:05}.bin")
    }

    pub(crate) fn path(&self, index: usize) -> PathBuf {
        self.dir.join(self.name(index))
    }

    /// Makes those that are missing. Their content depends on their number alone.
    ///
    /// # Errors
    /// [`Error::Start`] if a file of that name has another size, or cannot be made.
    pub fn create_missing(&self, interrupt: &Interrupt) -> Result<(), Error> {
        let wrong = |error| {
            let place = self.dir.display();
            Error::Start(format!("cannot write the files in {place}: {error}"))
        };
        if self.make_missing(interrupt)? {
            // All at once: a sync for each would take a hundred times as long.
            let dir = File::open(&self.dir).map_err(wrong)?;
            syncfs(dir).map_err(|errno| wrong(errno.into()))?;
        }
        Ok(())
    }

    /// Whether there were some.
    fn make_missing(&self, interrupt: &Interrupt) -> Result<bool, Error> {
        let mut made = false;
        for index in 0..self.count {
            if interrupt.is_set() {
                break;
            }
            let path = self.path(index);
            if self.nested {
                let directory = path.parent().unwrap_or(&self.dir);
                fs::create_dir_all(directory).map_err(|error| {
                    Error::Start(format!("cannot make {}: {error}", directory.display()))
                })?;
            }
            match fs::metadata(&path) {
                Ok(found) if found.len() == self.size => {}
                Ok(found) => {
                    return Err(Error::Start(format!(
                        "{} has {} bytes, not {}: remove it or say --cold-size {}",
                        path.display(),
                        found.len(),
                        self.size,
                        found.len()
                    )));
                }
                Err(_) => {
                    write_whole(&path, index as u64, self.size).map_err(|error| {
                        Error::Start(format!("cannot make {}: {error}", path.display()))
                    })?;
                    made = true;
                }
            }
        }
        Ok(made)
    }

    fn each(
        &self,
        what: &str,
        interrupt: &Interrupt,
        mut action: impl FnMut(&Path) -> io::Result<()>,
    ) -> Result<(), Error> {
        for path in (0..self.count).map(|index| self.path(index)) {
            if interrupt.is_set() {
                break;
            }
            action(&path).map_err(|error| {
                Error::Run(format!("cannot {what} {}: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    /// Evicts them all.
    ///
    /// # Errors
    /// [`Error::Run`] if one cannot be evicted.
    pub fn evict_all(&self, interrupt: &Interrupt) -> Result<(), Error> {
        self.each("evict", interrupt, evict)
    }

    /// Reads them all, so that they are in memory.
    ///
    /// # Errors
    /// [`Error::Run`] if one cannot be read.
    pub fn warm_all(&self, interrupt: &Interrupt) -> Result<(), Error> {
        self.each("read", interrupt, |path| {
            io::copy(&mut File::open(path)?, &mut io::sink()).map(drop)
        })
    }

    /// What to ask for each of them, below `prefix`.
    #[must_use]
    pub fn asks(&self, prefix: &Url) -> Vec<Ask> {
        let ask = |index| Ask {
            request: prefix.join(&self.name(index)).request().into(),
            length: self.size,
            content: None,
            ticket: index,
        };
        (0..self.count).map(ask).collect()
    }
}

/// All or nothing, under its final name: a run that was killed leaves no short file.
pub(crate) fn write_whole(path: &Path, seed: u64, size: u64) -> io::Result<()> {
    let partial = path.with_extension("part");
    let write = || {
        let mut file = io::BufWriter::new(File::create(&partial)?);
        let mut left = size;
        for word in words(seed) {
            let bytes = word.to_le_bytes();
            let here = left.min(bytes.len() as u64);
            file.write_all(&bytes[..here as usize])?;
            left -= here;
            if left == 0 {
                break;
            }
        }
        file.into_inner()?;
        fs::rename(&partial, path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

/// SplitMix64: no block of a disk that compresses or deduplicates is like another.
pub(crate) fn words(seed: u64) -> impl Iterator<Item = u64> {
    (0u64..).map(move |number| mix(seed << 32 | number))
}

/// One step of SplitMix64.
pub(crate) fn mix(number: u64) -> u64 {
    let mut word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Files asked for in turn, as they are.
#[derive(Debug)]
pub struct Rotation {
    asks: Vec<Ask>,
    next: Cell<usize>,
}

impl Rotation {
    /// Asks for these in turn, for ever.
    #[must_use]
    pub fn new(asks: Vec<Ask>) -> Rotation {
        Rotation {
            asks,
            next: Cell::new(0),
        }
    }
}

impl Supply for Rotation {
    fn next(&self) -> Option<Ask> {
        let index = self.next.get();
        self.next.set((index + 1) % self.asks.len().max(1));
        self.asks.get(index).cloned()
    }
}

/// Files asked for once, each by whoever comes first, however many supplies share the count.
#[derive(Debug)]
pub struct Once {
    asks: Vec<Ask>,
    next: Rc<Cell<usize>>,
}

impl Once {
    /// Asks for these from number `next` on.
    #[must_use]
    pub fn new(asks: Vec<Ask>, next: Rc<Cell<usize>>) -> Once {
        Once { asks, next }
    }
}

impl Supply for Once {
    fn next(&self) -> Option<Ask> {
        let ask = self.asks.get(self.next.get()).cloned()?;
        self.next.set(self.next.get() + 1);
        Some(ask)
    }
}

/// Files asked for in turn, each evicted again by a thread before its next turn.
pub struct Evicted {
    asks: Vec<Ask>,
    ready: Arc<Ready>,
    served: RefCell<Option<Sender<usize>>>,
    thread: Cell<Option<JoinHandle<Result<(), Error>>>>,
}

/// Those that are cold.
type Ready = Mutex<VecDeque<usize>>;

fn lock(ready: &Ready) -> MutexGuard<'_, VecDeque<usize>> {
    ready.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Evicted {
    /// Asks for `files`, which are cold, below `prefix`.
    ///
    /// # Errors
    /// [`Error::Run`] if there can be no thread.
    pub fn start(files: &Files, asks: Vec<Ask>) -> Result<Rc<Evicted>, Error> {
        let ready: Arc<Ready> = Arc::new(Mutex::new((0..asks.len()).collect()));
        let (sender, receiver) = mpsc::channel();
        let (again, files) = (Arc::clone(&ready), files.clone());
        let evicting = move || {
            for index in receiver {
                let path = files.path(index);
                evict(&path).map_err(|error| {
                    Error::Run(format!("cannot evict {}: {error}", path.display()))
                })?;
                lock(&again).push_back(index);
            }
            Ok(())
        };
        let thread = thread::Builder::new()
            .name("evict".to_owned())
            .spawn(evicting);
        let thread =
            thread.map_err(|error| Error::Run(format!("cannot start a thread: {error}")))?;
        Ok(Rc::new(Evicted {
            asks,
            ready,
            served: RefCell::new(Some(sender)),
            thread: Cell::new(Some(thread)),
        }))
    }

    /// Ends the thread.
    ///
    /// # Errors
    /// The first file that could not be evicted: from then on there were too few cold ones.
    ///
    /// # Blocking
    /// For the files that wait to be evicted, at most one for each client.
    pub fn finish(&self) -> Result<(), Error> {
        drop(self.served.take());
        let ended = self.thread.take().map(JoinHandle::join);
        match ended {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::Run("the evicting thread panicked".to_owned())),
        }
    }
}

impl Supply for Evicted {
    fn next(&self) -> Option<Ask> {
        let index = lock(&self.ready).pop_front()?;
        self.asks.get(index).cloned()
    }

    fn done(&self, ticket: usize) {
        if let Some(served) = &*self.served.borrow() {
            // A thread that has failed says so at the end.
            let _ = served.send(ticket);
        }
    }
}
