//! One worker: accepts, spawns, stops.

use std::cell::{Cell, Ref, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Handle, JoinHandle};
use futures_lite::future;
use slab::Slab;

use crate::body::Buffers;
use crate::config::Config;
use crate::connection::READ_BYTES;
use crate::hosts::Hosts;
use crate::limits::Limits;
use crate::listen::Listener;
use crate::server::Server;
use crate::site::Site;
use crate::stop::Stop;

/// Connections accepted in a row before others have a turn.
const ACCEPTS_PER_TURN: usize = 64;

/// A connection as the worker sees it.
struct Connection {
    task: JoinHandle<()>,
    idle: Rc<Cell<bool>>,
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
    /// The second it was made in, and the text.
    date: RefCell<(u64, String)>,
    connections: RefCell<Slab<Connection>>,
    /// Waits for `connections` to be empty.
    drained: Cell<Option<Waker>>,
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
) -> io::Result<()> {
    let worker = Rc::new(Worker {
        io: io.clone(),
        hosts,
        limits,
        stop: stop.clone(),
        buffers: Buffers::new(),
        scratch: RefCell::new(vec![0; READ_BYTES].into_boxed_slice()),
        date: RefCell::default(),
        connections: RefCell::default(),
        drained: Cell::default(),
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
    let result = future::or(stopping, accepting).await;
    // The port is free for a successor while the last answers are still being sent.
    drop(listeners);
    worker.end_idle();
    let _ = io
        .timeout(worker.limits.grace_period, worker.drained())
        .await;
    result
}

/// Nothing is ever of this type.
enum Never {}

impl Worker {
    async fn accept(self: &Rc<Self>, listener: &Listener) -> io::Result<Never> {
        loop {
            for _ in 0..ACCEPTS_PER_TURN {
                let (stream, _peer) = listener.accept(&self.io).await?;
                self.start(stream);
            }
            self.io.yield_now().await;
        }
    }

    fn start(self: &Rc<Self>, stream: TcpStream) {
        let mut connections = self.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let guard = Guard {
            worker: Rc::clone(self),
            key: entry.key(),
        };
        let idle = Rc::new(Cell::new(true));
        let task = self.io.spawn({
            let idle = Rc::clone(&idle);
            async move { guard.worker.converse(stream, &idle).await }
        });
        entry.insert(Connection { task, idle });
    }

    /// Ends the connections that have no request under way.
    fn end_idle(&self) {
        let connections = self.connections.borrow();
        let idle = connections.iter().filter(|(_, c)| c.idle.get());
        let keys: Vec<usize> = idle.map(|(key, _)| key).collect();
        drop(connections);
        for key in keys {
            let connection = self.connections.borrow_mut().try_remove(key);
            if let Some(connection) = connection {
                connection.task.abort();
            }
        }
        self.tell_if_drained();
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
        if self.connections.borrow().is_empty()
            && let Some(waker) = self.drained.take()
        {
            waker.wake();
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
        self.worker.tell_if_drained();
    }
}
