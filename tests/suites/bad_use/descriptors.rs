//! Descriptors closed, or replaced, behind the back of who owns them. A user's mistake, and an unsafe one: it is told as
//! what it is, and costs nobody else anything.

use std::fs;
use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;

use ambidex::disk::OpenOptions;
use ambidex::net::{Interest, Mode, Source};
use ambidex_tests::bench::{benches, errno};
use ambidex_tests::loops::{pair, run};
use ambidex_tests::sim::poll_once;

use crate::{DISK, alone, engines, raw};

#[test]
fn a_file_closed_behind_its_back_answers_ebadf_and_the_others_go_on() {
    if !alone("descriptors::a_file_closed_behind_its_back_answers_ebadf_and_the_others_go_on") {
        return;
    }
    for mut bench in benches("closed behind the back", DISK) {
        let other = bench.create("other", b"other");
        let file = bench.create("data", b"content");
        let dropped = bench.create("dropped", b"");
        raw::close(&file);
        raw::close(&dropped);
        drop(dropped);
        bench.drive(async {
            let (result, buffer) = file.read_at(vec![7; 3], 0).await;
            assert_eq!((errno(result), buffer), (libc::EBADF, vec![7; 3]));
            let (result, buffer) = file.write_at(vec![7; 3], 0).await;
            assert_eq!((errno(result), buffer), (libc::EBADF, vec![7; 3]));
            assert_eq!(errno(file.metadata().await), libc::EBADF);
            assert_eq!(errno(file.set_len(0).await), libc::EBADF);
            assert_eq!(errno(file.attribute_names().await), libc::EBADF);
            assert_eq!(errno(other.copy_range(0, &file, 0, 1).await), libc::EBADF);
            assert_eq!(errno(file.close().await), libc::EBADF);
            let (result, _) = other.read_at(Vec::with_capacity(8), 0).await;
            assert_eq!(result.expect("read"), 5);
        });
        assert_eq!(bench.content("data"), b"content");
    }
}

#[test]
fn a_directory_closed_behind_its_back_opens_nothing() {
    if !alone("descriptors::a_directory_closed_behind_its_back_opens_nothing") {
        return;
    }
    for mut bench in benches("a directory closed behind the back", DISK) {
        bench.create("data", b"content");
        let dir = bench.directory();
        raw::close(&dir);
        bench.drive(async {
            let opened = OpenOptions::new().open_at(&dir, "data").await;
            assert_eq!(errno(opened), libc::EBADF);
            assert_eq!(errno(dir.at("data").unlink().await), libc::EBADF);
            assert_eq!(errno(dir.read_dir().await), libc::EBADF);
            assert_eq!(errno(dir.close().await), libc::EBADF);
        });
        assert_eq!(bench.content("data"), b"content");
    }
}

#[test]
fn a_socket_replaced_behind_its_back_is_an_error_and_the_loop_goes_on() {
    if !alone("descriptors::a_socket_replaced_behind_its_back_is_an_error_and_the_loop_goes_on") {
        return;
    }
    run(async |io| {
        let (here, there) = pair(&io).await;
        let (one, other) = pair(&io).await;
        let null = fs::File::open("/dev/null").expect("null");
        {
            // Waiting means that it is in the epoll set, from which the kernel takes it.
            let mut buffer = [0];
            let mut waiting = pin!(here.read(&mut buffer));
            assert!(poll_once(waiting.as_mut()).is_pending());
            raw::replace(&here, &null);
            // Nothing tells of that: who waits for ever has to set a limit.
            io.timeout(Duration::ZERO, waiting)
                .await
                .expect_err("no event");
        }
        let sent = here.write(b"x").await;
        assert_eq!(errno(sent), libc::ENOTSOCK);
        let read = here.try_read(&mut [0; 4]).expect("an answer");
        assert_eq!(errno(read), libc::ENOTSOCK);
        drop(here);
        assert_eq!(there.read(&mut [0]).await.expect("the end"), 0);
        one.write_all(b"abc").await.expect("write");
        assert_eq!(other.read(&mut [0; 8]).await.expect("read"), 3);
    });
}

#[test]
fn an_engine_whose_epoll_set_is_replaced_ends_with_an_error() {
    if !alone("descriptors::an_engine_whose_epoll_set_is_replaced_ends_with_an_error") {
        return;
    }
    for (choice, mut engine) in engines("without an epoll set") {
        let null = fs::File::open("/dev/null").expect("null");
        raw::replace(&engine, &null);
        let ran = engine.run(async |io| io.sleep(Duration::MAX).await);
        assert_eq!(errno(ran), libc::EINVAL, "{choice:?}");
    }
}

#[test]
fn what_cannot_be_watched_is_refused_and_what_is_watched_twice_is_two_sources() {
    run(async |io| {
        let file = fs::File::open("/proc/self/exe").expect("a file");
        let refused = Source::with(io.net(), file, Interest::READABLE, Mode::Edge);
        assert_eq!(errno(refused.map(drop)), libc::EPERM);
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let again = reader.try_clone().expect("a duplicate");
        let one = Source::with(io.net(), reader, Interest::READABLE, Mode::Edge).expect("one");
        let two = Source::with(io.net(), again, Interest::READABLE, Mode::Level).expect("two");
        assert_eq!(io.net().sources(), 2);
        writer.write_all(b"x").expect("write");
        one.ready(Interest::READABLE).await.expect("ready");
        two.ready(Interest::READABLE).await.expect("ready");
        drop(one);
        two.ready(Interest::READABLE).await.expect("still watched");
        drop(two);
        assert_eq!((io.net().sources(), io.net().stale_events()), (0, 0));
    });
}
