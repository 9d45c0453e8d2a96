//! SIGINT and SIGTERM end the measuring, not the process: what was measured is still reported, and
//! what was set up is taken down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ambidex::Handle;
use ambidex::clock::{Clock, Real};
use signal_hook::consts::{SIGINT, SIGTERM};

/// How often a sleeper looks.
const GLANCE: Duration = Duration::from_millis(50);

/// Whether somebody wants it to end. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on SIGINT and SIGTERM only set the flag.
    ///
    /// # Errors
    /// Those of sigaction(2).
    pub fn install() -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.flag))?;
        }
        Ok(interrupt)
    }

    /// One that is set from the start.
    #[cfg(test)]
    pub(crate) fn set() -> Interrupt {
        let interrupt = Interrupt::default();
        interrupt.raise();
        interrupt
    }

    /// Sets it, as a signal does.
    pub fn raise(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether it is to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Sleeps for `duration`, or until shortly after it is to end.
    pub async fn sleep(&self, io: &Handle, duration: Duration) {
        let deadline = io.now() + duration;
        while !self.is_set() {
            let now = io.now();
            if now >= deadline {
                return;
            }
            io.sleep_until(deadline.min(now + GLANCE)).await;
        }
    }

    /// The same without a loop: this thread sleeps.
    ///
    /// # Blocking
    /// For `duration` at most.
    pub fn rest(&self, duration: Duration) {
        let deadline = Real.now() + duration;
        while !self.is_set() {
            let left = deadline.saturating_duration_since(Real.now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(GLANCE));
        }
    }
}
