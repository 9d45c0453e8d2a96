//! io_setup(2), io_submit(2), io_getevents(2), by raw system calls: no library has them all safely.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;

use ambidex::disk::PoolBuf;
use libc::{c_long, c_ulong};

use super::super::plan::Kind;
use super::queue::{InFlight, Queue};
use super::{Options, buffers};

/// `struct iocb` of linux/aio_abi.h, as 64-bit little-endian machines have it.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    eventfd: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct IoEvent {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

const _: () = assert!(size_of::<Iocb>() == 64 && size_of::<IoEvent>() == 32);
#[cfg(target_endian = "big")]
compile_error!("struct iocb has key and rw_flags the other way round here");

const CMD_PREAD: u16 = 0;
const CMD_PWRITE: u16 = 1;
const CMD_FSYNC: u16 = 2;
const CMD_FDSYNC: u16 = 3;

pub(super) struct Libaio {
    context: c_ulong,
    file: File,
    buffers: Vec<PoolBuf>,
    in_flight: InFlight,
    control: Vec<Iocb>,
    /// Slots that wait to be submitted.
    queued: Vec<usize>,
    events: Vec<IoEvent>,
    /// Events that are there and not looked at yet.
    arrived: usize,
    calls: u64,
}

impl Libaio {
    pub(super) fn new(file: File, options: &Options) -> io::Result<Libaio> {
        let depth = options.iodepth;
        let mut context: c_ulong = 0;
        // SAFETY: the kernel writes the context's number there.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, depth as c_long, &raw mut context) };
        answer(made)?;
        Ok(Libaio {
            context,
            file,
            buffers: buffers(options),
            in_flight: InFlight::new(depth),
            control: (0..depth).map(|_| Iocb::default()).collect(),
            queued: Vec::with_capacity(depth),
            events: vec![IoEvent::default(); depth],
            arrived: 0,
            calls: 0,
        })
    }

    fn wait(&mut self) -> io::Result<()> {
        loop {
            self.calls += 1;
            // SAFETY: there is room for so many events; no timeout.
            let got = unsafe {
                libc::syscall(
                    libc::SYS_io_getevents,
                    self.context,
                    1 as c_long,
                    self.events.len() as c_long,
                    self.events.as_mut_ptr(),
                    ptr::null_mut::<libc::timespec>(),
                )
            };
            match answer(got) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                got => {
                    self.arrived = got?;
                    return Ok(());
                }
            }
        }
    }
}

fn answer(result: c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

impl Queue for Libaio {
    fn buffer(&mut self, slot: usize) -> &mut [u8] {
        self.in_flight.assert_idle(slot);
        &mut self.buffers[slot]
    }

    fn push(&mut self, slot: usize, kind: Kind, offset: u64) {
        self.in_flight.begin(slot);
        let buffer = &mut self.buffers[slot];
        let moved = Iocb {
            data: slot as u64,
            fd: self.file.as_raw_fd() as u32,
            buffer: buffer.as_mut_ptr().expose_provenance() as u64,
            bytes: buffer.len() as u64,
            offset: offset as i64,
            ..Iocb::default()
        };
        self.control[slot] = match kind {
            Kind::Read => Iocb {
                opcode: CMD_PREAD,
                ..moved
            },
            Kind::Write => Iocb {
                opcode: CMD_PWRITE,
                ..moved
            },
            Kind::Sync { data_only } => Iocb {
                opcode: if data_only { CMD_FDSYNC } else { CMD_FSYNC },
                data: moved.data,
                fd: moved.fd,
                ..Iocb::default()
            },
        };
        self.queued.push(slot);
    }

    fn submit(&mut self) -> io::Result<()> {
        while !self.queued.is_empty() {
            let control = &self.control;
            let pointers: Vec<*const Iocb> = self
                .queued
                .iter()
                .map(|slot| &raw const control[*slot])
                .collect();
            self.calls += 1;
            // SAFETY: so many pointers, each to a block that is filled; the kernel copies the blocks.
            // What they point to stays until the completion, which `in_flight` sees to; when the
            // context goes, `drop` waits.
            let submitted = unsafe {
                libc::syscall(
                    libc::SYS_io_submit,
                    self.context,
                    pointers.len() as c_long,
                    pointers.as_ptr(),
                )
            };
            match answer(submitted) {
                Ok(count) => drop(self.queued.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        self.submit()?;
        self.wait()
    }

    fn complete(&mut self) -> Option<(usize, io::Result<usize>)> {
        self.arrived = self.arrived.checked_sub(1)?;
        let event = self.events[self.arrived];
        let slot = event.data as usize;
        self.in_flight.end(slot);
        let result = usize::try_from(event.result);
        let result = result.map_err(|_| io::Error::from_raw_os_error(-event.result as i32));
        Some((slot, result))
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}

impl Drop for Libaio {
    fn drop(&mut self) {
        // SAFETY: our context. The call waits for what is in flight, so the buffers are free then.
        let gone = unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
        if gone < 0 {
            mem::forget(mem::take(&mut self.buffers));
        }
    }
}
