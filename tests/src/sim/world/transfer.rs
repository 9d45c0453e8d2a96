//! Bytes from end to end, and how connections begin and end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::epoll::{ERR, HUP, IN, OUT, RDHUP};
use super::net::{SimNet, State, failure};
use super::socket::{End, Object, Owner};
use super::time::Event;

impl State {
    /// A pair of ends; the first is `owner`'s.
    pub(super) fn pair(&mut self, owner: Owner, other: Owner, to: SocketAddr) -> (usize, usize) {
        let (first, second) = (self.ends.len(), self.ends.len() + 1);
        let capacity = self.network.capacity;
        let from = SimNet::address(self.new_port());
        self.ends.push(End::new(second, owner, from, capacity));
        self.ends.push(End::new(first, other, to, capacity));
        (first, second)
    }

    /// Marks both ends: a fault that who uses them may notice.
    pub(super) fn harm(&mut self, end: usize) {
        let peer = self.ends[end].peer;
        self.ends[end].harmed = true;
        self.ends[peer].harmed = true;
    }

    /// A connection has died, for this end.
    fn kill(&mut self, end: usize, errno: i32) {
        let dying = &mut self.ends[end];
        dying.dead = true;
        dying.error = Some(errno);
        dying.way.clear();
    }

    /// Puts bytes on the way from `end` to its peer; tells how many had room.
    fn put(&mut self, end: usize, parts: &[&[u8]], max: usize) -> usize {
        let to = self.ends[end].peer;
        let mut left = self.ends[to].room().min(max);
        let mut put = 0;
        for part in parts {
            let now = left.min(part.len());
            self.ends[to].way.extend(&part[..now]);
            (left, put) = (left - now, put + now);
        }
        put
    }
}

impl SimNet {
    /// Has what was put on its way to `end` arrive.
    fn plan_arrival(&self, end: usize) {
        let state = &mut *self.state.borrow_mut();
        if std::mem::replace(&mut state.ends[end].arriving, true) {
            return;
        }
        let most = state.network.latency.as_nanos() as u64;
        let latency = Duration::from_nanos(state.rng.u64(..=most));
        self.time.plan(latency, Event::Arrive(end));
    }

    /// Tells whoever has `end` that something of `key` has happened.
    fn tell(&self, end: usize, key: u32) {
        match self.owner(end) {
            Owner::Engine(object) => self.state.borrow_mut().wake(object, key),
            Owner::Player(who) => self.time.plan(Duration::ZERO, Event::Beyond(who)),
            Owner::Queue | Owner::Nobody => {}
        }
    }

    /// Bytes, or the end of them, arrive.
    pub(super) fn arrive(&self, at: usize) {
        let (news, again, refused) = {
            let state = &mut *self.state.borrow_mut();
            let pieces = state.ends[at].way.len() > 1 && state.strikes(state.network.pieces);
            let mut count = state.ends[at].way.len();
            if pieces {
                count = state.rng.usize(1..count);
            }
            let end = &mut state.ends[at];
            end.arriving = false;
            let closed = end.is_closed();
            let refused = closed && count > 0;
            let later = end.way.split_off(count);
            let mut bytes = std::mem::replace(&mut end.way, later);
            if !closed {
                end.here.append(&mut bytes);
            }
            let ends = end.ending && !end.ended && end.way.is_empty();
            end.ended |= ends;
            let again = !end.way.is_empty();
            let key = if ends { 0 } else { IN };
            (key, again, refused)
        };
        if again {
            self.plan_arrival(at);
        }
        if refused {
            self.reset_peer_of(at);
        }
        self.tell(at, news);
    }

    /// Who sent to somebody that is gone, or that closed without reading, learns of it.
    pub(super) fn reset_peer_of(&self, at: usize) {
        let peer = {
            let state = &mut *self.state.borrow_mut();
            let peer = state.ends[at].peer;
            if state.ends[peer].dead || state.ends[peer].is_closed() {
                return;
            }
            let errno = if state.ends[peer].shut && state.ends[peer].ended {
                libc::EPIPE
            } else {
                libc::ECONNRESET
            };
            state.kill(peer, errno);
            peer
        };
        self.tell(peer, IN | OUT | RDHUP | HUP | ERR);
    }

    /// There may be room for the peer of `end` again.
    fn make_room(&self, end: usize) {
        let peer = {
            let state = &mut *self.state.borrow_mut();
            let peer = state.ends[end].peer;
            let news = state.ends[peer].wants_room && state.ends[end].is_roomy();
            if !news {
                return;
            }
            state.ends[peer].wants_room = false;
            peer
        };
        self.tell(peer, OUT);
    }

    pub(super) fn send_from(&self, end: usize, parts: &[&[u8]], max: usize) -> usize {
        let (to, put) = {
            let state = &mut *self.state.borrow_mut();
            (state.ends[end].peer, state.put(end, parts, max))
        };
        if put > 0 {
            self.plan_arrival(to);
        }
        put
    }

    pub(super) fn read_at(&self, end: usize, into: &mut [u8]) -> usize {
        let count = {
            let end = &mut self.state.borrow_mut().ends[end];
            let count = into.len().min(end.here.len());
            let (first, second) = end.here.as_slices();
            let of_first = count.min(first.len());
            into[..of_first].copy_from_slice(&first[..of_first]);
            into[of_first..count].copy_from_slice(&second[..count - of_first]);
            end.here.drain(..count);
            count
        };
        if count > 0 {
            self.make_room(end);
        }
        count
    }

    /// send(2) of the engine.
    pub(super) fn engine_send(&self, fd: BorrowedFd<'_>, parts: &[&[u8]]) -> io::Result<usize> {
        let end = self.end_of(fd)?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let max = {
            let state = &mut *self.state.borrow_mut();
            if state.strikes(state.network.interrupt) {
                return failure(libc::EINTR);
            }
            let here = &mut state.ends[end];
            if let Some(errno) = here.error.take() {
                return failure(errno);
            }
            if here.shut || here.dead {
                return failure(libc::EPIPE);
            }
            if here.connecting {
                return failure(libc::EAGAIN);
            }
            if total > 1 && state.strikes(state.network.short_send) {
                state.rng.usize(1..total)
            } else {
                total
            }
        };
        let sent = self.send_from(end, parts, max);
        if sent < total {
            self.state.borrow_mut().ends[end].wants_room = true;
        }
        if sent == 0 && total > 0 {
            return failure(libc::EAGAIN);
        }
        Ok(sent)
    }

    /// recv(2) of the engine.
    pub(super) fn engine_receive(&self, fd: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
        let end = self.end_of(fd)?;
        {
            let state = &mut *self.state.borrow_mut();
            if state.strikes(state.network.interrupt) {
                return failure(libc::EINTR);
            }
        }
        let count = self.read_at(end, into);
        if count > 0 || into.is_empty() {
            return Ok(count);
        }
        let here = &mut self.state.borrow_mut().ends[end];
        if let Some(errno) = here.error.take() {
            return failure(errno);
        }
        if here.ended || here.dead {
            return Ok(0);
        }
        failure(libc::EAGAIN)
    }

    /// Ends the direction from `end` to its peer.
    pub(super) fn shut(&self, end: usize) -> io::Result<()> {
        let peer = {
            let state = &mut *self.state.borrow_mut();
            if state.ends[end].dead {
                return failure(libc::ENOTCONN);
            }
            if std::mem::replace(&mut state.ends[end].shut, true) {
                return Ok(());
            }
            let peer = state.ends[end].peer;
            state.ends[peer].ending = true;
            peer
        };
        self.plan_arrival(peer);
        self.tell(end, 0);
        Ok(())
    }

    /// close(2) of an end: what it has not read makes it a reset.
    pub(super) fn leave(&self, end: usize) {
        let unread = {
            let here = &mut self.state.borrow_mut().ends[end];
            here.owner = Owner::Nobody;
            let unread = !here.here.is_empty();
            here.here.clear();
            unread
        };
        if unread {
            self.reset_peer_of(end);
        } else {
            // It fails if the connection is dead already.
            let _ = self.shut(end);
        }
        // Who waits for room would wait for ever.
        self.make_room(end);
    }

    pub(super) fn stop_listening(&self, listener: usize) {
        let queued = {
            let listening = &mut self.state.borrow_mut().listeners[listener];
            listening.open = false;
            std::mem::take(&mut listening.queue)
        };
        for end in queued {
            self.state.borrow_mut().harm(end);
            self.state.borrow_mut().ends[end].owner = Owner::Nobody;
            self.reset_peer_of(end);
        }
    }

    /// accept4(2).
    pub(super) fn engine_accept(&self, fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
        let end = self.next_in_queue(fd)?;
        let aborted = {
            let state = &mut *self.state.borrow_mut();
            state.strikes(state.network.abort)
        };
        if aborted {
            self.state.borrow_mut().harm(end);
            self.state.borrow_mut().ends[end].owner = Owner::Nobody;
            self.reset_peer_of(end);
            return failure(libc::ECONNABORTED);
        }
        let state = &mut *self.state.borrow_mut();
        let (fd, object) = state.open(Object::Stream(end))?;
        state.ends[end].owner = Owner::Engine(object);
        state.tally.accepted += 1;
        let peer = state.ends[end].peer;
        Ok((fd, state.ends[peer].address))
    }

    fn next_in_queue(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        let Some(Object::Listener(listener)) = state.object(fd).map(|at| state.objects[at]) else {
            return failure(libc::EINVAL);
        };
        if state.strikes(state.network.interrupt) {
            return failure(libc::EINTR);
        }
        if state.listeners[listener].queue.is_empty() {
            return failure(libc::EAGAIN);
        }
        if state.strikes(state.network.shortage) {
            return failure(libc::EMFILE);
        }
        let next = state.listeners[listener].queue.pop_front();
        next.map_or_else(|| failure(libc::EAGAIN), Ok)
    }

    /// connect(2) of the engine.
    pub(super) fn engine_connect(&self, to: SocketAddr) -> io::Result<OwnedFd> {
        let state = &mut *self.state.borrow_mut();
        let (end, _) = state.pair(Owner::Nobody, Owner::Queue, to);
        let (fd, object) = state.open(Object::Stream(end))?;
        state.ends[end].owner = Owner::Engine(object);
        state.ends[end].connecting = true;
        let most = state.network.latency.as_nanos() as u64;
        let latency = Duration::from_nanos(state.rng.u64(..=most));
        self.time.plan(latency, Event::Connect(end));
        Ok(fd)
    }

    /// The answer to a connect.
    pub(super) fn answer_connect(&self, end: usize) {
        {
            let state = &mut *self.state.borrow_mut();
            let peer = state.ends[end].peer;
            state.ends[end].connecting = false;
            if state.ends[end].is_closed() {
                state.ends[peer].owner = Owner::Nobody;
                return;
            }
            let to = state.ends[peer].address;
            if !state.enqueue(peer, to) {
                state.kill(end, libc::ECONNREFUSED);
            }
        }
        self.tell(end, 0);
    }
}

impl State {
    /// A connection waits to be accepted. False if it cannot.
    pub(super) fn enqueue(&mut self, end: usize, to: SocketAddr) -> bool {
        let listens = |known: &&mut super::socket::Listening| known.open && known.address == to;
        let Some(listening) = self.listeners.iter_mut().find(listens) else {
            return false;
        };
        if listening.queue.len() >= listening.backlog {
            return false;
        }
        listening.queue.push_back(end);
        let object = listening.object;
        self.wake(object, IN);
        true
    }
}
