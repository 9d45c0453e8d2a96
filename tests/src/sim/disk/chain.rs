//! Linked entries: the fake kernel begins and ends a chain in one go, whatever it delays besides.

use std::collections::VecDeque;

use ambidex::disk::kernel::{Call, Entry, Link};

use super::World;

impl World {
    /// Answers the entries of `taken` that belong to a chain, and marks them so. A chain ends where the enter does:
    /// whoever was linked to what is not taken yet is parted from it.
    pub(super) fn chains(&mut self, taken: Vec<Entry>) -> Vec<(Entry, bool)> {
        let (mut inside, mut broken) = (false, false);
        let mut all = VecDeque::from(taken);
        let mut marked = Vec::with_capacity(all.len());
        while let Some(entry) = all.pop_front() {
            let linked = entry.link != Link::None;
            let member = inside || linked;
            if member {
                let result = if broken {
                    self.check(&entry);
                    -libc::ECANCELED
                } else {
                    self.answer(&entry)
                };
                broken |= entry.link == Link::Next && !is_whole(&entry.call, result);
                self.post(&entry, result);
            }
            if linked && all.is_empty() {
                self.parted.push_back(entry.user_data);
            }
            broken &= linked;
            inside = linked;
            marked.push((entry, member));
        }
        marked
    }
}

/// Whether the call has done all that it was asked.
fn is_whole(call: &Call, result: i32) -> bool {
    match call {
        Call::Read { length, .. } | Call::Write { length, .. } => {
            u32::try_from(result).is_ok_and(|moved| moved == *length)
        }
        _ => result >= 0,
    }
}
