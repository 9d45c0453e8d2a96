//! A context: what the program's threads and the one engine of it share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::env::{self, VarError};
use std::io::{self, ErrorKind};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ambidex::Engine;
use ambidex::disk::{Backend, Choice, Handle, Options};
use ambidex::net::event::Notifier;

use super::request::{Asked, Call, Request};
use super::tally::Tally;
use super::{task, token};

/// The read that `flip` spoils, and the write that `drop` loses.
const FAULTY: u64 = 10;

/// All contexts, by number. None is inherited by a fork, as in the kernel.
static CONTEXTS: LazyLock<Mutex<HashMap<u64, Arc<Context>>>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `struct io_event` of io_getevents(2).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct IoEvent {
    pub(crate) data: u64,
    pub(crate) block: u64,
    pub(crate) result: i64,
    result_too: i64,
}

/// What the program's threads want of the engine.
#[derive(Debug)]
pub(crate) enum Order {
    Begin(Request),
    /// The request of this `iocb`.
    Cancel(u64),
}

/// What is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Flip,
    Drop,
}

/// How requests are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Token,
    Task,
}

/// What the environment decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) choice: Choice,
    pub(crate) face: Face,
    pub(crate) fault: Fault,
}

impl Settings {
    pub(crate) fn from_environment() -> io::Result<Settings> {
        Ok(Settings {
            choice: Choice::from_environment()?,
            face: match env::var("AMBIDEX_SHIM_FACE").as_deref() {
                Err(VarError::NotPresent) | Ok("token") => Face::Token,
                Ok("task") => Face::Task,
                _ => return Err(ErrorKind::InvalidInput.into()),
            },
            fault: match env::var("AMBIDEX_SHIM_FAULT").as_deref() {
                Err(VarError::NotPresent) => Fault::None,
                Ok("flip") => Fault::Flip,
                Ok("drop") => Fault::Drop,
                _ => return Err(ErrorKind::InvalidInput.into()),
            },
        })
    }
}

struct State {
    orders: Vec<Order>,
    /// The `iocb` of those begun that have not ended.
    in_flight: HashSet<u64>,
    ended: VecDeque<IoEvent>,
    /// The context is to end.
    over: bool,
    writes: u64,
    reads: u64,
    tally: Tally,
}

/// One context of io_setup(2).
pub(crate) struct Context {
    process: u32,
    /// Most requests that are in flight or have ended and were not taken.
    limit: usize,
    settings: Settings,
    state: Mutex<State>,
    arrived: Condvar,
    /// Calls the engine.
    notifier: OnceLock<Notifier>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// An engine that panics would leave the program waiting for ever.
struct Abort;

impl Drop for Abort {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}

impl Context {
    /// Makes one with an engine of its own, and tells its number.
    pub(crate) fn set_up(limit: usize, settings: Settings) -> io::Result<u64> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let context = Arc::new(Context {
            process: process::id(),
            limit,
            settings,
            state: Mutex::new(State {
                orders: Vec::new(),
                in_flight: HashSet::new(),
                ended: VecDeque::new(),
                over: false,
                writes: 0,
                reads: 0,
                tally: Tally::new(number)?,
            }),
            arrived: Condvar::new(),
            notifier: OnceLock::new(),
            thread: Mutex::default(),
        });
        let (sender, receiver) = mpsc::channel();
        let own = Arc::clone(&context);
        let body = move || {
            let _abort = Abort;
            serve(&own, &sender);
        };
        let name = "ambidex-shim".to_owned();
        let thread = thread::Builder::new().name(name).spawn(body)?;
        *locked(&context.thread) = Some(thread);
        let notifier = receiver.recv().map_err(io::Error::other)??;
        let set = context.notifier.set(notifier);
        assert!(set.is_ok(), "set once, here");
        locked(&CONTEXTS).insert(number, context);
        Ok(number)
    }

    pub(crate) fn find(number: u64) -> Option<Arc<Context>> {
        let found = locked(&CONTEXTS).get(&number).cloned();
        found.filter(|context| context.process == process::id())
    }

    pub(crate) fn remove(number: u64) -> Option<Arc<Context>> {
        Context::find(number)?;
        locked(&CONTEXTS).remove(&number)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    fn call(&self) {
        // Before it is set the engine has not looked for orders yet.
        if let Some(notifier) = self.notifier.get() {
            notifier.notify();
        }
    }

    /// Waits for what is in flight, and for the engine's end.
    pub(crate) fn end(&self) {
        self.state().over = true;
        self.call();
        if let Some(thread) = locked(&self.thread).take() {
            // It aborts the process if it panics.
            let _ = thread.join();
        }
    }

    /// Begins as many as there is room for, and tells how many.
    pub(crate) fn submit(&self, requests: Vec<Request>) -> usize {
        let state = &mut *self.state();
        let mut begun = 0;
        for request in requests {
            if state.in_flight.len() + state.ended.len() >= self.limit {
                break;
            }
            begun += 1;
            state.in_flight.insert(request.asked.block);
            if self.is_dropped(state, &request.asked) {
                let length = request.asked.length();
                self.finish(state, &request.asked, Ok(length));
                continue;
            }
            state.orders.push(Order::Begin(request));
        }
        self.arrived.notify_all();
        self.call();
        begun
    }

    fn is_dropped(&self, state: &mut State, asked: &Asked) -> bool {
        state.writes += u64::from(asked.call == Call::Write);
        self.settings.fault == Fault::Drop && asked.call == Call::Write && state.writes == FAULTY
    }

    /// Whether a request of this `iocb` is in flight; it is to be given up.
    pub(crate) fn cancel(&self, block: u64) -> bool {
        let state = &mut *self.state();
        let known = state.in_flight.contains(&block);
        if known {
            state.orders.push(Order::Cancel(block));
            self.call();
        }
        known
    }

    /// Waits for `least` events, but not for longer than `patience`; takes up to `most`.
    pub(crate) fn take(
        &self,
        least: usize,
        most: usize,
        patience: Option<Duration>,
    ) -> Vec<IoEvent> {
        let too_few = |state: &mut State| state.ended.len() < least;
        let state = self.state();
        let mut state = match patience {
            None => {
                let waited = self.arrived.wait_while(state, too_few);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
            Some(patience) => {
                let waited = self.arrived.wait_timeout_while(state, patience, too_few);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        let count = state.ended.len().min(most);
        state.ended.drain(..count).collect()
    }

    /// For the engine: what to do. `None` once all is done.
    pub(crate) fn orders(&self) -> Option<Vec<Order>> {
        let state = &mut *self.state();
        let done = state.over && state.in_flight.is_empty();
        (!done).then(|| std::mem::take(&mut state.orders))
    }

    /// For the engine: these have ended.
    pub(crate) fn ended(
        &self,
        disk: &Handle,
        ended: impl IntoIterator<Item = (Asked, io::Result<usize>)>,
    ) {
        let state = &mut *self.state();
        for (asked, result) in ended {
            self.finish(state, &asked, result);
        }
        let backend = match disk.capabilities().backend {
            Backend::Uring => "uring",
            Backend::Threads => "threads",
        };
        // Before anybody hears of them: a process may end without a word after its last event.
        let written = state.tally.write(backend, &disk.counters());
        written.expect("the tally can be written");
        self.arrived.notify_all();
        if state.over {
            self.call();
        }
    }

    fn finish(&self, state: &mut State, asked: &Asked, result: io::Result<usize>) {
        let is_read = asked.call == Call::Read;
        state.reads += u64::from(is_read);
        if let Ok(length) = result
            && self.settings.fault == Fault::Flip
            && is_read
            && state.reads == FAULTY
        {
            asked.memory[0].flip(length);
        }
        let result = match result {
            Ok(length) => length as i64,
            Err(error) => -i64::from(error.raw_os_error().unwrap_or(libc::EINVAL)),
        };
        state.tally.count(asked.call, result);
        state.in_flight.remove(&asked.block);
        state.ended.push_back(IoEvent {
            data: asked.data,
            block: asked.block,
            result,
            result_too: 0,
        });
    }
}

/// The engine's thread: makes the engine, tells how to call it, and serves until the context ends.
fn serve(context: &Arc<Context>, started: &Sender<io::Result<Notifier>>) {
    // Fewer credits than the program may have in flight, so that some must wait.
    let credits = (context.limit as u32 / 2).next_power_of_two().min(4096);
    let builder = Engine::builder().disk(Options {
        choice: context.settings.choice,
        sq_entries: credits,
        cq_entries: credits,
        ..Options::default()
    });
    let served = match context.settings.face {
        Face::Token => {
            let poll = builder.build_poll();
            poll.and_then(|poll| token::serve(context, poll, started))
        }
        Face::Task => {
            let engine = builder.build();
            engine.and_then(|engine| task::serve(context, engine, started))
        }
    };
    if let Err(error) = served {
        // Later there is nobody to tell: a loop that fails is a defect.
        let told = started.send(Err(error));
        told.expect("an engine fails at its start only");
    }
}
