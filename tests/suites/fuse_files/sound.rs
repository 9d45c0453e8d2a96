//! A daemon that does as it is told.

use std::fs;

use ambidex::disk::{Allocate, File, OpenOptions, Rename, SetAttribute};
use ambidex_tests::bench::errno;
use ambidex_tests::loops::pattern;

use crate::daemon::Op;
use crate::each;

#[test]
fn writes_of_every_kind_arrive_byte_for_byte() {
    each("writes on FUSE", |mount, bench| {
        let options = OpenOptions::new().write().create_new();
        let file = bench.open(&options, "data").expect("created");
        assert!(file.place().punt(), "a FUSE mount may hang");
        let long = pattern(300_000);
        bench.drive(async {
            assert_eq!(
                file.write_at(b"0123456789".to_vec(), 0)
                    .await
                    .0
                    .expect("write"),
                10
            );
            let parts = vec![b"ab".to_vec(), Vec::new(), b"cde".to_vec()];
            assert_eq!(file.write_vectored_at(parts, 2).await.0.expect("writev"), 5);
            assert_eq!(file.append(b"end".to_vec()).await.0.expect("append"), 3);
            file.write_all_at(long.clone(), 13)
                .await
                .0
                .expect("write all");
            file.sync_all().await.expect("sync");
            file.sync_data().await.expect("sync");
            let (result, read) = file.read_exact_at(vec![0; 300_013], 0).await;
            result.expect("read");
            assert!(read == [b"01abcde789end", &long[..]].concat());
            let parts = vec![vec![0; 5].into_boxed_slice(), vec![0; 8].into_boxed_slice()];
            let (result, parts) = file.read_vectored_at(parts, 0).await;
            assert_eq!(result.expect("readv"), 13);
            assert_eq!((&*parts[0], &*parts[1]), (&b"01abc"[..], &b"de789end"[..]));
            file.set_len(6).await.expect("truncate");
            file.allocate(0, 8, Allocate::default())
                .await
                .expect("allocate");
            file.punch_hole(1, 2).await.expect("a hole");
            assert_eq!(file.metadata().await.expect("metadata").len(), 8);
        });
        assert_eq!(mount.content("data").expect("there"), b"0\0\0bcd\0\0");
        assert_eq!(mount.count(Op::Sync), 2);
        bench.drive(file.close()).expect("close");
    });
}

#[test]
fn names_are_made_moved_swapped_and_removed() {
    each("names on FUSE", |mount, bench| {
        drop(bench.create("a", b"A"));
        drop(bench.create("b", b"B"));
        let dir = bench.directory();
        bench.drive(async {
            let kept = dir.at("a").rename_to(dir.at("b"), Rename::NO_REPLACE).await;
            assert_eq!(errno(kept), libc::EEXIST);
            let swapped = dir.at("a").rename_to(dir.at("b"), Rename::EXCHANGE).await;
            swapped.expect("exchange");
            assert_eq!(mount.content("a").expect("there"), b"B");
            let free = dir.at("a").rename_to(dir.at("c"), Rename::NO_REPLACE).await;
            free.expect("nothing is there");
            dir.at("c")
                .rename_to(dir.at("b"), Rename::default())
                .await
                .expect("replace");
            assert_eq!(mount.content("b").expect("there"), b"B");
            dir.at("d").create_dir(0o755).await.expect("mkdir");
            assert_eq!(errno(dir.at("d").create_dir(0o755).await), libc::EEXIST);
            assert_eq!(errno(dir.at("d").unlink().await), libc::EISDIR);
            let options = OpenOptions::new().write().create_new();
            let inside = options.open_at(&dir, "d/inside").await.expect("created");
            assert_eq!(errno(dir.at("d").remove_dir().await), libc::ENOTEMPTY);
            dir.at("d/inside").unlink().await.expect("unlink");
            assert_eq!(
                inside
                    .write_at(b"x".to_vec(), 0)
                    .await
                    .0
                    .expect("still open"),
                1
            );
            dir.at("d").remove_dir().await.expect("rmdir");
            assert_eq!(errno(dir.at("d").remove_dir().await), libc::ENOENT);
        });
        assert_eq!(mount.names(), ["b"]);
    });
}

#[test]
fn a_thousand_entries_come_once_each_in_batches() {
    each("entries on FUSE", |mount, bench| {
        let dir = bench.directory();
        let mut found = bench.drive(async {
            for index in 0..1000 {
                dir.at(format!("entry {index:04}"))
                    .create_dir(0o755)
                    .await
                    .expect("mkdir");
            }
            let (mut entries, mut found) = (dir.read_dir().await.expect("open"), Vec::new());
            while let Some(entry) = entries.next().await.expect("entry") {
                found.push(entry.into_name());
            }
            found
        });
        found.sort();
        assert!(found == mount.names() && found.len() == 1000);
        assert!(mount.count(Op::ReadDir) > 1);
    });
}

#[test]
fn attributes_are_set_told_listed_and_removed() {
    each("attributes on FUSE", |mount, bench| {
        let file = bench.create("data", b"");
        let value = pattern(5000);
        bench.drive(async {
            let set = async |how| file.set_attribute("user.a", value.clone(), how).await;
            assert_eq!(errno(set(SetAttribute::Replace).await), libc::ENODATA);
            set(SetAttribute::Create).await.expect("set");
            assert_eq!(errno(set(SetAttribute::Create).await), libc::EEXIST);
            set(SetAttribute::Either).await.expect("set");
            let nothing = Vec::new();
            file.set_attribute("user.b", nothing, SetAttribute::Either)
                .await
                .expect("set");
            // Longer than the first try: asked twice.
            assert!(file.attribute_value("user.a").await.expect("value") == value);
            assert_eq!(file.attribute_value("user.b").await.expect("value"), b"");
            assert_eq!(
                file.attribute_names().await.expect("names"),
                ["user.a", "user.b"]
            );
            file.remove_attribute("user.a").await.expect("removed");
            assert_eq!(errno(file.remove_attribute("user.a").await), libc::ENODATA);
            assert_eq!(errno(file.attribute_value("user.a").await), libc::ENODATA);
        });
        assert_eq!(mount.count(Op::GetAttribute), 4);
    });
}

#[test]
fn ranges_are_copied_within_the_mount_into_it_and_out_of_it() {
    each("copies on FUSE", |mount, bench| {
        let local = tempfile::tempdir_in(crate::DISK).expect("a directory");
        let path = local.path().join("local");
        fs::write(&path, pattern(10_000)).expect("a file");
        let (from, to) = (bench.create("from", b"0123456789"), bench.create("to", b""));
        let handle = bench.ring.handle();
        bench.drive(async {
            let options = OpenOptions::new().write();
            let local: File = options.open(&handle, &path).await.expect("open");
            assert_eq!(from.copy_range(2, &to, 1, 5).await.expect("copy"), 5);
            assert_eq!(
                from.copy_range(8, &to, 6, 5)
                    .await
                    .expect("short at the end"),
                2
            );
            assert_eq!(from.copy_range(10, &to, 0, 5).await.expect("the end"), 0);
            assert_eq!(
                local.copy_range(100, &to, 8, 3000).await.expect("into"),
                3000
            );
            assert_eq!(to.copy_range(1, &local, 0, 4).await.expect("out of"), 4);
        });
        let expected = [b"\x0023456\x38\x39", &pattern(10_000)[100..3100]].concat();
        assert!(mount.content("to").expect("there") == expected);
        assert_eq!(
            fs::read(&path).expect("content")[..5],
            [b'2', b'3', b'4', b'5', 4]
        );
    });
}
