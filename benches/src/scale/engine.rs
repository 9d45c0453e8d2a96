//! The same on this project's engine: by token, and with a task for each pair.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll as TaskPoll, Waker};

use ambidex::disk::{self, Choice};
use ambidex::net::{Interest, Mode, Token, UnixStream};
use ambidex::poll::{Event, Events, Poll};
use ambidex::{Engine, Handle};

use super::pairs::Pairs;
use super::watch::Watch;
use super::{Options, Run};
use crate::baselines::EVENTS_MAX;
use crate::interrupt::Interrupt;
use crate::rusage::Rusage;

/// There are no files here, so no ring is needed.
fn no_files() -> disk::Options {
    disk::Options {
        choice: Choice::Threads,
        ..disk::Options::default()
    }
}

/// The token face, level-triggered.
pub(super) struct Tokens {
    poll: Poll,
    events: Events,
}

impl Tokens {
    pub(super) fn new(pairs: &Pairs) -> io::Result<Tokens> {
        let poll = Engine::builder().disk(no_files()).build_poll()?;
        for (token, fd) in (0..).map(Token).zip(pairs.watched()) {
            poll.registry()
                .register(fd, token, Interest::READABLE, Mode::Level)?;
        }
        Ok(Tokens {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
        })
    }
}

impl Watch for Tokens {
    fn wait(&mut self, ready: &mut Vec<usize>) -> io::Result<usize> {
        self.poll.poll(&mut self.events, None)?;
        for event in self.events.drain() {
            if let Event::Ready { token, .. } = event {
                ready.push(token.0 as usize);
            }
        }
        Ok(ready.len())
    }
}

/// What the tasks of one engine share.
struct Shared {
    pairs: Rc<Pairs>,
    /// Bytes that are still to be written.
    left: Cell<usize>,
    /// Bytes that are still to be read.
    unread: Cell<usize>,
    /// Ends a run before that.
    interrupt: Interrupt,
    /// Who waits for the last of them.
    waiter: RefCell<Option<Waker>>,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.unread.get() == 0 || self.interrupt.is_set()
    }
}

/// The task face: each pair has a task that reads, and writes to the next pair.
pub(super) fn runs(
    pairs: &Rc<Pairs>,
    options: &Options,
    interrupt: &Interrupt,
) -> io::Result<Vec<Run>> {
    let mut engine = Engine::builder().disk(no_files()).build()?;
    engine.run(async |io| {
        let shared = Rc::new(Shared {
            pairs: Rc::clone(pairs),
            left: Cell::new(0),
            unread: Cell::new(0),
            interrupt: interrupt.clone(),
            waiter: RefCell::default(),
        });
        for index in 0..pairs.len() {
            let socket = pairs.fd(index).try_clone_to_owned()?;
            let socket = UnixStream::from_owned(io.net(), socket)?;
            io.spawn(read_on(socket, Rc::clone(&shared), index))
                .detach();
        }
        let mut runs = Vec::new();
        while runs.len() <= options.runs && !interrupt.is_set() {
            runs.extend(one(&io, &shared, options).await?);
        }
        Ok(runs)
    })?
}

/// `None` if it was interrupted.
async fn one(io: &Handle, shared: &Shared, options: &Options) -> io::Result<Option<Run>> {
    let all = options.active + options.writes;
    shared.left.set(options.writes);
    shared.unread.set(all);
    shared.pairs.write_active(options.active)?;
    let (start, used, before) = (io.now(), Rusage::now(), io.metrics());
    poll_fn(|cx| {
        if shared.is_over() {
            return TaskPoll::Ready(());
        }
        shared.waiter.replace(Some(cx.waker().clone()));
        TaskPoll::Pending
    })
    .await;
    if shared.unread.get() > 0 {
        return Ok(None);
    }
    Ok(Some(Run {
        took: io.now() - start,
        cpu: Rusage::now().since(&used).cpu(),
        events: all as u64,
        waits: io.metrics().turns - before.turns,
        // What epoll has reported, which is all that the engine looks at.
        scanned: Some(io.metrics().events - before.events),
    }))
}

async fn read_on(socket: UnixStream, shared: Rc<Shared>, index: usize) -> io::Result<()> {
    let mut byte = [0];
    while socket.read(&mut byte).await? > 0 {
        let left = shared.left.get();
        if left > 0 {
            shared.left.set(left - 1);
            shared.pairs.write(shared.pairs.next(index))?;
        }
        shared.unread.set(shared.unread.get() - 1);
        if shared.is_over()
            && let Some(waiter) = shared.waiter.take()
        {
            waiter.wake();
        }
    }
    Ok(())
}
