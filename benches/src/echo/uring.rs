//! The echo server on a bare ring, readiness of the listener apart: what io_uring itself gives, without
//! an engine around it.
//!
//! Each connection has one operation in flight, a receive or a send into the same buffer, and each wait
//! submits those that the completions before it have led to. Sockets are blocking ones: a ring answers
//! `EAGAIN` on others instead of waiting.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, ManuallyDrop};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;

use crate::baselines::{Acceptor, BUFFER_BYTES, Counters, Service};

const ENTRIES: u32 = 256;
/// Completions of two operations that are no connection's.
const STOP: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

pub(super) fn serve(service: Service) -> io::Result<()> {
    let counters = Arc::clone(&service.counters);
    let (stop, upper) = (service.stop, service.upper);
    let mut acceptor = Acceptor::new(
        service.listener,
        upper,
        service.verbose,
        Arc::clone(&counters),
    )?;
    let mut peers = Peers::new(upper, Arc::clone(&counters))?;
    peers.watch(&stop, STOP)?;
    peers.watch(&acceptor, LISTENER)?;
    let mut completions = Vec::new();
    loop {
        peers.wait()?;
        completions.extend(peers.ring.completion());
        counters.wait(completions.len(), completions.len());
        for completion in completions.drain(..) {
            match completion.user_data() {
                STOP => return Ok(()),
                LISTENER => {
                    while let Some(stream) = acceptor.accept_stream()? {
                        peers.insert(stream)?;
                    }
                    peers.watch(&acceptor, LISTENER)?;
                }
                _ => peers.completed(&completion)?,
            }
        }
    }
}

struct Peer {
    stream: TcpStream,
    buffer: Box<[u8]>,
    /// What of the buffer is to be sent; nothing while it receives.
    unsent: Range<usize>,
}

/// The ring and the connections whose buffers it works on: one operation each.
struct Peers {
    ring: IoUring,
    table: ManuallyDrop<Slab<Peer>>,
    upper: bool,
    counters: Arc<Counters>,
}

impl Peers {
    fn new(upper: bool, counters: Arc<Counters>) -> io::Result<Peers> {
        // Linux 6.1: completions are made while this thread waits.
        let deferred = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(ENTRIES);
        Ok(Peers {
            ring: deferred.or_else(|_| IoUring::new(ENTRIES))?,
            table: ManuallyDrop::default(),
            upper,
            counters,
        })
    }

    /// Completes with `user_data` when `fd` is readable, once.
    fn watch(&mut self, fd: &impl AsFd, user_data: u64) -> io::Result<()> {
        let fd = Fd(fd.as_fd().as_raw_fd());
        let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).build();
        self.push(&entry.user_data(user_data))
    }

    fn insert(&mut self, stream: TcpStream) -> io::Result<()> {
        let key = self.table.insert(Peer {
            stream,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            unsent: 0..0,
        });
        self.begin(key)
    }

    /// Sends what is unsent, else receives.
    fn begin(&mut self, key: usize) -> io::Result<()> {
        let peer = &mut self.table[key];
        let fd = Fd(peer.stream.as_raw_fd());
        let entry = if peer.unsent.is_empty() {
            let length = peer.buffer.len() as u32;
            opcode::Recv::new(fd, peer.buffer.as_mut_ptr(), length).build()
        } else {
            let unsent = &peer.buffer[peer.unsent.clone()];
            opcode::Send::new(fd, unsent.as_ptr(), unsent.len() as u32).build()
        };
        self.push(&entry.user_data(key as u64))
    }

    fn completed(&mut self, completion: &cqueue::Entry) -> io::Result<()> {
        let key = completion.user_data() as usize;
        let peer = &mut self.table[key];
        match usize::try_from(completion.result()) {
            Ok(length) if !peer.unsent.is_empty() => peer.unsent.start += length,
            Ok(length) if length > 0 => {
                peer.unsent = 0..length;
                if self.upper {
                    peer.buffer[..length].make_ascii_uppercase();
                }
            }
            Err(_) if completion.result() == -libc::EINTR => {}
            // The peer has sent its last byte and been answered, or is gone.
            _ => {
                self.table.remove(key);
                return Ok(());
            }
        }
        self.begin(key)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: a poll has no memory. The buffer of any other operation lies in `table`, which frees it
        // only when its one operation has completed: `completed`, `drop`.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            self.counters.call();
            self.ring.submit()?;
        }
        Ok(())
    }

    /// Submits, and sleeps until something has completed.
    fn wait(&mut self) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            submitted => submitted.map(drop),
        }
    }
}

impl Drop for Peers {
    /// Ends the connections, and frees their buffers when the kernel has let go of all.
    fn drop(&mut self) {
        for (_, peer) in &*self.table {
            // Not connected any more: what is in flight ends by itself.
            let _ = peer.stream.shutdown(Shutdown::Both);
        }
        while !self.table.is_empty() {
            if self.wait().is_err() {
                // They may be written to until the process ends.
                return;
            }
            for completion in self.ring.completion() {
                let key = completion.user_data() as usize;
                if self.table.contains(key) {
                    self.table.remove(key);
                }
            }
        }
        drop(mem::take(&mut *self.table));
    }
}
