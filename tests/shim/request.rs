//! What a program asks for, taken over from its `struct iocb`.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, OwnedFd};
use std::slice;

use ambidex::disk::{IoBuf, IoBufMut};
use libc::{EBADF, EFAULT, EINVAL, iocb, iovec};

/// As in io_submit(2): `UIO_MAXIOV`.
const VECTORS_MAX: u64 = 1_024;

/// Memory of the program. By the contract of io_submit(2) it stays where it is, and untouched, until the request's
/// event: the C program keeps G1 here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreign {
    start: *mut u8,
    length: usize,
}

impl Foreign {
    /// Makes a byte amid the first `length` another one.
    pub(crate) fn flip(self, length: usize) {
        let at = length.min(self.length) / 2;
        assert!(at < self.length, "a byte of this memory");
        // SAFETY: the byte is the program's, and lent to us until the event is taken.
        let byte = unsafe { self.start.add(at) };
        // SAFETY: as above.
        unsafe { *byte ^= 0x40 };
    }
}

// SAFETY: only an address; who may use the memory when is the contract above.
unsafe impl Send for Foreign {}

// SAFETY: the memory does not move with this value.
unsafe impl IoBuf for Foreign {
    fn stable_ptr(&self) -> *const u8 {
        self.start
    }
    fn init_len(&self) -> usize {
        self.length
    }
}

// SAFETY: the program lends `length` bytes to be written.
unsafe impl IoBufMut for Foreign {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.start
    }
    fn capacity(&self) -> usize {
        self.length
    }
    unsafe fn set_init(&mut self, _length: usize) {}
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    ReadVectored,
    WriteVectored,
    Sync,
    SyncData,
}

/// A request, less its descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Address of the `iocb`.
    pub(crate) block: u64,
    /// Its `aio_data`.
    pub(crate) data: u64,
    pub(crate) call: Call,
    pub(crate) memory: Vec<Foreign>,
    pub(crate) offset: u64,
}

/// A request, with a descriptor of its own: as in the kernel, the program may close its own meanwhile.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) asked: Asked,
    pub(crate) file: OwnedFd,
}

impl Asked {
    pub(crate) fn length(&self) -> usize {
        self.memory.iter().map(|memory| memory.length).sum()
    }
}

impl Request {
    /// What the program has written down, or the errno that io_submit(2) answers.
    ///
    /// # Safety
    /// `block` is null or leads to an `iocb` as io_submit(2) asks for.
    pub(crate) unsafe fn decode(block: *const iocb) -> Result<Request, i32> {
        if block.is_null() {
            return Err(EFAULT);
        }
        // SAFETY: the caller's promise.
        let asked = unsafe { &*block };
        // What we could not keep to is refused: flags, eventfds, priorities.
        if asked.aio_flags != 0 || asked.aio_rw_flags != 0 {
            return Err(EINVAL);
        }
        // The numbers of `enum io_iocb_cmd` in libaio.h.
        let call = match asked.aio_lio_opcode {
            0 => Call::Read,
            1 => Call::Write,
            2 => Call::Sync,
            3 => Call::SyncData,
            7 => Call::ReadVectored,
            8 => Call::WriteVectored,
            _ => return Err(EINVAL),
        };
        let Ok(fd) = i32::try_from(asked.aio_fildes) else {
            return Err(EBADF);
        };
        // SAFETY: the program owns it for the time of this call; a number that is no descriptor is EBADF.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        let file = file.try_clone_to_owned();
        let file = file.map_err(|error| error.raw_os_error().unwrap_or(EBADF))?;
        // SAFETY: the caller's promise.
        let memory = unsafe { memory(call, asked)? };
        let asked = Asked {
            block: block.addr() as u64,
            data: asked.aio_data,
            call,
            memory,
            offset: asked.aio_offset as u64,
        };
        Ok(Request { asked, file })
    }
}

/// The memory of a request.
///
/// # Safety
/// That of a vectored request is described by as many `iovec` as it says.
unsafe fn memory(call: Call, asked: &iocb) -> Result<Vec<Foreign>, i32> {
    let start = asked.aio_buf as usize;
    let one = Foreign {
        start: std::ptr::with_exposed_provenance_mut(start),
        length: asked.aio_nbytes as usize,
    };
    match call {
        Call::Read | Call::Write => Ok(vec![one]),
        Call::Sync | Call::SyncData => Ok(Vec::new()),
        Call::ReadVectored | Call::WriteVectored if asked.aio_nbytes > VECTORS_MAX => Err(EINVAL),
        Call::ReadVectored | Call::WriteVectored => {
            let list: *const iovec = one.start.cast_const().cast();
            // SAFETY: the caller's promise.
            let list = unsafe { slice::from_raw_parts(list, one.length) };
            let foreign = |vector: &iovec| Foreign {
                start: vector.iov_base.cast(),
                length: vector.iov_len,
            };
            Ok(list.iter().map(foreign).collect())
        }
    }
}
