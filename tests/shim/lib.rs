//! The calls of libaio on top of the engine: an `LD_PRELOAD` library, so that programs of others, such as fio, check
//! our path to the disk.
//!
//! Each context has an engine in a thread of its own, made by `io_setup`. What cannot be done is refused with
//! `EINVAL`: polling, eventfds (`IOCB_FLAG_RESFD`), `RWF_*` flags. By environment:
//!
//! - `AMBIDEX_DISK`: the backend, as everywhere;
//! - `AMBIDEX_SHIM_FACE`: `token` (`ambidex::Poll`, the default) or `task` (futures, vectored calls too);
//! - `AMBIDEX_SHIM_TALLY`: a directory for one file a context, which tells what was done;
//! - `AMBIDEX_SHIM_FAULT`: `flip` a byte of what was read, or `drop` a write and call it done, to see that
//!   the program notices.
#![allow(unsafe_code)]

pub(crate) mod context;
mod request;
mod tally;
mod task;
mod token;

use std::ffi::{c_int, c_long};
use std::slice;
use std::time::Duration;

use libc::{EAGAIN, EFAULT, EINPROGRESS, EINVAL, iocb, timespec};

use context::{Context, IoEvent, Settings};
use request::Request;

/// More than the kernel gives by default (`fs.aio-max-nr`) is refused as there.
const EVENTS_MAX: c_int = 65_536;

/// `io_setup(2)`; `*context` is a number of ours then, and no address.
///
/// # Safety
/// As the C function: `context` points to a place that may be read and written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_setup(events: c_int, context: *mut u64) -> c_int {
    if context.is_null() {
        return -EFAULT;
    }
    // SAFETY: the caller's promise.
    let slot = unsafe { &mut *context };
    if *slot != 0 || events <= 0 {
        return -EINVAL;
    }
    if events > EVENTS_MAX {
        return -EAGAIN;
    }
    let settings = Settings::from_environment();
    match settings.and_then(|settings| Context::set_up(events as usize, settings)) {
        Ok(number) => *slot = number,
        Err(error) => return -error.raw_os_error().unwrap_or(EINVAL),
    }
    0
}

/// `io_queue_init` of libaio: `io_setup` of whatever `*context` was.
///
/// # Safety
/// As [`io_setup`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_queue_init(events: c_int, context: *mut u64) -> c_int {
    if context.is_null() {
        return -EFAULT;
    }
    // SAFETY: the caller's promise.
    unsafe { context.write(0) };
    // SAFETY: the caller's promise.
    unsafe { io_setup(events, context) }
}

/// `io_destroy(2)`: waits for what is in flight.
#[unsafe(no_mangle)]
pub extern "C" fn io_destroy(context: u64) -> c_int {
    match Context::remove(context) {
        Some(context) => {
            context.end();
            0
        }
        None => -EINVAL,
    }
}

/// `io_queue_release` of libaio: [`io_destroy`].
#[unsafe(no_mangle)]
pub extern "C" fn io_queue_release(context: u64) -> c_int {
    io_destroy(context)
}

/// `io_submit(2)`: how many of the requests were begun, or why the first was not.
///
/// # Safety
/// As the C function: `list` has `count` pointers to requests, whose memory stays where it is until their events
/// have been taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_submit(context: u64, count: c_long, list: *mut *mut iocb) -> c_int {
    let (Some(context), Ok(count)) = (Context::find(context), usize::try_from(count)) else {
        return -EINVAL;
    };
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller's promise.
    let list = unsafe { slice::from_raw_parts(list, count) };
    let mut requests = Vec::with_capacity(count);
    let mut refusal = EAGAIN;
    for &block in list {
        // SAFETY: the caller's promise.
        match unsafe { Request::decode(block) } {
            Ok(request) => requests.push(request),
            Err(errno) => {
                refusal = errno;
                break;
            }
        }
    }
    match context.submit(requests) {
        0 => -refusal,
        begun => begun as c_int,
    }
}

/// `io_getevents(2)`: waits for at least `least` events and takes `most` of them at most. A negative errno is the
/// answer to bad arguments.
///
/// # Safety
/// As the C function: `events` has room for `most` events, and `timeout` points to a time or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn io_getevents(
    context: u64,
    least: c_long,
    most: c_long,
    events: *mut IoEvent,
    timeout: *const timespec,
) -> c_int {
    let (Some(context), Ok(least)) = (Context::find(context), usize::try_from(least)) else {
        return -EINVAL;
    };
    let most = usize::try_from(most).unwrap_or(0);
    if most == 0 || least > most {
        return -EINVAL;
    }
    let mut patience = None;
    if !timeout.is_null() {
        // SAFETY: the caller's promise.
        let timeout = unsafe { &*timeout };
        let (seconds, nanos) = (timeout.tv_sec as u64, timeout.tv_nsec as u32);
        patience = Some(Duration::new(seconds, nanos));
    }
    let taken = context.take(least, most, patience);
    // SAFETY: the caller's promise; no more than `most` were taken.
    unsafe { events.copy_from_nonoverlapping(taken.as_ptr(), taken.len()) };
    taken.len() as c_int
}

/// `io_cancel(2)`: as in the kernel since Linux 4.19 the event comes by `io_getevents`, and the answer is
/// `EINPROGRESS`; `EINVAL` if no such request is in flight.
#[unsafe(no_mangle)]
pub extern "C" fn io_cancel(context: u64, block: *mut iocb, _event: *mut IoEvent) -> c_int {
    match Context::find(context) {
        Some(context) if context.cancel(block.addr() as u64) => -EINPROGRESS,
        _ => -EINVAL,
    }
}
