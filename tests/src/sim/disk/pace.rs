//! A fake kernel in a simulated world: what is cached is answered by the enter that takes it, the rest when the world's
//! devices are told to.

use std::rc::Rc;

use ambidex::disk::kernel::Call;

use super::perform::bytes;
use super::tree::{Node, Rules};
use super::{Control, World};
use crate::sim::rng::chance;

/// How often a device is early, in percent.
const EARLY: u32 = 20;

impl World {
    /// Answers the entry that was taken last, unless it is a device's to answer.
    pub(super) fn finish_at_once(&mut self) {
        let Some(last) = self.working.last() else {
            return;
        };
        let at_once =
            self.is_prompt(&last.call) || !self.hang && !chance(&mut self.rng, self.faults.delay);
        if at_once {
            self.finish(self.working.len() - 1);
        }
    }

    /// A device finishes something just before the doorbell is armed: it does not ring.
    pub(super) fn finish_early(&mut self) {
        if self.paced && !self.hang && chance(&mut self.rng, EARLY) {
            self.finish_one();
        }
    }

    /// Whether a kernel answers it without a device.
    fn is_prompt(&self, call: &Call) -> bool {
        match *call {
            Call::Read { fd, flags, .. } => {
                flags & libc::RWF_NOWAIT != 0 || !self.is_cold(&self.opened(fd).node)
            }
            Call::Status { fd, .. } => !self.is_cold(&self.opened(fd).node),
            Call::Open { dir, path, .. } => {
                let rules = Rules {
                    follow: true,
                    resolve: 0,
                };
                let spot = self.tree.walk(&self.trail(dir), &bytes(path), rules);
                let node = spot.ok().and_then(|spot| spot.node);
                node.is_none_or(|node| !self.is_cold(&node))
            }
            Call::Close { .. } => true,
            _ => false,
        }
    }

    fn is_cold(&self, node: &Node) -> bool {
        self.cold.iter().any(|cold| Rc::ptr_eq(cold, node))
    }

    /// Whether it is a read that must not wait, of what is not cached.
    pub(super) fn is_uncached(&self, call: &Call) -> bool {
        match *call {
            Call::Read { fd, flags, .. } => {
                flags & libc::RWF_NOWAIT != 0 && self.is_cold(&self.opened(fd).node)
            }
            _ => false,
        }
    }

    /// Rings the doorbell.
    pub(super) fn ring(&self) {
        // A full counter has rung all the same.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl Control {
    /// Devices finish what they work on by [`Control::finish_one`] only, and ring then; what needs no device is answered
    /// at once.
    pub fn pace(&self) {
        self.world.borrow_mut().paced = true;
    }

    /// The file at `path` is not in the page cache, and never gets there.
    ///
    /// # Panics
    /// If there is none.
    pub fn cold(&self, path: &str) {
        let mut world = self.world.borrow_mut();
        let node = world.place(path).and_then(|spot| spot.node);
        world.cold.push(node.expect("a file"));
    }

    /// The time of changes from now on, in nanoseconds since 1970.
    pub fn set_clock(&self, time: u64) {
        self.world.borrow_mut().tree.set_clock(time);
    }

    /// Puts `content` in place of what a file holds; whoever has it open reads that.
    ///
    /// # Panics
    /// If there is none.
    pub fn rewrite(&self, path: &str, content: Vec<u8>) {
        let world = &mut *self.world.borrow_mut();
        let node = world.place(path).and_then(|spot| spot.node);
        let node = node.expect("a file");
        let mut node = node.borrow_mut();
        *node.content().expect("a file") = content;
        node.modified = world.tree.tick();
    }

    /// As [`Control::rewrite`], within the tick of the clock in which the file was changed last.
    ///
    /// # Panics
    /// If there is none.
    pub fn rewrite_within_the_tick(&self, path: &str, content: Vec<u8>) {
        let node = self.world.borrow().place(path).and_then(|spot| spot.node);
        let node = node.expect("a file");
        *node.borrow_mut().content().expect("a file") = content;
    }

    /// The inode of a file, and its time of change in nanoseconds since 1970.
    #[must_use]
    pub fn stamp(&self, path: &str) -> Option<(u64, u64)> {
        let node = self.world.borrow().place(path)?.node?;
        let node = node.borrow();
        Some((node.number, node.modified))
    }

    /// Rings the doorbell, as a device does that has finished something.
    pub fn ring(&self) {
        self.world.borrow().ring();
    }

    /// How many entries devices work on.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.world.borrow().working.len()
    }

    /// How many descriptors were handed out and not given back to be closed.
    #[must_use]
    pub fn held(&self) -> usize {
        self.world.borrow().held
    }
}
