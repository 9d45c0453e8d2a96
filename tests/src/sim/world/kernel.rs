//! The calls of [`ambidex::net::Kernel`] on a simulated network; what it has not got is `ENOSYS`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use ambidex::net::event::{Expiry, TimerClock};
use ambidex::net::kernel::{Control, Message, Received, Want};
use ambidex::net::socket2::{Domain, SockAddr, Type};
use ambidex::net::udp::{Incoming, Outgoing};
use ambidex::net::{Credentials, Kernel, ListenOptions, Token};

use super::net::{SimNet, failure};

/// What a result looks like in a trace.
pub(super) fn word(result: &io::Result<usize>) -> u64 {
    match result {
        Ok(count) => *count as u64,
        Err(error) => (1 << 32) | u64::from(error.raw_os_error().unwrap_or(0).cast_unsigned()),
    }
}

/// A checksum of the first bytes: a trace holds what was moved, not only how much.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let words = bytes[..bytes.len().min(256)].chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(bytes.len() as u64, |sum, word| {
        (sum.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95)
    })
}

impl SimNet {
    /// The number of what `fd` stands for: descriptors themselves differ from run to run.
    fn number(&self, fd: BorrowedFd<'_>) -> u64 {
        let object = self.state.borrow().object(fd);
        object.map_or(u64::MAX, |object| object as u64)
    }

    fn noted<T>(
        &self,
        call: &'static str,
        mut words: Vec<u64>,
        result: io::Result<T>,
        length: impl FnOnce(&T) -> usize,
    ) -> io::Result<T> {
        let length = result.as_ref().map(length);
        words.push(match length {
            Ok(length) => length as u64,
            Err(error) => (1 << 32) | u64::from(error.raw_os_error().unwrap_or(0).cast_unsigned()),
        });
        self.time.note(call, &words);
        result
    }
}

impl Kernel for SimNet {
    fn epoll_create(&self) -> io::Result<OwnedFd> {
        self.noted("epoll_create", Vec::new(), self.make_set(), |_| 0)
    }

    fn epoll_ctl(
        &self,
        epoll: BorrowedFd<'_>,
        control: Control,
        fd: BorrowedFd<'_>,
        flags: u32,
        token: Token,
    ) -> io::Result<()> {
        let set = self.set_of(epoll)?;
        let result = self.control(set, control, fd, flags, token.0);
        let words = vec![control as u64, self.number(fd), flags.into(), token.0];
        self.noted("epoll_ctl", words, result, |()| 0)
    }

    fn epoll_wait(
        &self,
        epoll: BorrowedFd<'_>,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let set = self.set_of(epoll)?;
        let timeout_word = timeout.map_or(u64::MAX, |timeout| timeout.as_nanos() as u64);
        let reports = self.wait(set, events.len(), timeout);
        let mut words = vec![timeout_word];
        for (place, report) in events.iter_mut().zip(reports.iter().flatten()) {
            (place.events, place.u64) = (report.flags, report.token);
            words.extend([u64::from(report.flags), report.token]);
        }
        let reports = self.noted("epoll_wait", words, reports, Vec::len)?;
        Ok(reports.len())
    }

    fn listen(&self, address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
        let backlog = usize::try_from(options.backlog).unwrap_or(0);
        let result = self.add_listener(address, backlog);
        let words = vec![address.port().into(), backlog as u64];
        self.noted("listen", words, result, |_| 0)
    }

    fn connect(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let result = self.engine_connect(address);
        self.noted("connect", vec![address.port().into()], result, |_| 0)
    }

    fn take_error(&self, fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
        let end = self.end_of(fd)?;
        let error = self.state.borrow_mut().ends[end].error.take();
        let word = error.map_or(0, i32::cast_unsigned);
        self.time.note("take_error", &[end as u64, word.into()]);
        Ok(error.map(io::Error::from_raw_os_error))
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
        let result = self.engine_accept(listener);
        let words = vec![self.number(listener)];
        let accepted = self.noted("accept", words, result, |(_, peer)| peer.port().into());
        accepted.map(|(fd, peer)| (fd, peer.into()))
    }

    fn receive(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.engine_receive(fd, buffer);
        let moved = result.as_ref().map_or(0, |count| *count);
        let words = [
            self.number(fd),
            buffer.len() as u64,
            checksum(&buffer[..moved]),
            word(&result),
        ];
        self.time.note("receive", &words);
        result
    }

    fn send(&self, fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
        self.send_vectored(fd, &[IoSlice::new(buffer)])
    }

    fn send_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &[IoSlice<'_>],
        to: Option<&SockAddr>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        if to.is_some() || !fds.is_empty() {
            return failure(libc::ENOSYS);
        }
        let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        let result = self.engine_send(fd, &parts);
        let offered = parts.iter().fold(0, |sum, part| sum ^ checksum(part));
        let words = [self.number(fd), offered, word(&result)];
        self.time.note("send", &words);
        result
    }

    fn receive_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &mut [IoSliceMut<'_>],
        want: Want,
    ) -> io::Result<Message> {
        if want.peek || want.from || want.fds_max > 0 {
            return failure(libc::ENOSYS);
        }
        let mut length = 0;
        for buffer in buffers {
            match self.receive(fd, buffer) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if length == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(Message {
            received: Received {
                length,
                ..Received::default()
            },
            from: None,
            fds: Vec::new(),
        })
    }

    fn send_batch(&self, _: BorrowedFd<'_>, _: &[Outgoing<'_>]) -> io::Result<usize> {
        failure(libc::ENOSYS)
    }

    fn receive_batch(&self, _: BorrowedFd<'_>, _: &mut [Incoming<'_>]) -> io::Result<usize> {
        failure(libc::ENOSYS)
    }

    fn sendfile(
        &self,
        _: BorrowedFd<'_>,
        _: BorrowedFd<'_>,
        _: u64,
        _: usize,
    ) -> io::Result<usize> {
        failure(libc::ENOSYS)
    }

    fn socket(&self, _: Domain, _: Type) -> io::Result<OwnedFd> {
        failure(libc::ENOSYS)
    }

    fn socket_pair(&self, _: Type) -> io::Result<(OwnedFd, OwnedFd)> {
        failure(libc::ENOSYS)
    }

    fn bind(&self, _: BorrowedFd<'_>, _: &SockAddr) -> io::Result<()> {
        failure(libc::ENOSYS)
    }

    fn listen_on(&self, _: BorrowedFd<'_>, _: i32) -> io::Result<()> {
        failure(libc::ENOSYS)
    }

    fn connect_to(&self, _: BorrowedFd<'_>, _: &SockAddr) -> io::Result<()> {
        failure(libc::ENOSYS)
    }

    fn peer_credentials(&self, _: BorrowedFd<'_>) -> io::Result<Credentials> {
        failure(libc::ENOSYS)
    }

    fn shutdown(&self, fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
        let end = self.end_of(fd)?;
        let result = match how {
            Shutdown::Write => self.shut(end),
            Shutdown::Read | Shutdown::Both => failure(libc::ENOSYS),
        };
        self.noted("shutdown", vec![end as u64, how as u64], result, |()| 0)
    }

    fn close(&self, fd: OwnedFd) {
        use std::os::fd::AsFd;
        self.time.note("close", &[self.number(fd.as_fd())]);
        self.release(fd);
    }

    fn read_events(&self, _: BorrowedFd<'_>, _: &mut [u8]) -> io::Result<usize> {
        failure(libc::ENOSYS)
    }

    fn timer_create(&self, _: TimerClock) -> io::Result<OwnedFd> {
        failure(libc::ENOSYS)
    }

    fn timer_set(&self, _: BorrowedFd<'_>, _: Option<Expiry>, _: Duration) -> io::Result<()> {
        failure(libc::ENOSYS)
    }

    fn event_create(&self) -> io::Result<OwnedFd> {
        failure(libc::ENOSYS)
    }

    fn signals_block(&self, _: &[i32]) -> io::Result<Vec<i32>> {
        failure(libc::ENOSYS)
    }

    fn signals_unblock(&self, _: &[i32]) -> io::Result<()> {
        failure(libc::ENOSYS)
    }

    fn signals_open(&self, _: &[i32]) -> io::Result<OwnedFd> {
        failure(libc::ENOSYS)
    }

    fn process_open(&self, _: u32) -> io::Result<OwnedFd> {
        failure(libc::ENOSYS)
    }

    fn process_wait(&self, _: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
        failure(libc::ENOSYS)
    }

    fn process_signal(&self, _: BorrowedFd<'_>, _: i32) -> io::Result<()> {
        failure(libc::ENOSYS)
    }

    fn watch_create(&self) -> io::Result<OwnedFd> {
        failure(libc::ENOSYS)
    }

    fn watch_add(&self, _: BorrowedFd<'_>, _: &Path, _: u32) -> io::Result<i32> {
        failure(libc::ENOSYS)
    }

    fn watch_remove(&self, _: BorrowedFd<'_>, _: i32) -> io::Result<()> {
        failure(libc::ENOSYS)
    }
}
