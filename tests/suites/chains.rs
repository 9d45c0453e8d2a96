//! Chains, the table of files and registered memory: what they answer, on both backends and on a disk and in memory;
//! and on io_uring, that they are used.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::pin::pin;

use ambidex::disk::{
    Backend, Choice, Flush, IoBufMut, OpenOptions, Options, Outcome, Pool, Resolve,
};
use ambidex_tests::bench::{self, Bench, errno};
use ambidex_tests::sim::{descriptors, drive, poison, poll_once, turn, wait_for_completion};

const DISK: &str = env!("CARGO_TARGET_TMPDIR");

fn benches(test: &str) -> impl Iterator<Item = Bench> {
    bench::benches(test, DISK)
}

/// On io_uring, on a disk. `None`, and a word about it, where there is none.
fn chained(test: &str) -> Option<Bench> {
    let mut all = benches(test);
    let bench = all.next()?;
    (bench.ring.capabilities().backend == Backend::Uring).then_some(bench)
}

fn load(bench: &mut Bench, name: &str, room: usize) -> (std::io::Result<(u64, usize)>, Vec<u8>) {
    let dir = bench.directory();
    let buffer = Vec::with_capacity(room);
    let (result, buffer) = bench.drive(OpenOptions::new().load_at(&dir, name, buffer));
    (
        result.map(|(metadata, read)| (metadata.len(), read)),
        buffer,
    )
}

#[test]
fn a_file_is_loaded_with_its_metadata_and_an_end_or_a_full_buffer_is_no_error() {
    for mut bench in benches("load") {
        fs::write(bench.path("ten"), b"0123456789").expect("content");
        fs::write(bench.path("none"), b"").expect("content");
        for (name, room, expected) in [
            ("ten", 10, &b"0123456789"[..]),
            ("ten", 64, b"0123456789"),
            ("ten", 4, b"0123"),
            ("none", 64, b""),
        ] {
            let (result, buffer) = load(&mut bench, name, room);
            let length = if name == "ten" { 10 } else { 0 };
            let room = buffer.capacity().min(expected.len());
            assert_eq!(result.expect(name), (length, room), "{name} into {room}");
            assert_eq!(buffer, expected);
        }
    }
}

#[test]
fn what_cannot_be_loaded_says_why_and_gives_the_buffer_back() {
    for mut bench in benches("load errors") {
        fs::create_dir(bench.path("dir")).expect("a directory");
        symlink("ten", bench.path("link")).expect("a link");
        fs::write(bench.path("ten"), b"0123456789").expect("content");
        let dir = bench.directory();
        let strict = OpenOptions::new().resolve(Resolve::NO_SYMLINKS);
        for (name, expected) in [
            ("absent", libc::ENOENT),
            ("dir", libc::EISDIR),
            ("link", libc::ELOOP),
        ] {
            let buffer = Vec::with_capacity(100);
            let (result, buffer) = bench.drive(strict.load_at(&dir, name, buffer));
            assert_eq!(
                (errno(result), buffer.capacity()),
                (expected, 100),
                "{name}"
            );
        }
        let (result, _) = bench.drive(strict.load_at(&dir, "a\0b", Vec::with_capacity(8)));
        assert_eq!(result.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_path_that_leaves_the_mount_is_loaded_all_the_same() {
    let own = tempfile::TempDir::new_in("/dev/shm").expect("a directory");
    fs::write(own.path().join("far"), b"elsewhere").expect("content");
    for mut bench in benches("load across") {
        symlink(own.path(), bench.path("out")).expect("a link");
        let (result, buffer) = load(&mut bench, "out/far", 64);
        assert_eq!(
            (result.expect("load"), &buffer[..]),
            ((9, 9), &b"elsewhere"[..])
        );
    }
}

#[test]
fn on_io_uring_loading_is_four_entries_and_nothing_is_left_open() {
    let Some(mut bench) = chained("one trip") else {
        return;
    };
    fs::write(bench.path("page-of-one-trip"), b"0123456789").expect("content");
    let (dir, options) = (bench.directory(), OpenOptions::new());
    for _ in 0..200 {
        let before = bench.ring.counters().submitted;
        let buffer = Vec::with_capacity(64);
        let load = options.load_at(&dir, "page-of-one-trip", buffer);
        let (result, _) = bench.drive(load);
        assert_eq!(result.expect("load").1, 10);
        assert_eq!(bench.ring.counters().submitted - before, 4);
    }
    let before = bench.ring.counters().submitted;
    assert_eq!(errno(load(&mut bench, "absent", 8).0), libc::ENOENT);
    assert!(
        bench.ring.counters().submitted - before >= 4,
        "the chain was cut by its head"
    );
    assert_eq!(descriptors("page-of-one-trip"), 0);
    assert_eq!(bench.ring.in_flight(), 0);
}

#[test]
fn a_load_dropped_at_any_moment_leaves_no_file_open_and_no_place_taken() {
    let Some(mut bench) = chained("load dropped") else {
        return;
    };
    fs::write(bench.path("page-of-dropped"), b"0123456789").expect("content");
    let (dir, options) = (bench.directory(), OpenOptions::new());
    let pool = Pool::new(4, 4096);
    // More often than the table has places.
    for round in 0..300 {
        let buffer = pool.try_take().expect("each has come back");
        let mut load = Box::pin(options.load_at(&dir, "page-of-dropped", buffer));
        match round % 4 {
            0 => {}
            1 => assert!(poll_once(load.as_mut()).is_pending()),
            2 => {
                assert!(poll_once(load.as_mut()).is_pending());
                bench.ring.submit().expect("submit");
            }
            _ => {
                assert!(poll_once(load.as_mut()).is_pending());
                wait_for_completion(&mut bench.ring);
            }
        }
        drop(load);
        while bench.ring.in_flight() > 0 {
            turn(&mut bench.ring);
        }
        assert_eq!(pool.free(), 4);
    }
    turn(&mut bench.ring);
    let before = bench.ring.counters().submitted;
    let load = options.load_at(&dir, "page-of-dropped", Vec::with_capacity(64));
    assert_eq!(bench.drive(load).0.expect("load").1, 10);
    assert_eq!(
        bench.ring.counters().submitted - before,
        4,
        "there are places still"
    );
}

#[test]
fn with_too_few_entries_or_credits_or_operations_loading_goes_step_by_step() {
    let own = tempfile::TempDir::new_in(DISK).expect("a directory");
    fs::write(own.path().join("ten"), b"0123456789").expect("content");
    let small = |entries: u32| Options {
        sq_entries: entries,
        cq_entries: entries,
        ..Options::default()
    };
    let without = |name| Options {
        masked: vec![name],
        ..Options::default()
    };
    let untabled = Options {
        table_entries: 0,
        ..Options::default()
    };
    for options in [
        small(1),
        small(2),
        without("STATX"),
        without("CLOSE"),
        untabled,
    ] {
        let mut ring = poison::ring(&options).expect("a ring");
        let dir = OpenOptions::new().directory();
        let handle = ring.handle();
        let dir = drive(&mut ring, dir.open(&handle, own.path())).expect("a directory");
        let load = OpenOptions::new();
        let load = load.load_at(&dir, "ten", Vec::with_capacity(64));
        let (result, buffer) = drive(&mut ring, load);
        assert_eq!(
            (result.expect("load").1, &buffer[..]),
            (10, &b"0123456789"[..])
        );
    }
}

#[test]
fn a_load_that_is_cancelled_gives_its_buffer_back() {
    for mut bench in benches("load cancelled") {
        fs::write(bench.path("ten"), b"0123456789").expect("content");
        let (dir, handle) = (bench.directory(), bench.ring.handle());
        let load = OpenOptions::new();
        let load = load.load_at(&dir, "ten", Vec::with_capacity(64));
        let mut load = pin!(handle.cancellable(load));
        assert!(poll_once(load.as_mut()).is_pending());
        let outcome = bench.drive(load.as_mut().cancel());
        assert!(
            matches!(&outcome, Outcome::Cancelled((Err(_), buffer)) if buffer.capacity() == 64)
        );
        assert_eq!(bench.ring.in_flight(), 0);
    }
}

#[test]
fn a_synced_write_is_whole_wherever_it_begins() {
    for mut bench in benches("write_synced_at") {
        let file = bench.create("data", b"0123456789");
        for (flush, offset) in [(Flush::Data, 2), (Flush::All, 8)] {
            let (result, buffer) =
                bench.drive(file.write_synced_at(b"abc".to_vec(), offset, flush));
            assert_eq!((errno(result), buffer), (0, b"abc".to_vec()));
        }
        assert_eq!(bench.content("data"), b"01abc567abc");
        let (result, _) = bench.drive(file.write_synced_at(Vec::new(), 0, Flush::All));
        assert_eq!(errno(result), 0, "nothing to write is synced too");
        let (result, _) = bench.drive(file.write_synced_at(b"x".to_vec(), u64::MAX, Flush::All));
        assert_eq!(errno(result), libc::EINVAL);
        let name = bench.path("data");
        let reader = bench.open(&OpenOptions::new(), "data").expect("open");
        let (result, buffer) = bench.drive(reader.write_synced_at(b"no".to_vec(), 0, Flush::All));
        assert_eq!(
            (errno(result), buffer),
            (libc::EBADF, b"no".to_vec()),
            "{name:?}"
        );
    }
}

#[test]
fn on_io_uring_a_synced_write_is_two_entries_in_one_trip() {
    let Some(mut bench) = chained("synced in one trip") else {
        return;
    };
    let file = bench.create("data", b"");
    let before = bench.ring.counters().submitted;
    let write = file.write_synced_at(vec![7; 10_000], 0, Flush::Data);
    assert_eq!(errno(bench.drive(write).0), 0);
    assert_eq!(bench.ring.counters().submitted - before, 2);
    assert_eq!(bench.content("data"), [7; 10_000]);
}

#[test]
fn a_fixed_file_is_read_and_written_as_before_and_closed_with_its_last_clone() {
    for mut bench in benches("fix") {
        let file = bench.create("file-that-is-fixed", b"0123456789");
        match file.fix() {
            Ok(()) => file.fix().expect("once more"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
        }
        let (result, _) = bench.drive(file.write_at(b"ab".to_vec(), 4));
        assert_eq!(result.expect("write"), 2);
        let other = file.clone();
        drop(file);
        let (result, buffer) = bench.drive(other.read_at(Vec::with_capacity(10), 0));
        assert_eq!(
            (result.expect("read"), &buffer[..]),
            (10, &b"0123ab6789"[..])
        );
        bench.drive(other.sync_data()).expect("sync");
        drop(other);
        turn(&mut bench.ring);
        while bench.ring.is_busy() {
            turn(&mut bench.ring);
        }
        assert_eq!(descriptors("file-that-is-fixed"), 0);
    }
}

#[test]
fn a_full_table_is_an_error_that_says_so_and_places_come_back() {
    let options = Options {
        choice: Choice::Uring,
        table_entries: 2,
        ..Options::default()
    };
    let Ok(mut ring) = poison::ring(&options) else {
        return ambidex_tests::sim::skip("a full table", "no io_uring");
    };
    let handle = ring.handle();
    let open = || {
        let handle = handle.clone();
        async move {
            OpenOptions::new()
                .open(&handle, "/proc/self/exe")
                .await
                .expect("open")
        }
    };
    let files = [
        drive(&mut ring, open()),
        drive(&mut ring, open()),
        drive(&mut ring, open()),
    ];
    files[0].fix().expect("a place");
    files[1].fix().expect("a place");
    assert_eq!(errno(files[2].fix()), libc::ENFILE);
    let [first, _second, third] = files;
    drop(first);
    third.fix().expect("a place that came back");
}

#[test]
fn reads_into_registered_memory_and_writes_from_it_are_the_same() {
    for mut bench in benches("register") {
        let pool = Pool::new(4, 8192);
        if let Err(error) = bench.ring.handle().register(&pool) {
            assert_eq!(
                error.kind(),
                ErrorKind::Unsupported,
                "only threads have none"
            );
        }
        let file = bench.create("data", &[b'x'; 10_000]);
        let mut buffer = pool.try_take().expect("a buffer");
        assert_eq!(buffer.copy_from(b"registered"), 10);
        let (result, buffer) = bench.drive(file.write_at(buffer, 5));
        assert_eq!(result.expect("write"), 10);
        let (result, buffer) = bench.drive(file.read_at(buffer, 0));
        assert_eq!(result.expect("read"), 8192);
        assert_eq!(
            (&buffer[..5], &buffer[5..15], buffer[8191]),
            (&b"xxxxx"[..], &b"registered"[..], b'x')
        );
        assert_eq!(buffer.capacity(), 8192);
    }
}

#[test]
fn a_file_that_is_punted_is_worked_on_by_threads_and_reads_the_same() {
    for mut bench in benches("punt") {
        fs::write(bench.path("data"), b"0123456789").expect("content");
        let options = OpenOptions::new().write().punt();
        let file = bench.open(&options, "data").expect("open");
        assert!(file.place().punt());
        let (result, buffer) = bench.drive(file.read_at(Vec::with_capacity(10), 0));
        assert_eq!(
            (result.expect("read"), &buffer[..]),
            (10, &b"0123456789"[..])
        );
        let (result, _) = bench.drive(file.write_synced_at(b"ab".to_vec(), 0, Flush::Data));
        assert_eq!(errno(result), 0);
        assert_eq!(bench.content("data"), b"ab23456789");
    }
}
