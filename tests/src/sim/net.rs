//! A fake kernel for sockets: the real one, with answers that a test can put in between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use ambidex::net::event::{Expiry, TimerClock};
use ambidex::net::kernel::{Control, Message, Want};
use ambidex::net::socket2::{Domain, SockAddr, Type};
use ambidex::net::udp::{Incoming, Outgoing};
use ambidex::net::{Credentials, Kernel, Linux, ListenOptions, Token};

/// Passes every call on to the kernel this process runs on, but for what the test has scripted.
#[derive(Default)]
pub struct FakeNet {
    linux: Linux,
    /// Errnos of the next waits; 0 passes one on.
    waits: RefCell<VecDeque<i32>>,
    /// Every wait is interrupted.
    storm: Cell<bool>,
    /// Errnos of the next accepts; 0 passes one on.
    accepts: RefCell<VecDeque<i32>>,
    /// Errnos of the next receives and sends; 0 passes one on.
    transfers: RefCell<VecDeque<i32>>,
    /// Errnos of the next calls of sendfile(2); 0 passes one on.
    sendfiles: RefCell<VecDeque<i32>>,
    /// Bytes that sendfile(2) has sent.
    sent_by_file: Cell<u64>,
    /// Events of the next wait, put before the true ones.
    events: RefCell<VecDeque<(u32, Token)>>,
    /// Errnos of the next additions to and modifications of the epoll set; 0 passes one on.
    controls: RefCell<VecDeque<i32>>,
    /// All calls of epoll_ctl(2), with the descriptor.
    controlled: RefCell<Vec<(Control, RawFd)>>,
    /// The token of the last registration.
    last: Cell<Option<Token>>,
    /// Calls of receive and send.
    calls: Cell<u64>,
    /// Errnos of the next descriptors made for events; 0 passes one on.
    creations: RefCell<VecDeque<i32>>,
    /// Errnos of the next reads of events and looks at children; 0 passes one on.
    looks: RefCell<VecDeque<i32>>,
    /// How long the waits since it was last asked were to take.
    pauses: RefCell<Vec<Option<Duration>>>,
}

impl FakeNet {
    /// How long each wait since the last call was asked to take at most.
    pub fn take_pauses(&self) -> Vec<Option<Duration>> {
        self.pauses.take()
    }

    /// The errnos of the next waits; 0 passes one on.
    pub fn script_waits(&self, errnos: impl IntoIterator<Item = i32>) {
        self.waits.borrow_mut().extend(errnos);
    }

    /// From now on every wait ends with `EINTR`.
    pub fn interrupt_all_waits(&self) {
        self.storm.set(true);
    }

    /// The errnos of the next additions to and modifications of the epoll set; 0 passes one on.
    pub fn script_controls(&self, errnos: impl IntoIterator<Item = i32>) {
        self.controls.borrow_mut().extend(errnos);
    }

    /// All calls of epoll_ctl(2) since it was last asked, with the descriptor.
    pub fn take_controls(&self) -> Vec<(Control, RawFd)> {
        self.controlled.take()
    }

    /// The errnos of the next accepts; 0 passes one on.
    pub fn script_accepts(&self, errnos: impl IntoIterator<Item = i32>) {
        self.accepts.borrow_mut().extend(errnos);
    }

    /// The errnos of the next receives and sends; 0 passes one on.
    pub fn script_transfers(&self, errnos: impl IntoIterator<Item = i32>) {
        self.transfers.borrow_mut().extend(errnos);
    }

    /// The errnos of the next calls of sendfile(2); 0 passes one on.
    pub fn script_sendfiles(&self, errnos: impl IntoIterator<Item = i32>) {
        self.sendfiles.borrow_mut().extend(errnos);
    }

    /// Bytes that sendfile(2) has sent.
    #[must_use]
    pub fn sent_by_file(&self) -> u64 {
        self.sent_by_file.get()
    }

    /// The errnos of the next timers, counters, signals, processes and watches made; 0 passes one on.
    pub fn script_creations(&self, errnos: impl IntoIterator<Item = i32>) {
        self.creations.borrow_mut().extend(errnos);
    }

    /// The errnos of the next reads of events and looks at children; 0 passes one on.
    pub fn script_looks(&self, errnos: impl IntoIterator<Item = i32>) {
        self.looks.borrow_mut().extend(errnos);
    }

    /// The next wait also reports `flags` (`EPOLL*`) for `token`.
    pub fn inject(&self, flags: u32, token: Token) {
        self.events.borrow_mut().push_back((flags, token));
    }

    /// The token of the last registration.
    #[must_use]
    pub fn last_token(&self) -> Option<Token> {
        self.last.get()
    }

    /// How often anything was received or sent, `EAGAIN` included.
    #[must_use]
    pub fn transfers(&self) -> u64 {
        self.calls.get()
    }

    fn transfer(&self) -> io::Result<()> {
        self.calls.set(self.calls.get() + 1);
        next(&self.transfers)
    }
}

fn next(script: &RefCell<VecDeque<i32>>) -> io::Result<()> {
    match script.borrow_mut().pop_front() {
        None | Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}

impl Kernel for FakeNet {
    fn epoll_ctl(
        &self,
        epoll: BorrowedFd<'_>,
        control: Control,
        fd: BorrowedFd<'_>,
        flags: u32,
        token: Token,
    ) -> io::Result<()> {
        self.controlled.borrow_mut().push((control, fd.as_raw_fd()));
        if control != Control::Remove {
            next(&self.controls)?;
        }
        if control == Control::Add {
            self.last.set(Some(token));
        }
        self.linux.epoll_ctl(epoll, control, fd, flags, token)
    }

    fn epoll_wait(
        &self,
        epoll: BorrowedFd<'_>,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        if self.storm.get() {
            return Err(io::Error::from_raw_os_error(libc::EINTR));
        }
        self.pauses.borrow_mut().push(timeout);
        next(&self.waits)?;
        let injected: Vec<_> = self.events.borrow_mut().drain(..).collect();
        for (place, (flags, token)) in events.iter_mut().zip(&injected) {
            (place.events, place.u64) = (*flags, token.0);
        }
        let timeout = if injected.is_empty() {
            timeout
        } else {
            Some(Duration::ZERO)
        };
        let rest = &mut events[injected.len()..];
        Ok(injected.len() + self.linux.epoll_wait(epoll, rest, timeout)?)
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
        next(&self.accepts)?;
        self.linux.accept(listener)
    }

    fn receive(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer()?;
        self.linux.receive(fd, buffer)
    }

    fn send(&self, fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
        self.transfer()?;
        self.linux.send(fd, buffer)
    }

    fn send_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &[IoSlice<'_>],
        to: Option<&SockAddr>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        self.transfer()?;
        self.linux.send_message(fd, buffers, to, fds)
    }

    fn receive_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &mut [IoSliceMut<'_>],
        want: Want,
    ) -> io::Result<Message> {
        self.transfer()?;
        self.linux.receive_message(fd, buffers, want)
    }

    fn send_batch(&self, fd: BorrowedFd<'_>, batch: &[Outgoing<'_>]) -> io::Result<usize> {
        self.transfer()?;
        self.linux.send_batch(fd, batch)
    }

    fn receive_batch(&self, fd: BorrowedFd<'_>, batch: &mut [Incoming<'_>]) -> io::Result<usize> {
        self.transfer()?;
        self.linux.receive_batch(fd, batch)
    }

    fn sendfile(
        &self,
        fd: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> io::Result<usize> {
        self.transfer()?;
        next(&self.sendfiles)?;
        let sent = self.linux.sendfile(fd, file, offset, length)?;
        self.sent_by_file.set(self.sent_by_file.get() + sent as u64);
        Ok(sent)
    }

    // Events.

    fn read_events(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        next(&self.looks)?;
        self.linux.read_events(fd, buffer)
    }

    fn timer_create(&self, clock: TimerClock) -> io::Result<OwnedFd> {
        next(&self.creations)?;
        self.linux.timer_create(clock)
    }

    fn event_create(&self) -> io::Result<OwnedFd> {
        next(&self.creations)?;
        self.linux.event_create()
    }

    fn signals_open(&self, signals: &[i32]) -> io::Result<OwnedFd> {
        next(&self.creations)?;
        self.linux.signals_open(signals)
    }

    fn process_open(&self, pid: u32) -> io::Result<OwnedFd> {
        next(&self.creations)?;
        self.linux.process_open(pid)
    }

    fn process_wait(&self, process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
        next(&self.looks)?;
        self.linux.process_wait(process)
    }

    fn watch_create(&self) -> io::Result<OwnedFd> {
        next(&self.creations)?;
        self.linux.watch_create()
    }

    forward! { linux:
        fn epoll_create() -> io::Result<OwnedFd>;
        fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd>;
        fn connect(address: SocketAddr) -> io::Result<OwnedFd>;
        fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>>;
        fn socket(domain: Domain, kind: Type) -> io::Result<OwnedFd>;
        fn socket_pair(kind: Type) -> io::Result<(OwnedFd, OwnedFd)>;
        fn bind(fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()>;
        fn listen_on(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()>;
        fn connect_to(fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()>;
        fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<Credentials>;
        fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()>;
        fn timer_set(
            timer: BorrowedFd<'_>,
            first: Option<Expiry>,
            period: Duration
        ) -> io::Result<()>;
        fn signals_block(signals: &[i32]) -> io::Result<Vec<i32>>;
        fn signals_unblock(signals: &[i32]) -> io::Result<()>;
        fn process_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()>;
        fn watch_add(watch: BorrowedFd<'_>, path: &Path, mask: u32) -> io::Result<i32>;
        fn watch_remove(watch: BorrowedFd<'_>, descriptor: i32) -> io::Result<()>;
    }
}
