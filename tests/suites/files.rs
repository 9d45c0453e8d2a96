//! Files written, read, synced and cut, on both backends, on a disk and in memory.

#[path = "files/adverse.rs"]
mod adverse;
#[path = "files/direct.rs"]
mod direct;
#[path = "files/transfers.rs"]
mod transfers;

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::task::Poll;

use ambidex::disk::{Advice, Allocate, IoBuf, OpenOptions, Pool};
use ambidex_tests::bench::{self, Bench, errno};
use ambidex_tests::sim::{Patience, poll_once, turn};
use bytes::{Bytes, BytesMut};

const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// The operations of io_uring that files need, but READ.
const NEEDED: [&str; 11] = [
    "OPENAT2",
    "STATX",
    "CLOSE",
    "WRITE",
    "READV",
    "WRITEV",
    "FSYNC",
    "SYNC_FILE_RANGE",
    "FALLOCATE",
    "FTRUNCATE",
    "FADVISE",
];

fn benches(test: &str) -> impl Iterator<Item = Bench> {
    bench::benches(test, DISK)
}

#[test]
fn what_is_written_at_an_offset_is_there_and_the_rest_is_not_touched() {
    for mut bench in benches("write_at") {
        let file = bench.create("data", b"0123456789");
        let (result, buffer) = bench.drive(file.write_at(b"abc".to_vec(), 4));
        assert_eq!((result.expect("write"), buffer), (3, b"abc".to_vec()));
        assert_eq!(bench.content("data"), b"0123abc789");
    }
}

#[test]
fn a_write_past_the_end_leaves_zeros_between() {
    for mut bench in benches("hole") {
        let file = bench.create("data", b"ab");
        assert_eq!(
            bench
                .drive(file.write_at(b"z".to_vec(), 4))
                .0
                .expect("write"),
            1
        );
        assert_eq!(bench.content("data"), b"ab\0\0z");
    }
}

#[test]
fn every_kind_of_buffer_can_be_written_and_comes_back() {
    for mut bench in benches("buffers") {
        let file = bench.create("data", b"");
        let pool = Pool::new(1, 4096);
        let mut pooled = bench.drive(async {
            let source = bench_source(&file).await;
            let (result, pooled) = source.read_at(pool.take().await, 0).await;
            result.expect("read");
            pooled
        });
        pooled[0] = b'P';
        bench.drive(async {
            assert_eq!(file.write_at(b"V".to_vec(), 0).await.1, b"V");
            let boxed: Box<[u8]> = Box::from(*b"B");
            assert_eq!(&*file.write_at(boxed, 1).await.1, b"B");
            assert_eq!(file.write_at(Bytes::from_static(b"Y"), 2).await.1, b"Y"[..]);
            assert_eq!(file.write_at(BytesMut::from("M"), 3).await.1, b"M"[..]);
            assert_eq!(file.write_at(&b"S"[..], 4).await.1, b"S");
            assert_eq!(
                file.write_at(pooled.slice(0..1), 5).await.1.into_inner()[0],
                b'P'
            );
            let nested = b"..N..".to_vec().slice(1..4).slice(1..2);
            let (result, nested) = file.write_at(nested, 6).await;
            assert_eq!(result.expect("write"), 1);
            assert_eq!(nested.into_inner().into_inner(), b"..N..");
        });
        assert_eq!(bench.content("data"), b"VBYMSPN");
    }
}

/// A file with something in it, to fill a buffer from.
async fn bench_source(file: &ambidex::disk::File) -> ambidex::disk::File {
    file.write_all_at(&b"source"[..], 0).await.0.expect("write");
    file.clone()
}

#[test]
fn an_empty_buffer_writes_nothing_and_reads_nothing() {
    for mut bench in benches("empty") {
        let file = bench.create("data", b"abc");
        bench.drive(async {
            assert_eq!(file.write_at(Vec::new(), 0).await.0.expect("write"), 0);
            assert_eq!(file.append(Vec::new()).await.0.expect("append"), 0);
            file.write_all_at(Vec::new(), 0).await.0.expect("write");
            assert_eq!(file.read_at(Vec::new(), 0).await.0.expect("read"), 0);
            file.read_exact_at(Vec::new(), 0).await.0.expect("read");
            let none = file.write_vectored_at(Vec::<Vec<u8>>::new(), 0).await;
            assert_eq!(none.0.expect("writev"), 0);
            let none = file.read_vectored_at(Vec::<Vec<u8>>::new(), 0).await;
            assert_eq!(none.0.expect("readv"), 0);
        });
        assert_eq!(bench.content("data"), b"abc");
    }
}

#[test]
fn offsets_past_i64_are_invalid_and_give_the_buffer_back() {
    const PAST: u64 = i64::MAX as u64 + 1;
    for mut bench in benches("offsets") {
        let file = bench.create("data", b"abc");
        bench.drive(async {
            for offset in [PAST, u64::MAX] {
                let (result, buffer) = file.write_at(b"x".to_vec(), offset).await;
                assert_eq!((errno(result), buffer), (libc::EINVAL, b"x".to_vec()));
                assert_eq!(
                    errno(file.read_at(Vec::with_capacity(1), offset).await.0),
                    libc::EINVAL
                );
                let (result, buffers) = file.write_vectored_at(vec![b"x".to_vec()], offset).await;
                assert_eq!((errno(result), buffers.len()), (libc::EINVAL, 1));
                assert_eq!(errno(file.set_len(offset).await), libc::EINVAL);
                for (offset, length) in [(offset, 1), (1, offset)] {
                    assert_eq!(errno(file.sync_range(offset, length).await), libc::EINVAL);
                    let allocated = file.allocate(offset, length, Allocate::default()).await;
                    assert_eq!(errno(allocated), libc::EINVAL);
                    assert_eq!(errno(file.punch_hole(offset, length).await), libc::EINVAL);
                    let advised = file.advise(offset, length, Advice::Normal).await;
                    assert_eq!(errno(advised), libc::EINVAL);
                }
            }
        });
        assert_eq!(bench.content("data"), b"abc");
    }
}

#[test]
fn vectored_writes_and_reads_keep_the_order_of_their_buffers() {
    for mut bench in benches("vectored") {
        let file = bench.create("data", b"");
        let parts = vec![b"one".to_vec(), Vec::new(), b"three".to_vec()];
        let (result, parts) = bench.drive(file.write_vectored_at(parts, 2));
        assert_eq!(
            (result.expect("writev"), parts[2].as_slice()),
            (8, &b"three"[..])
        );
        assert_eq!(bench.content("data"), b"\0\0onethree");
        let room: Vec<Box<[u8]>> = vec![Box::new([0; 4]), Box::new([0; 3])];
        let (result, room) = bench.drive(file.read_vectored_at(room, 2));
        assert_eq!(result.expect("readv"), 7);
        assert_eq!((&*room[0], &*room[1]), (&b"onet"[..], &b"hre"[..]));
    }
}

#[test]
fn a_vectored_read_that_ends_early_gives_each_buffer_its_own_length() {
    for mut bench in benches("vectored end") {
        let file = bench.create("data", b"abcde");
        let room = vec![
            vec![9; 3].slice(0..3),
            vec![9; 3].slice(0..3),
            vec![9; 3].slice(0..3),
        ];
        let (result, room) = bench.drive(file.read_vectored_at(room, 0));
        assert_eq!(result.expect("readv"), 5);
        let room: Vec<_> = room.into_iter().map(|slice| slice.into_inner()).collect();
        assert_eq!(room, [b"abc".to_vec(), b"de".to_vec(), Vec::new()]);
    }
}

#[test]
fn more_buffers_than_one_call_takes_are_a_short_count() {
    for mut bench in benches("many buffers") {
        let file = bench.create("data", b"");
        let (result, parts) = bench.drive(file.write_vectored_at(vec![b"x".to_vec(); 1030], 0));
        assert_eq!((result.expect("writev"), parts.len()), (1024, 1030));
    }
}

#[test]
fn appended_bytes_go_to_the_end_however_the_file_was_opened() {
    for mut bench in benches("append") {
        let plain = bench.create("data", b"a");
        assert_eq!(
            bench.drive(plain.append(b"b".to_vec())).0.expect("append"),
            1
        );
        let log = bench
            .open(&OpenOptions::new().append().write_only(), "data")
            .expect("open");
        assert_eq!(bench.drive(log.append(b"c".to_vec())).0.expect("append"), 1);
        assert_eq!(
            bench.drive(plain.append(b"d".to_vec())).0.expect("append"),
            1
        );
        assert_eq!(bench.content("data"), b"abcd");
    }
}

#[test]
fn an_offset_is_refused_where_the_kernel_would_ignore_it() {
    for mut bench in benches("append at") {
        bench.create("data", b"abc");
        let log = bench
            .open(&OpenOptions::new().append(), "data")
            .expect("open");
        let (result, buffer) = bench.drive(log.write_at(b"x".to_vec(), 0));
        let error = result.expect_err("an offset");
        assert_eq!(
            (error.kind(), buffer),
            (ErrorKind::InvalidInput, b"x".to_vec())
        );
        assert!(error.to_string().contains("append"), "{error}");
        let vectored = bench.drive(log.write_vectored_at(vec![b"x".to_vec()], 0)).0;
        assert_eq!(
            vectored.expect_err("an offset").kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(bench.content("data"), b"abc");
    }
}

#[test]
fn create_makes_a_file_with_its_mode_and_create_new_insists() {
    for mut bench in benches("create") {
        let create = OpenOptions::new().write().create().mode(0o640);
        bench.open(&create, "new").expect("create");
        let mode = fs::metadata(bench.path("new"))
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);
        bench.open(&create, "new").expect("it is there already");
        let again = bench.open(&OpenOptions::new().write().create_new(), "new");
        assert_eq!(errno(again), libc::EEXIST);
        bench
            .open(&OpenOptions::new().create_new(), "other")
            .expect("create");
    }
}

#[test]
fn truncate_empties_a_file_and_wants_it_opened_for_writing() {
    for mut bench in benches("truncate") {
        bench.create("data", b"abc");
        let refused = bench.open(&OpenOptions::new().truncate(), "data");
        assert_eq!(
            refused.expect_err("refused").kind(),
            ErrorKind::InvalidInput
        );
        assert_eq!(bench.content("data"), b"abc");
        bench
            .open(&OpenOptions::new().write().truncate(), "data")
            .expect("open");
        assert_eq!(bench.content("data"), b"");
    }
}

#[test]
fn a_file_opened_for_one_way_refuses_the_other() {
    for mut bench in benches("one way") {
        bench.create("data", b"abc");
        let reader = bench.open(&OpenOptions::new(), "data").expect("open");
        assert_eq!(
            errno(bench.drive(reader.write_at(b"x".to_vec(), 0)).0),
            libc::EBADF
        );
        assert_eq!(errno(bench.drive(reader.set_len(0))), libc::EINVAL);
        let writer = bench
            .open(&OpenOptions::new().write_only(), "data")
            .expect("open");
        assert_eq!(
            errno(bench.drive(writer.read_at(vec![0; 1], 0)).0),
            libc::EBADF
        );
        assert_eq!(bench.content("data"), b"abc");
    }
}

#[test]
fn set_len_cuts_and_extends_with_zeros() {
    for mut bench in benches("set_len") {
        let file = bench.create("data", b"abcdef");
        bench.drive(file.set_len(3)).expect("cut");
        assert_eq!(bench.content("data"), b"abc");
        bench.drive(file.set_len(5)).expect("extend");
        assert_eq!(bench.content("data"), b"abc\0\0");
    }
}

#[test]
fn allocate_makes_room_and_punch_hole_gives_it_back() {
    for mut bench in benches("allocate") {
        let file = bench.create("data", &[7; 16384]);
        bench
            .drive(file.allocate(0, 65536, Allocate::KEEP_SIZE))
            .expect("allocate");
        let metadata = fs::metadata(bench.path("data")).expect("metadata");
        assert_eq!(metadata.len(), 16384);
        assert!(
            metadata.blocks() * 512 >= 65536,
            "{} blocks",
            metadata.blocks()
        );
        bench
            .drive(file.allocate(16384, 100, Allocate::default()))
            .expect("allocate");
        bench.drive(file.punch_hole(4096, 4096)).expect("punch");
        let content = bench.content("data");
        assert_eq!(content.len(), 16484);
        assert!(content[4096..8192].iter().all(|byte| *byte == 0));
        assert!(content[8192..16384].iter().all(|byte| *byte == 7));
        let nothing = bench.drive(file.allocate(0, 0, Allocate::default()));
        assert_eq!(errno(nothing), libc::EINVAL);
    }
}

#[test]
fn syncs_and_advice_are_taken_for_every_range() {
    for mut bench in benches("sync") {
        let file = bench.create("data", b"abc");
        bench.drive(async {
            file.sync_all().await.expect("fsync");
            file.sync_data().await.expect("fdatasync");
            for length in [0, 3, 1 << 40, i64::MAX as u64] {
                file.sync_range(0, length).await.expect("sync_file_range");
                for advice in [Advice::Normal, Advice::WillNeed, Advice::DontNeed] {
                    file.advise(0, length, advice).await.expect("fadvise");
                }
            }
        });
    }
}

#[test]
fn a_sync_of_what_cannot_be_synced_says_so() {
    for mut bench in benches("sync proc") {
        let handle = bench.ring.handle();
        let file =
            bench.drive(async move { ambidex::disk::File::open(&handle, "/proc/self/stat").await });
        let synced = bench.drive(file.expect("proc").sync_all());
        assert_eq!(errno(synced), libc::EINVAL);
    }
}

#[test]
fn read_exact_fills_the_buffer_or_names_the_end() {
    for mut bench in benches("read_exact") {
        let file = bench.create("data", b"abcdef");
        let (result, buffer) = bench.drive(file.read_exact_at(vec![0; 4].slice(0..4), 1));
        result.expect("read");
        assert_eq!(buffer.into_inner(), b"bcde");
        let (result, buffer) = bench.drive(file.read_exact_at(vec![0; 4].slice(0..4), 4));
        assert_eq!(
            result.expect_err("the end").kind(),
            ErrorKind::UnexpectedEof
        );
        assert_eq!(buffer.into_inner(), b"ef");
    }
}

#[test]
fn many_writes_of_one_file_at_once_do_not_mix_their_bytes() {
    for mut bench in benches("writers") {
        let file = bench.create("data", b"");
        let mut writes: Vec<_> = (0..64u8)
            .map(|at| Box::pin(file.write_all_at(vec![at; 1000], u64::from(at) * 1000)))
            .collect();
        let patience = Patience::new();
        while !writes.is_empty() {
            writes.retain_mut(|write| match poll_once(write.as_mut()) {
                Poll::Ready((result, _)) => {
                    result.expect("write");
                    false
                }
                Poll::Pending => true,
            });
            turn(&mut bench.ring);
            patience.check("64 writes");
        }
        let content = bench.content("data");
        assert!(
            content
                .chunks(1000)
                .zip(0u8..)
                .all(|(part, at)| part == [at; 1000])
        );
    }
}

#[test]
fn what_the_kernel_lacks_goes_to_threads_one_by_one() -> io::Result<()> {
    for name in NEEDED {
        let Some(mut bench) = bench::masked(name, DISK) else {
            return Ok(());
        };
        assert!(
            bench
                .ring
                .capabilities()
                .operations
                .contains(&(name, false))
        );
        let file = bench.create("data", b"0123456789");
        bench.drive(async {
            assert_eq!(file.write_at(b"ab".to_vec(), 2).await.0?, 2);
            let parts = vec![b"c".to_vec(), b"d".to_vec()];
            assert_eq!(file.write_vectored_at(parts, 4).await.0?, 2);
            let (result, read) = file.read_vectored_at(vec![Vec::with_capacity(8)], 0).await;
            assert_eq!((result?, read[0].as_slice()), (8, &b"01abcd67"[..]));
            file.sync_all().await?;
            file.sync_data().await?;
            file.sync_range(0, 0).await?;
            file.advise(0, 0, Advice::Normal).await?;
            file.allocate(0, 20, Allocate::default()).await?;
            file.set_len(4).await?;
            assert_eq!(file.metadata().await?.len(), 4);
            file.close().await
        })?;
        assert_eq!(bench.content("data"), b"01ab");
        assert_eq!(bench.ring.counters().bugs, 0);
    }
    Ok(())
}
