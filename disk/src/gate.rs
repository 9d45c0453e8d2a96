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
    /// Sorted by ticket. `None`: woken already, its poll is on its way.
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

    /// Takes a place if one is free and nobody waits ahead; else queues, with `waker` to be woken
    /// when it is this one's turn. `ticket` starts out as `None` and belongs to one waiter.
    pub fn take(
        &mut self,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        wake: &mut Vec<Waker>,
    ) -> bool {
        if self.is_next(*ticket) && self.free > 0 {
            self.free -= 1;
            if ticket.take().is_some() {
                self.queue.pop_front();
            }
            self.wake_next(wake);
            return true;
        }
        let mine = *ticket.get_or_insert_with(|| {
            let ticket = Ticket(self.next);
            self.next += 1;
            self.queue.push_back((ticket, None));
            ticket
        });
        if let Some(entry) = self.find(mine).map(|index| &mut self.queue[index]) {
            match &mut entry.1 {
                Some(known) => known.clone_from(waker),
                empty => *empty = Some(waker.clone()),
            }
        }
        false
    }

    /// Takes a place only if one is free and nobody waits.
    pub fn try_take(&mut self) -> bool {
        let taken = self.free > 0 && self.queue.is_empty();
        self.free -= usize::from(taken);
        taken
    }

    /// Gives a place back; the waker of whoever is next goes to `wake`.
    pub fn give_back(&mut self, wake: &mut Vec<Waker>) {
        self.free += 1;
        self.wake_next(wake);
    }

    /// A waiter gives up. If it was next and a place is free, its successor goes to `wake`.
    pub fn leave(&mut self, ticket: Ticket, wake: &mut Vec<Waker>) {
        if let Some(index) = self.find(ticket) {
            self.queue.remove(index);
            self.wake_next(wake);
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
    pub fn wake_all(&mut self, wake: &mut Vec<Waker>) {
        wake.extend(self.queue.iter_mut().filter_map(|entry| entry.1.take()));
    }

    fn is_next(&self, ticket: Option<Ticket>) -> bool {
        match self.queue.front() {
            None => true,
            Some(front) => ticket == Some(front.0),
        }
    }

    fn find(&self, ticket: Ticket) -> Option<usize> {
        self.queue
            .binary_search_by_key(&ticket, |entry| entry.0)
            .ok()
    }

    fn wake_next(&mut self, wake: &mut Vec<Waker>) {
        if self.free > 0
            && let Some((_, waker)) = self.queue.front_mut()
        {
            wake.extend(waker.take());
        }
    }
}
