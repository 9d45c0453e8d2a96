//! One worker: accepts, spawns, stops.

use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Handle, JoinHandle};
use futures_lite::future;
use slab::Slab;

use crate::admission::{Admission, Descriptors, Entry, Full};
use crate::body::Buffers;
use crate::config::Config;
use crate::connection::READ_BYTES;
use crate::hosts::Hosts;
use crate::http::head::Status;
use crate::limits::Limits;
use crate::listen::Listener;
use crate::open_files::OpenFiles;
use crate::ready::ReadyAnswers;
use crate::server::Server;
use crate::shed::Rest;
use crate::site::Site;
use crate::stop::Stop;

/// Connections accepted in a row before others have a turn.
const ACCEPTS_PER_TURN: usize = 64;
/// While there is no room nobody may say so for this long: descriptors may also come back elsewhere
/// in the process, and connections become silent.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// An engine polls so many tasks in a turn, if they are runnable.
const TASKS_PER_TURN: usize = 256;
/// Between two looks for connections that rest too long, whatever the idle timeout is.
const SCAN_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Connections that are turned away with an answer, at a time; more are just closed.
const TURNED_AWAY_MAX: usize = 64;
/// Seconds after which who was turned away may try again.
pub(crate) const RETRY_SECONDS: u32 = 1;

/// A connection as the worker sees it.
struct Connection {
    /// `None` once it has been told to end.
    task: Option<JoinHandle<()>>,
    rest: Rest,
}

/// What all connections of one engine share.
pub(crate) struct Worker {
    pub(crate) io: Handle,
    pub(crate) hosts: Hosts,
    pub(crate) limits: Limits,
    pub(crate) stop: Stop,
    pub(crate) buffers: Buffers,
    /// What has just arrived on some connection.
    pub(crate) scratch: RefCell<Box<[u8]>>,
    /// Short answers since others had a turn.
    pub(crate) sends: Cell<usize>,
    /// The second it was made in, and the text.
    date: RefCell<(u64, String)>,
    admission: Admission,
    pub(crate) descriptors: Rc<Descriptors>,
    /// `None` if none are kept.
    pub(crate) open_files: Option<OpenFiles>,
    pub(crate) ready: ReadyAnswers,
    connections: RefCell<Slab<Connection>>,
    turned_away: Cell<usize>,
    /// Waits for `connections` to be empty.
    drained: Cell<Option<Waker>>,
    /// Waits for the first connection, or for the last to end.
    reaper: Cell<Option<Waker>>,
}

/// Answers HTTP/1.1 on `listener` from `site`, until `stop` is set: then it stops accepting, closes
/// idle connections, lets answers in flight finish within [`Limits::grace_period`], and returns.
///
/// # Errors
/// Those that end the listener; accept(2).
///
/// # Cancel safety
/// Dropping it stops accepting; connections go on.
pub async fn serve(
    io: &Handle,
    listener: TcpListener,
    site: Site,
    config: Config,
    stop: &Stop,
) -> io::Result<()> {
    let server = Server::new(site).config(config);
    server.serve(io, listener, stop).await
}

/// Answers on all of `listeners` from `hosts`, until `stop` is set.
///
/// # Errors
/// Those that end a listener.
pub(crate) async fn run(
    io: &Handle,
    listeners: Vec<Listener>,
    hosts: Hosts,
    limits: Limits,
    stop: &Stop,
    admission: Admission,
) -> io::Result<()> {
    let descriptors = Rc::new(admission.descriptors());
    let worker = Rc::new(Worker {
        io: io.clone(),
        open_files: OpenFiles::new(limits.open_files_max, &descriptors),
        ready: ReadyAnswers::default(),
        hosts,
        limits,
        stop: stop.clone(),
        buffers: Buffers::new(),
        scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
        sends: Cell::default(),
        date: RefCell::default(),
        descriptors,
        admission,
        connections: RefCell::default(),
        turned_away: Cell::default(),
        drained: Cell::default(),
        reaper: Cell::default(),
    });
    let accepting = async {
        let accept = |listener| Box::pin(worker.accept(listener));
        let mut accepting: Vec<_> = listeners.iter().map(accept).collect();
        // None ends but by an error, which ends them all.
        poll_fn(|cx| {
            let ended = accepting
                .iter_mut()
                .find_map(|one| match one.as_mut().poll(cx) {
                    Poll::Ready(Err(error)) => Some(error),
                    _ => None,
                });
            ended.map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
        })
        .await
    };
    let stopping = async {
        stop.wait().await;
        Ok(())
    };
    let sweeping = async {
        match &worker.open_files {
            Some(open_files) => open_files.sweep(io, &worker.ready).await,
            None => future::pending().await,
        }
    };
    let going_on = GoingOn(Rc::clone(&worker));
    let keeping = future::or(sweeping, worker.look_after_silent());
    let result = future::or(stopping, future::or(accepting, keeping)).await;
    // The port is free for a successor while the last answers are still being sent.
    drop(listeners);
    worker.end_idle();
    let _ = io
        .timeout(worker.limits.grace_period, worker.drained())
        .await;
    drop(going_on);
    result
}

/// Connections go on when the server is dropped: somebody has to end those that rest too long.
struct GoingOn(Rc<Worker>);

impl Drop for GoingOn {
    fn drop(&mut self) {
        let worker = Rc::clone(&self.0);
        let some_rest = || {
            let connections = worker.connections.borrow();
            let mut all = connections.iter();
            all.any(|(_, connection)| connection.rest.since().is_some())
        };
        // After an order to stop none begins to.
        if worker.connections.borrow().is_empty() || (worker.stop.is_set() && !some_rest()) {
            return;
        }
        let io = worker.io.clone();
        io.spawn(async move { worker.end_silent().await }).detach();
    }
}

/// Nothing is ever of this type.
enum Never {}

impl Worker {
    async fn accept(self: &Rc<Self>, listener: &Listener) -> io::Result<Never> {
        let mut shortages = 0;
        loop {
            for _ in 0..ACCEPTS_PER_TURN {
                self.room().await;
                match listener.accept(&self.io).await {
                    Ok((stream, peer)) => {
                        shortages = 0;
                        self.admit(stream, peer).await;
                    }
                    Err(error) if is_shortage(&error) => {
                        // Others in the process, or of the system, took more than was foreseen;
                        // not for a moment only, if it lasts.
                        self.drop_kept();
                        if shortages > 0 {
                            self.shed();
                        }
                        shortages += 1;
                        self.change().await;
                    }
                    Err(error) => return Err(error),
                }
            }
            self.io.yield_now().await;
        }
    }

    /// Waits until one more connection leaves enough descriptors to the files of the others. Who
    /// is not accepted waits in the kernel's queue.
    async fn room(&self) {
        while !self.descriptors.have_room() || self.descriptors.are_short() {
            // What is open for nobody goes before who rests.
            if self.descriptors.files_exceed() && self.drop_kept() {
                continue;
            }
            self.shed();
            self.change().await;
        }
    }

    /// Closes the files and forgets the answers that are kept for the next request; tells whether files were open.
    pub(crate) fn drop_kept(&self) -> bool {
        self.ready.clear();
        let open_files = self.open_files.as_ref();
        open_files.is_some_and(OpenFiles::clear)
    }

    async fn change(&self) {
        let change = self.descriptors.change();
        let _ = self.io.timeout(EXHAUSTED_PAUSE, change).await;
    }

    async fn admit(self: &Rc<Self>, stream: TcpStream, peer: Option<SocketAddr>) {
        let address = peer.map(|peer| peer.ip());
        let enter = || self.admission.enter(address, &self.limits);
        let mut entry = enter();
        if matches!(entry, Err(Full::All)) && self.shed() > 0 {
            // What was told to end ends in the next turn.
            self.io.yield_now().await;
            entry = enter();
        }
        match entry {
            Ok(entry) => self.start(stream, Some(entry)),
            Err(_) if self.turned_away.get() < TURNED_AWAY_MAX => self.start(stream, None),
            Err(_) => drop(stream),
        }
    }

    /// Serves a connection, or turns it away if it was not let in.
    fn start(self: &Rc<Self>, stream: TcpStream, entry: Option<Entry>) {
        let mut connections = self.connections.borrow_mut();
        let vacant = connections.vacant_entry();
        let guard = Guard {
            worker: Rc::clone(self),
            key: vacant.key(),
        };
        self.descriptors.connected();
        let rest = Rest::new(self.io.now());
        let task = self.io.spawn(async move {
            // What is named first is dropped first: who is let in instead finds the descriptor closed.
            let stream = &stream;
            match &entry {
                Some(_) => guard.worker.converse(stream, guard.key).await,
                None => Box::pin(guard.worker.turn_away(stream, guard.key)).await,
            }
        });
        let task = Some(task);
        vacant.insert(Connection { task, rest });
        if connections.len() == 1
            && let Some(waker) = self.reaper.take()
        {
            waker.wake();
        }
    }

    /// Whether the connection of that key rests. Its task asks, so it is there.
    pub(crate) fn rest_of(&self, key: usize) -> Ref<'_, Rest> {
        Ref::map(self.connections.borrow(), |all| &all[key].rest)
    }

    /// Says that there is no room, and closes.
    async fn turn_away(&self, stream: &TcpStream, key: usize) {
        self.rest_of(key).end();
        self.turned_away.set(self.turned_away.get() + 1);
        let head = self.head(Status(503));
        let head = head.field("Retry-After", RETRY_SECONDS);
        let bytes = head.field("Content-Length", 0).finish(false);
        if self.send(stream, &bytes).await.is_ok() {
            self.linger(stream).await;
        }
        self.turned_away.set(self.turned_away.get() - 1);
    }

    /// Ends connections that rest, those first that have rested longest; tells how many.
    pub(crate) fn shed(&self) -> usize {
        let now = self.io.now();
        let timeout = self.limits.header_timeout;
        let mut connections = self.connections.borrow_mut();
        let resting = connections.iter().filter(|(_, c)| c.task.is_some());
        let mut resting: Vec<_> = resting
            .filter_map(|(key, c)| Some((c.rest.spare_since(now, timeout)?, key)))
            .collect();
        resting.sort_unstable();
        // Some at a time: finding them means looking at all.
        resting.truncate(1 + connections.len() / 64);
        let tasks: Vec<_> = resting
            .iter()
            .filter_map(|(_, key)| connections[*key].task.take())
            .collect();
        drop(connections);
        let count = tasks.len();
        tasks.into_iter().for_each(JoinHandle::abort);
        count
    }

    /// Ends the connections that have no request under way.
    fn end_idle(&self) {
        let mut connections = self.connections.borrow_mut();
        let idle = connections
            .iter_mut()
            .filter(|(_, c)| c.rest.since().is_some());
        let tasks: Vec<_> = idle.filter_map(|(_, c)| c.task.take()).collect();
        drop(connections);
        tasks.into_iter().for_each(JoinHandle::abort);
    }

    /// [`Worker::end_silent`] whenever there are connections. It never returns.
    async fn look_after_silent<T>(&self) -> T {
        loop {
            poll_fn(|cx| self.poll_connected(cx, true)).await;
            self.end_silent().await;
        }
    }

    /// Ends connections that have rested for the whole of the idle timeout, for as long as there are any. One for all: a
    /// deadline for each would be a third of what an idle connection takes. To find them is to look at all, so one may
    /// be found late, by a 64th of the timeout at most.
    async fn end_silent(&self) {
        while !self.connections.borrow().is_empty() {
            let wait = self.io.sleep(self.end_overdue());
            let emptied = poll_fn(|cx| self.poll_connected(cx, false));
            future::or(wait, emptied).await;
            // Who has been heard of goes on, however many there are.
            let turns = 1 + self.connections.borrow().len() / TASKS_PER_TURN;
            for _ in 0..turns {
                self.io.yield_now().await;
            }
        }
    }

    /// Whether there are connections, or are none, as `wanted`.
    fn poll_connected(&self, cx: &Context<'_>, wanted: bool) -> Poll<()> {
        if self.connections.borrow().is_empty() != wanted {
            return Poll::Ready(());
        }
        self.reaper.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Ends the connections that have rested too long; tells when to look for the next.
    fn end_overdue(&self) -> Duration {
        let (now, timeout) = (self.io.now(), self.limits.idle_timeout);
        let mut connections = self.connections.borrow_mut();
        let mut wait = timeout;
        let mut tasks = Vec::new();
        for (_, connection) in connections.iter_mut() {
            let Some(since) = connection.rest.since() else {
                continue;
            };
            match timeout.saturating_sub(now.saturating_duration_since(since)) {
                Duration::ZERO => tasks.extend(connection.task.take()),
                left => wait = wait.min(left),
            }
        }
        drop(connections);
        tasks.into_iter().for_each(JoinHandle::abort);
        wait.max(timeout / 64).max(SCAN_PAUSE_MIN)
    }

    async fn drained(&self) {
        poll_fn(|cx| {
            if self.connections.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.drained.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn tell_if_drained(&self) {
        if self.connections.borrow().is_empty() {
            let waiting = [self.drained.take(), self.reaper.take()];
            waiting.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// The present, as the Date field writes it; made once a second.
    pub(crate) fn date(&self) -> Ref<'_, str> {
        let now = self.io.wall();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if self.date.borrow().0 != second || second == 0 {
            *self.date.borrow_mut() = (second, httpdate::fmt_http_date(now.max(EPOCH)));
        }
        Ref::map(self.date.borrow(), |(_, text)| text.as_str())
    }
}

/// Whether the process, or the system, has too little of something.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

const EPOCH: SystemTime = UNIX_EPOCH;

/// Strikes a connection off the list when its task ends, however it ends.
struct Guard {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let connection = self.worker.connections.borrow_mut().try_remove(self.key);
        drop(connection);
        self.worker.descriptors.disconnected();
        self.worker.tell_if_drained();
    }
}
