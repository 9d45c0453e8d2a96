//! How the fake kernel gives an entry up: by `ECANCELED`, by `EINTR`, with its result after all, or not at all.

use ambidex::disk::kernel::{Call, Entry};

use super::World;
use crate::sim::rng::chance;

impl World {
    /// As io_uring does: what is queued and not yet taken it does not know, what it works on it may give up, and what is
    /// answered is answered.
    pub(super) fn cancel(&mut self, user_data: u64) {
        let is_it = |entry: &Entry| entry.user_data == user_data;
        let Some(at) = self.working.iter().position(is_it) else {
            self.cancel_queued(user_data);
            return;
        };
        self.seen.cancels[0] += 1;
        if chance(&mut self.rng, self.faults.late_cancel) {
            if !self.hang && self.rng.bool() {
                let entry = self.working.swap_remove(at);
                let result = self.answer(&entry);
                self.post(&entry, result);
            }
            return;
        }
        self.seen.cancels[1] += 1;
        let entry = self.working.swap_remove(at);
        self.check(&entry);
        // A close that was interrupted has closed.
        let interruptible = !matches!(entry.call, Call::Close { .. });
        let result = if interruptible && self.rng.bool() {
            -libc::EINTR
        } else {
            -libc::ECANCELED
        };
        self.post(&entry, result);
    }

    /// As a pool of threads does, now and then: what no thread has begun is answered at once.
    fn cancel_queued(&mut self, user_data: u64) {
        let is_it = |entry: &Entry| entry.user_data == user_data;
        let Some(at) = self.queued.iter().position(is_it) else {
            return;
        };
        self.seen.cancels[0] += 1;
        if chance(&mut self.rng, self.faults.late_cancel) {
            return;
        }
        self.seen.cancels[1] += 1;
        if let Some(entry) = self.queued.remove(at) {
            self.post(&entry, -libc::ECANCELED);
        }
    }
}
