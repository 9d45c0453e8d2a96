//! A bar on standard error while something is measured, if somebody watches.
//!
//! It is drawn by a thread of its own, by the clock: who measures only says what begins.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ambidex::clock::{Clock, Real};
use indicatif::{ProgressBar, ProgressStyle};

/// Steps of the bar.
const STEPS: u64 = 1000;
/// How often it moves.
const TICK: Duration = Duration::from_millis(100);

/// A part of the whole, which has begun.
struct Part {
    /// The share of the whole that is over.
    from: f64,
    /// The share that is over after it.
    to: f64,
    takes: Duration,
    name: String,
}

impl Part {
    /// The share that is over when this has gone on for `age`.
    fn share(&self, age: Duration) -> f64 {
        let done = if self.takes.is_zero() {
            0.0
        } else {
            (age.as_secs_f64() / self.takes.as_secs_f64()).min(1.0)
        };
        self.from + (self.to - self.from) * done
    }
}

/// The bar. It is gone when this is dropped.
pub(crate) struct Progress {
    cells: usize,
    each: Duration,
    /// `None` if nobody watches.
    parts: Option<Sender<Part>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Of so many cells, each of which takes about `each`; zero if that is not known.
    pub(crate) fn of(cells: usize, each: Duration) -> Progress {
        let mut progress = Progress {
            cells,
            each,
            parts: None,
            thread: None,
        };
        if io::stderr().is_terminal() {
            let (sender, receiver) = mpsc::channel();
            progress.parts = Some(sender);
            progress.thread = Some(thread::spawn(move || draw(&receiver)));
        }
        progress
    }

    /// Whether there is a bar.
    pub(crate) fn is_shown(&self) -> bool {
        self.parts.is_some()
    }

    /// To be told of each cell that begins: how many were before it, and its name.
    pub(crate) fn cells(&self) -> impl FnMut(usize, &str) {
        let share = |number: usize| number as f64 / self.cells.max(1) as f64;
        move |number, name| self.send(share(number), share(number + 1), name)
    }

    /// So much of the whole is over.
    pub(crate) fn at(&self, share: f64, name: &str) {
        self.send(share, share, name);
    }

    fn send(&self, from: f64, to: f64, name: &str) {
        if let Some(parts) = &self.parts {
            // It ends with this only.
            let _ = parts.send(Part {
                from,
                to,
                takes: self.each,
                name: name.to_owned(),
            });
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.parts.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn draw(parts: &Receiver<Part>) {
    let bar = bar();
    let mut current: Option<(Part, Instant)> = None;
    loop {
        match parts.recv_timeout(TICK) {
            Ok(part) => {
                bar.set_message(part.name.clone());
                current = Some((part, Real.now()));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return bar.finish_and_clear(),
        }
        if let Some((part, begun)) = &current {
            let share = part.share(Real.now() - *begun);
            bar.set_position((share * STEPS as f64) as u64);
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent}% {msg}");
    let bar = ProgressBar::new(STEPS);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_where_the_next_begins_however_long_it_takes() {
        let part = |takes| Part {
            from: 0.25,
            to: 0.5,
            takes: Duration::from_secs(takes),
            name: String::new(),
        };
        let shares = [0, 5, 10, 99].map(|age| part(10).share(Duration::from_secs(age)));
        assert_eq!(shares, [0.25, 0.375, 0.5, 0.5]);
        assert_eq!(part(0).share(Duration::from_secs(9)), 0.25, "unknown");
    }
}
