//! By a FUSE filesystem of this process: the files of a directory, mounted over it and read through it.
//!
//! It is a disk that does one read at a time, each of which takes as long as the limit says; or one of which
//! each read and each open takes its time, any number at once. Only reads that miss the page cache come
//! here. Names and attributes are answered at once: this process asks for them too, while others wait.

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

use super::Slowness;
use files::{Files, Open, Read};

/// A directory with a filesystem over it, which goes with this.
#[derive(Debug)]
pub(super) struct Mount {
    at: PathBuf,
    disk: Arc<Disk>,
    session: Option<BackgroundSession>,
    threads: Vec<JoinHandle<()>>,
}

/// What opens and reads wait in.
#[derive(Debug, Default)]
struct Disk {
    opens: Queue<Open>,
    reads: Queue<Read>,
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
            threads: Vec::new(),
        };
        let thread = || thread::Builder::new().name("slow disk".to_owned());
        let reads = Arc::clone(&disk);
        mount
            .threads
            .push(thread().spawn(move || reads.reads.serve())?);
        mount
            .threads
            .push(thread().spawn(move || disk.opens.serve())?);
        Ok(mount)
    }

    /// See [`limit`](super::SlowDisk::limit).
    pub(super) fn limit(&self, slowness: Slowness) {
        let (opens, reads) = match slowness {
            Slowness::NONE => (Pace::Free, Pace::Free),
            Slowness::Reads(number) => {
                let interval = Duration::from_secs(1).div_f64(number as f64);
                (
                    Pace::Free,
                    Pace::InTurn {
                        interval,
                        free: None,
                    },
                )
            }
            Slowness::Delays { open, read } => (Pace::Each(open), Pace::Each(read)),
        };
        self.disk.opens.change(|state| state.pace = opens);
        self.disk.reads.change(|state| state.pace = reads);
    }

    pub(super) fn reads(&self) -> u64 {
        self.disk.reads.state().count
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
        self.disk.opens.change(|state| state.ended = true);
        self.disk.reads.change(|state| state.ended = true);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// When what came is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Pace {
    /// At once.
    #[default]
    Free,
    /// One at a time, each after `interval`.
    InTurn {
        interval: Duration,
        /// When the last one was over.
        free: Option<Instant>,
    },
    /// So long after it came.
    Each(Duration),
}

impl Pace {
    /// When one that came at `arrived`, and is the next, is over; `None` is never.
    fn due(&self, arrived: Instant) -> Option<Instant> {
        match self {
            Pace::Free => Some(arrived),
            Pace::Each(delay) => arrived.checked_add(*delay),
            Pace::InTurn { interval, free } => {
                let begin = free.map_or(arrived, |free| free.max(arrived));
                Some(begin + *interval)
            }
        }
    }
}

/// What can be answered late.
trait Answer {
    /// Does it, and answers.
    fn answer(self);
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(Instant, T)>,
    pace: Pace,
    /// How many came.
    count: u64,
    ended: bool,
}

/// Answers what comes, in order, by the pace.
#[derive(Debug)]
struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        let state = State {
            waiting: VecDeque::new(),
            pace: Pace::Free,
            count: 0,
            ended: false,
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<T> Queue<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

impl<T: Answer> Queue<T> {
    /// Takes one, to be answered in its turn.
    fn take(&self, one: T) {
        let mut state = self.state();
        if state.ended {
            drop(state);
            // Nobody else would, and whoever waits for it could not end.
            return one.answer();
        }
        state.count += 1;
        state.waiting.push_back((Real.now(), one));
        self.changed.notify_all();
    }

    /// Answers until it has ended; those that wait then, at once.
    fn serve(&self) {
        while let Some(one) = self.next() {
            one.answer();
        }
    }

    /// The one that is over next, when it is.
    fn next(&self) -> Option<T> {
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
            let left = due.map(|due| due.saturating_duration_since(Real.now()));
            if left.is_some_and(|left| left.is_zero()) || state.ended {
                if let Pace::InTurn { free, .. } = &mut state.pace {
                    *free = due;
                }
                return state.waiting.pop_front().map(|(_, one)| one);
            }
            // A limit that changes meanwhile holds for this one too.
            let left = left.unwrap_or(Duration::MAX);
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
        let after = |free| Pace::InTurn { interval, free };
        assert_eq!(
            after(None).due(start),
            Some(start + interval),
            "nobody is before it"
        );
        let pace = after(Some(start + interval));
        let next = start + Duration::from_millis(3);
        assert_eq!(
            pace.due(next),
            Some(start + 2 * interval),
            "it waits for the first"
        );
        let late = start + Duration::from_millis(500);
        assert_eq!(
            pace.due(late),
            Some(late + interval),
            "idle time is not saved up"
        );
        assert_eq!(Pace::Free.due(start), Some(start));
    }

    #[test]
    fn each_takes_its_time_whatever_else_goes_on() {
        let (start, delay) = (Real.now(), Duration::from_millis(400));
        assert_eq!(Pace::Each(delay).due(start), Some(start + delay));
        assert_eq!(Pace::Each(Duration::MAX).due(start), None, "never");
    }

    /// Says that it was answered.
    struct Told(std::sync::mpsc::Sender<u8>, u8);

    impl Answer for Told {
        fn answer(self) {
            self.0.send(self.1).unwrap();
        }
    }

    #[test]
    fn what_hangs_is_answered_when_that_is_lifted() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let queue = Queue::default();
        queue.change(|state| state.pace = Pace::Each(Duration::MAX));
        thread::scope(|scope| {
            scope.spawn(|| queue.serve());
            queue.take(Told(sender.clone(), 1));
            queue.take(Told(sender.clone(), 2));
            assert!(receiver.try_recv().is_err());
            queue.change(|state| state.pace = Pace::Free);
            assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
            queue.change(|state| state.pace = Pace::Each(Duration::MAX));
            queue.take(Told(sender.clone(), 3));
            queue.change(|state| state.ended = true);
            assert_eq!(receiver.recv(), Ok(3), "at the end too");
        });
        queue.take(Told(sender, 4));
        assert_eq!((receiver.recv(), queue.state().count), (Ok(4), 3));
    }
}
