//! Which entries of the submission queue are linked to the next. Pure: no system calls.

use std::collections::VecDeque;

/// The kernel ends a chain where a submission ends, and a submission may end anywhere (out of
/// memory): who linked two entries must know that the second ran on its own.
#[derive(Default)]
pub(super) struct Links {
    pushed: u64,
    taken: u64,
    /// Number and `user_data` of entries linked to their next, not taken yet.
    linked: VecDeque<(u64, u64)>,
    /// `user_data` of those that were parted from their next.
    parted: VecDeque<u64>,
}

impl Links {
    pub(super) fn push(&mut self, user_data: u64, linked: bool) {
        if linked {
            self.linked.push_back((self.pushed, user_data));
        }
        self.pushed += 1;
    }

    /// Whether any entry that is not taken is linked.
    pub(super) fn any(&self) -> bool {
        !self.linked.is_empty()
    }

    /// The kernel has taken `count` entries and will take no more in this submission.
    pub(super) fn take(&mut self, count: usize) {
        self.taken += count as u64;
        while let Some((number, user_data)) = self.linked.front().copied()
            && number < self.taken
        {
            self.linked.pop_front();
            if number + 1 == self.taken {
                self.parted.push_back(user_data);
            }
        }
    }

    pub(super) fn next_parted(&mut self) -> Option<u64> {
        self.parted.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_chain_that_a_submission_ends_within_is_parted() {
        for (taken, parted) in [
            (1, None),
            (2, Some(11)),
            (3, Some(12)),
            (4, None),
            (5, None),
        ] {
            let mut links = Links::default();
            for (user_data, linked) in [
                (10, false),
                (11, true),
                (12, true),
                (13, false),
                (14, false),
            ] {
                links.push(user_data, linked);
            }
            links.take(taken);
            assert_eq!(links.next_parted(), parted, "{taken} taken");
            links.take(5 - taken);
            assert_eq!(links.next_parted(), None, "the rest after {taken}");
        }
    }
}
