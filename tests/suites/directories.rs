//! Directories read in batches, on both backends, on a disk and in memory.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::task::Poll;

use ambidex::disk::{DirEntry, EntryKind, File, OpenOptions, ReadDir};
use ambidex_tests::bench::{self, Bench, errno};
use ambidex_tests::sim::{descriptors, poll_once, turn, turn_until};

fn benches(test: &str) -> impl Iterator<Item = Bench> {
    bench::benches(test, env!("CARGO_TARGET_TMPDIR"))
}

async fn all(mut entries: ReadDir) -> Vec<DirEntry> {
    let mut all = Vec::new();
    while let Some(entry) = entries.next().await.expect("an entry") {
        all.push(entry);
    }
    assert_eq!(entries.next().await.expect("still the end"), None);
    all
}

#[test]
fn ten_thousand_entries_come_once_each() {
    for mut bench in benches("10,000 entries") {
        let name = |at| OsString::from(format!("entry number {at}"));
        let mut expected: HashSet<_> = (0..10_000).map(name).collect();
        for name in &expected {
            fs::File::create(bench.path("").join(name)).expect("a file");
        }
        let dir = bench.directory();
        let entries = bench.drive(async { all(dir.read_dir().await.expect("open")).await });
        assert_eq!(entries.len(), 10_000);
        for entry in entries {
            assert!(expected.remove(entry.name()), "{entry:?} came twice");
        }
    }
}

#[test]
fn an_empty_directory_has_no_entries() {
    for mut bench in benches("empty") {
        let dir = bench.directory();
        let entries = bench.drive(async { all(dir.read_dir().await.expect("open")).await });
        assert_eq!(entries, []);
    }
}

#[test]
fn kinds_and_inodes_are_told_and_names_are_any_bytes() {
    for mut bench in benches("kinds") {
        let odd = OsStr::from_bytes(b"\xff\n name");
        fs::write(bench.path("").join(odd), "").expect("a file");
        fs::create_dir(bench.path("dir")).expect("a directory");
        symlink("nowhere", bench.path("link")).expect("a link");
        let dir = bench.directory();
        let mut found = bench.drive(async { all(dir.read_dir().await.expect("open")).await });
        found.sort_by(|one, other| one.name().cmp(other.name()));
        let kinds: Vec<_> = found
            .iter()
            .map(|entry| (entry.name(), entry.kind()))
            .collect();
        assert_eq!(
            kinds,
            [
                (OsStr::new("dir"), EntryKind::Directory),
                (OsStr::new("link"), EntryKind::Symlink),
                (odd, EntryKind::File),
            ]
        );
        let inode = fs::metadata(bench.path("").join(odd))
            .expect("metadata")
            .ino();
        assert_eq!(found[2].inode(), inode);
    }
}

#[test]
fn each_reader_starts_at_the_beginning() {
    for mut bench in benches("readers") {
        bench.create("a", b"");
        let dir = bench
            .open(&OpenOptions::new(), "")
            .expect("a directory that can be read");
        bench.drive(async {
            for _ in 0..2 {
                assert_eq!(all(dir.read_dir().await.expect("open")).await.len(), 1);
            }
        });
    }
}

#[test]
fn a_file_is_no_directory() {
    for mut bench in benches("ENOTDIR") {
        let file = bench.create("file", b"");
        let refused = bench.drive(async { file.read_dir().await.map(drop) });
        assert_eq!(errno(refused), libc::ENOTDIR);
    }
}

#[test]
fn a_directory_that_was_removed_says_so_or_is_empty() {
    for mut bench in benches("removed") {
        fs::create_dir(bench.path("dir")).expect("a directory");
        let dir = bench.open(&OpenOptions::new(), "dir").expect("open");
        let mut entries = bench.drive(dir.read_dir()).expect("open");
        fs::remove_dir(bench.path("dir")).expect("it is empty");
        match bench.drive(entries.next()) {
            Ok(entry) => assert_eq!(entry, None),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOENT)),
        }
    }
}

#[test]
fn a_dropped_next_loses_no_entry() {
    for mut bench in benches("next dropped") {
        for at in 0..2_000 {
            fs::write(bench.path(&format!("a name of some length {at}")), "").expect("a file");
        }
        let dir = bench.directory();
        let mut entries = bench.drive(dir.read_dir()).expect("open");
        let (mut count, mut dropped) = (0, 0);
        loop {
            let mut next = Box::pin(entries.next());
            match poll_once(next.as_mut()) {
                Poll::Ready(entry) => match entry.expect("an entry") {
                    Some(_) => count += 1,
                    None => break,
                },
                Poll::Pending => {
                    dropped += 1;
                    drop(next);
                    turn(&mut bench.ring);
                }
            }
        }
        assert_eq!(count, 2_000);
        assert!(dropped > 1, "{dropped} batches");
    }
}

#[test]
fn a_dropped_reader_closes_its_descriptor_when_the_kernel_is_done() {
    for mut bench in benches("reader dropped") {
        bench.create("a", b"");
        let dir = bench.directory();
        let name = bench
            .path("")
            .to_string_lossy()
            .trim_end_matches('/')
            .to_owned();
        turn_until(&mut bench.ring, "closes", |ring| {
            ring.in_flight() == 0 && !ring.wants_enter()
        });
        let before = descriptors(&name);
        let mut entries = bench.drive(dir.read_dir()).expect("open");
        assert_eq!(descriptors(&name), before + 1);
        let mut next = Box::pin(entries.next());
        assert!(poll_once(next.as_mut()).is_pending());
        turn(&mut bench.ring);
        drop(next);
        drop(entries);
        turn_until(&mut bench.ring, "the last completion", |ring| {
            ring.in_flight() == 0 && !ring.wants_enter()
        });
        assert_eq!(descriptors(&name), before);
    }
}

#[test]
fn proc_is_read_by_worker_threads() {
    for mut bench in benches("proc") {
        let handle = bench.ring.handle();
        let entries = bench.drive(async {
            let dir = File::open(&handle, "/proc/self").await.expect("open");
            assert!(dir.place().punt());
            all(dir.read_dir().await.expect("open")).await
        });
        assert!(entries.iter().any(|entry| entry.name() == "stat"));
    }
}
