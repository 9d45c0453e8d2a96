//! What a test may do to a fake kernel, and ask of it.

use std::cell::RefCell;
use std::fs;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use ambidex::disk::kernel::Completion;

use crate::sim::descriptors;

use super::{Control, Disk, Faults, Seen};

impl Control {
    /// Adds a file.
    pub fn file(&self, path: &str, content: Vec<u8>) {
        let mut world = self.world.borrow_mut();
        world
            .files
            .insert(path.as_bytes().to_vec(), Rc::new(RefCell::new(content)));
    }

    /// What a file holds now.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let world = self.world.borrow();
        let content = world.files.get(path.as_bytes())?;
        Some(content.borrow().clone())
    }

    /// Sets how likely faults are from now on.
    pub fn faults(&self, faults: Faults) {
        self.world.borrow_mut().faults = faults;
    }

    /// Where files opened from now on pretend to lie.
    pub fn disk(&self, disk: Disk) {
        self.world.borrow_mut().disk = disk;
    }

    /// The errnos of the next enters, 0 for success.
    pub fn script_enters(&self, errnos: impl IntoIterator<Item = i32>) {
        self.world.borrow_mut().enter_script.extend(errnos);
    }

    /// The results of the next answers, instead of what they would be.
    pub fn script_answers(&self, results: impl IntoIterator<Item = i32>) {
        self.world.borrow_mut().answer_script.extend(results);
    }

    /// Whether entries taken from now on stay unanswered.
    pub fn hang(&self, hang: bool) {
        self.world.borrow_mut().hang = hang;
    }

    /// The flag for deferred completions stays up, whatever there is behind it.
    pub fn stale_flag(&self, stale: bool) {
        self.world.borrow_mut().stale_flag = stale;
    }

    /// As a kernel whose enter, when it fails, gets no further than the submission: deferred completions stay so. With
    /// `true`, each completion is deferred.
    pub fn defer_all(&self, defer: bool) {
        self.world.borrow_mut().sticky_taskrun = defer;
    }

    /// The device finishes one of the entries that it works on, at random; false if there is none.
    pub fn finish_one(&self) -> bool {
        self.world.borrow_mut().finish_one()
    }

    /// Posts a completion that nobody asked for.
    pub fn inject(&self, user_data: u64, result: i32) {
        let completion = Completion { user_data, result };
        self.world.borrow_mut().posted.push_back(completion);
    }

    /// What has happened so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.world.borrow().seen
    }

    /// The `user_data` of what the device works on.
    #[must_use]
    pub fn working(&self) -> Vec<u64> {
        self.world
            .borrow()
            .working
            .iter()
            .map(|entry| entry.user_data)
            .collect()
    }

    /// How many descriptors of opened files there are in this process.
    ///
    /// # Panics
    /// If /proc is not mounted.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let prototype = self.world.borrow().prototype.as_raw_fd();
        let pipe = fs::read_link(format!("/proc/self/fd/{prototype}")).expect("/proc");
        descriptors(&pipe.to_string_lossy()) - 1
    }
}
