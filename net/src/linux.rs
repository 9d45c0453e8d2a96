//! The Linux implementation of [`Kernel`]. The only `unsafe` of this crate.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::ExitStatus;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::net::{self, RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockRef, Socket, Type};

use crate::event::{Expiry, TimerClock, system};
use crate::kernel::{Control, Credentials, Kernel, Message, Received, Want};
use crate::rights;
use crate::tcp::ListenOptions;
use crate::token::Token;
use crate::udp::{BATCH_MAX, Incoming, Outgoing};

/// The kernel that this process runs on.
///
/// ```
/// use ambidex_net::{Kernel, Linux};
/// let epoll = Linux::default().epoll_create()?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It belongs to the process that made it: a child of fork(2) shares the epoll sets, so each change
/// that it made would be the parent's, and each event that it took the parent's loss. Both are
/// refused to it.
#[derive(Debug)]
pub struct Linux {
    /// Set once epoll_pwait2 is found missing (before Linux 5.11) or filtered by seccomp.
    pwait2_missing: Cell<bool>,
    /// [`FORKS`] when it was made.
    made_after: u32,
}

impl Default for Linux {
    fn default() -> Linux {
        Linux {
            // Miri knows the older call only.
            pwait2_missing: Cell::new(cfg!(miri)),
            made_after: forks(),
        }
    }
}

/// How many forks lie between this process and the one that counted first.
static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

fn forks() -> u32 {
    static COUNTING: Once = Once::new();
    COUNTING.call_once(|| {
        // It fails for want of memory only; then forks are not counted.
        // SAFETY: the handler only adds to an atomic, which any child may do.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
    FORKS.load(Ordering::Relaxed)
}

/// `struct __kernel_timespec`: 64 bits wide on every architecture.
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

fn count(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just returned this descriptor to us and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A header for `length` buffers. More than `IOV_MAX` the kernel refuses; a short transfer is the
/// caller's normal case.
fn header(buffers: *mut libc::iovec, length: usize) -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr: no address, no buffers, no control data, no flags.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    // IoSlice and IoSliceMut have the layout of iovec, as std promises.
    header.msg_iov = buffers;
    header.msg_iovlen = length.min(libc::UIO_MAXIOV as usize) as _;
    header
}

fn entry(msg_hdr: libc::msghdr) -> libc::mmsghdr {
    libc::mmsghdr {
        msg_hdr,
        msg_len: 0,
    }
}

fn received(length: usize, flags: libc::c_int) -> Received {
    Received {
        length,
        truncated: flags & libc::MSG_TRUNC != 0,
        control_truncated: flags & libc::MSG_CTRUNC != 0,
    }
}

impl Linux {
    /// An error in a child of the process that made this.
    fn check_process(&self) -> io::Result<()> {
        if FORKS.load(Ordering::Relaxed) == self.made_after {
            return Ok(());
        }
        let text = "a loop stays with its process: after fork(2) the child makes its own";
        Err(io::Error::other(text))
    }

    fn pwait2(
        &self,
        epoll: BorrowedFd<'_>,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let timespec = timeout.map(|timeout| KernelTimespec {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        });
        let timespec = timespec.as_ref().map_or(ptr::null(), ptr::from_ref);
        // The raw number: glibc has a wrapper only since 2.35.
        // SAFETY: `events` and `timespec` outlive the call and the length is that of `events`; a
        // null signal mask leaves the mask as it is.
        count(unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                events.as_mut_ptr(),
                events.len().min(i32::MAX as usize) as libc::c_int,
                timespec,
                ptr::null::<libc::sigset_t>(),
                0usize,
            ) as isize
        })
    }

    fn wait_milliseconds(
        epoll: BorrowedFd<'_>,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        // SAFETY: `events` outlives the call and the length is that of `events`.
        count(unsafe {
            libc::epoll_wait(
                epoll.as_raw_fd(),
                events.as_mut_ptr(),
                events.len().min(i32::MAX as usize) as libc::c_int,
                milliseconds(timeout),
            ) as isize
        })
    }
}

/// Rounds up: rounding down would spin through the last millisecond before a deadline.
fn milliseconds(timeout: Option<Duration>) -> libc::c_int {
    timeout.map_or(-1, |timeout| {
        let up = timeout.as_nanos().div_ceil(1_000_000);
        libc::c_int::try_from(up).unwrap_or(libc::c_int::MAX)
    })
}

impl Kernel for Linux {
    fn epoll_create(&self) -> io::Result<OwnedFd> {
        // SAFETY: takes no pointer.
        own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
    }

    fn epoll_ctl(
        &self,
        epoll: BorrowedFd<'_>,
        control: Control,
        fd: BorrowedFd<'_>,
        flags: u32,
        token: Token,
    ) -> io::Result<()> {
        self.check_process()?;
        let operation = control.operation();
        let mut event = libc::epoll_event {
            events: flags,
            u64: token.0,
        };
        // SAFETY: `event` outlives the call; both descriptors are borrowed, hence open.
        count(unsafe {
            libc::epoll_ctl(epoll.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) as isize
        })
        .map(drop)
    }

    fn epoll_wait(
        &self,
        epoll: BorrowedFd<'_>,
        events: &mut [libc::epoll_event],
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        self.check_process()?;
        if !self.pwait2_missing.get() {
            match self.pwait2(epoll, events, timeout) {
                // Never an answer of epoll_pwait2 itself: the call is unknown or filtered.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                    self.pwait2_missing.set(true);
                }
                result => return result,
            }
        }
        Linux::wait_milliseconds(epoll, events, timeout)
    }

    fn listen(&self, address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        // Without it a restart waits for the TIME_WAIT of its own old connections.
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        if options.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        Ok(socket.into())
    }

    fn connect(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
        match socket.connect(&address.into()) {
            // connect(2): after EINTR the connection goes on in the background, as after this.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => {
            }
            result => result?,
        }
        Ok(socket.into())
    }

    fn take_error(&self, fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
        SockRef::from(&fd).take_error()
    }

    fn accept(&self, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let accept = |storage: *mut SockAddrStorage, length| {
            // SAFETY: `storage` and `length` are valid for writing during the call, as
            // `SockAddr::try_init` promises.
            own(unsafe { libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) })
        };
        // SAFETY: on success accept4 has filled the address and its length.
        unsafe { SockAddr::try_init(accept) }
    }

    fn socket(&self, domain: Domain, kind: Type) -> io::Result<OwnedFd> {
        Ok(Socket::new(domain, kind.nonblocking().cloexec(), None)?.into())
    }

    fn socket_pair(&self, kind: Type) -> io::Result<(OwnedFd, OwnedFd)> {
        let (one, other) = Socket::pair(Domain::UNIX, kind.nonblocking().cloexec(), None)?;
        Ok((one.into(), other.into()))
    }

    fn bind(&self, fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()> {
        SockRef::from(&fd).bind(address)
    }

    fn listen_on(&self, fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
        SockRef::from(&fd).listen(backlog)
    }

    fn connect_to(&self, fd: BorrowedFd<'_>, address: &SockAddr) -> io::Result<()> {
        SockRef::from(&fd).connect(address)
    }

    fn peer_credentials(&self, fd: BorrowedFd<'_>) -> io::Result<Credentials> {
        let mut peer = libc::ucred {
            pid: 0,
            uid: 0,
            gid: 0,
        };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `peer` and `length` outlive the call, and `length` is the size of `peer`.
        count(unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut peer).cast(),
                &raw mut length,
            ) as isize
        })?;
        Ok(Credentials {
            pid: peer.pid,
            uid: peer.uid,
            gid: peer.gid,
        })
    }

    fn receive(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        // Not that of libc: with threads in the process it is a cancellation point, at the price of two
        // atomic operations.
        let (length, _) = net::recv(fd, buffer, RecvFlags::empty())?;
        Ok(length)
    }

    fn send(&self, fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
        Ok(net::send(fd, buffer, SendFlags::NOSIGNAL)?)
    }

    fn send_vectored(&self, fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let buffers = &buffers[..buffers.len().min(libc::UIO_MAXIOV as usize)];
        let mut nothing = SendAncillaryBuffer::default();
        Ok(net::sendmsg(
            fd,
            buffers,
            &mut nothing,
            SendFlags::NOSIGNAL,
        )?)
    }

    fn send_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &[IoSlice<'_>],
        to: Option<&SockAddr>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        let mut control = rights::pack(fds)?;
        let mut header = header(buffers.as_ptr().cast_mut().cast(), buffers.len());
        if let Some(to) = to {
            header.msg_name = to.as_ptr().cast_mut().cast();
            header.msg_namelen = to.len();
        }
        if !control.is_empty() {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = control.len() as _;
        }
        // SAFETY: `header` describes `buffers`, `to` and `control`, which outlive the call;
        // sendmsg writes through none of them.
        count(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) })
    }

    fn receive_message(
        &self,
        fd: BorrowedFd<'_>,
        buffers: &mut [IoSliceMut<'_>],
        want: Want,
    ) -> io::Result<Message> {
        let mut control = rights::room(want.fds_max);
        let mut header = header(buffers.as_mut_ptr().cast(), buffers.len());
        if !control.is_empty() {
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = control.len() as _;
        }
        let mut flags = libc::MSG_CMSG_CLOEXEC;
        if want.peek {
            flags |= libc::MSG_PEEK;
        }
        let mut storage = SockAddrStorage::zeroed();
        if want.from {
            header.msg_namelen = storage.size_of();
            header.msg_name = (&raw mut storage).cast();
        }
        // SAFETY: `header` describes `buffers`, `control` and `storage`, borrowed exclusively and
        // outliving the call.
        let length = count(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags) })?;
        let filled: usize = header.msg_controllen as _;
        let control = &control[..filled];
        // SAFETY: the kernel has just made these descriptors for us, in this call's control data.
        let adopt = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
        let mut fds: Vec<OwnedFd> = rights::parse(control).map(adopt).collect();
        let received = received(length, header.msg_flags);
        if received.control_truncated {
            fds.clear();
        }
        // SAFETY: recvmsg has filled `storage` and the length.
        let from = want
            .from
            .then(|| unsafe { SockAddr::new(storage, header.msg_namelen) });
        Ok(Message {
            received,
            from,
            fds,
        })
    }

    fn send_batch(&self, fd: BorrowedFd<'_>, batch: &[Outgoing<'_>]) -> io::Result<usize> {
        let batch = &batch[..batch.len().min(BATCH_MAX)];
        let addresses: Vec<Option<SockAddr>> =
            batch.iter().map(|one| one.to.map(SockAddr::from)).collect();
        let parts: Vec<IoSlice<'_>> = batch.iter().map(|one| IoSlice::new(one.bytes)).collect();
        let entry = |(part, to): (&IoSlice<'_>, &Option<SockAddr>)| {
            let mut header = header(ptr::from_ref(part).cast_mut().cast(), 1);
            if let Some(to) = to {
                header.msg_name = to.as_ptr().cast_mut().cast();
                header.msg_namelen = to.len();
            }
            entry(header)
        };
        let mut headers: Vec<_> = parts.iter().zip(&addresses).map(entry).collect();
        let length = headers.len() as libc::c_uint;
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: `headers` describes `parts`, `addresses` and the bytes of `batch`, which outlive
        // the call; sendmmsg writes only the lengths in `headers`.
        count(unsafe {
            libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), length, flags as _) as isize
        })
    }

    fn receive_batch(&self, fd: BorrowedFd<'_>, batch: &mut [Incoming<'_>]) -> io::Result<usize> {
        let length = batch.len().min(BATCH_MAX);
        let batch = &mut batch[..length];
        let zeroed = std::iter::repeat_with(SockAddrStorage::zeroed);
        let mut addresses: Vec<_> = zeroed.take(length).collect();
        let mut parts: Vec<_> = (batch.iter_mut())
            .map(|one| IoSliceMut::new(one.buffer))
            .collect();
        let entry = |(part, from): (&mut IoSliceMut<'_>, &mut SockAddrStorage)| {
            let mut header = header(ptr::from_mut(part).cast(), 1);
            header.msg_namelen = from.size_of();
            header.msg_name = ptr::from_mut(from).cast();
            entry(header)
        };
        let mut headers: Vec<_> = parts.iter_mut().zip(&mut addresses).map(entry).collect();
        let (list, length) = (headers.as_mut_ptr(), length as libc::c_uint);
        // SAFETY: `headers` describes `parts` and `addresses`, borrowed exclusively and outliving
        // the call; a null timeout is none.
        let filled = count(unsafe {
            libc::recvmmsg(fd.as_raw_fd(), list, length, 0, ptr::null_mut()) as isize
        })?;
        for ((one, entry), from) in batch.iter_mut().zip(&headers).zip(addresses).take(filled) {
            one.received = received(entry.msg_len as usize, entry.msg_hdr.msg_flags);
            // SAFETY: recvmmsg has filled this address and its length.
            let from = unsafe { SockAddr::new(from, entry.msg_hdr.msg_namelen) };
            one.from = from.as_socket();
        }
        Ok(filled)
    }

    fn sendfile(
        &self,
        fd: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        offset: u64,
        length: usize,
    ) -> io::Result<usize> {
        let invalid = |_| io::Error::from_raw_os_error(libc::EINVAL);
        let mut offset = i64::try_from(offset).map_err(invalid)?;
        let (socket, file) = (fd.as_raw_fd(), file.as_raw_fd());
        // SAFETY: `offset` outlives the call; both descriptors are borrowed, hence open.
        count(unsafe { libc::sendfile64(socket, file, &raw mut offset, length) })
    }

    fn shutdown(&self, fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
        SockRef::from(&fd).shutdown(how)
    }

    // Events.

    fn read_events(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        system::read_events(fd, buffer)
    }

    fn timer_create(&self, clock: TimerClock) -> io::Result<OwnedFd> {
        system::timer_create(clock)
    }

    fn timer_set(
        &self,
        timer: BorrowedFd<'_>,
        first: Option<Expiry>,
        period: Duration,
    ) -> io::Result<()> {
        system::timer_set(timer, first, period)
    }

    fn event_create(&self) -> io::Result<OwnedFd> {
        system::event_create()
    }

    fn signals_block(&self, signals: &[i32]) -> io::Result<Vec<i32>> {
        let before = change_mask(libc::SIG_BLOCK, &signal_set(signals)?)?;
        // SAFETY: `before` is a set that pthread_sigmask has filled.
        let unblocked =
            |signal: &i32| unsafe { libc::sigismember(&raw const before, *signal) } == 0;
        Ok(signals.iter().copied().filter(unblocked).collect())
    }

    fn signals_unblock(&self, signals: &[i32]) -> io::Result<()> {
        change_mask(libc::SIG_UNBLOCK, &signal_set(signals)?).map(drop)
    }

    fn signals_open(&self, signals: &[i32]) -> io::Result<OwnedFd> {
        let (set, flags) = (signal_set(signals)?, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
        // SAFETY: `set` is initialised and outlives the call, which only reads it.
        own(unsafe { libc::signalfd(-1, &raw const set, flags) })
    }

    fn process_open(&self, pid: u32) -> io::Result<OwnedFd> {
        system::process_open(pid)
    }

    fn process_wait(&self, process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
        system::process_wait(process)
    }

    fn process_signal(&self, process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
        // The raw number: rustix knows no real-time signals, libc has no wrapper.
        let info = ptr::null::<libc::siginfo_t>();
        let process = process.as_raw_fd();
        // SAFETY: the descriptor is borrowed, hence open; a null siginfo is that of kill(2).
        count(unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, process, signal, info, 0u32) as isize
        })
        .map(drop)
    }

    fn watch_create(&self) -> io::Result<OwnedFd> {
        system::watch_create()
    }

    fn watch_add(&self, watch: BorrowedFd<'_>, path: &Path, mask: u32) -> io::Result<i32> {
        system::watch_add(watch, path, mask)
    }

    fn watch_remove(&self, watch: BorrowedFd<'_>, descriptor: i32) -> io::Result<()> {
        system::watch_remove(watch, descriptor)
    }
}

fn signal_set(signals: &[i32]) -> io::Result<libc::sigset_t> {
    // SAFETY: all-zero is a valid sigset_t; sigemptyset only makes sure of its meaning.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live exclusive local.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in signals {
        // SAFETY: `set` was initialised above; a number that is no signal answers EINVAL.
        count(unsafe { libc::sigaddset(&raw mut set, *signal) } as isize)?;
    }
    Ok(set)
}

/// Changes the calling thread's mask and answers what it was before.
fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<libc::sigset_t> {
    let mut before = signal_set(&[])?;
    // SAFETY: both sets are initialised and outlive the call.
    match unsafe { libc::pthread_sigmask(how, set, &raw mut before) } {
        0 => Ok(before),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_round_up_and_never_wrap() {
        assert_eq!(milliseconds(None), -1);
        assert_eq!(milliseconds(Some(Duration::ZERO)), 0);
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), 1);
        assert_eq!(milliseconds(Some(Duration::from_micros(1001))), 2);
        assert_eq!(milliseconds(Some(Duration::MAX)), libc::c_int::MAX);
    }

    #[test]
    fn without_epoll_pwait2_the_wait_falls_back_to_milliseconds() {
        let linux = Linux::default();
        linux.pwait2_missing.set(true);
        let epoll = linux.epoll_create().unwrap();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 4];
        let timeout = Some(Duration::from_micros(10));
        let borrowed = std::os::fd::AsFd::as_fd(&epoll);
        assert_eq!(linux.epoll_wait(borrowed, &mut events, timeout).unwrap(), 0);
    }
}
