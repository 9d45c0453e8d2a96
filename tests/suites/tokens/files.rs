//! Each kind of operation, with each result that it may have.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ambidex::Poll;
use ambidex::disk::{Choice, File, IoBuf, Op, OpenOptions, Pool, Resolve, Slice};
use ambidex_tests::sim::{backends, skip};
use tempfile::TempDir;

use super::{TOKEN, carry_out, complete, none, open, poll_on, refused};

/// A directory on the disk, and one in memory: files of the two are answered in different ways.
fn places() -> Vec<TempDir> {
    let memory = TempDir::new_in("/dev/shm");
    if let Err(error) = &memory {
        skip("files in memory", &error.to_string());
    }
    let disk = TempDir::new().expect("a directory");
    [Some(disk), memory.ok()].into_iter().flatten().collect()
}

/// Runs `test` on each backend and in each place, with a file of 100 bytes.
fn each(name: &str, test: impl Fn(&mut Poll, &Path, PathBuf)) {
    for choice in backends(name) {
        for directory in places() {
            let path = directory.path().join("data");
            fs::write(&path, [7; 100]).expect("a file");
            test(&mut poll_on(choice, 4), directory.path(), path);
        }
    }
}

fn read_write() -> OpenOptions {
    OpenOptions::new().write()
}

fn buffer() -> Vec<u8> {
    Vec::with_capacity(64)
}

#[test]
fn each_kind_of_operation_tells_its_result_and_gives_its_buffer_back() {
    each("every kind", |poll, _, path| {
        let file = open(poll, &read_write(), &path).expect("open");
        let written = carry_out(poll, Op::write_at(&file, &b"written"[..], 3));
        assert_eq!(written.result().expect("written"), 7);
        let (result, back) = written.into_write::<&'static [u8]>().expect("a write");
        assert_eq!((result.expect("written"), back), (7, &b"written"[..]));

        let read = carry_out(poll, Op::read_at(&file, buffer(), 0));
        assert_eq!(read.result().expect("read"), 64);
        let (result, back) = read.into_read::<Vec<u8>>().expect("a read");
        assert_eq!(
            (result.expect("read"), &back[..10]),
            (64, &b"\x07\x07\x07written"[..])
        );

        let cut = carry_out(poll, Op::set_len(&file, 10));
        assert_eq!(cut.result().expect("cut"), 0);
        assert_eq!(fs::metadata(&path).expect("there").len(), 10);
        for op in [Op::sync_all(&file), Op::sync_data(&file)] {
            assert_eq!(carry_out(poll, op).result().expect("synced"), 0);
        }
        let told = carry_out(poll, Op::metadata(&file));
        assert_eq!(told.result().expect("told"), 0);
        assert_eq!(told.metadata().expect("metadata").len(), 10);
        assert!(told.into_file().is_err(), "it opened nothing");
        none(poll);
    });
}

#[test]
fn an_open_from_a_directory_goes_where_it_may_and_no_further() {
    each("open_at", |poll, directory, _| {
        let folder = open(poll, &OpenOptions::new().directory(), directory).expect("open");
        let inside = OpenOptions::new().resolve(Resolve::NO_XDEV | Resolve::BENEATH);
        for options in [&OpenOptions::new(), &inside] {
            let opened = carry_out(poll, Op::open_at(&folder, options, "data")).into_file();
            let read = carry_out(poll, Op::read_at(&opened.expect("open"), buffer(), 90));
            assert_eq!(read.result().expect("read"), 10);
            let missing = carry_out(poll, Op::open_at(&folder, options, "nothing"));
            assert_eq!(
                missing.into_file().expect_err("none").kind(),
                ErrorKind::NotFound
            );
        }
        let outside = carry_out(poll, Op::open_at(&folder, &inside, "../x")).into_file();
        let outside = outside.expect_err("outside").raw_os_error();
        assert_eq!(outside, Some(libc::EXDEV));
    });
}

#[test]
fn a_read_is_short_at_the_end_of_a_file_and_empty_behind_it() {
    each("end of a file", |poll, _, path| {
        let file = open(poll, &OpenOptions::new(), path).expect("open");
        let end = i64::MAX as u64;
        for (offset, length) in [(90, 10), (100, 0), (1 << 40, 0), (end, 0)] {
            let op = Op::read_at(&file, buffer().slice(0..64), offset);
            let (result, back) = carry_out(poll, op).into_read::<Slice<Vec<u8>>>().unwrap();
            // A memory filesystem and io_uring differ on where the last byte may be.
            let told = result.map_err(|error| error.raw_os_error());
            assert!(told == Ok(length) || (offset == end && told == Err(Some(libc::EINVAL))));
            assert_eq!(back.into_inner().len(), length);
        }
    });
}

#[test]
fn the_kernels_errors_come_unchanged_with_the_buffer() {
    each("errors", |poll, directory, path| {
        let file = open(poll, &OpenOptions::new(), &path).expect("open");
        let unwritable = carry_out(poll, Op::write_at(&file, vec![1; 8], 0));
        let (result, back) = unwritable.into_write::<Vec<u8>>().expect("a write");
        assert_eq!(
            result.expect_err("read-only").raw_os_error(),
            Some(libc::EBADF)
        );
        assert_eq!(back, [1; 8]);

        let folder = open(poll, &OpenOptions::new(), directory).expect("open");
        let unreadable = carry_out(poll, Op::read_at(&folder, buffer(), 0));
        let (result, back) = unreadable.into_read::<Vec<u8>>().expect("a read");
        assert_eq!(
            result.expect_err("a folder").raw_os_error(),
            Some(libc::EISDIR)
        );
        assert!(back.capacity() == 64 && back.is_empty());

        let uncut = carry_out(poll, Op::set_len(&file, 3));
        assert_eq!(
            uncut.result().expect_err("read-only").raw_os_error(),
            Some(libc::EINVAL)
        );
        let nothing = open(poll, &OpenOptions::new(), directory.join("nothing"));
        assert_eq!(
            nothing.expect_err("nothing").raw_os_error(),
            Some(libc::ENOENT)
        );
    });
}

#[test]
fn what_cannot_be_is_refused_at_once_with_its_buffer() {
    each("flaws", |poll, _, path| {
        let file = open(poll, &read_write(), &path).expect("open");
        for offset in [1 << 63, u64::MAX] {
            let (error, op) = refused(poll, Op::read_at(&file, buffer(), offset));
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
            assert_eq!(
                op.into_buffer::<Vec<u8>>().expect("its buffer").capacity(),
                64
            );
            let (error, op) = refused(poll, Op::write_at(&file, vec![1, 2], offset));
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
            assert_eq!(op.into_buffer::<Vec<u8>>().expect("its buffer"), [1, 2]);
            let (error, _) = refused(poll, Op::set_len(&file, offset));
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
        let nul = Op::open(poll.disk(), &OpenOptions::new(), "da\0ta");
        assert_eq!(refused(poll, nul).0.kind(), ErrorKind::InvalidInput);
        let appending = open(poll, &OpenOptions::new().append(), &path).expect("open");
        let (error, op) = refused(poll, Op::write_at(&appending, vec![3], 0));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(op.into_buffer::<Vec<u8>>().expect("its buffer"), [3]);
        assert_eq!(
            (
                poll.disk().in_flight(),
                fs::read(path).expect("there").len()
            ),
            (0, 100)
        );
        none(poll);
    });
}

#[test]
fn misaligned_direct_io_is_refused_and_aligned_is_carried_out() {
    for choice in backends("direct I/O") {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("data");
        fs::write(&path, vec![5; 16384]).expect("a file");
        let poll = &mut poll_on(choice, 4);
        let file = open(poll, &OpenOptions::new().direct(), &path);
        let Some(file) = file.ok().filter(|file| file.direct_io().is_some()) else {
            skip(
                "direct I/O by token",
                "this filesystem does not tell its alignment",
            );
            continue;
        };
        let pool = Pool::new(1, 8192);
        let take = || pool.try_take().expect("it is back");
        let (error, op) = refused(poll, Op::read_at(&file, take(), 1));
        assert!(error.to_string().contains("offset"), "{error}");
        drop(
            op.into_buffer::<ambidex::disk::PoolBuf>()
                .expect("its buffer"),
        );
        let (error, op) = refused(poll, Op::read_at(&file, take().slice(0..100), 0));
        assert!(error.to_string().contains("length"), "{error}");
        drop(op);
        let (error, op) = refused(poll, Op::write_at(&file, &b"unaligned"[..], 0));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        drop(op);
        let read = carry_out(poll, Op::read_at(&file, take(), 4096));
        assert_eq!(read.result().expect("read"), 8192);
    }
}

#[test]
fn an_operation_for_another_loop_is_refused_by_this_one() {
    for choice in backends("two loops") {
        let (mut here, mut there) = (poll_on(choice, 2), poll_on(choice, 2));
        let file = open(&mut there, &OpenOptions::new(), "/proc/self/stat").expect("open");
        let (error, op) = refused(&mut here, Op::read_at(&file, buffer(), 0));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let op = op.into_buffer::<Box<[u8]>>().expect_err("it is a Vec");
        assert_eq!(
            op.into_buffer::<Vec<u8>>().expect("its buffer").capacity(),
            64
        );
        let opening = Op::open(there.disk(), &OpenOptions::new(), "/proc/self/stat");
        let (_, op) = refused(&mut here, opening);
        // It is as good as before where it belongs.
        assert!(carry_out(&mut there, op).into_file().is_ok());
        assert_eq!((here.disk().in_flight(), there.disk().in_flight()), (0, 0));
    }
}

/// Fills all credits with reads, is refused one more, and begins that again when one has ended.
fn overflow(poll: &mut Poll, file: &File, entries: usize) {
    for _ in 0..entries {
        poll.submit(TOKEN, Op::read_at(file, buffer(), 0))
            .expect("a credit is free");
    }
    let marked = vec![9; 32];
    let address = marked.as_ptr();
    let (error, op) = refused(poll, Op::read_at(file, marked, 0));
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(poll.disk().waiting(), 0, "who may not wait is in no queue");
    let back = op.into_buffer::<Vec<u8>>().expect("its buffer");
    assert_eq!((back.as_ptr(), &back[..]), (address, &[9; 32][..]));
    let mut ended = 0;
    while ended < entries {
        ended += super::some(poll, 8).len();
    }
    let read = carry_out(poll, Op::read_at(file, back, 0));
    let (result, back) = read.into_read::<Vec<u8>>().expect("a read");
    assert_eq!((result.expect("read"), back.as_ptr()), (32, address));
}

#[test]
fn without_a_credit_an_operation_comes_back_whole_and_can_be_begun_again() {
    for choice in backends("no credit") {
        for entries in [1, 2] {
            let directory = TempDir::new().expect("a directory");
            let path = directory.path().join("data");
            fs::write(&path, [7; 100]).expect("a file");
            let poll = &mut poll_on(choice, entries);
            let file = open(poll, &OpenOptions::new(), &path).expect("open");
            for _ in 0..100 {
                overflow(poll, &file, entries as usize);
            }
        }
    }
}

#[test]
fn what_is_answered_at_once_cannot_pile_up_without_end() {
    // Neither needs a credit for longer than the call: nothing but the completes that wait is a bound.
    each("a pile", |poll, _, path| {
        let file = open(poll, &OpenOptions::new(), path).expect("open");
        let begun = (0..1000).take_while(|_| poll.submit(TOKEN, Op::metadata(&file)).is_ok());
        assert_eq!(begun.count(), 4, "as many as there are credits");
        let mut left = 4;
        while left > 0 {
            left -= super::some(poll, 8).len();
        }
        assert!(carry_out(poll, Op::metadata(&file)).metadata().is_some());
    });
}

#[test]
fn the_wrong_question_gives_the_complete_back() {
    each("wrong type", |poll, _, path| {
        let file = open(poll, &read_write(), path).expect("open");
        let read = carry_out(poll, Op::read_at(&file, buffer(), 0));
        let read = read.into_read::<Box<[u8]>>().expect_err("it is a Vec");
        let read = read.into_write::<Vec<u8>>().expect_err("it is a read");
        assert!(read.metadata().is_none());
        let (result, back) = read.into_read::<Vec<u8>>().expect("a read");
        assert_eq!((result.expect("read"), back.len()), (64, 64));
        let write = carry_out(poll, Op::write_at(&file, vec![1], 0));
        let write = write.into_read::<Vec<u8>>().expect_err("it is a write");
        let write = write
            .into_write::<&'static [u8]>()
            .expect_err("it is a Vec");
        assert_eq!(write.into_write::<Vec<u8>>().expect("a write").1, [1]);
    });
}

#[test]
fn try_read_and_try_write_begin_at_once_or_give_the_buffer_back() {
    for choice in backends("try") {
        for directory in places() {
            let path = directory.path().join("data");
            fs::write(&path, [7; 100]).expect("a file");
            try_both(choice, &path);
        }
    }
}

fn try_both(choice: Choice, path: &Path) {
    let mut ring = ambidex_tests::sim::ring(choice, 1);
    let handle = ring.handle();
    let opened = ambidex_tests::sim::drive(&mut ring, read_write().open(&handle, path));
    let file = opened.expect("open");
    let written = file.try_write_at(vec![1, 2, 3], 0).expect("begun");
    let held = handle.in_flight() == 1;
    match file.try_read_at(vec![9; 3], 0) {
        Err((error, back)) => {
            assert!(held && error.kind() == ErrorKind::WouldBlock, "{error}");
            assert_eq!(back, [9; 3]);
        }
        // In memory the write has been made already.
        Ok(read) => assert!(!held && ambidex_tests::sim::drive(&mut ring, read).0.is_ok()),
    }
    let (result, back) = ambidex_tests::sim::drive(&mut ring, written);
    assert_eq!((result.expect("written"), back), (3, vec![1, 2, 3]));
    let read = file.try_read_at(Vec::with_capacity(3), 0).expect("begun");
    let (result, back) = ambidex_tests::sim::drive(&mut ring, read);
    assert_eq!((result.expect("read"), back), (3, vec![1, 2, 3]));
    let dropped = file.try_read_at(Vec::with_capacity(3), 0).expect("begun");
    drop(dropped);
    let past = file
        .try_read_at(vec![4], u64::MAX)
        .err()
        .expect("past the end");
    assert_eq!(
        (past.0.raw_os_error(), past.1),
        (Some(libc::EINVAL), vec![4])
    );
    ambidex_tests::sim::turn_until(&mut ring, "the dropped read", |ring| ring.in_flight() == 0);
}

#[test]
fn completes_come_in_the_order_in_which_the_operations_ended() {
    for choice in backends("order") {
        // One credit, so each ends before the next is begun.
        let poll = &mut poll_on(choice, 1);
        let file = open(poll, &OpenOptions::new(), "/proc/self/stat").expect("open");
        for token in 0..50 {
            let op = Op::read_at(&file, buffer(), 0);
            poll.submit(ambidex::net::Token(token), op).expect("begun");
            assert_eq!(complete(poll).token(), token);
        }
    }
}
