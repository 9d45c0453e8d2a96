//! A bare ring: what io_uring itself gives, without our engine. The one to put beside fio's.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;

use ambidex::disk::PoolBuf;
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};

use super::super::plan::Kind;
use super::queue::{InFlight, Queue};

pub(crate) struct Uring {
    ring: IoUring,
    file: File,
    buffers: Vec<PoolBuf>,
    in_flight: InFlight,
    calls: u64,
}

impl Uring {
    /// A ring of `file` with a slot for each buffer. Deferred: set up as fio does (Linux 6.1), where
    /// completions are made known by [`Queue::turn`] only.
    pub(crate) fn new(file: File, buffers: Vec<PoolBuf>, is_deferred: bool) -> io::Result<Uring> {
        let entries = buffers.len() as u32;
        let deferred = || {
            IoUring::builder()
                .setup_single_issuer()
                .setup_defer_taskrun()
                .build(entries)
        };
        let ring = match is_deferred {
            true => deferred().or_else(|_| IoUring::new(entries)),
            false => IoUring::new(entries),
        };
        Ok(Uring {
            ring: ring?,
            file,
            in_flight: InFlight::new(buffers.len()),
            buffers,
            calls: 0,
        })
    }

    fn entry(&mut self, slot: usize, kind: Kind, offset: u64) -> squeue::Entry {
        let fd = Fd(self.file.as_raw_fd());
        let buffer = &mut self.buffers[slot];
        let length = buffer.len() as u32;
        let entry = match kind {
            Kind::Read => opcode::Read::new(fd, buffer.as_mut_ptr(), length)
                .offset(offset)
                .build(),
            Kind::Write => opcode::Write::new(fd, buffer.as_ptr(), length)
                .offset(offset)
                .build(),
            Kind::Sync { data_only: true } => {
                opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build()
            }
            Kind::Sync { data_only: false } => opcode::Fsync::new(fd).build(),
        };
        entry.user_data(slot as u64)
    }
}

impl Queue for Uring {
    fn buffer(&mut self, slot: usize) -> &mut [u8] {
        self.in_flight.assert_idle(slot);
        &mut self.buffers[slot]
    }

    fn push(&mut self, slot: usize, kind: Kind, offset: u64) {
        self.in_flight.begin(slot);
        let entry = self.entry(slot, kind, offset);
        // SAFETY: the buffer stays where it is and is touched by nobody before its completion, which
        // `in_flight` sees to; when the ring goes, `drop` waits. The file is ours as long as the ring.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the submission queue has an entry for each slot");
    }

    fn submit(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.ring.submit() {
            // What was not taken goes with the next.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            submitted => submitted.map(drop),
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        loop {
            self.calls += 1;
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                submitted => return submitted.map(drop),
            }
        }
    }

    fn complete(&mut self) -> Option<(usize, io::Result<usize>)> {
        let completion = self.ring.completion().next()?;
        let slot = completion.user_data() as usize;
        self.in_flight.end(slot);
        let result = usize::try_from(completion.result());
        let result = result.map_err(|_| io::Error::from_raw_os_error(-completion.result()));
        Some((slot, result))
    }

    fn calls(&self) -> u64 {
        self.calls
    }
}

impl Drop for Uring {
    /// Closing a ring does not stop the kernel from writing into buffers.
    fn drop(&mut self) {
        while !self.in_flight.is_empty() {
            while self.complete().is_some() {}
            if !self.in_flight.is_empty() && self.turn().is_err() {
                // They may be written to until the process ends.
                mem::forget(mem::take(&mut self.buffers));
                return;
            }
        }
    }
}
