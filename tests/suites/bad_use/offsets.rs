//! Offsets at and beyond the end of what 64 signed bits express.

use std::fs;
use std::io::{self, ErrorKind};

use ambidex::disk::{Advice, Allocate, File, IoBuf, OpenOptions, Pool, ReadFlags, Splice};
use ambidex_tests::bench::{benches, errno};
use ambidex_tests::loops::{pair, run};

use crate::DISK;

const LAST: u64 = i64::MAX as u64;

#[test]
fn beyond_i64_every_operation_is_invalid_and_gives_its_buffers_back() {
    for mut bench in benches("beyond i64", DISK) {
        let (file, other) = (bench.create("data", b"abc"), bench.create("other", b""));
        bench.drive(async {
            for past in [LAST + 1, u64::MAX] {
                let (result, buffer) = file.read_at_with(vec![7; 2], past, ReadFlags::NOWAIT).await;
                assert_eq!((errno(result), buffer), (libc::EINVAL, vec![7; 2]));
                let (result, buffer) = file.read_exact_at(vec![7; 2], past).await;
                assert_eq!((errno(result), buffer), (libc::EINVAL, vec![7; 2]));
                let (result, buffer) = file.write_all_at(vec![7; 2], past).await;
                assert_eq!((errno(result), buffer), (libc::EINVAL, vec![7; 2]));
                let (result, buffers) = file.read_vectored_at(vec![vec![7; 2]], past).await;
                assert_eq!((errno(result), buffers), (libc::EINVAL, vec![vec![7; 2]]));
                for (from, to) in [(past, 0), (0, past), (past, past)] {
                    let copied = file.copy_range(from, &other, to, 1).await;
                    assert_eq!(errno(copied), libc::EINVAL);
                }
                let spliced = file.splice_to(Some(past), &other, Some(past), 1, Splice::MORE);
                assert_eq!(errno(spliced.await), libc::EINVAL);
                let mut stream = file.stream(past..u64::MAX, 4, 4);
                if past < u64::MAX {
                    assert_eq!(errno(stream.next().await), libc::EINVAL);
                }
                assert_eq!(stream.next().await.expect("it has ended"), None);
            }
        });
        assert_eq!(
            (bench.content("data"), bench.content("other")),
            (b"abc".to_vec(), vec![])
        );
    }
}

/// 0 for a result, an errno, or -1 for an error of our own.
fn code<T>(result: io::Result<T>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

/// What each operation answers at `offset`.
async fn answers(file: &File, other: &File, at: u64) -> Vec<(&'static str, i32)> {
    let (room, bytes) = (|| Vec::with_capacity(2), || b"xy".to_vec());
    let keep = Allocate::KEEP_SIZE;
    vec![
        ("read", code(file.read_at(room(), at).await.0)),
        (
            "readv",
            code(file.read_vectored_at(vec![room()], at).await.0),
        ),
        ("write", code(file.write_at(bytes(), at).await.0)),
        (
            "writev",
            code(file.write_vectored_at(vec![bytes()], at).await.0),
        ),
        ("write all", code(file.write_all_at(bytes(), at).await.0)),
        ("copy", code(file.copy_range(at, other, 0, 2).await)),
        ("copy to", code(file.copy_range(0, other, at, 2).await)),
        ("truncate", code(file.set_len(at).await)),
        ("allocate", code(file.allocate(at, 2, keep).await)),
        ("hole", code(file.punch_hole(at, 2).await)),
        ("sync", code(file.sync_range(at, 2).await)),
        ("advise", code(file.advise(at, 2, Advice::WillNeed).await)),
    ]
}

#[test]
fn at_the_last_offset_both_backends_answer_the_same_and_nothing_is_written() {
    for offset in [LAST, LAST - 1] {
        let mut all = Vec::new();
        for mut bench in benches("the last offset", DISK) {
            let (file, other) = (bench.create("data", b"abc"), bench.create("other", b""));
            let answers = bench.drive(answers(&file, &other, offset));
            assert!(answers.iter().all(|(_, code)| *code >= 0), "{answers:?}");
            // Where the filesystem can truncate to there, that is no mistake.
            let length = fs::metadata(bench.path("data")).expect("data").len();
            assert!([3, offset].contains(&length), "{length}");
            all.push(answers);
        }
        // On a disk, in memory; then the same of the other backend.
        for (one, other) in all.iter().zip(all.iter().skip(2)) {
            assert_eq!(one, other, "{offset:#x}");
        }
    }
}

#[test]
fn direct_reads_and_writes_at_the_last_offset_are_errors() {
    for mut bench in benches("direct, at the last offset", DISK) {
        bench.create("data", &[1; 4096]);
        let options = OpenOptions::new().write().direct();
        // A filesystem without direct I/O says so here.
        let Ok(file) = bench.open(&options, "data") else {
            continue;
        };
        let pool = Pool::new(1, 4096);
        bench.drive(async {
            for offset in [LAST, LAST - 4095, LAST + 1, u64::MAX, LAST & !4095] {
                let buffer = pool.take().await;
                let (result, mut buffer) = file.read_at(buffer, offset).await;
                assert!(matches!(result, Ok(0) | Err(_)), "{offset:#x}: {result:?}");
                buffer.copy_from(&[2; 4096]);
                let (result, _buffer) = file.write_at(buffer.slice(0..4096), offset).await;
                result.expect_err("beyond any file");
            }
        });
        assert_eq!(bench.content("data"), [1; 4096]);
    }
}

#[test]
fn sendfile_beyond_the_last_offset_is_invalid_and_the_stream_goes_on() {
    run(async |io| {
        let (here, there) = pair(&io).await;
        let file = fs::File::open("/proc/self/exe").expect("this program");
        for start in [LAST + 1, u64::MAX - 1] {
            let error = here
                .sendfile(&file, start..u64::MAX)
                .await
                .expect_err("no offset");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        let end = here.sendfile(&file, LAST - 1..u64::MAX).await;
        assert!(!matches!(end, Ok(1..)), "{end:?}");
        here.write_all(b"x").await.expect("write");
        assert_eq!(there.read(&mut [0; 4]).await.expect("read"), 1);
    });
}
