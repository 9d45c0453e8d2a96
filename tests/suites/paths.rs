//! Names and attributes: renamed, removed, made, linked, on both backends, on a disk and in memory.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use ambidex::disk::{Choice, Options, Rename, Ring, SetAttribute};
use ambidex_tests::bench::{self, Bench, Mount, errno};
use ambidex_tests::sim::backends;
use ambidex_tests::sim::disk::{Disk, fake};
use ambidex_tests::sim::{drive, poll_once, turn};

const DISK: &str = env!("CARGO_TARGET_TMPDIR");

fn benches(test: &str) -> impl Iterator<Item = Bench> {
    bench::benches(test, DISK)
}

#[test]
fn a_file_is_renamed_within_a_directory_and_replaces_what_was_there() {
    for mut bench in benches("rename") {
        let dir = bench.directory();
        bench.create("old", b"old");
        bench.create("new", b"new");
        bench
            .drive(dir.at("old").rename_to(dir.at("new"), Rename::default()))
            .expect("rename");
        assert_eq!(bench.content("new"), b"old");
        assert!(!bench.path("old").exists());
    }
}

#[test]
fn no_replace_keeps_both_and_exchange_swaps_them() {
    for mut bench in benches("rename flags") {
        let dir = bench.directory();
        bench.create("a", b"A");
        bench.create("b", b"B");
        let refused = bench.drive(dir.at("a").rename_to(dir.at("b"), Rename::NO_REPLACE));
        assert_eq!(errno(refused), libc::EEXIST);
        bench
            .drive(dir.at("a").rename_to(dir.at("b"), Rename::EXCHANGE))
            .expect("exchange");
        assert_eq!(
            (bench.content("a"), bench.content("b")),
            (b"B".to_vec(), b"A".to_vec())
        );
        let absent = bench.drive(dir.at("a").rename_to(dir.at("c"), Rename::EXCHANGE));
        assert_eq!(errno(absent), libc::ENOENT);
        let both = Rename::EXCHANGE | Rename::NO_REPLACE;
        let nonsense = bench.drive(dir.at("a").rename_to(dir.at("c"), both));
        assert_eq!(errno(nonsense), libc::EINVAL);
    }
}

#[test]
fn names_can_be_paths_from_a_directory_or_from_the_process() {
    for mut bench in benches("paths") {
        let dir = bench.directory();
        let handle = bench.ring.handle();
        let root = bench.path("");
        bench.drive(async {
            dir.at("sub").create_dir(0o755).await.expect("mkdir");
            dir.at("sub/deep")
                .create_dir(0o755)
                .await
                .expect("mkdir below");
            handle
                .at(root.join("sub/other"))
                .create_dir(0o755)
                .await
                .expect("mkdir by path");
            let to = handle.at(root.join("sub/moved"));
            dir.at("sub/deep")
                .rename_to(to, Rename::default())
                .await
                .expect("rename");
            dir.at("sub/../sub/moved")
                .remove_dir()
                .await
                .expect("rmdir");
            handle
                .at(root.join("sub/other"))
                .remove_dir()
                .await
                .expect("rmdir by path");
            dir.at("sub").remove_dir().await.expect("rmdir");
        });
        assert_eq!(fs::read_dir(root).expect("a directory").count(), 0);
    }
}

#[test]
fn a_file_is_unlinked_and_stays_readable_while_open() {
    for mut bench in benches("unlink") {
        let dir = bench.directory();
        let file = bench.create("data", b"abc");
        bench.drive(dir.at("data").unlink()).expect("unlink");
        assert!(!bench.path("data").exists());
        assert_eq!(
            bench
                .drive(file.read_at(Vec::with_capacity(8), 0))
                .0
                .expect("read"),
            3
        );
        assert_eq!(errno(bench.drive(dir.at("data").unlink())), libc::ENOENT);
    }
}

#[test]
fn files_and_directories_are_removed_by_their_own_calls() {
    for mut bench in benches("remove") {
        let dir = bench.directory();
        bench.create("file", b"");
        bench.drive(dir.at("dir").create_dir(0o700)).expect("mkdir");
        let mode = fs::metadata(bench.path("dir"))
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o700);
        fs::write(bench.path("dir/inside"), "").expect("a file");
        bench.drive(async {
            assert_eq!(errno(dir.at("dir").create_dir(0o700).await), libc::EEXIST);
            assert_eq!(errno(dir.at("dir").unlink().await), libc::EISDIR);
            assert_eq!(errno(dir.at("file").remove_dir().await), libc::ENOTDIR);
            assert_eq!(errno(dir.at("dir").remove_dir().await), libc::ENOTEMPTY);
            assert_eq!(
                errno(dir.at("none/below").create_dir(0o700).await),
                libc::ENOENT
            );
            assert_eq!(errno(dir.at("").create_dir(0o700).await), libc::ENOENT);
            dir.at("dir/inside").unlink().await.expect("unlink");
            dir.at("dir").remove_dir().await.expect("rmdir");
        });
    }
}

#[test]
fn hard_links_are_one_file_and_symbolic_links_say_where_they_lead() {
    for mut bench in benches("links") {
        let dir = bench.directory();
        bench.create("data", b"abc");
        let long = "x".repeat(255);
        bench.drive(async {
            dir.at("data")
                .hard_link_to(dir.at("twin"))
                .await
                .expect("link");
            let again = dir.at("data").hard_link_to(dir.at("twin")).await;
            assert_eq!(errno(again), libc::EEXIST);
            dir.at("soft")
                .symlink_to("no/such/../place")
                .await
                .expect("symlink");
            dir.at("long").symlink_to(&long).await.expect("symlink");
            let said = dir.at("soft").read_link().await.expect("readlink");
            assert_eq!(said, Path::new("no/such/../place"));
            assert_eq!(
                dir.at("long").read_link().await.expect("readlink"),
                Path::new(&long)
            );
            assert_eq!(errno(dir.at("data").read_link().await), libc::EINVAL);
            assert_eq!(errno(dir.at("none").read_link().await), libc::ENOENT);
            assert_eq!(errno(dir.at("empty").symlink_to("").await), libc::ENOENT);
            dir.at("soft")
                .hard_link_to(dir.at("soft twin"))
                .await
                .expect("the link itself");
        });
        assert_eq!(
            fs::metadata(bench.path("twin")).expect("metadata").nlink(),
            2
        );
        assert!(bench.path("soft twin").is_symlink());
    }
}

#[test]
fn a_nul_byte_is_an_error_wherever_it_is() {
    for mut bench in benches("NUL") {
        let dir = bench.directory();
        let file = bench.create("data", b"");
        let nul = "a\0b";
        bench.drive(async {
            let errors = [
                dir.at(nul).unlink().await,
                dir.at("a").symlink_to(nul).await,
                dir.at("data")
                    .rename_to(dir.at(nul), Rename::default())
                    .await,
                dir.at("data").hard_link_to(dir.at(nul)).await,
                file.set_attribute(nul, Vec::new(), SetAttribute::Either)
                    .await,
                file.remove_attribute(nul).await,
                file.attribute_value(nul).await.map(drop),
            ];
            for error in errors {
                assert_eq!(error.expect_err("NUL").kind(), ErrorKind::InvalidInput);
            }
        });
    }
}

#[test]
fn names_of_two_rings_do_not_mix() {
    for mut bench in benches("two rings") {
        let (dir, other) = (
            bench.directory(),
            Bench::at(Choice::Threads, &bench.path("")),
        );
        bench.create("data", b"");
        let stranger = other.ring.handle();
        let renamed = bench.drive(
            dir.at("data")
                .rename_to(stranger.at("x"), Rename::default()),
        );
        assert_eq!(
            renamed.expect_err("a stranger").kind(),
            ErrorKind::InvalidInput
        );
    }
}

#[test]
fn a_link_or_rename_across_mounts_is_refused_by_the_kernel() {
    let mut all: Vec<_> = benches("EXDEV").collect();
    for pair in all.chunks_mut(2) {
        let [disk, memory] = pair else {
            unreachable!("a disk and a memory each")
        };
        disk.create("data", b"");
        let (dir, handle, path) = (disk.directory(), disk.ring.handle(), memory.path("data"));
        disk.drive(async {
            let to = || handle.at(&path);
            let moved = dir.at("data").rename_to(to(), Rename::default()).await;
            assert_eq!(errno(moved), libc::EXDEV);
            assert_eq!(errno(dir.at("data").hard_link_to(to()).await), libc::EXDEV);
        });
    }
}

#[test]
fn a_read_only_filesystem_changes_no_names() {
    let Some(mount) = Mount::tmpfs("EROFS of names", "ro") else {
        return;
    };
    for choice in backends("EROFS of names") {
        let mut bench = Bench::at(choice, mount.directory());
        let dir = bench.directory();
        bench.drive(async {
            assert_eq!(errno(dir.at("x").create_dir(0o755).await), libc::EROFS);
            assert_eq!(errno(dir.at("x").symlink_to("y").await), libc::EROFS);
            assert_eq!(errno(dir.at("x").unlink().await), libc::EROFS);
        });
    }
}

/// Where user attributes can be had: tmpfs has them since Linux 6.6.
fn attribute_benches(test: &'static str) -> impl Iterator<Item = Bench> {
    benches(test).filter(move |bench| {
        let path = bench.path("probe");
        fs::write(&path, "").expect("a file");
        let set = rustix::fs::setxattr(&path, "user.probe", b"", rustix::fs::XattrFlags::empty());
        if let Err(error) = set {
            ambidex_tests::sim::skip(test, &format!("no attributes on {path:?}: {error}"));
        }
        set.is_ok()
    })
}

#[test]
fn attributes_are_set_read_listed_and_removed() {
    for mut bench in attribute_benches("xattr") {
        let file = bench.create("data", b"");
        bench.drive(async {
            let either = SetAttribute::Either;
            file.set_attribute("user.a", b"one".to_vec(), either)
                .await
                .expect("set");
            file.set_attribute("user.b", Vec::new(), either)
                .await
                .expect("set");
            assert_eq!(file.attribute_value("user.a").await.expect("get"), b"one");
            assert_eq!(file.attribute_value("user.b").await.expect("get"), b"");
            let mut names = file.attribute_names().await.expect("list");
            names.retain(|name| name.to_string_lossy().starts_with("user."));
            names.sort();
            assert_eq!(names, [OsStr::new("user.a"), OsStr::new("user.b")]);
            file.remove_attribute("user.a").await.expect("remove");
            assert_eq!(errno(file.attribute_value("user.a").await), libc::ENODATA);
            assert_eq!(errno(file.remove_attribute("user.a").await), libc::ENODATA);
        });
    }
}

#[test]
fn a_value_longer_than_the_first_try_comes_whole() {
    for mut bench in attribute_benches("long xattr") {
        let file = bench.create("data", b"");
        for length in [255, 256, 257, 2000] {
            let value = vec![7; length];
            bench.drive(async {
                let set = file.set_attribute("user.long", value.clone(), SetAttribute::Either);
                set.await.expect("set");
                assert_eq!(file.attribute_value("user.long").await.expect("get"), value);
            });
        }
    }
}

#[test]
fn create_and_replace_insist_on_what_is_there() {
    for mut bench in attribute_benches("xattr flags") {
        let file = bench.create("data", b"");
        bench.drive(async {
            let set = |how| file.set_attribute("user.a", b"v".to_vec(), how);
            assert_eq!(errno(set(SetAttribute::Replace).await), libc::ENODATA);
            set(SetAttribute::Create).await.expect("create");
            assert_eq!(errno(set(SetAttribute::Create).await), libc::EEXIST);
            set(SetAttribute::Replace).await.expect("replace");
        });
    }
}

#[test]
fn an_unknown_namespace_is_not_supported() {
    for mut bench in benches("xattr namespace") {
        let file = bench.create("data", b"");
        let set = file.set_attribute("nobody.x", Vec::new(), SetAttribute::Either);
        assert_eq!(errno(bench.drive(set)), libc::EOPNOTSUPP);
    }
}

#[test]
fn what_the_kernel_lacks_for_names_goes_to_threads_one_by_one() {
    for name in [
        "RENAMEAT",
        "UNLINKAT",
        "MKDIRAT",
        "SYMLINKAT",
        "LINKAT",
        "FGETXATTR",
        "FSETXATTR",
    ] {
        let Some(mut bench) = bench::masked(name, DISK) else {
            return;
        };
        assert!(
            bench
                .ring
                .capabilities()
                .operations
                .contains(&(name, false))
        );
        let dir = bench.directory();
        let file = bench.create("data", b"");
        bench.drive(async {
            dir.at("dir").create_dir(0o755).await.expect("mkdir");
            dir.at("soft").symlink_to("data").await.expect("symlink");
            dir.at("data")
                .hard_link_to(dir.at("twin"))
                .await
                .expect("link");
            dir.at("twin")
                .rename_to(dir.at("moved"), Rename::default())
                .await
                .expect("rename");
            dir.at("moved").unlink().await.expect("unlink");
            dir.at("dir").remove_dir().await.expect("rmdir");
            let set = file
                .set_attribute("user.a", b"v".to_vec(), SetAttribute::Either)
                .await;
            if errno(set) == 0 {
                assert_eq!(file.attribute_value("user.a").await.expect("get"), b"v");
            }
        });
        assert_eq!(bench.ring.counters().bugs, 0);
    }
}

#[test]
fn a_change_that_was_interrupted_is_reported_for_it_may_have_been_made() {
    for disk in [Disk::Local, Disk::Remote] {
        let (kernel, control) = fake(4, 4, 1);
        control.file("dir/data", Vec::new());
        control.disk(disk);
        let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
        let handle = ring.handle();
        drive(&mut ring, async {
            let dir = ambidex::disk::File::open(&handle, "dir")
                .await
                .expect("open");
            control.script_answers([-libc::EINTR]);
            assert_eq!(errno(dir.at("data").unlink().await), libc::EINTR);
            dir.at("data").unlink().await.expect("unlink");
        });
        assert_eq!(control.content("dir/data"), None);
    }
}

#[test]
fn a_dropped_rename_keeps_both_directories_until_the_kernel_is_done() {
    let (kernel, control) = fake(4, 4, 1);
    control.file("dir/data", b"abc".to_vec());
    let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
    let handle = ring.handle();
    let open = async || {
        ambidex::disk::File::open(&handle, "dir")
            .await
            .expect("open")
    };
    let (from, to) = drive(&mut ring, async { (open().await, open().await) });
    control.hang(true);
    let mut rename = Box::pin(async move {
        from.at("data")
            .rename_to(to.at("moved"), Rename::default())
            .await
    });
    assert!(poll_once(rename.as_mut()).is_pending());
    turn(&mut ring);
    drop(rename);
    turn(&mut ring);
    assert_eq!((control.descriptors(), ring.in_flight()), (2, 1));
    control.hang(false);
    while ring.in_flight() > 0 || ring.wants_enter() {
        control.finish_one();
        turn(&mut ring);
    }
    assert_eq!(control.descriptors(), 0);
    assert_eq!(
        control.content("dir/moved"),
        Some(b"abc".to_vec()),
        "it happened all the same"
    );
}
