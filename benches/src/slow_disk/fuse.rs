//! By a FUSE filesystem of this process: the files of a directory, mounted over it and read through it.
//!
//! It is a disk that does one read at a time, each of which takes as long as the limit says. Only reads
//! that miss the page cache come here. Names and attributes are answered at once: this process asks for
//! them too, while reads wait.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ambidex::clock::{Clock, Real};
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::geteuid;

mod files;

use files::{Files, Read};

/// A directory with a filesystem over it, which goes with this.
#[derive(Debug)]
pub(super) struct Mount {
    at: PathBuf,
    disk: Arc<Disk>,
    session: Option<BackgroundSession>,
    thread: Option<JoinHandle<()>>,
}

impl Mount {
    /// Over `dir`.
    ///
    /// # Errors
    /// Those of opening /dev/fuse and `dir`, and of mount(2) or fusermount3.
    pub(super) fn over(dir: &Path) -> io::Result<Mount> {
        // Whoever looks from elsewhere is meant to see it under this name for as long as this lives.
        let at = dir.canonicalize()?;
        let disk = Arc::new(Disk::default());
        let files = Files::of(&at, Arc::clone(&disk))?;
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::RO,
            MountOption::FSName("ambidex-bench".to_owned()),
        ];
        if geteuid().is_root() {
            // Servers of other users. Others than root may not offer that.
            config.acl = SessionACL::All;
        }
        let session = Session::new(files, &at, &config)?.spawn()?;
        let mut mount = Mount {
            at,
            disk: Arc::clone(&disk),
            session: Some(session),
            thread: None,
        };
        let thread = thread::Builder::new().name("slow disk".to_owned());
        mount.thread = Some(thread.spawn(move || disk.serve())?);
        Ok(mount)
    }

    /// See [`limit`](super::SlowDisk::limit).
    pub(super) fn limit(&self, reads_per_second: u64) {
        let interval = match reads_per_second {
            0 => Duration::ZERO,
            number => Duration::from_secs(1).div_f64(number as f64),
        };
        self.disk.change(|state| state.pace = Pace::new(interval));
    }

    pub(super) fn reads(&self) -> u64 {
        self.disk.state().reads
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Detached: it goes even while a server has files of it open. Aborted: what that server waits
        // for fails, instead of waiting for a process that ends.
        let gone = unmount(&self.at, UnmountFlags::FORCE | UnmountFlags::DETACH);
        // Unless root, fusermount3 is to do it, which the session starts.
        drop(self.session.take());
        if let Err(error) = gone
            && geteuid().is_root()
        {
            eprintln!("ambidex-bench: unmounting {}: {error}", self.at.display());
        }
        self.disk.change(|state| state.ended = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// When reads are answered: one at a time, each after `interval`.
#[derive(Debug, Default)]
struct Pace {
    interval: Duration,
    /// When the last one was over.
    free: Option<Instant>,
}

impl Pace {
    fn new(interval: Duration) -> Pace {
        Pace {
            interval,
            free: None,
        }
    }

    /// When a read that came at `arrived`, and is the next, is over.
    fn due(&self, arrived: Instant) -> Instant {
        let begin = self.free.map_or(arrived, |free| free.max(arrived));
        begin + self.interval
    }
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(Instant, Read)>,
    pace: Pace,
    reads: u64,
    ended: bool,
}

/// What does one read at a time.
#[derive(Debug, Default)]
struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Takes a read, to be answered in its turn.
    fn take(&self, read: Read) {
        let mut state = self.state();
        if state.ended {
            // Nobody else would, and whoever waits for it could not end.
            return read.answer();
        }
        state.reads += 1;
        state.waiting.push_back((Real.now(), read));
        self.changed.notify_all();
    }

    /// Answers reads until it has ended; those that wait then, at once.
    fn serve(&self) {
        while let Some(read) = self.next() {
            read.answer();
        }
    }

    /// The read that is over next, when it is.
    fn next(&self) -> Option<Read> {
        let mut state = self.state();
        loop {
            let Some((arrived, _)) = state.waiting.front() else {
                if state.ended {
                    return None;
                }
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let due = state.pace.due(*arrived);
            let left = due.saturating_duration_since(Real.now());
            if left.is_zero() || state.ended || state.pace.interval.is_zero() {
                state.pace.free = Some(due);
                return state.waiting.pop_front().map(|(_, read)| read);
            }
            // A limit that changes meanwhile holds for this one too.
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_over_one_after_the_other() {
        let (start, interval) = (Real.now(), Duration::from_millis(10));
        let mut pace = Pace::new(interval);
        assert_eq!(pace.due(start), start + interval, "nobody is before it");
        pace.free = Some(start + interval);
        let next = start + Duration::from_millis(3);
        assert_eq!(
            pace.due(next),
            start + 2 * interval,
            "it waits for the first"
        );
        let late = start + Duration::from_millis(500);
        assert_eq!(pace.due(late), late + interval, "idle time is not saved up");
        let unlimited = Pace::new(Duration::ZERO);
        assert_eq!(unlimited.due(start), start);
    }
}
