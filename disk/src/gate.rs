//! A counting gate with a first-in, first-out queue. Pure: no system calls, no locks.
//!
//! Credits of the ring, places of a slow device and buffers of a pool are all handed out by this
//! one rule: nobody overtakes, whoever gives up leaves no hole, and a place that comes back wakes
//! exactly the one who is next.

use std::collections::VecDeque;
use std::task::Waker;

/// A place in the queue of a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// See the [module](self).
///
/// ```
/// use ambidex_disk::gate::Gate;
/// use std::task::Waker;
///
/// let mut gate = Gate::new(1);
/// let (mut first, mut second, mut wake) = (None, None, Vec::new());
/// assert!(gate.take(&mut first, Waker::noop(), &mut wake));
/// assert!(!gate.take(&mut second, Waker::noop(), &mut wake));
/// gate.give_back(&mut wake);
/// assert_eq!(wake.len(), 1);
/// assert!(gate.take(&mut second, Waker::noop(), &mut wake));
/// ```
#[derive(Debug)]
pub struct Gate {
    free: usize,
    next: u64,
    /// Sorted by ticket. `None`: woken, its poll is on its way.
    queue: VecDeque<(Ticket, Option<Waker>)>,
}

impl Gate {
    /// A gate with `places` free places.
    #[must_use]
    pub fn new(places: usize) -> Gate {
        Gate {
            free: places,
            next: 0,
            queue: VecDeque::new(),
        }
    }

    /// Takes a place if there are more free than wait ahead; else queues, with `waker` to be woken
    /// when it is this one's turn. `ticket` starts out as `None` and belongs to one waiter.
    ///
    /// Who is woken and does not come because it was forgotten (`mem::forget`) costs one place.
    pub fn take(
        &mut self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        wake: &mut impl Extend<Waker>,
    ) -> bool {
        let known = ticket.and_then(|ticket| self.find(ticket));
        let ahead = known.unwrap_or(self.queue.len());
        if ahead < self.free {
            self.free -= 1;
            ticket.take();
            if let Some(index) = known {
                self.queue.remove(index);
            }
            self.offer(wake);
            return true;
        }
        if known.is_none() {
            *ticket = Some(Ticket(self.next));
            self.queue.push_back((Ticket(self.next), None));
            self.next += 1;
        }
        match &mut self.queue[ahead].1 {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
        false
    }

    /// Takes a place only if there are more free than wait.
    pub fn try_take(&mut self) -> bool {
        let taken = self.queue.len() < self.free;
        self.free -= usize::from(taken);
        taken
    }

    /// Gives a place back; the waker of whoever is next goes to `wake`.
    pub fn give_back(&mut self, wake: &mut impl Extend<Waker>) {
        self.free += 1;
        self.offer(wake);
    }

    /// A waiter gives up. If it was next and a place is free, its successor goes to `wake`.
    pub fn leave(&mut self, ticket: Ticket, wake: &mut impl Extend<Waker>) {
        if let Some(index) = self.find(ticket) {
            self.queue.remove(index);
            self.offer(wake);
        }
    }

    /// How many places are free.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Wakes all waiters: the gate is about to close for good.
    pub fn wake_all(&mut self, wake: &mut impl Extend<Waker>) {
        wake.extend(self.queue.iter_mut().filter_map(|waiter| waiter.1.take()));
    }

    fn find(&self, ticket: Ticket) -> Option<usize> {
        self.queue
            .binary_search_by_key(&ticket, |waiter| waiter.0)
            .ok()
    }

    /// Wakes as many as there are places, first come first served.
    fn offer(&mut self, wake: &mut impl Extend<Waker>) {
        // The usual case, and extending by nothing is not free.
        if self.queue.is_empty() {
            return;
        }
        let next = self.queue.iter_mut().take(self.free);
        wake.extend(next.filter_map(|waiter| waiter.1.take()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for a place; whether it was had, and how many were woken.
    fn take(gate: &mut Gate, ticket: &mut Option<Ticket>) -> (bool, usize) {
        let mut wake = Vec::new();
        let taken = gate.take(ticket, Waker::noop(), &mut wake);
        (taken, wake.len())
    }

    fn woken(change: impl FnOnce(&mut Vec<Waker>)) -> usize {
        let mut wake = Vec::new();
        change(&mut wake);
        wake.len()
    }

    #[test]
    fn places_are_had_in_the_order_of_asking() {
        let mut gate = Gate::new(2);
        let (mut first, mut second, mut third) = (None, None, None);
        assert!(gate.try_take() && gate.try_take() && !gate.try_take());
        for ticket in [&mut first, &mut second, &mut third] {
            assert_eq!(take(&mut gate, ticket), (false, 0));
        }
        assert_eq!(take(&mut gate, &mut first), (false, 0));
        assert_eq!((gate.free(), gate.waiting()), (0, 3));
        assert_eq!(woken(|wake| gate.give_back(wake)), 1);
        // Those behind the one who was woken do not overtake it, nor does somebody new.
        assert!(!gate.try_take());
        assert_eq!(take(&mut gate, &mut second), (false, 0));
        assert_eq!(take(&mut gate, &mut first), (true, 0));
        assert_eq!((gate.free(), gate.waiting(), first), (0, 2, None));
    }

    #[test]
    fn who_has_two_places_before_it_need_not_be_woken_for_the_second() {
        let mut gate = Gate::new(0);
        let (mut first, mut second) = (None, None);
        take(&mut gate, &mut first);
        take(&mut gate, &mut second);
        assert_eq!(woken(|wake| gate.give_back(wake)), 1);
        assert_eq!(woken(|wake| gate.give_back(wake)), 1);
        assert_eq!(take(&mut gate, &mut second), (true, 0));
        assert_eq!((gate.free(), gate.waiting()), (1, 1));
        assert_eq!(take(&mut gate, &mut first), (true, 0));
        assert_eq!((gate.free(), gate.waiting()), (0, 0));
    }

    #[test]
    fn who_leaves_hands_its_turn_on() {
        let mut gate = Gate::new(0);
        let (mut first, mut second) = (None, None);
        take(&mut gate, &mut first);
        take(&mut gate, &mut second);
        assert_eq!(woken(|wake| gate.give_back(wake)), 1);
        let first = first.expect("it waits");
        assert_eq!(woken(|wake| gate.leave(first, wake)), 1);
        // It has left: it cannot do so again.
        assert_eq!(woken(|wake| gate.leave(first, wake)), 0);
        assert_eq!(gate.waiting(), 1);
        assert_eq!(take(&mut gate, &mut second), (true, 0));
    }

    #[test]
    fn all_are_woken_once() {
        let mut gate = Gate::new(0);
        let (mut first, mut second) = (None, None);
        take(&mut gate, &mut first);
        take(&mut gate, &mut second);
        assert_eq!(woken(|wake| gate.wake_all(wake)), 2);
        assert_eq!(woken(|wake| gate.wake_all(wake)), 0);
        // They still wait, and who asks again is woken again.
        assert_eq!(take(&mut gate, &mut second), (false, 0));
        assert_eq!(woken(|wake| gate.wake_all(wake)), 1);
    }
}
