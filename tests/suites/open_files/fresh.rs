//! How old an answer may be: what an open file tells is seen at once, what it cannot tell within a second.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use ambidex_server::{Config, Encoding, Files};
use ambidex_tests::sim::disk::{Disk, Faults};
use ambidex_tests::tree::Tree;

use crate::scene::{ask, config, in_memory, in_memory_with, on_disk};

const ALMOST: Duration = Duration::from_millis(999);
const MOMENT: Duration = Duration::from_millis(1);
/// Seconds after which no tick of a filesystem's clock goes on.
const SETTLED: u64 = 10;

/// Puts `text` where `path` is, by way of another file.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("own file");
    fs::rename(new, path).expect("own file");
}

/// The same number of bytes, and the time of change set back: only the inode's own time tells.
fn rewrite_secretly(path: &Path, text: &str) {
    let before = fs::metadata(path).expect("own file");
    assert_eq!(before.len(), text.len() as u64);
    fs::write(path, text).expect("own file");
    let file = fs::File::options().write(true).open(path);
    let set = file.and_then(|file| file.set_modified(before.modified()?));
    set.expect("own file");
    let after = fs::metadata(path).expect("own file");
    let modified = |metadata: &fs::Metadata| (metadata.mtime(), metadata.mtime_nsec());
    assert_eq!(modified(&after), modified(&before));
}

#[test]
fn the_next_request_sees_what_became_of_a_file() {
    let tree = Tree::new();
    let place = tree.path().join("file");
    on_disk(tree.path(), &Config::default(), async |scene| {
        fs::write(&place, "one").expect("own file");
        scene.expect("/file", "one").await;
        replace(&place, "two");
        scene.expect("/file", "two").await;
        rewrite_secretly(&place, "3rd");
        scene.expect("/file", "3rd").await;
        fs::write(&place, "written in place").expect("own file");
        scene.expect("/file", "written in place").await;
        fs::write(&place, "short").expect("own file");
        scene.expect("/file", "short").await;
        fs::remove_file(&place).expect("own file");
        assert_eq!(scene.get("/file").await, "404");
        fs::create_dir(&place).expect("own directory");
        assert_eq!(scene.get("/file").await, "301");
        fs::remove_dir(&place).expect("own directory");
        assert_eq!(scene.get("/file").await, "404");
        fs::write(&place, "again").expect("own file");
        scene.expect("/file", "again").await;
    });
}

#[test]
fn validators_are_those_of_the_bytes() {
    let tree = Tree::new();
    let place = tree.path().join("file");
    on_disk(tree.path(), &Config::default(), async |scene| {
        let mut known: Vec<(String, String)> = Vec::new();
        for text in ["one", "two", "three", "two", "one"] {
            replace(&place, text);
            for _ in 0..3 {
                let answer = scene.ask(&["GET /file HTTP/1.1"]).await;
                let tag = answer.field("ETag").expect("a tag").to_owned();
                let metadata = fs::metadata(&place).expect("own file");
                let modified = httpdate::fmt_http_date(metadata.modified().expect("a time"));
                assert_eq!(answer.field("Last-Modified"), Some(&*modified));
                for (other, bytes) in &known {
                    assert!(*other != tag || *bytes == answer.body, "{tag}");
                }
                known.push((tag, answer.body));
            }
        }
    });
}

/// What a process writes through a mapping shows in no time until the kernel writes it back, as here.
#[test]
fn bytes_are_kept_for_a_second_and_no_longer() {
    in_memory(SETTLED, Disk::Local, async |scene, disk| {
        disk.file("site/file", b"one".to_vec());
        scene.expect("/file", "one").await;
        disk.rewrite_within_the_tick("site/file", b"two".to_vec());
        scene.expect("/file", "one").await;
        scene.clock.pass(ALMOST);
        scene.expect("/file", "one").await;
        scene.clock.pass(MOMENT);
        scene.expect("/file", "two").await;
    });
}

/// FAT has ticks of two seconds: until the third, times may be those of bytes that are not there yet.
#[test]
fn bytes_that_were_read_in_the_tick_of_a_change_are_not_kept() {
    for (after, kept) in [(0, false), (1, false), (2, false), (3, true)] {
        in_memory(after, Disk::Memory, async |scene, disk| {
            disk.file("site/file", b"one".to_vec());
            scene.expect("/file", "one").await;
            disk.rewrite_within_the_tick("site/file", b"two".to_vec());
            let expected = if kept { "one" } else { "two" };
            scene.expect("/file", expected).await;
        });
    }
}

#[test]
fn a_path_is_looked_up_anew_after_a_second() {
    in_memory(SETTLED, Disk::Local, async |scene, disk| {
        disk.file("site/old/file", b"old".to_vec());
        disk.file("site/new/file", b"new".to_vec());
        disk.symlink("site/current", "old");
        for path in ["/current/file", "/old/file"] {
            scene.expect(path, "old").await;
        }
        disk.symlink("site/next", "new");
        disk.rename("site/next", "site/current");
        disk.rename("site/old", "site/away");
        scene.clock.pass(ALMOST);
        for path in ["/current/file", "/old/file"] {
            scene.expect(path, "old").await;
        }
        scene.clock.pass(MOMENT);
        scene.expect("/current/file", "new").await;
        scene.expect("/old/file", "404").await;
        scene.expect("/away/file", "old").await;
    });
}

/// The file beside which it lies may have been looked up before it.
#[test]
fn the_answer_with_a_form_is_as_old_as_the_older_of_both_files() {
    let files = Files {
        precompressed: vec![Encoding::Gzip],
        ..Files::default()
    };
    let config = config(1000, files);
    in_memory_with(SETTLED, Disk::Local, config, async |scene, disk| {
        disk.file("site/real", b"plain".to_vec());
        disk.symlink("site/a.html", "real");
        disk.file("site/a.html.gz", b"packed".to_vec());
        let form = async || {
            let request = ["GET /a.html HTTP/1.1", "Accept-Encoding: gzip"];
            scene.ask(&request).await.body
        };
        scene.expect("/a.html", "plain").await;
        scene.clock.pass(ALMOST);
        for _ in 0..3 {
            assert_eq!(form().await, "packed");
        }
        disk.rename("site/a.html", "site/away");
        scene.clock.pass(MOMENT);
        assert_eq!(form().await, "404 Not Found\n");
    });
}

#[test]
fn what_was_not_there_is_looked_for_each_time() {
    in_memory(SETTLED, Disk::Local, async |scene, disk| {
        scene.expect("/file", "404").await;
        scene.expect("/", "404").await;
        disk.file("site/file", b"there".to_vec());
        disk.file("site/index.html", b"index".to_vec());
        scene.expect("/file", "there").await;
        scene.expect("/", "index").await;
    });
}

#[test]
fn a_file_whose_permissions_change_is_opened_anew() {
    let tree = Tree::new();
    tree.file("file", "text");
    let place = tree.path().join("file");
    on_disk(tree.path(), &Config::default(), async |scene| {
        scene.expect("/file", "text").await;
        let before = scene.io.metrics().submitted;
        scene.expect("/file", "text").await;
        assert_eq!(scene.io.metrics().submitted, before, "all is kept");
        let mode = |mode| fs::set_permissions(&place, fs::Permissions::from_mode(mode));
        mode(0o600).expect("own file");
        scene.expect("/file", "text").await;
        assert!(scene.io.metrics().submitted > before);
        mode(0o644).expect("own file");
    });
}

/// Opened, and replaced before anybody could ask what was opened: its state will not change any more.
#[test]
fn a_file_that_is_replaced_while_it_is_opened_is_not_kept() {
    in_memory(SETTLED, Disk::Local, async |scene, disk| {
        disk.file("site/file", b"old".to_vec());
        disk.faults(Faults {
            delay: 100,
            ..Faults::default()
        });
        let stream = scene.connect().await;
        let asking = scene.io.spawn(async move {
            let answer = ask(&stream, &["GET /file HTTP/1.1"]).await;
            answer.body
        });
        let opens = disk.seen().opens;
        while disk.seen().opens == opens {
            scene.io.yield_now().await;
            disk.finish_one();
        }
        disk.file("site/file", b"new".to_vec());
        disk.faults(Faults::default());
        disk.ring();
        assert_eq!(asking.await.expect("an answer"), "old");
        scene.expect("/file", "new").await;
    });
}
