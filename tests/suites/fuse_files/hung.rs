//! A daemon that does not answer, and who has stopped waiting for it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use ambidex::disk::{Allocate, File, OpenOptions, Rename, SetAttribute};
use ambidex_tests::bench::Bench;
use ambidex_tests::sim::disk::CountedBuf;
use ambidex_tests::sim::{poll_once, turn, turn_until};

use crate::daemon::{Mount, Op};
use crate::{DISK, each};

type Work<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;
type Done = fn(&Mount) -> bool;
type Alive = Rc<Cell<usize>>;
type Make = for<'a> fn(&'a File, &'a File, &Alive) -> Work<'a>;

/// Each operation, the request that it hangs in, and what is there when that has been answered.
const WORKS: [(Op, Make, Done); 14] = [
    (
        Op::Write,
        |_, file, alive| {
            let buffer = CountedBuf::holding(b"WRITTEN", alive);
            Box::pin(async { file.write_at(buffer, 0).await.0.map(drop) })
        },
        |mount| holds(mount, b"WRITTEN"),
    ),
    (
        Op::Write,
        |_, file, alive| {
            let buffers = vec![
                CountedBuf::holding(b"V", alive),
                CountedBuf::holding(b"W", alive),
            ];
            Box::pin(async { file.write_vectored_at(buffers, 0).await.0.map(drop) })
        },
        |mount| holds(mount, b"VW"),
    ),
    (
        Op::Write,
        |_, file, alive| {
            let buffer = CountedBuf::holding(b"+", alive);
            Box::pin(async { file.append(buffer).await.0.map(drop) })
        },
        |mount| holds(mount, b"content+"),
    ),
    (
        Op::Read,
        |_, file, alive| {
            let buffer = CountedBuf::new(8, alive);
            Box::pin(async { file.read_at(buffer, 0).await.0.map(drop) })
        },
        |mount| holds(mount, b"content"),
    ),
    (Op::Sync, |_, file, _| Box::pin(file.sync_all()), |_| true),
    (
        Op::SetAttr,
        |_, file, _| Box::pin(file.set_len(3)),
        |mount| mount.content("data").as_deref() == Some(b"con"),
    ),
    (
        Op::Allocate,
        |_, file, _| Box::pin(file.allocate(0, 9, Allocate::default())),
        |mount| holds(mount, b"content\0\0"),
    ),
    (
        Op::Copy,
        |_, file, _| Box::pin(async { file.copy_range(0, file, 4, 2).await.map(drop) }),
        |mount| holds(mount, b"contcot"),
    ),
    (
        Op::SetAttribute,
        |_, file, _| Box::pin(file.set_attribute("user.a", vec![1], SetAttribute::Either)),
        |_| true,
    ),
    (
        Op::Rename,
        |dir, _, _| Box::pin(dir.at("other").rename_to(dir.at("new"), Rename::NO_REPLACE)),
        |mount| mount.content("new").is_some() && mount.content("other").is_none(),
    ),
    (
        Op::Unlink,
        |dir, _, _| Box::pin(dir.at("other").unlink()),
        |mount| mount.content("other").is_none(),
    ),
    (
        Op::MakeDir,
        |dir, _, _| Box::pin(dir.at("new").create_dir(0o755)),
        |mount| mount.content("new").is_some(),
    ),
    (
        Op::ReadDir,
        |dir, _, _| Box::pin(async { dir.read_dir().await?.next().await.map(drop) }),
        |_| true,
    ),
    (
        Op::Create,
        |dir, _, _| {
            let options = OpenOptions::new().write().create_new();
            Box::pin(async move { options.open_at(dir, "new").await.map(drop) })
        },
        |mount| mount.content("new").is_some(),
    ),
];

fn holds(mount: &Mount, bytes: &[u8]) -> bool {
    let content = mount.content("data").unwrap_or_default();
    content.starts_with(bytes)
}

/// Files of this mount, and of a disk, are written and read as ever.
fn assert_others_go_on(bench: &mut Bench, neighbour: &File, local: &File, held: Op) {
    bench.drive(async {
        for file in [neighbour, local] {
            // Of the mount, only what does not hang.
            if held != Op::Write || !file.place().punt() {
                let (result, _) = file.write_all_at(b"fine".to_vec(), 0).await;
                result.expect("write");
            }
            if held != Op::Read || !file.place().punt() {
                let (result, read) = file.read_exact_at(vec![0; 4], 0).await;
                result.expect("read");
                assert_eq!(read, b"fine");
            }
        }
    });
}

#[test]
fn a_hung_operation_given_up_harms_nobody_and_is_cleaned_up_when_it_ends() {
    for (op, make, done) in WORKS {
        each(&format!("a hung {op:?}"), |mount, bench| {
            let own = tempfile::tempdir_in(DISK).expect("a directory");
            let handle = bench.ring.handle();
            drop(bench.create("other", b""));
            let (file, neighbour) = (
                bench.create("data", b"content"),
                bench.create("kept", b"fine"),
            );
            let dir = bench.directory();
            let options = OpenOptions::new().write().create();
            let local = bench.drive(options.open(&handle, own.path().join("local")));
            let local = local.expect("created");
            let alive = Alive::default();
            mount.hold(op);
            {
                let mut work = make(&dir, &file, &alive);
                turn_until(&mut bench.ring, "the hang", |_| {
                    assert!(poll_once(work.as_mut()).is_pending(), "{op:?}");
                    mount.held() == 1
                });
            }
            let lent = alive.get();
            assert_others_go_on(bench, &neighbour, &local, op);
            assert_eq!(
                (bench.ring.in_flight(), alive.get()),
                (1, lent),
                "{op:?}: lent"
            );
            // The hung one still holds the file: only its own reference goes.
            drop(file);
            turn(&mut bench.ring);
            mount.release();
            turn_until(&mut bench.ring, "the end", |ring| !ring.is_busy());
            assert_eq!(alive.get(), 0, "{op:?}: what was lent is freed");
            assert!(done(mount), "{op:?}: it happened all the same");
            // Nothing waits for it any more, and the mount is as good as new.
            let (result, _) = bench.drive(neighbour.write_at(b"again".to_vec(), 0));
            assert_eq!(result.expect("write"), 5);
        });
    }
}

#[test]
fn more_hung_writes_than_the_mount_may_have_leave_the_local_disk_alone() {
    each("a crowd of hung writes", |mount, bench| {
        let own = tempfile::tempdir_in(DISK).expect("a directory");
        let handle = bench.ring.handle();
        let file = bench.create("data", b"");
        let options = OpenOptions::new().write().create();
        let local = bench.drive(options.open(&handle, own.path().join("local")));
        let local = local.expect("created");
        mount.hold(Op::Write);
        let alive = Alive::default();
        let mut crowd: Vec<_> = (0..100)
            .map(|at| Box::pin(file.write_at(CountedBuf::holding(b"x", &alive), at)))
            .collect();
        for write in &mut crowd {
            assert!(poll_once(write.as_mut()).is_pending());
        }
        // The kernel lets one process have one write of a file at a time; the rest wait behind it.
        turn_until(&mut bench.ring, "the hang", |_| mount.held() > 0);
        let in_flight = bench.ring.in_flight();
        assert!(in_flight <= 32, "{in_flight} on one mount");
        let (result, _) = bench.drive(local.write_all_at(b"fine".to_vec(), 0));
        result.expect("write");
        drop(crowd);
        assert_eq!(
            alive.get(),
            in_flight,
            "those that waited are freed at once"
        );
        mount.release();
        turn_until(&mut bench.ring, "the end", |ring| !ring.is_busy());
        assert_eq!(alive.get(), 0);
    });
}
