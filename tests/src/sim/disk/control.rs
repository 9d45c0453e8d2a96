//! What a test may do to a fake kernel, and ask of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use ambidex::disk::kernel::Completion;

use crate::sim::descriptors;

use super::names::Renaming;
use super::tree::{Kind, Node, Rules, Spot};
use super::{Control, Disk, Faults, Seen, World};

impl World {
    /// Where an absolute path leads, by links too.
    pub(super) fn place(&self, path: &str) -> Option<Spot> {
        let rules = Rules {
            follow: true,
            resolve: 0,
        };
        self.tree
            .walk(&self.tree.root(), path.as_bytes(), rules)
            .ok()
    }

    /// Makes `kind` at `path`, and the directories above it.
    fn plant(&mut self, path: &str, kind: Kind) -> Node {
        let above = Path::new(path).parent().and_then(Path::to_str);
        if let Some(above) = above.filter(|above| !above.is_empty())
            && self.place(above).is_none_or(|spot| spot.node.is_none())
        {
            self.plant(above, Kind::Directory(BTreeMap::new()));
        }
        let mode = if matches!(kind, Kind::Directory(_)) {
            0o755
        } else {
            0o644
        };
        let node = self.tree.make(kind, mode);
        let spot = self.place(path).expect("a path below directories");
        assert!(!spot.name.is_empty(), "the root is there");
        spot.put(Some(node.clone()));
        node
    }
}

impl Control {
    /// Adds a file, and the directories above it.
    ///
    /// # Panics
    /// If there is a file where a directory should be.
    pub fn file(&self, path: &str, content: Vec<u8>) {
        self.world.borrow_mut().plant(path, Kind::File(content));
    }

    /// Adds an empty directory, and those above it.
    ///
    /// # Panics
    /// If there is a file where a directory should be.
    pub fn directory(&self, path: &str) {
        let empty = Kind::Directory(BTreeMap::new());
        self.world.borrow_mut().plant(path, empty);
    }

    /// Adds a symbolic link that says `target`, and the directories above it.
    ///
    /// # Panics
    /// If there is a file where a directory should be.
    pub fn symlink(&self, path: &str, target: &str) {
        let link = Kind::Link(target.as_bytes().to_vec());
        self.world.borrow_mut().plant(path, link);
    }

    /// Gives what is at `from` the name `to`, as rename(2).
    ///
    /// # Panics
    /// If that cannot be.
    pub fn rename(&self, from: &str, to: &str) {
        let world = &mut *self.world.borrow_mut();
        let root = world.tree.root();
        let what = Renaming::Rename(root.clone(), to.as_bytes().to_vec(), 0);
        let renamed = world.rename(&root, from.as_bytes(), &what);
        renamed.expect("a name for another");
    }

    /// What a file holds now.
    #[must_use]
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let node = self.world.borrow().place(path)?.node?;
        node.borrow_mut().content().cloned()
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
        let prototype = self.world.borrow().prototype().as_raw_fd();
        let pipe = fs::read_link(format!("/proc/self/fd/{prototype}")).expect("/proc");
        descriptors(&pipe.to_string_lossy()) - 1
    }
}
