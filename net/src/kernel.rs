//! The seam: every system call that this crate makes.
//!
//! A kernel must supply
//!
//! * an epoll set: create, add, modify, remove, wait with a nanosecond timeout;
//! * sockets: make, bind, listen, connect, accept, receive, send, shut down;
//! * messages: with addresses, with descriptors, and many in one call;
//! * events: timers, signals, processes, file watches, counters;
//! * the end of a descriptor: close.
//!
//! The rules that the rest of the crate builds on:
//!
//! * every descriptor handed out is non-blocking and close-on-exec;
//! * no call but [`Kernel::epoll_wait`] waits;
//! * errors carry the errno unchanged; nothing is retried here (the one place that retries is
//!   [`Source::poll_io`](crate::Source::poll_io));
//! * `send` never raises SIGPIPE.
//!
//! [`Linux`](crate::Linux) is the production implementation. A simulator implements the same trait
//! from outside; descriptors stay real [`OwnedFd`]s, which it may take from anywhere.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};

use crate::event::{Expiry, TimerClock};
use crate::tcp::ListenOptions;
use crate::token::Token;
use crate::udp::{Incoming, Outgoing};

/// What to do with a descriptor's place in the epoll set; `EPOLL_CTL_*` of epoll_ctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `EPOLL_CTL_ADD`
    Add,
    /// `EPOLL_CTL_MOD`
    Modify,
    /// `EPOLL_CTL_DEL`
    Remove,
}

impl Control {
    /// Its number.
    pub(crate) fn operation(self) -> i32 {
        match self {
            Control::Add => libc::EPOLL_CTL_ADD,
            Control::Modify => libc::EPOLL_CTL_MOD,
            Control::Remove => libc::EPOLL_CTL_DEL,
        }
    }
}

/// What [`Kernel::receive_message`] is to do beside filling the buffers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// Leave the message where it is (`MSG_PEEK`).
    pub peek: bool,
    /// Tell who sent it.
    pub from: bool,
    /// Take up to so many descriptors that come with it (`SCM_RIGHTS`), at most 253.
    pub fds_max: usize,
}

/// How a message arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes put into the buffer.
    pub length: usize,
    /// The message was longer than the buffer, and the rest of it is lost (`MSG_TRUNC`).
    pub truncated: bool,
    /// Control data did not fit, or came unasked for (`MSG_CTRUNC`). Descriptors that came with
    /// the message have been closed, all of them: part of a set is of no use.
    pub control_truncated: bool,
}

/// What [`Kernel::receive_message`] brings.
#[derive(Debug)]
pub struct Message {
    /// How it arrived.
    pub received: Received,
    /// Who sent it, if that was asked for; of length 0 for a sender without a name.
    pub from: Option<SockAddr>,
    /// The descriptors that came with it, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// Who is at the other end of a local connection; `SO_PEERCRED`, unix(7).
///
/// As of the time of connect(2), listen(2) or socketpair(2), translated to the namespaces of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process; 0 if it is not visible from here.
    pub pid: libc::pid_t,
    /// Effective user.
    pub uid: libc::uid_t,
    /// Effective group.
    pub gid: libc::gid_t,
}

/// Every system call that this crate makes. See the [module](self) for the rules.
pub trait Kernel {
    /// Makes an epoll set: epoll_create1(2) with `EPOLL_CLOEXEC`.
    fn epoll_create(&self) -> io::Result<OwnedFd>;

    /// Adds, modifies or removes `fd`: epoll_ctl(2). `flags` are `EPOLL*` bits.
    fn epoll_ctl(
        &self,
        epoll: BorrowedFd<'_>,
        control: Control,
        fd: BorrowedFd<'_>,
        flags: u32,
        token: Token,
    ) -> io::Result<()>;

    /// Waits for events: epoll_pwait2(2), or epoll_wait(2) rounded up to milliseconds before
    /// Linux 5.11. `None` waits for ever. Returns how many entries of `events` were filled.
    fn epoll_wait(
        &self,
        epoll: BorrowedFd<'_>,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize>;

    /// Makes a listening TCP socket: socket(2), setsockopt(2), bind(2), listen(2).
    fn listen(&self, address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd>;

    /// Starts a TCP connection: socket(2), connect(2). In progress is success; the outcome shows
    /// in [`Kernel::take_error`] once the socket is writable.
    fn connect(&self, address: SocketAddr) -> io::Result<OwnedFd>;

    /// Takes the socket's pending error (`SO_ERROR`, socket(7)).
    fn take_error(&self, fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>>;

    /// Accepts one connection: accept4(2).
    fn accept(&self, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)>;

    /// Makes a socket: socket(2).
    fn socket(&self, domain: Domain, kind: Type) -> io::Result<OwnedFd>;

    /// Makes two local sockets that are connected: socketpair(2).
    fn socket_pair(&self, kind: Type) -> io::Result<(OwnedFd, OwnedFd)>;

    /// Names a socket: bind(2).
    fn bind(&self, fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()>;

    /// Lets up to `backlog` connections wait for accept: listen(2).
    fn listen_on(&self, fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()>;

    /// Connects a socket that need not wait for it: connect(2).
    fn connect_to(&self, fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()>;

    /// Who is at the other end: getsockopt(2), `SO_PEERCRED`.
    fn peer_credentials(&self, fd: BorrowedFd<'_>) -> io::Result<Credentials>;

    /// Receives into `buffer`: recv(2). 0 is the end of the stream.
    fn receive(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends from `buffer`: send(2) with `MSG_NOSIGNAL`.
    fn send(&self, fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize>;

    /// Sends from `buffers` in order: sendmsg(2) with `MSG_NOSIGNAL`.
    fn send_vectored(&self, fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_message(fd, buffers, None, &[])
    }

    /// Sends from `buffers` in order, with at most 253 descriptors: sendmsg(2) with `MSG_NOSIGNAL`.
    fn send_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &[IoSlice<'_>],
        to: Option<&SockAddr>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize>;

    /// Receives into `buffers` in order: recvmsg(2) with `MSG_CMSG_CLOEXEC`.
    fn receive_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &mut [IoSliceMut<'_>],
        want: Want,
    ) -> io::Result<Message>;

    /// Sends the first [`BATCH_MAX`](crate::udp::BATCH_MAX) of `batch` and tells how many went:
    /// sendmmsg(2) with `MSG_NOSIGNAL`. An error is that of the first; that of a later one ends
    /// the batch before it.
    fn send_batch(&self, fd: BorrowedFd<'_>, batch: &[Outgoing<'_>]) -> io::Result<usize>;

    /// Receives what is there into the first [`BATCH_MAX`](crate::udp::BATCH_MAX) of `batch` and
    /// tells how many were filled: recvmmsg(2). An error is that of the first; that of a later
    /// one is kept for the next call.
    fn receive_batch(&self, fd: BorrowedFd<'_>, batch: &mut [Incoming<'_>]) -> io::Result<usize>;

    /// Sends up to `length` bytes of `file` from `offset` on: sendfile(2). 0 is the file's end.
    fn sendfile(
        &self,
        fd: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> io::Result<usize>;

    /// Shuts down one or both directions: shutdown(2).
    fn shutdown(&self, fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()>;

    /// Closes `fd`: close(2).
    fn close(&self, fd: OwnedFd) {
        drop(fd);
    }

    // Events: what the sources of `event` are made of.

    /// Reads what a timerfd, signalfd or inotify descriptor has to tell: read(2).
    fn read_events(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes a timer that is not set: timerfd_create(2).
    fn timer_create(&self, clock: TimerClock) -> io::Result<OwnedFd>;

    /// Sets a timer, or stops it if `first` is `None`: timerfd_settime(2). A `period` of zero is
    /// none. Expirations not yet read are forgotten.
    fn timer_set(
        &self,
        timer: BorrowedFd<'_>,
        first: Option<Expiry>,
        period: Duration,
    ) -> io::Result<()>;

    /// Makes a counter that is zero: eventfd(2).
    fn event_create(&self) -> io::Result<OwnedFd>;

    /// Blocks `signals` in the calling thread and answers those that were not blocked before:
    /// pthread_sigmask(3).
    fn signals_block(&self, signals: &[i32]) -> io::Result<Vec<i32>>;

    /// Unblocks `signals` in the calling thread: pthread_sigmask(3).
    fn signals_unblock(&self, signals: &[i32]) -> io::Result<()>;

    /// Makes a descriptor that `signals` are read from: signalfd(2).
    fn signals_open(&self, signals: &[i32]) -> io::Result<OwnedFd>;

    /// Makes a descriptor of a process: pidfd_open(2).
    fn process_open(&self, pid: u32) -> io::Result<OwnedFd>;

    /// Takes the exit status of a child, `None` while it runs: waitid(2) with `P_PIDFD`.
    fn process_wait(&self, process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>>;

    /// Sends a signal: pidfd_send_signal(2).
    fn process_signal(&self, process: BorrowedFd<'_>, signal: i32) -> io::Result<()>;

    /// Makes a descriptor that watches nothing yet: inotify_init1(2).
    fn watch_create(&self) -> io::Result<OwnedFd>;

    /// Starts watching `path`, for the `IN_*` bits of `mask`: inotify_add_watch(2).
    fn watch_add(&self, watch: BorrowedFd<'_>, path: &Path, mask: u32) -> io::Result<i32>;

    /// Stops watching: inotify_rm_watch(2).
    fn watch_remove(&self, watch: BorrowedFd<'_>, descriptor: i32) -> io::Result<()>;
}
