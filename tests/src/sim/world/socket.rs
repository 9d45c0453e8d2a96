//! Connections in memory: two ends, each with what has arrived and what is on its way.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::epoll::{ERR, HUP, IN, OUT, RDHUP};

/// Who has an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody yet: it waits to be accepted.
    Queue,
    /// A descriptor of the engine: object.
    Engine(usize),
    /// A simulated client, by the number that [`Event::Beyond`](super::Event) calls it with.
    Player(u32),
    /// It has been closed.
    Nobody,
}

/// One end of a connection.
pub(super) struct End {
    pub(super) peer: usize,
    pub(super) owner: Owner,
    pub(super) address: SocketAddr,
    /// What has arrived and was not read.
    pub(super) here: VecDeque<u8>,
    /// What the peer has sent and has not arrived.
    pub(super) way: VecDeque<u8>,
    /// Its arrival is planned.
    pub(super) arriving: bool,
    /// Bytes that may be here and on the way.
    pub(super) capacity: usize,
    /// The peer has ended its direction; seen here once all has arrived.
    pub(super) ending: bool,
    pub(super) ended: bool,
    /// This side has ended its own.
    pub(super) shut: bool,
    /// A send of this end found no room: the next room is news (`SOCK_NOSPACE`).
    pub(super) wants_room: bool,
    pub(super) connecting: bool,
    /// It is over, for both directions.
    pub(super) dead: bool,
    /// Told once (`SO_ERROR`).
    pub(super) error: Option<i32>,
    /// A fault that a client may notice happened to this connection.
    pub(super) harmed: bool,
}

impl End {
    pub(super) fn new(peer: usize, owner: Owner, address: SocketAddr, capacity: usize) -> End {
        End {
            peer,
            owner,
            address,
            here: VecDeque::new(),
            way: VecDeque::new(),
            arriving: false,
            capacity,
            ending: false,
            ended: false,
            shut: false,
            wants_room: false,
            connecting: false,
            dead: false,
            error: None,
            harmed: false,
        }
    }

    /// Bytes that the peer may still send.
    pub(super) fn room(&self) -> usize {
        let used = self.here.len() + self.way.len();
        self.capacity.saturating_sub(used)
    }

    /// Whether there is so much room again that a sender is told (`sk_stream_is_writeable`).
    pub(super) fn is_roomy(&self) -> bool {
        self.room() * 3 >= self.capacity
    }

    /// What poll(2) says of it, given whether the peer's end takes more.
    pub(super) fn mask(&self, roomy: bool) -> u32 {
        if self.connecting {
            return 0;
        }
        let mut mask = 0;
        if self.dead {
            mask |= IN | OUT | RDHUP | HUP;
        }
        if self.error.is_some() {
            mask |= ERR;
        }
        if !self.here.is_empty() {
            mask |= IN;
        }
        if self.ended {
            mask |= IN | RDHUP;
        }
        if self.ended && self.shut {
            mask |= HUP;
        }
        if roomy || self.shut {
            mask |= OUT;
        }
        mask
    }

    /// Whether anything may still come.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.owner, Owner::Nobody)
    }
}

/// A socket that listens.
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    /// Ends that wait to be accepted.
    pub(super) queue: VecDeque<usize>,
    pub(super) backlog: usize,
    pub(super) object: usize,
    pub(super) open: bool,
}

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// Closed.
    Gone,
    Epoll(usize),
    Listener(usize),
    Stream(usize),
    /// A descriptor that is not of this network.
    Foreign,
}
