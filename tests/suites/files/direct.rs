//! Direct I/O: aligned by construction, or told what is wrong.

use std::io::ErrorKind;
use std::os::fd::AsFd;

use ambidex::disk::{DirectIo, File, IoBuf, OpenOptions, Pool};
use ambidex_tests::bench::{self, Bench};
use ambidex_tests::sim::skip;

use super::{DISK, benches};

/// A file of `content` on a disk, opened for direct I/O, and what that asks for.
fn direct(test: &'static str, content: &[u8]) -> Vec<(Bench, File, DirectIo)> {
    let on_disk = bench::benches(test, DISK).step_by(2);
    on_disk
        .filter_map(|mut bench| {
            bench.create("data", content);
            let opened = bench.open(&OpenOptions::new().write().direct(), "data");
            let asked = opened.as_ref().ok().and_then(File::direct_io);
            let (Ok(file), Some(asked)) = (opened, asked) else {
                skip(test, "no direct I/O here, or a kernel that does not tell");
                return None;
            };
            Some((bench, file, asked))
        })
        .collect()
}

#[test]
fn buffers_of_a_pool_are_read_and_written_directly() {
    for (mut bench, file, _) in direct("O_DIRECT", &[7; 16384]) {
        let pool = Pool::new(4, 8192);
        bench.drive(async {
            let (result, buffer) = file.read_at(pool.take().await, 8192).await;
            assert_eq!((result.expect("read"), buffer[0]), (8192, 7));
            let mut buffer = pool.take().await;
            assert_eq!(buffer.copy_from(&[9; 10_000]), 8192);
            let (result, _) = file.write_at(buffer, 0).await;
            assert_eq!(result.expect("write"), 8192);
            let both = vec![pool.take().await, pool.take().await];
            let (result, both) = file.read_vectored_at(both, 0).await;
            assert_eq!(
                (result.expect("readv"), both[0][0], both[1][0]),
                (16384, 9, 7)
            );
        });
        assert_eq!(bench.content("data"), [[9; 8192], [7; 8192]].concat());
    }
}

#[test]
fn what_is_misaligned_is_named_and_the_buffer_comes_back() {
    for (mut bench, file, asked) in direct("O_DIRECT misaligned", &[7; 16384]) {
        let (pool, unit) = (Pool::new(1, 16384), asked.offset as usize);
        bench.drive(async {
            let (result, buffer) = file.read_at(pool.take().await, 1).await;
            let error = result.expect_err("an odd offset");
            assert!(error.to_string().contains("the offset 1 "), "{error}");
            let (result, part) = file.read_at(buffer.slice(0..unit + 1), 0).await;
            let error = result.expect_err("an odd length");
            assert!(error.to_string().contains("the length"), "{error}");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let mut buffer = part.into_inner();
            if asked.memory > 1 {
                let part = buffer.slice(1..unit + 1);
                let (result, part) = file.read_vectored_at(vec![part], 0).await;
                let error = result.expect_err("an odd address");
                assert!(error.to_string().contains("the address"), "{error}");
                buffer = part.into_iter().next().expect("it comes back").into_inner();
            }
            buffer.copy_from(&[1; 3]);
            let (result, buffer) = file.write_at(buffer, 0).await;
            let error = result.expect_err("an odd length");
            assert!(error.to_string().contains("the length 3 "), "{error}");
            assert_eq!(&*buffer, &[1; 3]);
        });
        assert_eq!(bench.content("data"), [7; 16384]);
    }
}

#[test]
fn a_direct_read_ends_within_the_last_block_of_the_file() {
    for (mut bench, file, _) in direct("O_DIRECT end", &[7; 5000]) {
        let pool = Pool::new(1, 8192);
        bench.drive(async {
            let (result, buffer) = file.read_exact_at(pool.take().await, 0).await;
            assert_eq!(
                result.expect_err("the end").kind(),
                ErrorKind::UnexpectedEof
            );
            assert_eq!(&*buffer, &[7; 5000]);
        });
    }
}

#[test]
fn a_descriptor_from_elsewhere_is_known_for_what_it_was_opened_as() {
    for (mut bench, file, asked) in direct("O_DIRECT from elsewhere", &[7; 5000]) {
        let other = file.as_fd().try_clone_to_owned().expect("a descriptor");
        let other = File::from_fd(&bench.ring.handle(), other).expect("a file");
        assert_eq!(other.direct_io(), Some(asked));
        let pool = Pool::new(1, 8192);
        bench.drive(async {
            let (result, _) = other.read_exact_at(pool.take().await, 0).await;
            let error = result.expect_err("the end");
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        });
    }
}

#[test]
fn nothing_is_asked_of_a_file_that_is_not_opened_directly() {
    for mut bench in benches("no O_DIRECT") {
        let file = bench.create("data", b"abc");
        assert_eq!(file.direct_io(), None);
        let read = bench.drive(file.read_at(vec![0; 1].slice(0..1), 1));
        assert_eq!(read.0.expect("read"), 1);
    }
}
