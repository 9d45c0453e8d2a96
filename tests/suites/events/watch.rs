//! inotify: what happens to files, in order, and when something was lost.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ambidex::Handle;
use ambidex::net::event::{Change, Changes, Watch, WatchEvent};
use ambidex_tests::sim::{poll_once, skip};

use super::{NOTHING, run};

/// The next `count` events, and that there are no more.
async fn events(io: &Handle, watch: &Watch, count: usize) -> Vec<WatchEvent> {
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(watch.next().await.expect("event"));
    }
    let more = io.timeout(NOTHING, watch.next()).await;
    assert!(more.is_err(), "{events:?}, and {more:?}");
    events
}

async fn changes(io: &Handle, watch: &Watch, count: usize) -> Vec<Change> {
    let events = events(io, watch, count).await;
    events.into_iter().map(|event| event.change).collect()
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn the_life_of_a_file_is_told_in_order() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let watch = Watch::new(io.net()).expect("a watch");
        let id = watch.add(directory.path(), Changes::ALL).expect("add");
        let path = directory.path().join("name");
        let mut file = File::create(&path).expect("create");
        file.write_all(b"x").expect("write");
        drop(file);
        permit(&path, 0o600);
        fs::remove_file(&path).expect("remove");
        let events = events(&io, &watch, 5).await;
        let expected = [
            Change::Created,
            Change::Modified,
            Change::ClosedAfterWrite,
            Change::Attributes,
            Change::Deleted,
        ];
        for (event, change) in events.iter().zip(expected) {
            assert_eq!((event.watch, event.change), (Some(id), change));
            assert!(event.name == b"name" && !event.directory);
        }
    });
}

#[test]
fn only_what_was_asked_for_is_told() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let watch = Watch::new(io.net()).expect("a watch");
        let asked = Changes::CLOSED_AFTER_WRITE | Changes::DELETED;
        watch.add(directory.path(), asked).expect("add");
        fs::write(directory.path().join("file"), "x").expect("write");
        fs::create_dir(directory.path().join("directory")).expect("mkdir");
        fs::remove_dir(directory.path().join("directory")).expect("rmdir");
        let events = events(&io, &watch, 2).await;
        assert_eq!(events[0].change, Change::ClosedAfterWrite);
        assert_eq!(events[1].change, Change::Deleted);
        assert!(events[1].directory);
    });
}

#[test]
fn the_halves_of_a_move_are_paired_by_cookie_across_directories() {
    run(async |io| {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let watch = Watch::new(io.net()).expect("a watch");
        for name in ["a", "b"] {
            fs::write(from.path().join(name), "x").expect("write");
        }
        let ids = [&from, &to].map(|it| watch.add(it.path(), Changes::MOVED).expect("add"));
        for name in ["a", "b"] {
            fs::rename(from.path().join(name), to.path().join("moved")).expect("rename");
        }
        let events = events(&io, &watch, 4).await;
        let mut cookies = Vec::new();
        for (pair, name) in events.chunks(2).zip([b"a", b"b"]) {
            let (Change::MovedFrom { cookie }, Change::MovedTo { cookie: other }) =
                (pair[0].change, pair[1].change)
            else {
                panic!("{pair:?}");
            };
            assert_eq!(cookie, other);
            assert_eq!(pair[0].name, name);
            assert_eq!(pair[1].name, b"moved");
            assert_eq!([pair[0].watch, pair[1].watch], ids.map(Some));
            cookies.push(cookie);
        }
        assert_ne!(cookies[0], cookies[1]);
    });
}

#[test]
fn a_watched_file_that_moves_stays_watched_until_it_is_deleted() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, moved) = (directory.path().join("a"), directory.path().join("b"));
        fs::write(&path, "x").expect("write");
        let watch = Watch::new(io.net()).expect("a watch");
        let id = watch.add(&path, Changes::ALL).expect("add");
        fs::rename(&path, &moved).expect("rename");
        fs::remove_file(&moved).expect("remove");
        // The link count changes before the file goes.
        let events = events(&io, &watch, 4).await;
        let changes: Vec<_> = events.iter().map(|event| event.change).collect();
        let expected = [
            Change::SelfMoved,
            Change::Attributes,
            Change::SelfDeleted,
            Change::Removed,
        ];
        assert_eq!(changes, expected);
        let of_itself = |event: &WatchEvent| event.watch == Some(id) && event.name.is_empty();
        assert!(events.iter().all(of_itself));
        let error = watch.remove(id).expect_err("it is gone");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

#[test]
fn what_happened_before_watching_ended_is_told_and_the_end_comes_last() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let watch = Watch::new(io.net()).expect("a watch");
        let id = watch.add(directory.path(), Changes::CREATED).expect("add");
        File::create(directory.path().join("a")).expect("create");
        watch.remove(id).expect("remove");
        File::create(directory.path().join("b")).expect("create");
        assert_eq!(
            changes(&io, &watch, 2).await,
            [Change::Created, Change::Removed]
        );
        let again = watch.add(directory.path(), Changes::CREATED).expect("add");
        assert_ne!(id, again);
    });
}

#[test]
fn several_watches_share_one_source_and_each_event_says_whose_it_is() {
    run(async |io| {
        let directories: Vec<_> = (0..20).map(|_| tempfile::tempdir().unwrap()).collect();
        let watch = Watch::new(io.net()).expect("a watch");
        let add = |it: &tempfile::TempDir| watch.add(it.path(), Changes::CREATED).expect("add");
        let ids: Vec<_> = directories.iter().map(add).collect();
        for directory in directories.iter().rev() {
            File::create(directory.path().join("new")).expect("create");
        }
        let events = events(&io, &watch, 20).await;
        let seen: Vec<_> = events
            .iter()
            .rev()
            .filter_map(|event| event.watch)
            .collect();
        assert_eq!(seen, ids);
    });
}

#[test]
fn names_are_the_bytes_that_the_filesystem_holds() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let watch = Watch::new(io.net()).expect("a watch");
        watch.add(directory.path(), Changes::CREATED).expect("add");
        let names: [&[u8]; 5] = [b"\xff\xfe", b"line\nbreak", b" ", b"a", &[b'n'; 255]];
        for name in names {
            File::create(directory.path().join(OsStr::from_bytes(name))).expect("create");
        }
        let events = events(&io, &watch, names.len()).await;
        let told: Vec<_> = events.iter().map(|event| &event.name[..]).collect();
        assert_eq!(told, names);
    });
}

#[test]
fn more_events_than_one_read_takes_all_come_in_order() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let watch = Watch::new(io.net()).expect("a watch");
        watch.add(directory.path(), Changes::CREATED).expect("add");
        let name = |number| format!("{number:0width$}", width = 1 + number % 200);
        for number in 0..1000 {
            File::create(directory.path().join(name(number))).expect("create");
        }
        let events = events(&io, &watch, 1000).await;
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event.name, name(number).as_bytes());
        }
    });
}

#[test]
fn a_full_queue_says_that_events_were_lost() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("sysctl");
    let limit: usize = limit.trim().parse().expect("a number");
    if limit > 200_000 {
        return skip("a_full_queue", &format!("it takes {limit} events"));
    }
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let paths = ["a", "b"].map(|name| directory.path().join(name));
        for path in &paths {
            File::create(path).expect("create");
        }
        let watch = Watch::new(io.net()).expect("a watch");
        watch
            .add(directory.path(), Changes::ATTRIBUTES)
            .expect("add");
        // In turns: an event like the last one in the queue is merged with it.
        for number in 0..limit + 100 {
            permit(&paths[number % 2], 0o600);
        }
        let events = events(&io, &watch, limit + 1).await;
        let last = events.last().expect("events");
        assert_eq!((last.watch, last.change), (None, Change::Overflow));
        permit(&paths[0], 0o600);
        assert_eq!(changes(&io, &watch, 1).await, [Change::Attributes]);
    });
}

#[test]
fn a_file_added_twice_is_an_error_under_any_name() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, link) = (directory.path().join("a"), directory.path().join("b"));
        File::create(&path).expect("create");
        fs::hard_link(&path, &link).expect("link");
        let watch = Watch::new(io.net()).expect("a watch");
        watch.add(&path, Changes::ALL).expect("add");
        let error = |path: &Path| watch.add(path, Changes::MODIFIED).expect_err("refused");
        for path in [&path, &link] {
            assert_eq!(error(path).raw_os_error(), Some(libc::EEXIST));
        }
        let missing = error(&directory.path().join("missing"));
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
        let zero = error(Path::new(OsStr::from_bytes(b"a\0b")));
        assert_eq!(zero.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_wait_for_changes_dropped_in_time_loses_none() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let watch = Watch::new(io.net()).expect("a watch");
        watch.add(directory.path(), Changes::CREATED).expect("add");
        for round in 0..50 {
            let pending = poll_once(pin!(watch.next())).is_pending();
            assert!(pending, "{round}");
            for name in ["a", "b", "c"] {
                let path = directory.path().join(format!("{name}{round}"));
                File::create(path).expect("create");
            }
            for name in ["a", "b", "c"] {
                // Each wait is dropped after one poll.
                let event = loop {
                    match poll_once(pin!(watch.next())) {
                        Poll::Ready(event) => break event.expect("event"),
                        Poll::Pending => io.yield_now().await,
                    }
                };
                assert_eq!(event.name, format!("{name}{round}").as_bytes());
            }
        }
    });
}

#[test]
fn tasks_that_wait_for_one_watch_each_get_an_event() {
    run(async |io| {
        let directory = tempfile::tempdir().expect("a directory");
        let watch = Rc::new(Watch::new(io.net()).expect("a watch"));
        watch.add(directory.path(), Changes::CREATED).expect("add");
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let watch = Rc::clone(&watch);
                io.spawn(async move { watch.next().await.expect("event").name })
            })
            .collect();
        io.yield_now().await;
        for number in 0..5 {
            File::create(directory.path().join(number.to_string())).expect("create");
        }
        let mut names = Vec::new();
        for task in tasks {
            names.push(task.await.expect("a task"));
        }
        names.sort_unstable();
        assert_eq!(names, [b"0", b"1", b"2", b"3", b"4"]);
    });
}
