//! The calls of the shim themselves: what fio does not make of them, and what the kernel's answers would be.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::ptr;
use std::slice;
use std::thread;

use ambidex_tests::sim::backends;
use ambidex_tests::tree::content;
use libc::{EAGAIN, EBADF, ECANCELED, EFAULT, EINPROGRESS, EINVAL, EISDIR, iocb, iovec, timespec};
use tempfile::TempDir;

use super::shim::context::{Context, Face, Fault, IoEvent, Settings};
use super::shim::{io_cancel, io_destroy, io_getevents, io_queue_init, io_setup, io_submit};

const PIECE: usize = 4096;

/// What `enum io_iocb_cmd` of libaio.h says.
#[derive(Clone, Copy, Debug)]
enum Command {
    Read = 0,
    Write = 1,
    Sync = 2,
    SyncData = 3,
    Poll = 5,
    ReadVectored = 7,
    WriteVectored = 8,
}

/// A request as a program in C writes it down.
fn request(command: Command, file: &File, memory: &mut [u8], offset: usize) -> Box<iocb> {
    // SAFETY: all fields are numbers.
    let mut block: Box<iocb> = Box::new(unsafe { mem::zeroed() });
    block.aio_lio_opcode = command as u16;
    block.aio_fildes = file.as_raw_fd() as u32;
    block.aio_buf = memory.as_mut_ptr().expose_provenance() as u64;
    block.aio_nbytes = memory.len() as u64;
    block.aio_offset = offset as i64;
    block.aio_data = 7 + offset as u64;
    block
}

/// The same of several pieces of memory.
fn vectored(command: Command, file: &File, pieces: &mut [iovec], offset: usize) -> Box<iocb> {
    let mut block = request(command, file, &mut [], offset);
    block.aio_buf = pieces.as_mut_ptr().expose_provenance() as u64;
    block.aio_nbytes = pieces.len() as u64;
    block
}

fn pieces(memory: &mut [u8], length: usize) -> Vec<iovec> {
    let piece = |part: &mut [u8]| iovec {
        iov_base: part.as_mut_ptr().cast(),
        iov_len: part.len(),
    };
    memory.chunks_mut(length).map(piece).collect()
}

/// A context, ended when dropped: what is in flight is waited for before memory goes, as a program in C must.
struct Calls(u64);

impl Calls {
    fn submit(&self, blocks: &mut [Box<iocb>]) -> i32 {
        let pointer = |block: &mut Box<iocb>| ptr::from_mut(&mut **block);
        let list = blocks.iter_mut().map(pointer).collect();
        self.submit_list(list)
    }

    fn submit_list(&self, mut list: Vec<*mut iocb>) -> i32 {
        // SAFETY: each is null or a request that the test keeps until its event.
        unsafe { io_submit(self.0, list.len() as i64, list.as_mut_ptr()) }
    }

    fn take(&self, least: i64, most: usize, patience: Option<timespec>) -> Vec<IoEvent> {
        let mut events = Vec::with_capacity(most);
        let patience = patience.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: there is room for `most`.
        let count =
            unsafe { io_getevents(self.0, least, most as i64, events.as_mut_ptr(), patience) };
        assert!(count >= 0, "errno {}", -count);
        // SAFETY: as many have been written.
        unsafe { events.set_len(count as usize) };
        events
    }

    /// Carries one request out and tells its result.
    fn carry_out(&self, mut block: Box<iocb>) -> i64 {
        assert_eq!(self.submit(slice::from_mut(&mut block)), 1);
        let events = self.take(1, 1, None);
        assert_eq!(events[0].block, ptr::from_ref(&*block).addr() as u64);
        assert_eq!(events[0].data, block.aio_data);
        events[0].result
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        io_destroy(self.0);
    }
}

/// Runs `test` on a context of each kind, with a file that may be read and written.
fn each(limit: usize, test: impl Fn(&Calls, &File, Face)) {
    for choice in backends("the calls of libaio") {
        for face in [Face::Token, Face::Task] {
            let settings = Settings {
                choice,
                face,
                fault: Fault::None,
            };
            let calls = Calls(Context::set_up(limit, settings).expect("a context"));
            let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let options = &mut File::options();
            let options = options.read(true).write(true).create(true);
            test(
                &calls,
                &options.open(folder.path().join("data")).expect("a file"),
                face,
            );
        }
    }
}

#[test]
fn what_is_written_and_synced_is_read_again_in_whatever_pieces() {
    each(4, |calls, file, face| {
        let mut written = content(1, 3 * PIECE);
        let length = written.len() as i64;
        let write = request(Command::Write, file, &mut written, PIECE);
        assert_eq!(calls.carry_out(write), length);
        for command in [Command::Sync, Command::SyncData] {
            assert_eq!(calls.carry_out(request(command, file, &mut [], 0)), 0);
        }
        let mut read = vec![0; 4 * PIECE];
        assert_eq!(
            calls.carry_out(request(Command::Read, file, &mut read, PIECE)),
            length
        );
        assert_eq!(read[..written.len()], written);

        let mut scattered = vec![0; written.len()];
        let mut list = pieces(&mut scattered, 1000);
        let read = vectored(Command::ReadVectored, file, &mut list, PIECE);
        let answer = calls.carry_out(read);
        if face == Face::Token {
            assert_eq!(answer, -i64::from(EINVAL), "it has no such operation");
            return;
        }
        assert_eq!(answer, length);
        assert_eq!(scattered, written);
        let mut list = pieces(&mut scattered, 777);
        let write = vectored(Command::WriteVectored, file, &mut list, 0);
        assert_eq!(calls.carry_out(write), length);
        let mut read = vec![0; written.len()];
        calls.carry_out(request(Command::Read, file, &mut read, 0));
        assert_eq!(read, written);
    });
}

#[test]
fn bad_requests_are_refused_and_those_before_them_begun() {
    each(4, |calls, file, _| {
        let mut memory = vec![0; 16];
        assert_eq!(calls.submit(&mut []), 0);
        assert_eq!(calls.submit_list(vec![ptr::null_mut()]), -EFAULT);
        let mut blocks = vec![
            request(Command::Write, file, &mut memory, 0),
            request(Command::Poll, file, &mut [], 0),
        ];
        assert_eq!(calls.submit(&mut blocks[1..]), -EINVAL);
        assert_eq!(calls.submit(&mut blocks), 1);
        assert_eq!(calls.take(1, 2, None).len(), 1);
        blocks[0].aio_fildes = 1 << 20;
        assert_eq!(calls.submit(&mut blocks[..1]), -EBADF);
        blocks[0].aio_flags = 1;
        assert_eq!(
            calls.submit(&mut blocks[..1]),
            -EINVAL,
            "an eventfd to ring"
        );
        let folder = File::open("/").expect("the root");
        let read = request(Command::Read, &folder, &mut memory, 0);
        assert_eq!(calls.carry_out(read), -i64::from(EISDIR));
        let stranger = Calls(u64::MAX);
        assert_eq!(stranger.submit(&mut blocks), -EINVAL);
    });
}

#[test]
fn contexts_are_made_of_nothing_but_a_zero_and_a_count() {
    let mut context = 1;
    // SAFETY: a place of our own.
    assert_eq!(unsafe { io_setup(4, &raw mut context) }, -EINVAL);
    // SAFETY: no place is an error, not used.
    assert_eq!(unsafe { io_setup(4, ptr::null_mut()) }, -EFAULT);
    for (events, answer) in [(0, -EINVAL), (-1, -EINVAL), (1 << 20, -EAGAIN)] {
        // SAFETY: a place of our own.
        assert_eq!(unsafe { io_queue_init(events, &raw mut context) }, answer);
    }
    assert_eq!(io_destroy(0), -EINVAL);
}

#[test]
fn as_many_are_begun_as_the_context_has_room_for() {
    each(3, |calls, file, _| {
        let mut memory = vec![0; 16];
        let block = |_| request(Command::Write, file, &mut memory, 0);
        let mut blocks: Vec<_> = (0..5).map(block).collect();
        assert_eq!(calls.submit(&mut blocks), 3);
        assert_eq!(calls.submit(&mut blocks[3..]), -EAGAIN, "none was taken");
        assert_eq!(calls.take(3, 8, None).len(), 3);
        assert_eq!(calls.submit(&mut blocks[3..]), 2);
        assert_eq!(calls.take(2, 8, None).len(), 2);
        let nothing = timespec {
            tv_sec: 0,
            tv_nsec: 1,
        };
        assert!(calls.take(0, 1, None).is_empty());
        assert!(calls.take(1, 1, Some(nothing)).is_empty());
    });
}

#[test]
fn a_request_keeps_to_its_file_when_the_program_closes_it() {
    each(8, |calls, file, _| {
        let expected = content(2, 8 * PIECE);
        let mut written = expected.clone();
        calls.carry_out(request(Command::Write, file, &mut written, 0));
        for _ in 0..50 {
            let own = file.try_clone().expect("a descriptor");
            let mut read = vec![0; expected.len()];
            let read_piece = |(at, part)| request(Command::Read, &own, part, at * PIECE);
            let parts = read.chunks_mut(PIECE).enumerate();
            let mut blocks: Vec<_> = parts.map(read_piece).collect();
            assert_eq!(calls.submit(&mut blocks), 8);
            drop(own);
            let stranger = File::open("/dev/zero").expect("a file of the same number");
            assert_eq!(calls.take(8, 8, None).len(), 8);
            assert_eq!(read, expected);
            drop(stranger);
        }
    });
}

#[test]
fn a_request_that_is_cancelled_ends_all_the_same_and_once() {
    each(64, |calls, file, _| {
        let mut memory = vec![0; 64 * PIECE];
        calls.carry_out(request(Command::Write, file, &mut memory, 0));
        for _ in 0..20 {
            let parts = memory.chunks_mut(PIECE).enumerate();
            let block = |(at, part)| request(Command::Read, file, part, at * PIECE);
            let mut blocks: Vec<_> = parts.map(block).collect();
            assert_eq!(calls.submit(&mut blocks), 64);
            for block in blocks.iter_mut().rev() {
                let answer = io_cancel(calls.0, ptr::from_mut(block), ptr::null_mut());
                assert!([-EINPROGRESS, -EINVAL].contains(&answer), "{answer}");
            }
            let events = calls.take(64, 64, None);
            let results = [PIECE as i64, -i64::from(ECANCELED)];
            assert!(events.iter().all(|event| results.contains(&event.result)));
            let mut ended: Vec<u64> = events.iter().map(|event| event.block).collect();
            ended.sort_unstable();
            ended.dedup();
            assert_eq!(ended.len(), 64);
        }
        assert_eq!(
            io_cancel(calls.0, ptr::null_mut(), ptr::null_mut()),
            -EINVAL
        );
    });
}

#[test]
fn what_is_in_flight_at_the_end_of_its_context_is_carried_out() {
    each(32, |calls, file, _| {
        let expected = content(3, 32 * PIECE);
        let mut written = expected.clone();
        let parts = written.chunks_mut(PIECE).enumerate();
        let block = |(at, part)| request(Command::Write, file, part, at * PIECE);
        let mut blocks: Vec<_> = parts.map(block).collect();
        assert_eq!(calls.submit(&mut blocks), 32);
        assert_eq!(io_destroy(calls.0), 0);
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert!(fs::read(path).expect("the file") == expected);
        assert_eq!(io_destroy(calls.0), -EINVAL, "it is gone");
    });
}

#[test]
fn several_threads_submit_to_one_context_and_take_each_others_events() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 200;
    each(THREADS, |calls, file, _| {
        let mut memory = vec![1; THREADS * PIECE];
        thread::scope(|scope| {
            for (at, part) in memory.chunks_mut(PIECE).enumerate() {
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        let write = request(Command::Write, file, part, at * PIECE);
                        // Freed when its event, which another thread may take, is long past.
                        let mut block = vec![write];
                        assert_eq!(calls.submit(&mut block), 1);
                        assert_eq!(calls.take(1, 1, None)[0].result, PIECE as i64);
                        mem::forget(block);
                    }
                });
            }
        });
        let told = io::Result::map(file.metadata(), |metadata| metadata.len());
        assert_eq!(told.expect("its length"), memory.len() as u64);
    });
}
