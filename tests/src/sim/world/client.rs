//! What clients do on a network, who are not of the engine.

use std::net::SocketAddr;

use super::net::SimNet;
use super::socket::Owner;

/// What a client finds when it reads.
#[derive(Debug, Default)]
pub struct Heard {
    /// The bytes that were there.
    pub bytes: Vec<u8>,
    /// The server has ended its direction.
    pub ended: bool,
    /// The connection was reset.
    pub reset: bool,
    /// The server will send no more than what is on its way.
    pub over: bool,
}

impl SimNet {
    /// A connection of client `who` to the listener at `to`; `None` if nobody listens or the queue is full.
    pub fn dial(&self, who: u32, to: SocketAddr) -> Option<usize> {
        let state = &mut *self.state.borrow_mut();
        let (end, peer) = state.pair(Owner::Player(who), Owner::Queue, to);
        state.enqueue(peer, to).then_some(end)
    }

    /// Sends what there is room for; tells how much.
    pub fn say(&self, end: usize, bytes: &[u8]) -> usize {
        if self.state.borrow().ends[end].dead {
            return bytes.len();
        }
        let sent = self.send_from(end, &[bytes], bytes.len());
        if sent < bytes.len() {
            self.state.borrow_mut().ends[end].wants_room = true;
        }
        sent
    }

    /// Reads up to `max` bytes.
    pub fn hear(&self, end: usize, max: usize) -> Heard {
        let there = self.state.borrow().ends[end].here.len();
        let mut bytes = vec![0; max.min(there)];
        self.read_at(end, &mut bytes);
        let state = self.state.borrow();
        let here = &state.ends[end];
        let empty = here.here.is_empty();
        Heard {
            bytes,
            ended: empty && here.ended,
            reset: empty && here.dead,
            over: here.dead || here.ending,
        }
    }

    /// Ends the client's direction.
    pub fn finish(&self, end: usize) {
        // It fails if the connection is dead already.
        let _ = self.shut(end);
    }

    /// Closes the client's end.
    pub fn hang_up(&self, end: usize) {
        self.leave(end);
    }

    /// Resets the connection.
    pub fn reset(&self, end: usize) {
        {
            let state = &mut *self.state.borrow_mut();
            let here = &mut state.ends[end];
            here.owner = Owner::Nobody;
            here.here.clear();
            let peer = here.peer;
            state.ends[peer].way.clear();
        }
        self.reset_peer_of(end);
    }

    /// Whether a fault happened to the connection that who uses it may notice.
    #[must_use]
    pub fn is_harmed(&self, end: usize) -> bool {
        self.state.borrow().ends[end].harmed
    }
}
