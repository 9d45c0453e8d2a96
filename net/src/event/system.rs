//! The calls of Linux that events are made of and that need no unsafe code of ours: what
//! [`Linux`](crate::Linux) does for them.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::event::{Expiry, TimerClock};

/// The shortest time that does not stop a timer.
const INSTANT: Duration = Duration::from_nanos(1);

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

pub(crate) fn read_events(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(fd, buffer)?)
}

pub(crate) fn timer_create(clock: TimerClock) -> io::Result<OwnedFd> {
    let clock = match clock {
        TimerClock::Monotonic => TimerfdClockId::Monotonic,
        TimerClock::Boottime => TimerfdClockId::Boottime,
        TimerClock::Realtime => TimerfdClockId::Realtime,
    };
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    Ok(timerfd_create(clock, flags)?)
}

pub(crate) fn timer_set(
    timer: BorrowedFd<'_>,
    first: Option<Expiry>,
    period: Duration,
) -> io::Result<()> {
    let absolute = TimerfdTimerFlags::ABSTIME;
    let (flags, value) = match first {
        None => (TimerfdTimerFlags::empty(), Duration::ZERO),
        // Zero would stop the timer; what is due now is due in a nanosecond.
        Some(Expiry::After(after)) => (TimerfdTimerFlags::empty(), after.max(INSTANT)),
        Some(Expiry::At(at)) => (absolute, at.max(INSTANT)),
    };
    let setting = Itimerspec {
        it_interval: timespec(period),
        it_value: timespec(value),
    };
    timerfd_settime(timer, flags, &setting)?;
    Ok(())
}

pub(crate) fn event_create() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)
}

pub(crate) fn process_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(pidfd_open(
        pid.ok_or(rustix::io::Errno::INVAL)?,
        PidfdFlags::empty(),
    )?)
}

pub(crate) fn process_wait(process: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::PidFd(process), options)?;
    Ok(status.map(|status| {
        // The words of wait(2): exit code << 8, or the signal and 0x80 for a core dump.
        let exit = status.exit_status().map(|code| (code & 0xff) << 8);
        let signal = status.terminating_signal().unwrap_or_default();
        let dumped = if status.dumped() { 0x80 } else { 0 };
        ExitStatus::from_raw(exit.unwrap_or(signal | dumped))
    }))
}

pub(crate) fn watch_create() -> io::Result<OwnedFd> {
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    Ok(inotify::init(flags)?)
}

pub(crate) fn watch_add(watch: BorrowedFd<'_>, path: &Path, mask: u32) -> io::Result<i32> {
    let flags = inotify::WatchFlags::from_bits_retain(mask);
    Ok(inotify::add_watch(watch, path, flags)?)
}

pub(crate) fn watch_remove(watch: BorrowedFd<'_>, descriptor: i32) -> io::Result<()> {
    Ok(inotify::remove_watch(watch, descriptor)?)
}
