//! Writes that are short, dropped, refused or too long.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;

use ambidex::disk::{Allocate, IoBuf, OpenOptions, Options, Ring};
use ambidex_tests::bench::{Bench, Mount, errno};
use ambidex_tests::sim::disk::{CountedBuf, Disk, Faults, fake};
use ambidex_tests::sim::{backends, drive, poll_once, turn};

#[test]
fn short_reads_and_writes_are_gone_on_with_until_all_is_moved() {
    for disk in [Disk::Local, Disk::Memory, Disk::Remote] {
        let (kernel, control) = fake(4, 4, 7);
        control.file("data", Vec::new());
        control.disk(disk);
        control.faults(Faults {
            short_read: 90,
            short_write: 90,
            again: 20,
            ..Faults::default()
        });
        let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
        let handle = ring.handle();
        let written: Vec<u8> = (0..5000).map(|at| (at % 251) as u8).collect();
        let read = drive(&mut ring, async {
            let file = OpenOptions::new()
                .write()
                .open(&handle, "data")
                .await
                .expect("open");
            let (result, _) = file.write_all_at(written.clone(), 10).await;
            result.expect("write");
            let (result, read) = file.read_exact_at(vec![0; 5000].slice(0..5000), 10).await;
            result.expect("read");
            read.into_inner()
        });
        assert!(read == written, "on {disk:?}");
        assert_eq!(
            control.content("data").map(|content| content.len()),
            Some(5010)
        );
    }
}

#[test]
fn a_write_that_moves_nothing_ends_write_all_with_an_error() {
    let (kernel, control) = fake(4, 4, 7);
    control.file("data", Vec::new());
    let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
    let handle = ring.handle();
    let error = drive(&mut ring, async {
        let file = OpenOptions::new()
            .write()
            .open(&handle, "data")
            .await
            .expect("open");
        control.script_answers([1, 0]);
        file.write_all_at(b"abc".to_vec(), 0).await.0
    });
    assert_eq!(error.expect_err("nothing").kind(), ErrorKind::WriteZero);
}

#[test]
fn a_dropped_write_keeps_its_buffer_and_its_file_until_the_kernel_is_done() {
    let (kernel, control) = fake(4, 4, 7);
    control.file("data", Vec::new());
    let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
    let handle = ring.handle();
    let open = async { OpenOptions::new().write().open(&handle, "data").await };
    let file = drive(&mut ring, open).expect("open");
    let alive = Rc::new(Cell::new(0));
    let counted = CountedBuf::holding(b"abc", &alive);
    control.hang(true);
    let owner = file.clone();
    let mut one = Box::pin(async move { owner.write_at(counted, 0).await.0 });
    let others = vec![
        CountedBuf::holding(b"de", &alive),
        CountedBuf::holding(b"f", &alive),
    ];
    let mut many = Box::pin(async move { file.write_vectored_at(others, 3).await.0 });
    assert!(poll_once(one.as_mut()).is_pending() && poll_once(many.as_mut()).is_pending());
    turn(&mut ring);
    drop((one, many));
    turn(&mut ring);
    assert_eq!((alive.get(), ring.in_flight()), (3, 2), "freed while lent");
    assert_eq!(control.descriptors(), 1, "closed while in use");
    control.hang(false);
    while ring.in_flight() > 0 || ring.wants_enter() {
        control.finish_one();
        turn(&mut ring);
    }
    assert_eq!((alive.get(), control.descriptors()), (0, 0));
    assert_eq!(
        control.content("data"),
        Some(b"abcdef".to_vec()),
        "it happened all the same"
    );
}

#[test]
fn a_full_disk_is_reported_and_a_write_that_half_fits_is_short() {
    let Some(mount) = Mount::tmpfs("ENOSPC", "size=64k") else {
        return;
    };
    for choice in backends("ENOSPC") {
        let mut bench = Bench::at(choice, mount.directory());
        let file = bench.create("data", b"");
        let (result, _) = bench.drive(file.write_at(vec![1; 100_000], 0));
        assert_eq!(result.expect("some of it fits"), 65536);
        let (result, buffer) = bench.drive(file.write_at(vec![1; 10], 65536));
        assert_eq!((errno(result), buffer.len()), (libc::ENOSPC, 10));
        let result = bench.drive(file.write_all_at(vec![1; 10], 65530)).0;
        assert_eq!(errno(result), libc::ENOSPC);
        let allocated = bench.drive(file.allocate(0, 1 << 20, Allocate::default()));
        assert_eq!(errno(allocated), libc::ENOSPC);
    }
}

#[test]
fn a_read_only_filesystem_refuses_to_create_and_to_write() {
    let Some(mount) = Mount::tmpfs("EROFS", "ro") else {
        return;
    };
    for choice in backends("EROFS") {
        let mut bench = Bench::at(choice, mount.directory());
        let created = bench.open(&OpenOptions::new().write().create(), "data");
        assert_eq!(errno(created), libc::EROFS);
    }
}

/// Runs in a process of its own, started by the next test.
#[test]
fn beyond_the_limit_child() {
    if std::env::var_os("AMBIDEX_LIMITED").is_none() {
        return;
    }
    for choice in backends("EFBIG") {
        let own = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let mut bench = Bench::at(choice, own.path());
        let file = bench.create("data", b"");
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize);
        let limit = limit.current.expect("a limit");
        let short = bench.drive(file.write_at(vec![1; 100], limit - 10)).0;
        assert_eq!(short.expect("some of it"), 10);
        assert_eq!(
            errno(bench.drive(file.write_at(vec![1; 1], limit)).0),
            libc::EFBIG
        );
        assert_eq!(errno(bench.drive(file.set_len(limit + 1))), libc::EFBIG);
    }
    println!("beyond the limit: done");
}

#[test]
fn beyond_the_size_limit_a_write_is_short_and_then_refused() {
    let test = std::env::current_exe().expect("this test");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact adverse::beyond_the_limit_child --nocapture";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(test)
        .env("AMBIDEX_LIMITED", "1")
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("beyond the limit: done"), "{text}{errors}");
}
