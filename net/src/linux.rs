//! The Linux implementation of [`Kernel`]. The only `unsafe` of this crate.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::ExitStatus;
use std::ptr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::event::{Expiry, TimerClock, system};
use crate::kernel::{Control, Kernel};
use crate::tcp::ListenOptions;
use crate::token::Token;

/// The kernel that this process runs on.
///
/// ```
/// use ambidex_net::{Kernel, Linux};
/// let epoll = Linux::default().epoll_create()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Linux {
    /// Set once epoll_pwait2 is found missing (before Linux 5.11) or filtered by seccomp.
    pwait2_missing: Cell<bool>,
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

impl Linux {
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
        let operation = match control {
            Control::Add => libc::EPOLL_CTL_ADD,
            Control::Modify => libc::EPOLL_CTL_MOD,
            Control::Remove => libc::EPOLL_CTL_DEL,
        };
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

    fn accept(&self, listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let accept = |storage: *mut socket2::SockAddrStorage, length| {
            // SAFETY: `storage` and `length` are valid for writing during the call, as
            // `SockAddr::try_init` promises.
            own(unsafe { libc::accept4(listener.as_raw_fd(), storage.cast(), length, flags) })
        };
        // SAFETY: on success accept4 has filled the address and its length.
        let (fd, address) = unsafe { SockAddr::try_init(accept) }?;
        match address.as_socket() {
            Some(address) => Ok((fd, address)),
            None => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }

    fn receive(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the pointer and length are those of a live exclusive slice.
        count(unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) })
    }

    fn send(&self, fd: BorrowedFd<'_>, buffer: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: the pointer and length are those of a live slice.
        count(unsafe { libc::send(fd.as_raw_fd(), buffer.as_ptr().cast(), buffer.len(), flags) })
    }

    fn send_vectored(&self, fd: BorrowedFd<'_>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        // sendmsg(2) refuses more than IOV_MAX; a short send is the caller's normal case.
        let count_max = buffers.len().min(libc::UIO_MAXIOV as usize);
        // SAFETY: all-zero is a valid msghdr: no address, no control data, no flags.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        // IoSlice has the layout of iovec; sendmsg does not write through it.
        message.msg_iov = buffers.as_ptr().cast_mut().cast();
        message.msg_iovlen = count_max as _;
        // SAFETY: `message` describes `buffers`, which outlive the call.
        count(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) })
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
