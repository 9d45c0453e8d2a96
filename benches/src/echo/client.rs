//! The client: one thread on a bare epoll set, so that it costs as little as a client can.
//!
//! Without a rate it is a closed loop: each connection has one message on its way, and sends the
//! next when it has all of the answer. With a rate it is an open loop: a message is due at its time
//! whether the server keeps up or not, and its latency counts from then (no coordinated omission).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ambidex::clock::{Clock, Real};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use crate::Error;
use crate::baselines::EVENTS_MAX;
use crate::interrupt::Interrupt;
use crate::load::Window;
use crate::rusage::Rusage;
use crate::tally::{Summary, Tally};

/// How often a sleeper looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 * 1024;

/// What to ask of a server.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections that send.
    pub connections: usize,
    /// Connections that only exist.
    pub idle: usize,
    /// Bytes of a message.
    pub size: usize,
    /// The time from one message to the next, of all connections together; `None` is a closed loop.
    pub interval: Option<Duration>,
    /// How long to measure.
    pub window: Window,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How long was really measured.
    pub seconds: f64,
    /// Messages that came back as they were sent, and connections that were lost as errors.
    pub summary: Summary,
    /// What this process used meanwhile.
    pub client: Rusage,
    /// It ended before its time: a signal, or no connection was left.
    pub interrupted: bool,
}

struct Peer {
    stream: TcpStream,
    /// When its message was due; `None` if it has none on its way.
    due: Option<Instant>,
    sent: usize,
    received: usize,
    is_idle: bool,
    /// Its epoll registration includes writing.
    awaits_room: bool,
}

struct Client<'a> {
    load: &'a Load,
    set: OwnedFd,
    peers: Vec<Option<Peer>>,
    /// Connections without a message on its way.
    free: VecDeque<usize>,
    message: Vec<u8>,
    /// When the next message is due, in an open loop.
    next_due: Instant,
    alive: usize,
    tally: Tally,
    buffer: Vec<u8>,
}

/// Connects, warms up and measures. `mark` is called when the measured time starts, and when it is
/// over.
///
/// # Errors
/// [`Error::Start`] if not all connections can be made, [`Error::Run`] for what `mark` or epoll(7)
/// meet.
///
/// # Blocking
/// For the whole time.
pub fn run(
    load: &Load,
    interrupt: &Interrupt,
    mut mark: impl FnMut() -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let mut client = Client::connect(load, interrupt)?;
    let failed = |error: io::Error| Error::Run(format!("the client failed: {error}"));
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let warm_end = Real.now() + load.window.warm_up;
    client.next_due = Real.now();
    client
        .drive(warm_end, interrupt, &mut events)
        .map_err(failed)?;
    client.tally = Tally::default();
    mark()?;
    let (start, before) = (Real.now(), Rusage::now());
    let end = start + load.window.runtime;
    client.drive(end, interrupt, &mut events).map_err(failed)?;
    let (now, client_used) = (Real.now(), Rusage::now().since(&before));
    let marked = mark();
    let interrupted = interrupt.is_set() || client.alive == 0;
    if !interrupted {
        marked?;
    }
    Ok(Outcome {
        seconds: (now - start).as_secs_f64(),
        summary: client.summary(now, (now - start).as_secs_f64()),
        client: client_used,
        interrupted,
    })
}

impl<'a> Client<'a> {
    fn connect(load: &'a Load, interrupt: &Interrupt) -> Result<Client<'a>, Error> {
        let cannot = |error: io::Error| Error::Start(format!("cannot make a client: {error}"));
        let mut client = Client {
            load,
            set: epoll::create(CreateFlags::CLOEXEC).map_err(|errno| cannot(errno.into()))?,
            peers: Vec::new(),
            free: VecDeque::new(),
            // Upper case, so that a server that makes it so answers the same.
            message: (b'A'..=b'Z').cycle().take(load.size).collect(),
            next_due: Real.now(),
            alive: 0,
            tally: Tally::default(),
            buffer: vec![0; READ_BYTES],
        };
        for number in 0..load.connections + load.idle {
            if interrupt.is_set() {
                break;
            }
            let is_idle = number >= load.connections;
            client
                .add(is_idle)
                .map_err(|error| refused(load, number, &error))?;
        }
        Ok(client)
    }

    fn add(&mut self, is_idle: bool) -> io::Result<()> {
        let stream = TcpStream::connect_timeout(&self.load.address, CONNECT_PATIENCE)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let index = self.peers.len();
        epoll::add(
            &self.set,
            &stream,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
        self.peers.push(Some(Peer {
            stream,
            due: None,
            sent: 0,
            received: 0,
            is_idle,
            awaits_room: false,
        }));
        if !is_idle {
            self.free.push_back(index);
            self.alive += 1;
        }
        Ok(())
    }

    /// Sends and receives until `end`, until it is interrupted or until nobody is left.
    fn drive(
        &mut self,
        end: Instant,
        interrupt: &Interrupt,
        events: &mut Vec<epoll::Event>,
    ) -> io::Result<()> {
        loop {
            let now = Real.now();
            if now >= end || interrupt.is_set() || self.alive == 0 {
                return Ok(());
            }
            self.send_due(now);
            let mut pause = (end - now).min(GLANCE);
            if self.load.interval.is_some() && !self.free.is_empty() {
                pause = pause.min(self.next_due.saturating_duration_since(now));
            }
            events.clear();
            let timeout = Timespec::try_from(pause).ok();
            match epoll::wait(&self.set, spare_capacity(events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &*events {
                self.serve(event.data.u64() as usize);
            }
        }
    }

    /// Hands what is due to connections that are free.
    fn send_due(&mut self, now: Instant) {
        while let Some(index) = self.free.pop_front() {
            let Some(peer) = &mut self.peers[index] else {
                continue;
            };
            let due = match self.load.interval {
                None => Real.now(),
                Some(_) if self.next_due > now => return self.free.push_front(index),
                Some(interval) => {
                    let next = self.next_due + interval;
                    std::mem::replace(&mut self.next_due, next)
                }
            };
            (peer.due, peer.sent, peer.received) = (Some(due), 0, 0);
            self.progress(index, Peer::send);
        }
    }

    /// One connection is ready.
    fn serve(&mut self, index: usize) {
        self.progress(index, |peer, message, buffer, set, index| {
            if peer.awaits_room {
                peer.send(message, buffer, set, index)?;
            }
            peer.receive(message, buffer)
        });
        let Some(peer) = &mut self.peers[index] else {
            return;
        };
        if peer.received < self.message.len() {
            return;
        }
        let now = Real.now();
        let Some(due) = peer.due.take() else {
            return;
        };
        self.tally.answered(self.message.len() as u64, now - due);
        if self.load.interval.is_some() {
            self.free.push_back(index);
        } else {
            // One look at the clock for each message: the end of one is the start of the next.
            (peer.due, peer.sent, peer.received) = (Some(now), 0, 0);
            self.progress(index, Peer::send);
        }
    }

    /// Does something with a connection, which is lost if that fails.
    fn progress(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Peer, &[u8], &mut [u8], &OwnedFd, usize) -> io::Result<()>,
    ) {
        let Some(peer) = &mut self.peers[index] else {
            return;
        };
        let done = act(peer, &self.message, &mut self.buffer, &self.set, index);
        if let Err(error) = done {
            let which = if peer.is_idle {
                "an idle connection"
            } else {
                "a connection"
            };
            self.tally
                .failed(&format_args!("{which} was lost: {error}"));
            self.alive -= usize::from(!peer.is_idle);
            self.peers[index] = None;
        }
    }

    fn summary(&self, now: Instant, seconds: f64) -> Summary {
        let on_their_way = self.peers.iter().flatten().filter_map(|peer| peer.due);
        let mut ages: Vec<Duration> = on_their_way.map(|due| now - due).collect();
        if self.load.interval.is_some() && self.alive > 0 {
            // What nobody was free to send has waited too.
            ages.extend(now.checked_duration_since(self.next_due));
        }
        self.tally.summary(seconds, &ages)
    }
}

impl Peer {
    /// Sends what is left of the message, as far as there is room.
    fn send(
        &mut self,
        message: &[u8],
        _: &mut [u8],
        set: &OwnedFd,
        index: usize,
    ) -> io::Result<()> {
        while self.sent < message.len() {
            match (&self.stream).write(&message[self.sent..]) {
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let awaits_room = self.sent < message.len();
        if awaits_room != self.awaits_room {
            self.awaits_room = awaits_room;
            let mut interest = EventFlags::IN;
            interest.set(EventFlags::OUT, awaits_room);
            epoll::modify(
                set,
                &self.stream,
                EventData::new_u64(index as u64),
                interest,
            )?;
        }
        Ok(())
    }

    /// Reads once, and checks what came.
    fn receive(&mut self, message: &[u8], buffer: &mut [u8]) -> io::Result<()> {
        let length = match (&self.stream).read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let expected = message.get(self.received..self.received + length);
        if self.due.is_none() || expected != Some(&buffer[..length]) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the answer is not what was sent",
            ));
        }
        self.received += length;
        Ok(())
    }
}

fn refused(load: &Load, number: usize, error: &io::Error) -> Error {
    let advice = match error.kind() {
        ErrorKind::ConnectionRefused => "; is the server running there?",
        _ if Errno::from_io_error(error) == Some(Errno::MFILE) => "; raise the limit: ulimit -n",
        _ => "",
    };
    let (address, all) = (load.address, load.connections + load.idle);
    let which = if number == 0 {
        String::new()
    } else {
        format!(" (connection {} of {all})", number + 1)
    };
    Error::Start(format!(
        "cannot connect to {address}{which}: {error}{advice}"
    ))
}
