//! Bytes between files and pipes, and files read ahead.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use ambidex::disk::{File, OpenOptions, Options, Ring, Splice};
use ambidex_tests::bench::{Bench, errno};
use ambidex_tests::sim::disk::{Disk, Faults, fake};
use ambidex_tests::sim::{drive, poll_once, turn};

use super::benches;

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// The two ends of a pipe: one for the ring, one for the test.
fn pipe(bench: &Bench, ring_reads: bool) -> (File, fs::File) {
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let (mine, yours): (OwnedFd, OwnedFd) = if ring_reads {
        (reader, writer)
    } else {
        (writer, reader)
    };
    let file = File::from_fd(&bench.ring.handle(), mine).expect("a pipe");
    (file, fs::File::from(yours))
}

#[test]
fn a_range_is_copied_to_another_place_and_is_short_at_the_end() {
    for mut bench in benches("copy_range") {
        let from = bench.create("from", &content(10_000));
        let to = bench.create("to", b"ab");
        bench.drive(async {
            assert_eq!(
                from.copy_range(9_000, &to, 2, 5_000).await.expect("copy"),
                1_000
            );
            assert_eq!(from.copy_range(10_000, &to, 0, 10).await.expect("copy"), 0);
            assert_eq!(from.copy_range(0, &to, 0, 0).await.expect("copy"), 0);
        });
        let copied = bench.content("to");
        assert_eq!(
            copied,
            [b"ab".to_vec(), content(10_000)[9_000..].to_vec()].concat()
        );
    }
}

#[test]
fn a_range_is_copied_between_filesystems_too() {
    let mut all: Vec<_> = benches("copy across").collect();
    for pair in all.chunks_mut(2) {
        let [disk, memory] = pair else {
            unreachable!("a disk and a memory each")
        };
        let from = disk.create("from", &content(300_000));
        memory.create("to", b"");
        let (handle, path) = (disk.ring.handle(), memory.path("to"));
        disk.drive(async {
            let to = OpenOptions::new()
                .write()
                .open(&handle, path)
                .await
                .expect("open");
            let mut done = 0;
            while done < 300_000 {
                let copied = from
                    .copy_range(done as u64, &to, done as u64, 300_000 - done)
                    .await;
                done += copied.expect("copy");
            }
        });
        assert!(memory.content("to") == content(300_000));
    }
}

#[test]
fn a_copy_of_ranges_that_overlap_or_pass_i64_is_invalid() {
    for mut bench in benches("copy overlap") {
        let file = bench.create("data", &content(100));
        bench.drive(async {
            assert_eq!(errno(file.copy_range(0, &file, 10, 50).await), libc::EINVAL);
            let past = i64::MAX as u64;
            assert_eq!(
                errno(file.copy_range(past, &file, 0, 1).await),
                libc::EINVAL
            );
            assert_eq!(
                errno(file.copy_range(0, &file, past, 1).await),
                libc::EINVAL
            );
            let spliced = file
                .splice_to(Some(past + 1), &file, None, 1, Splice::default())
                .await;
            assert_eq!(errno(spliced), libc::EINVAL);
        });
    }
}

#[test]
fn files_of_two_rings_do_not_mix() {
    for mut bench in benches("two rings") {
        let file = bench.create("data", b"abc");
        let mut other = Bench::at(ambidex::disk::Choice::Threads, &bench.path(""));
        let stranger = other.create("other", b"");
        let error = bench
            .drive(file.copy_range(0, &stranger, 0, 3))
            .expect_err("a stranger");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_file_is_spliced_into_a_pipe_and_out_of_one() {
    for mut bench in benches("splice") {
        let file = bench.create("data", b"0123456789");
        let (into, mut reader) = pipe(&bench, false);
        let moved = bench.drive(file.splice_to(Some(2), &into, None, 4, Splice::MORE));
        assert_eq!(moved.expect("splice"), 4);
        let mut read = [0; 4];
        reader.read_exact(&mut read).expect("read");
        assert_eq!(&read, b"2345");
        let end = bench.drive(file.splice_to(Some(10), &into, None, 4, Splice::default()));
        assert_eq!(end.expect("the end"), 0);
        let (out, mut writer) = pipe(&bench, true);
        writer.write_all(b"xyz").expect("write");
        let moved = bench.drive(out.splice_to(None, &file, Some(1), 100, Splice::default()));
        assert_eq!(moved.expect("splice"), 3);
        assert_eq!(bench.content("data"), b"0xyz456789");
        let empty = bench.drive(out.splice_to(None, &file, Some(1), 1, Splice::NONBLOCK));
        assert_eq!(errno(empty), libc::EAGAIN);
        drop(writer);
        let ended = bench.drive(out.splice_to(None, &file, Some(1), 1, Splice::default()));
        assert_eq!(ended.expect("no writer"), 0);
    }
}

#[test]
fn a_splice_needs_a_pipe_and_a_pipe_has_no_offset() {
    for mut bench in benches("splice errors") {
        let file = bench.create("data", b"0123456789");
        let other = bench.create("other", b"");
        let (into, _reader) = pipe(&bench, false);
        bench.drive(async {
            let no_pipe = file
                .splice_to(Some(0), &other, Some(0), 4, Splice::default())
                .await;
            assert_eq!(errno(no_pipe), libc::EINVAL);
            let offset = file
                .splice_to(Some(0), &into, Some(1), 4, Splice::default())
                .await;
            assert_eq!(errno(offset), libc::ESPIPE);
            assert_eq!(
                errno(file.tee_to(&into, 4, Splice::default()).await),
                libc::EINVAL
            );
        });
    }
}

#[test]
fn tee_leaves_in_the_pipe_what_it_duplicates() {
    for mut bench in benches("tee") {
        let (from, mut writer) = pipe(&bench, true);
        let (to, mut reader) = pipe(&bench, false);
        let file = bench.create("data", b"");
        writer.write_all(b"abc").expect("write");
        bench.drive(async {
            let copied = from.tee_to(&to, 100, Splice::default()).await;
            assert_eq!(copied.expect("tee"), 3);
            let moved = from
                .splice_to(None, &file, Some(0), 100, Splice::default())
                .await;
            assert_eq!(moved.expect("splice"), 3);
        });
        let mut read = [0; 3];
        reader.read_exact(&mut read).expect("read");
        assert_eq!(
            (&read, bench.content("data").as_slice()),
            (b"abc", &b"abc"[..])
        );
    }
}

#[test]
fn a_splice_that_waits_for_a_pipe_hinders_no_file() {
    for mut bench in benches("splice waits") {
        let file = bench.create("data", b"abc");
        let (out, mut writer) = pipe(&bench, true);
        let target = file.clone();
        let mut waiting = Box::pin(async move {
            out.splice_to(None, &target, Some(0), 1, Splice::default())
                .await
        });
        assert!(poll_once(waiting.as_mut()).is_pending());
        turn(&mut bench.ring);
        assert_eq!(
            bench
                .drive(file.read_at(Vec::with_capacity(8), 0))
                .0
                .expect("read"),
            3
        );
        assert_eq!(bench.ring.in_flight(), 1);
        writer.write_all(b"x").expect("write");
        assert_eq!(bench.drive(waiting).expect("splice"), 1);
        assert_eq!(bench.content("data"), b"xbc");
    }
}

#[test]
fn a_duplicate_outlives_the_file_it_was_made_of() {
    for mut bench in benches("try_clone") {
        let file = bench.create("data", b"abc");
        let copy = file.try_clone().expect("a descriptor");
        bench.drive(file.close()).expect("close");
        assert_eq!(
            bench
                .drive(copy.write_at(b"x".to_vec(), 0))
                .0
                .expect("write"),
            1
        );
        assert_eq!(bench.content("data"), b"xbc");
        bench.ring.shut_down();
        assert!(copy.try_clone().is_err(), "the ring is gone");
    }
}

#[test]
fn a_stream_yields_its_range_in_order_and_ends_with_the_file() {
    for mut bench in benches("stream") {
        let all = content(10_000);
        let file = bench.create("data", &all);
        let ranges = [
            0..10_000,
            0..u64::MAX,
            5_000..5_001,
            9_999..20_000,
            7..7,
            10_000..10_001,
        ];
        for range in ranges {
            for (chunk, window) in [
                (1_000, 3),
                (1_000, 1),
                (4_096, 20),
                (3, 100),
                (1 << 20, 2),
                (0, 0),
            ] {
                let mut chunks = file.stream(range.clone(), chunk, window);
                let read = bench.drive(async {
                    let mut read = Vec::new();
                    while let Some(bytes) = chunks.next().await.expect("read") {
                        assert!(!bytes.is_empty() && bytes.len() <= chunk.max(1));
                        read.extend(bytes);
                    }
                    assert_eq!(chunks.next().await.expect("still the end"), None);
                    read
                });
                let end = range.end.min(10_000) as usize;
                assert!(
                    read == all[range.start as usize..end],
                    "{range:?} by {chunk}"
                );
            }
        }
    }
}

#[test]
fn a_stream_goes_on_with_short_reads_and_keeps_to_its_window() {
    for disk in [Disk::Local, Disk::Memory, Disk::Remote] {
        let (kernel, control) = fake(64, 64, 3);
        control.file("data", content(50_000));
        control.disk(disk);
        control.faults(Faults {
            short_read: 70,
            again: 10,
            ..Faults::default()
        });
        let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
        let handle = ring.handle();
        let read = drive(&mut ring, async {
            let file = File::open(&handle, "data").await.expect("open");
            let mut chunks = file.stream(0..u64::MAX, 777, 5);
            let mut read = Vec::new();
            while let Some(bytes) = chunks.next().await.expect("read") {
                assert!(handle.in_flight() <= 5, "{} under way", handle.in_flight());
                read.extend(bytes);
            }
            read
        });
        assert!(read == content(50_000), "on {disk:?}");
    }
}

#[test]
fn an_error_ends_a_stream_where_it_happened() {
    let (kernel, control) = fake(64, 64, 3);
    control.file("data", content(5_000));
    let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
    let handle = ring.handle();
    drive(&mut ring, async {
        let file = File::open(&handle, "data").await.expect("open");
        let mut chunks = file.stream(0..u64::MAX, 1_000, 1);
        assert_eq!(
            chunks.next().await.expect("read").map(|bytes| bytes.len()),
            Some(1_000)
        );
        control.script_answers([-libc::EIO]);
        assert_eq!(errno(chunks.next().await), libc::EIO);
        assert_eq!(chunks.next().await.expect("it has ended"), None);
    });
}

#[test]
fn a_dropped_next_loses_no_chunk() {
    for mut bench in benches("stream dropped") {
        let file = bench.create("data", &content(5_000));
        let mut chunks = file.stream(0..5_000, 100, 4);
        let mut read = Vec::new();
        for at in 0.. {
            if at % 2 == 0 {
                let mut next = Box::pin(chunks.next());
                match poll_once(next.as_mut()) {
                    std::task::Poll::Ready(bytes) => {
                        read.extend(bytes.expect("read").unwrap_or_default())
                    }
                    std::task::Poll::Pending => drop(next),
                }
                turn(&mut bench.ring);
                continue;
            }
            match bench.drive(chunks.next()).expect("read") {
                Some(bytes) => read.extend(bytes),
                None => break,
            }
        }
        assert!(read == content(5_000));
    }
}
