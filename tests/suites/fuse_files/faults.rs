//! A daemon that fails, is interrupted, falls short and runs full.

use std::future::Future;
use std::pin::Pin;

use ambidex::disk::retry::RETRIES_MAX;
use ambidex::disk::{Allocate, File, OpenOptions, Rename, SetAttribute};
use ambidex_tests::bench::{Bench, errno};
use ambidex_tests::loops::pattern;

use crate::daemon::Fault::{Errno, Short};
use crate::daemon::Op;
use crate::each;

type Work<'a> = Pin<Box<dyn Future<Output = std::io::Result<()>> + 'a>>;
type Make = for<'a> fn(&'a File, &'a File) -> Work<'a>;

/// Each operation, the request that it becomes, and whether it is made again after `EINTR`: only what is the same if
/// made twice.
const WORKS: [(Op, bool, Make); 18] = [
    (Op::Write, true, |_, file| {
        Box::pin(async { file.write_at(b"x".to_vec(), 0).await.0.map(drop) })
    }),
    (Op::Write, true, |_, file| {
        Box::pin(async {
            file.write_vectored_at(vec![b"x".to_vec()], 0)
                .await
                .0
                .map(drop)
        })
    }),
    (Op::Write, false, |_, file| {
        Box::pin(async { file.append(b"x".to_vec()).await.0.map(drop) })
    }),
    (Op::Read, true, |_, file| {
        Box::pin(async { file.read_at(vec![0; 4], 0).await.0.map(drop) })
    }),
    (Op::Sync, true, |_, file| Box::pin(file.sync_all())),
    (Op::Sync, true, |_, file| Box::pin(file.sync_data())),
    (Op::SetAttr, true, |_, file| Box::pin(file.set_len(2))),
    (Op::Allocate, true, |_, file| {
        Box::pin(file.allocate(0, 2, Allocate::default()))
    }),
    (Op::Copy, true, |_, file| {
        Box::pin(async { file.copy_range(0, file, 2, 1).await.map(drop) })
    }),
    (Op::GetAttribute, true, |_, file| {
        Box::pin(async { file.attribute_value("user.kept").await.map(drop) })
    }),
    (Op::ListAttributes, true, |_, file| {
        Box::pin(async { file.attribute_names().await.map(drop) })
    }),
    (Op::SetAttribute, false, |_, file| {
        Box::pin(file.set_attribute("user.new", vec![1], SetAttribute::Either))
    }),
    (Op::RemoveAttribute, false, |_, file| {
        Box::pin(file.remove_attribute("user.kept"))
    }),
    (Op::Rename, false, |dir, _| {
        Box::pin(
            dir.at("moved")
                .rename_to(dir.at("there"), Rename::default()),
        )
    }),
    (Op::Unlink, false, |dir, _| {
        Box::pin(dir.at("removed").unlink())
    }),
    (Op::MakeDir, false, |dir, _| {
        Box::pin(dir.at("made").create_dir(0o755))
    }),
    (Op::RemoveDir, false, |dir, _| {
        Box::pin(dir.at("empty").remove_dir())
    }),
    (Op::ReadDir, true, |dir, _| {
        Box::pin(async { dir.read_dir().await?.next().await.map(drop) })
    }),
];

/// A directory with all that the operations need, and a file of it.
fn stage(bench: &mut Bench) -> (File, File) {
    for name in ["moved", "removed"] {
        drop(bench.create(name, b""));
    }
    let (dir, file) = (bench.directory(), bench.create("data", b"content"));
    bench.drive(async {
        dir.at("empty").create_dir(0o755).await.expect("mkdir");
        let set = file.set_attribute("user.kept", vec![1], SetAttribute::Either);
        set.await.expect("set");
    });
    (dir, file)
}

#[test]
fn every_errno_of_the_daemon_reaches_the_caller_and_the_next_try_is_made() {
    each("errnos on FUSE", |mount, bench| {
        let (dir, file) = stage(bench);
        for (op, _, make) in WORKS {
            let errnos = [
                libc::EIO,
                libc::ENOSPC,
                libc::EDQUOT,
                libc::EPERM,
                libc::EACCES,
            ];
            mount.reset();
            for code in errnos {
                mount.fault(op, [Errno(code)]);
                assert_eq!(errno(bench.drive(make(&dir, &file))), code, "{op:?}");
            }
            assert_eq!(mount.count(op), errnos.len(), "{op:?}");
            bench
                .drive(make(&dir, &file))
                .unwrap_or_else(|error| panic!("{op:?}: {error}"));
        }
        assert_eq!(mount.names(), ["data", "made", "there"]);
    });
}

#[test]
fn what_was_interrupted_is_made_again_only_if_it_is_the_same_made_twice() {
    each("EINTR on FUSE", |mount, bench| {
        let (dir, file) = stage(bench);
        for (op, again, make) in WORKS {
            mount.reset();
            mount.fault(op, [Errno(libc::EINTR), Errno(libc::EINTR)]);
            let result = bench.drive(make(&dir, &file));
            if again {
                result.unwrap_or_else(|error| panic!("{op:?}: {error}"));
                assert!(mount.count(op) >= 3, "{op:?}");
            } else {
                assert_eq!(errno(result), libc::EINTR, "{op:?}");
                assert_eq!(mount.count(op), 1, "{op:?}");
            }
        }
    });
}

#[test]
fn what_is_interrupted_without_end_is_reported_in_the_end() {
    each("EINTR without end on FUSE", |mount, bench| {
        let (dir, file) = stage(bench);
        for (op, _, make) in WORKS.into_iter().filter(|(_, again, _)| *again) {
            mount.reset();
            mount.fault(op, [Errno(libc::EINTR); 100]);
            assert_eq!(errno(bench.drive(make(&dir, &file))), libc::EINTR, "{op:?}");
            assert_eq!(mount.count(op), usize::from(RETRIES_MAX) + 1, "{op:?}");
        }
    });
}

#[test]
fn a_short_write_is_told_and_write_all_goes_on_behind_it() {
    each("short writes on FUSE", |mount, bench| {
        let file = bench.create("data", b"");
        let bytes = pattern(10_000);
        bench.drive(async {
            mount.fault(Op::Write, [Short(3)]);
            let (result, buffer) = file.write_at(bytes.clone(), 0).await;
            assert_eq!((result.expect("write"), buffer.len()), (3, 10_000));
            mount.fault(Op::Write, [Short(1)]);
            assert_eq!(file.append(bytes.clone()).await.0.expect("append"), 1);
            mount.fault(Op::Write, [Short(5)]);
            let parts = vec![bytes[..4].to_vec(), bytes[4..100].to_vec()];
            assert_eq!(file.write_vectored_at(parts, 0).await.0.expect("writev"), 5);
            mount.reset();
            mount.fault(
                Op::Write,
                [Short(1), Short(4000), Errno(libc::EINTR), Short(7)],
            );
            file.write_all_at(bytes.clone(), 2)
                .await
                .0
                .expect("all of it");
            assert_eq!(mount.count(Op::Write), 5);
        });
        assert!(mount.content("data").expect("there") == [&bytes[..2], &bytes].concat());
    });
}

#[test]
fn a_write_of_nothing_ends_write_all_and_a_full_disk_leaves_what_fitted() {
    each("ENOSPC on FUSE", |mount, bench| {
        let file = bench.create("data", b"");
        let bytes = pattern(10_000);
        bench.drive(async {
            mount.fault(Op::Write, [Short(4096), Errno(libc::ENOSPC)]);
            let (result, buffer) = file.write_all_at(bytes.clone(), 0).await;
            assert_eq!((errno(result), buffer.len()), (libc::ENOSPC, 10_000));
        });
        assert!(mount.content("data").expect("there") == bytes[..4096]);
        bench.drive(async {
            mount.fault(Op::Write, [Short(10), Short(0)]);
            let result = file.write_all_at(bytes.clone(), 0).await.0;
            assert_eq!(
                result.expect_err("none").kind(),
                std::io::ErrorKind::WriteZero
            );
        });
    });
}

#[test]
fn short_copies_are_told_and_short_reads_are_gone_on_with() {
    each("short copies on FUSE", |mount, bench| {
        let (from, to) = (
            bench.create("from", &pattern(5000)),
            bench.create("to", b""),
        );
        bench.drive(async {
            mount.fault(Op::Copy, [Short(10)]);
            assert_eq!(from.copy_range(0, &to, 0, 5000).await.expect("copy"), 10);
            mount.fault(Op::Read, [Short(1), Short(999), Errno(libc::EINTR)]);
            let (result, bytes) = from.read_exact_at(vec![0; 5000], 0).await;
            result.expect("all of it");
            assert!(bytes == pattern(5000));
        });
        assert!(mount.content("to").expect("there") == pattern(10));
    });
}

#[test]
fn a_create_that_fails_leaves_nothing_and_a_flush_that_fails_is_told_by_close() {
    each("create and flush on FUSE", |mount, bench| {
        let dir = bench.directory();
        let options = OpenOptions::new().write().create_new();
        bench.drive(async {
            for code in [libc::EIO, libc::ENOSPC, libc::EINTR] {
                mount.fault(Op::Create, [Errno(code)]);
                let made = options.open_at(&dir, "new").await;
                assert_eq!(errno(made), code, "a create is made once");
            }
            assert_eq!(mount.names().len(), 0);
            let file = options.open_at(&dir, "new").await.expect("created");
            let clone = file.clone();
            mount.fault(Op::Flush, [Errno(libc::EIO)]);
            clone.close().await.expect("another has it open");
            assert_eq!(errno(file.close().await), libc::EIO);
            mount.fault(Op::Open, [Errno(libc::EMFILE)]);
            let opened = OpenOptions::new().open_at(&dir, "new").await;
            assert_eq!(errno(opened), libc::EMFILE);
        });
    });
}
