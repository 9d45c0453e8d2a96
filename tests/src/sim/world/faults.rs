//! How a network is built, how it misbehaves, and what it counts.

use std::time::Duration;

/// How likely each fault is, in percent, and how the network is built.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// `EINTR` of a wait, an accept, a receive or a send.
    pub interrupt: u32,
    /// A send takes fewer bytes than there is room for.
    pub short_send: u32,
    /// A connection that is accepted was aborted in the queue (`ECONNABORTED`).
    pub abort: u32,
    /// No descriptor is left for an accept (`EMFILE`).
    pub shortage: u32,
    /// A wait tells of what is not ready.
    pub spurious: u32,
    /// A wait tells of a registration that is gone.
    pub stale: u32,
    /// A wait keeps some of what is ready for the next.
    pub hold_back: u32,
    /// A change of the epoll set is refused (`ENOMEM`).
    pub refuse_watch: u32,
    /// Bytes arrive in pieces.
    pub pieces: u32,
    /// How long bytes are on their way, at most.
    pub latency: Duration,
    /// Bytes that each direction of a connection holds.
    pub capacity: usize,
}

impl Network {
    /// Without faults.
    #[must_use]
    pub fn quiet() -> Network {
        Network {
            interrupt: 0,
            short_send: 0,
            abort: 0,
            shortage: 0,
            spurious: 0,
            stale: 0,
            hold_back: 0,
            refuse_watch: 0,
            pieces: 0,
            latency: Duration::from_micros(100),
            capacity: 64 * 1024,
        }
    }
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Waits.
    pub waits: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Events told of registrations that were gone.
    pub stale: u64,
    /// Faults of all kinds.
    pub faults: u64,
    /// Most connections that the engine had at once.
    pub open_max: usize,
}
