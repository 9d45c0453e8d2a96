//! Signals, children, watches and user events that yield events of a poll.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use ambidex_net::Token;
use ambidex_net::event::{Child, Signals, UserEvent, Watch};
use slab::Slab;

use super::Event;

/// A source that [`Poll::add`](super::Poll::add) takes. Share one by `Rc` to go on using it, as to
/// add paths to a watch.
#[derive(Debug)]
#[non_exhaustive]
pub enum Origin {
    /// Signals: each is an [`Event::Signal`].
    Signals(Rc<Signals>),
    /// A child: its end is an [`Event::Exit`].
    Child(Rc<Child>),
    /// A watch: each change is an [`Event::Watch`].
    Watch(Rc<Watch>),
    /// A user event: each round of calls is an [`Event::User`].
    User(Rc<UserEvent>),
}

macro_rules! origins {
    ($($variant:ident: $type:ty),*) => {$(
        impl From<$type> for Origin {
            fn from(source: $type) -> Origin {
                Origin::$variant(Rc::new(source))
            }
        }
        impl From<Rc<$type>> for Origin {
            fn from(source: Rc<$type>) -> Origin {
                Origin::$variant(source)
            }
        }
    )*};
}
origins!(Signals: Signals, Child: Child, Watch: Watch, User: UserEvent);

impl Origin {
    fn poll(&self, token: Token, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        match self {
            Origin::Signals(signals) => {
                let polled = signals.poll_recv(cx);
                polled.map_ok(|signal| Event::Signal { token, signal })
            }
            Origin::Child(child) => {
                let polled = child.poll_wait(cx);
                polled.map_ok(|status| Event::Exit { token, status })
            }
            Origin::Watch(watch) => {
                let polled = watch.poll_next(cx);
                polled.map_ok(|change| Event::Watch { token, change })
            }
            Origin::User(user) => {
                let polled = user.poll_notified(cx);
                polled.map_ok(|count| Event::User { token, count })
            }
        }
    }
}

/// Names a source of a [`Poll`](super::Poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OriginId {
    key: usize,
    serial: u64,
}

/// Which sources are to be looked at. Filled by the reactor, on the loop's own thread.
#[derive(Debug, Default)]
struct Woken {
    keys: Mutex<VecDeque<usize>>,
}

impl Woken {
    fn keys(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The waker of one source.
#[derive(Debug)]
struct Call {
    key: usize,
    woken: Arc<Woken>,
    /// It is on the list already.
    listed: AtomicBool,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        if !self.listed.swap(true, Ordering::AcqRel) {
            self.woken.keys().push_back(self.key);
        }
    }
}

#[derive(Debug)]
struct Entry {
    serial: u64,
    token: Token,
    origin: Origin,
    call: Arc<Call>,
}

/// Bound: one entry a source; each is on the list at most once.
#[derive(Debug, Default)]
pub(super) struct Origins {
    entries: Slab<Entry>,
    woken: Arc<Woken>,
    next: u64,
}

impl Origins {
    pub(super) fn add(&mut self, token: Token, origin: Origin) -> OriginId {
        let serial = self.next;
        self.next += 1;
        let entry = self.entries.vacant_entry();
        let key = entry.key();
        let call = Arc::new(Call {
            key,
            woken: Arc::clone(&self.woken),
            listed: AtomicBool::new(false),
        });
        // To be looked at once, so that it knows whom to wake.
        Arc::clone(&call).wake();
        entry.insert(Entry {
            serial,
            token,
            origin,
            call,
        });
        OriginId { key, serial }
    }

    pub(super) fn remove(&mut self, id: OriginId) -> Option<Origin> {
        let known = self.entries.get(id.key);
        known.filter(|entry| entry.serial == id.serial)?;
        self.woken.keys().retain(|key| *key != id.key);
        Some(self.entries.remove(id.key).origin)
    }

    /// The next event of a source that was woken; each has its turn before one has a second.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let key = self.woken.keys().pop_front()?;
            let Some(entry) = self.entries.get(key) else {
                continue;
            };
            entry.call.listed.store(false, Ordering::Release);
            let waker = Waker::from(Arc::clone(&entry.call));
            let token = entry.token;
            match entry.origin.poll(token, &mut Context::from_waker(&waker)) {
                Poll::Pending => {}
                Poll::Ready(Ok(event)) => {
                    if matches!(event, Event::Exit { .. }) {
                        self.entries.remove(key);
                    } else {
                        // There may be more, and it is woken only after it was found empty.
                        waker.wake();
                    }
                    return Some(event);
                }
                Poll::Ready(Err(error)) => {
                    self.entries.remove(key);
                    return Some(Event::Failed { token, error });
                }
            }
        }
    }
}
