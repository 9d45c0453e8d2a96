//! The operations table: who owns what while the kernel works. Pure: no system calls.
//!
//! ```text
//!            launch            complete            poll
//!  Queued ----------> InFlight ---------> Done ----------> Free
//!    |                   |                  |
//!    | abandon           | abandon          | abandon
//!    v                   v   complete       v
//!   Free             Abandoned ---------> Free
//! ```
//!
//! Only Free and Done release the payload: while an operation is InFlight or Abandoned the kernel
//! may still write to it. A credit is taken by [`Operations::admit`] and comes back when the
//! kernel is done, not when the future looks; so with as many credits as the completion queue has
//! entries, that queue cannot overflow.

use std::task::{Poll, Waker};

use crate::gate::{Gate, Ticket};

/// Generations wrap here: `user_data` is tag(8) | generation(24) | index(32).
const GENERATION_MASK: u32 = (1 << 24) - 1;
const TAG_OPERATION: u64 = 0xD1;

/// Slot and generation of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The 64 bits that travel through the kernel.
    #[must_use]
    pub fn user_data(self) -> u64 {
        (TAG_OPERATION << 56) | (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    fn from_user_data(user_data: u64) -> Option<Key> {
        (user_data >> 56 == TAG_OPERATION).then_some(Key {
            index: user_data as u32,
            generation: (user_data >> 32) as u32 & GENERATION_MASK,
        })
    }
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Queued,
    InFlight,
    Abandoned,
    Done(i32),
}

#[derive(Debug)]
struct Slot<P> {
    generation: u32,
    state: State,
    payload: Option<P>,
    waker: Option<Waker>,
}

/// What a completion meant.
#[derive(Debug)]
pub enum Outcome<'a, P> {
    /// The result waits in the slot, with the payload, for its future, which goes by this waker if it
    /// has been polled.
    Delivered(Key, &'a P, Option<Waker>),
    /// The future is gone: the payload and the result are the caller's to clean up.
    Orphan(P, i32),
    /// No operation answers to this `user_data`: counted, never delivered to a stranger.
    Stale,
}

/// See the [module](self). `P` is the payload: all that the kernel may touch.
///
/// Bounds: at most `credits` operations Queued, InFlight or Abandoned; one Done slot a future.
///
/// ```
/// use ambidex_disk::operations::{Operations, Outcome};
/// use std::task::{Poll, Waker};
///
/// let mut table = Operations::new(1);
/// let key = table.try_admit("buffer").unwrap();
/// assert_eq!(table.try_admit("second"), Err("second"));
/// assert!(table.launch(key).is_some());
/// let mut wake = Vec::new();
/// assert!(matches!(table.complete(key.user_data(), 7, &mut wake), Outcome::Delivered(_, &"buffer", None)));
/// assert_eq!(table.poll(key, Waker::noop()), Poll::Ready(("buffer", 7)));
/// ```
#[derive(Debug)]
pub struct Operations<P> {
    slots: Vec<Slot<P>>,
    free: Vec<u32>,
    credits: Gate,
    credits_max: usize,
}

impl<P> Operations<P> {
    /// An empty table with `credits` credits.
    #[must_use]
    pub fn new(credits: usize) -> Operations<P> {
        Operations {
            slots: Vec::with_capacity(credits),
            free: Vec::with_capacity(credits),
            credits: Gate::new(credits),
            credits_max: credits,
        }
    }

    /// Takes a credit and a slot for `payload`, or gives it back and queues for a credit.
    ///
    /// # Errors
    /// The payload, if no credit is free or others wait ahead; `waker` is woken in turn.
    pub fn admit(
        &mut self,
        payload: P,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        wake: &mut impl Extend<Waker>,
    ) -> Result<Key, P> {
        if self.credits.take(ticket, waker, wake) {
            Ok(self.occupy(payload))
        } else {
            Err(payload)
        }
    }

    /// As [`Operations::admit`], without waiting.
    ///
    /// # Errors
    /// The payload, if no credit is free or others wait.
    pub fn try_admit(&mut self, payload: P) -> Result<Key, P> {
        if self.credits.try_take() {
            Ok(self.occupy(payload))
        } else {
            Err(payload)
        }
    }

    /// A future that waits for a credit gives up.
    pub fn leave(&mut self, ticket: Ticket, wake: &mut impl Extend<Waker>) {
        self.credits.leave(ticket, wake);
    }

    fn occupy(&mut self, payload: P) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                state: State::Free,
                payload: None,
                waker: None,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        assert_eq!(
            slot.state,
            State::Free,
            "a free slot is on the free list once"
        );
        slot.state = State::Queued;
        slot.payload = Some(payload);
        Key {
            index,
            generation: slot.generation,
        }
    }

    /// The operation goes to the kernel: Queued to InFlight. `None` if it was abandoned before.
    pub fn launch(&mut self, key: Key) -> Option<&mut P> {
        let slot = self.slot(key)?;
        if slot.state != State::Queued {
            return None;
        }
        slot.state = State::InFlight;
        slot.payload.as_mut()
    }

    /// The kernel's answer asks for another try: InFlight back to Queued, credit kept. False, and nothing done, if the operation is not InFlight.
    pub fn requeue(&mut self, key: Key) -> bool {
        let Some(slot) = self.slot(key).filter(|slot| slot.state == State::InFlight) else {
            return false;
        };
        slot.state = State::Queued;
        true
    }

    /// The kernel's answer for `user_data`. The credit is returned here.
    pub fn complete(
        &mut self,
        user_data: u64,
        result: i32,
        wake: &mut impl Extend<Waker>,
    ) -> Outcome<'_, P> {
        let Some(key) = Key::from_user_data(user_data) else {
            return Outcome::Stale;
        };
        let Some(slot) = self.slot(key) else {
            return Outcome::Stale;
        };
        match slot.state {
            State::InFlight => {
                slot.state = State::Done(result);
                let waker = slot.waker.take();
                self.credits.give_back(wake);
                let payload = self.slots[key.index as usize].payload.as_ref();
                let payload = payload.expect("an occupied slot has a payload");
                Outcome::Delivered(key, payload, waker)
            }
            State::Abandoned => {
                let payload = self.release(key);
                self.credits.give_back(wake);
                Outcome::Orphan(payload, result)
            }
            State::Free | State::Queued | State::Done(_) => Outcome::Stale,
        }
    }

    /// The future asks: ready with payload and result if Done, which frees the slot.
    ///
    /// # Panics
    /// If `key` was polled to its end or abandoned before: a future polls only its own.
    // Its caller wants a part of the payload: out of line all of it was copied.
    #[inline(always)]
    pub fn poll(&mut self, key: Key, waker: &Waker) -> Poll<(P, i32)> {
        let slot = self.slot(key).expect("a future polls its own operation");
        if let State::Done(result) = slot.state {
            return Poll::Ready((self.release(key), result));
        }
        match &mut slot.waker {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// The future is dropped. What comes back is the caller's to clean up: the payload, with the
    /// result if there was one. Nothing comes back while the kernel holds the payload.
    pub fn abandon(&mut self, key: Key, wake: &mut impl Extend<Waker>) -> Option<(P, Option<i32>)> {
        let slot = self.slot(key)?;
        match slot.state {
            State::Queued => {
                let payload = self.release(key);
                self.credits.give_back(wake);
                Some((payload, None))
            }
            State::InFlight => {
                slot.state = State::Abandoned;
                wake.extend(slot.waker.take());
                None
            }
            State::Done(result) => Some((self.release(key), Some(result))),
            State::Free | State::Abandoned => None,
        }
    }

    /// The payload behind a completion, while the kernel is known to be done with it.
    pub fn peek(&mut self, user_data: u64) -> Option<(Key, &mut P)> {
        let key = Key::from_user_data(user_data)?;
        let slot = self.slot(key)?;
        slot.payload.as_mut().map(|payload| (key, payload))
    }

    /// Whether the kernel has the operation and its future still waits; if so, the payload. What the
    /// kernel may write to must not be touched.
    pub fn in_kernel(&mut self, key: Key) -> Option<&mut P> {
        let slot = self.slot(key)?;
        (slot.state == State::InFlight).then_some(())?;
        slot.payload.as_mut()
    }

    /// The payload of an operation that has not been given to the kernel.
    #[must_use]
    pub fn queued(&self, key: Key) -> Option<&P> {
        let slot = self.slots.get(key.index as usize)?;
        let queued = slot.generation == key.generation && slot.state == State::Queued;
        slot.payload.as_ref().filter(|_| queued)
    }

    /// Whether so many could be admitted one after the other, without waiting.
    #[must_use]
    pub fn has_credits(&self, count: usize) -> bool {
        self.credits.waiting() + count <= self.credits.free()
    }

    /// Whether the operation has not been given to the kernel, and is still wanted.
    #[must_use]
    pub fn is_queued(&self, key: Key) -> bool {
        self.queued(key).is_some()
    }

    /// Operations that hold a credit: Queued, InFlight or Abandoned.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.credits_max - self.credits.free()
    }

    /// Futures waiting for a credit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.credits.waiting()
    }

    /// Slots that are not Free: those in flight, and those Done whose future has not looked.
    #[must_use]
    pub fn occupied(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Wakes all who wait for a credit: no more will be given.
    pub fn wake_all(&mut self, wake: &mut impl Extend<Waker>) {
        self.credits.wake_all(wake);
    }

    fn slot(&mut self, key: Key) -> Option<&mut Slot<P>> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation && slot.state != State::Free).then_some(slot)
    }

    #[inline(always)]
    fn release(&mut self, key: Key) -> P {
        let slot = &mut self.slots[key.index as usize];
        slot.state = State::Free;
        slot.generation = (slot.generation + 1) & GENERATION_MASK;
        slot.waker = None;
        self.free.push(key.index);
        slot.payload.take().expect("an occupied slot has a payload")
    }
}
