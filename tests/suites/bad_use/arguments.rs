//! Buffers of nothing, paths that are none, options and durations of any size.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::Duration;

use ambidex::disk::{Allocate, Choice, File, OpenOptions, Options, Pool, Rename, Splice};
use ambidex::net::event::{Changes, Watch};
use ambidex::net::{TcpStream, UdpSocket, UnixStream};
use ambidex::{Engine, Handle};
use ambidex_tests::bench::{benches, errno};
use ambidex_tests::loops::{ANY_PORT, pair, run};
use ambidex_tests::sim::backends;

use crate::DISK;

#[test]
fn an_empty_buffer_of_a_silent_connection_reads_nothing_and_does_not_wait() {
    run(async |io| {
        let (here, there): (TcpStream, TcpStream) = pair(&io).await;
        let (left, _right) = UnixStream::pair(io.net()).expect("a pair");
        assert_eq!(left.read(&mut []).await.expect("read"), 0);
        for _ in 0..2 {
            assert_eq!(here.read(&mut []).await.expect("read"), 0);
            assert_eq!(here.peek(&mut []).await.expect("peek"), 0);
            assert_eq!(here.read_vectored(&mut []).await.expect("readv"), 0);
            let mut parts = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
            assert_eq!(here.read_vectored(&mut parts).await.expect("readv"), 0);
            let tried = here.try_read(&mut []).expect("an answer");
            assert_eq!(tried.expect("read"), 0);
            // Again while there is something to read, none of which is lost.
            there.write_all(b"abc").await.expect("write");
            here.readable().await.expect("readable");
        }
        let mut buffer = [0; 6];
        assert_eq!(here.read(&mut buffer).await.expect("read"), 6);
        assert_eq!(&buffer, b"abcabc");
    });
}

#[test]
fn nothing_is_sent_of_nothing_and_the_connection_goes_on() {
    run(async |io| {
        let (here, there) = pair(&io).await;
        assert_eq!(here.write(&[]).await.expect("write"), 0);
        here.write_all(&[]).await.expect("write");
        assert_eq!(here.write_vectored(&[]).await.expect("writev"), 0);
        let parts = [IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(here.write_vectored(&parts).await.expect("writev"), 0);
        let tried = here.try_write_vectored(&parts).expect("an answer");
        assert_eq!(tried.expect("writev"), 0);
        let file = fs::File::open("/proc/self/stat").expect("a file");
        for range in [0..0, 5..5, u64::MAX..u64::MAX, reversed()] {
            assert_eq!(here.sendfile(&file, range).await.expect("sendfile"), 0);
        }
        here.write_all(b"x").await.expect("write");
        let mut buffer = [0; 8];
        assert_eq!(there.read(&mut buffer).await.expect("read"), 1);
    });
}

#[allow(clippy::reversed_empty_ranges)]
fn reversed() -> std::ops::Range<u64> {
    5..1
}

#[test]
fn of_no_messages_none_is_waited_for_and_an_empty_one_is_a_message() {
    run(async |io| {
        let socket = UdpSocket::bind(io.net(), ANY_PORT).expect("bind");
        assert_eq!(socket.recv_many(&mut []).await.expect("recv"), 0);
        assert_eq!(socket.send_many(&[]).await.expect("send"), 0);
        socket
            .connect(&socket.local_addr().expect("bound"))
            .expect("connect");
        assert_eq!(socket.send(&[]).await.expect("send"), 0);
        assert_eq!(socket.send(b"x").await.expect("send"), 1);
        assert_eq!(socket.recv(&mut []).await.expect("recv").length, 0);
        let cut = socket.recv(&mut []).await.expect("recv");
        assert!(cut.truncated && cut.length == 0);
        let (here, there) = UnixStream::pair(io.net()).expect("a pair");
        here.write_all(b"x").await.expect("write");
        let received = there.recv_with_fds(&mut [0; 4], usize::MAX).await;
        let (received, fds) = received.expect("recv");
        assert!(received.length == 1 && fds.is_empty());
    });
}

#[test]
fn vectors_of_empty_buffers_move_nothing_and_leave_their_place_to_others() {
    for mut bench in benches("empty vectors", DISK) {
        let file = bench.create("data", b"abcdef");
        bench.drive(async {
            let none = || vec![Vec::new(), Vec::new()];
            let (result, buffers) = file.write_vectored_at(none(), 2).await;
            assert_eq!((result.expect("writev"), buffers.len()), (0, 2));
            let (result, buffers) = file.read_vectored_at(none(), 2).await;
            assert_eq!((result.expect("readv"), buffers.len()), (0, 2));
            let mixed = vec![Vec::new(), b"X".to_vec(), Vec::new(), b"Y".to_vec()];
            assert_eq!(file.write_vectored_at(mixed, 1).await.0.expect("writev"), 2);
            let room = || Vec::<u8>::with_capacity(2).into_boxed_slice();
            let mixed = vec![room(), Box::from([0; 3]), room(), Box::from([0; 2])];
            let (result, buffers) = file.read_vectored_at(mixed, 0).await;
            assert_eq!(result.expect("readv"), 5);
            assert_eq!((&*buffers[1], &*buffers[3]), (&b"aXY"[..], &b"de"[..]));
        });
        assert_eq!(bench.content("data"), b"aXYdef");
    }
}

#[test]
fn ranges_of_nothing_are_what_the_manual_says() {
    for mut bench in benches("empty ranges", DISK) {
        let (file, other) = (bench.create("data", b"abc"), bench.create("other", b""));
        let (reader, writer) = io::pipe().expect("a pipe");
        let handle = bench.ring.handle();
        bench.drive(async {
            let reader = File::from_fd(&handle, reader.into()).expect("a pipe");
            let writer = File::from_fd(&handle, writer.into()).expect("a pipe");
            assert_eq!(file.copy_range(0, &other, 0, 0).await.expect("copy"), 0);
            let how = Splice::default();
            let spliced = file.splice_to(Some(0), &writer, None, 0, how).await;
            assert_eq!(spliced.expect("splice"), 0);
            assert_eq!(reader.tee_to(&writer, 0, how).await.expect("tee"), 0);
            file.sync_range(0, 0).await.expect("all of it");
            let allocated = file.allocate(0, 0, Allocate::default()).await;
            assert_eq!(errno(allocated), libc::EINVAL);
            assert_eq!(errno(file.punch_hole(0, 0).await), libc::EINVAL);
            let mut none = file.stream(reversed(), 0, 0);
            assert_eq!(none.next().await.expect("nothing"), None);
            let mut one_by_one = file.stream(0..2, 0, 0);
            assert_eq!(one_by_one.next().await.expect("read"), Some(b"a".to_vec()));
        });
        assert_eq!(bench.content("data"), b"abc");
    }
}

#[test]
fn a_stream_of_chunks_that_no_memory_holds_is_an_error_and_its_window_is_bounded() {
    for mut bench in benches("endless chunks", DISK) {
        let file = bench.create("data", b"abc");
        bench.drive(async {
            let mut stream = file.stream(0..u64::MAX, usize::MAX, 1);
            let error = stream.next().await.expect_err("no such memory");
            assert_eq!(error.kind(), ErrorKind::OutOfMemory);
            assert_eq!(stream.next().await.expect("it has ended"), None);
            let mut stream = file.stream(0..u64::MAX, 1, usize::MAX);
            for byte in [b"a", b"b", b"c"] {
                assert_eq!(stream.next().await.expect("read"), Some(byte.to_vec()));
            }
            assert_eq!(stream.next().await.expect("the end"), None);
        });
    }
}

/// What is no path: an errno, or 0 for one that the kernel never sees.
fn no_paths() -> [(Vec<u8>, i32); 4] {
    [
        (b"a\0b".to_vec(), 0),
        (Vec::new(), libc::ENOENT),
        (vec![b'x'; 256], libc::ENAMETOOLONG),
        (b"x/".repeat(4096), libc::ENAMETOOLONG),
    ]
}

/// Every use of `path` below `dir`, and above.
async fn uses(dir: &File, path: &Path) -> Vec<(&'static str, io::Result<()>)> {
    let at = || dir.at(path);
    let new = || OpenOptions::new().write().create_new();
    let rename = Rename::default();
    vec![
        (
            "open",
            OpenOptions::new().open_at(dir, path).await.map(drop),
        ),
        ("create", new().open_at(dir, path).await.map(drop)),
        ("unlink", at().unlink().await),
        ("rmdir", at().remove_dir().await),
        ("mkdir", at().create_dir(0o755).await),
        ("symlink", at().symlink_to("data").await),
        ("read link", at().read_link().await.map(drop)),
        ("link", at().hard_link_to(dir.at("new")).await),
        ("link to", dir.at("data").hard_link_to(at()).await),
        ("rename", at().rename_to(dir.at("new"), rename).await),
        ("rename to", dir.at("data").rename_to(at(), rename).await),
    ]
}

#[test]
fn what_is_no_path_is_refused_by_every_operation_and_changes_nothing() {
    for mut bench in benches("no paths", DISK) {
        bench.create("data", b"abc");
        let (dir, handle) = (bench.directory(), bench.ring.handle());
        bench.drive(async {
            for (path, expected) in no_paths() {
                let path = Path::new(OsStr::from_bytes(&path));
                let mut answers = uses(&dir, path).await;
                let opened = OpenOptions::new().open(&handle, path).await;
                answers.push(("open anywhere", opened.map(drop)));
                answers.push(("unlink anywhere", handle.at(path).unlink().await));
                for (name, answer) in answers {
                    let error = answer.expect_err(name);
                    match expected {
                        0 => assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}"),
                        errno => assert_eq!(error.raw_os_error(), Some(errno), "{name}"),
                    }
                }
            }
        });
        let names = fs::read_dir(bench.path("")).expect("entries").count();
        assert_eq!((names, bench.content("data")), (1, b"abc".to_vec()));
    }
}

#[test]
fn what_is_no_path_is_neither_watched_nor_bound() {
    run(async |io| {
        let watch = Watch::new(io.net()).expect("a watch");
        for (path, _) in no_paths() {
            let path = Path::new(OsStr::from_bytes(&path));
            watch.add(path, Changes::ALL).expect_err("no path");
        }
        let id = watch.add(DISK, Changes::ALL).expect("watched");
        watch.remove(id).expect("removed");
        assert_eq!(errno(watch.remove(id)), libc::EINVAL, "removed twice");
        let other = Watch::new(io.net()).expect("another");
        assert_eq!(errno(other.remove(id)), libc::EINVAL, "a stranger's");
        SocketAddr::from_pathname(OsStr::from_bytes(&[b'x'; 200])).expect_err("too long");
    });
}

#[test]
fn an_attribute_without_a_name_or_beyond_its_size_is_refused() {
    for mut bench in benches("attributes that are none", DISK) {
        let file = bench.create("data", b"");
        let long = OsStr::from_bytes(&[b'x'; 300]).to_owned();
        bench.drive(async {
            use ambidex::disk::SetAttribute::Either;
            for name in [OsStr::new(""), &long] {
                assert_eq!(errno(file.attribute_value(name).await), libc::ERANGE);
                assert_eq!(errno(file.remove_attribute(name).await), libc::ERANGE);
                let set = file.set_attribute(name, Vec::new(), Either).await;
                assert_eq!(errno(set), libc::ERANGE);
            }
            let huge = vec![0; 65_537];
            let set = file.set_attribute("user.huge", huge, Either).await;
            assert_eq!(errno(set), libc::E2BIG);
            let set = file.set_attribute("a\0b", Vec::new(), Either).await;
            assert_eq!(set.expect_err("a NUL").kind(), ErrorKind::InvalidInput);
        });
    }
}

async fn reads(io: &Handle) {
    let file = File::open(io.disk(), "/proc/self/stat")
        .await
        .expect("open");
    let (result, _) = file.read_at(Vec::with_capacity(8), 0).await;
    assert_eq!(result.expect("read"), 8);
}

#[test]
fn queues_of_any_size_are_brought_to_one_that_there_is() {
    for choice in backends("queues of any size") {
        for entries in [0, 1, u32::MAX] {
            let remote_max = if entries == 0 { 0 } else { usize::MAX };
            let options = Options {
                choice,
                sq_entries: entries,
                cq_entries: entries,
                workers_max: entries,
                remote_max,
                masked: vec!["NO SUCH OPERATION", ""],
                table_entries: entries,
            };
            let builder = Engine::builder()
                .disk(options)
                .cpu_threads(entries as usize);
            // Io_uring may say that there is no memory for the largest; that is an answer.
            match builder.build() {
                Ok(mut engine) => engine.run(async |io| reads(&io).await).expect("the loop"),
                Err(error) => assert!(choice == Choice::Uring && entries > 1, "{error}"),
            }
        }
    }
}

#[test]
fn a_pool_without_buffers_or_beyond_memory_is_refused_by_name() {
    for (count, size) in [(0, 1), (1, 0), (usize::MAX, 1), (2, usize::MAX / 2)] {
        let made = catch_unwind(|| drop(Pool::new(count, size)));
        assert!(made.is_err(), "{count} of {size} bytes");
    }
}

#[test]
fn limits_of_no_time_and_of_ages_are_limits() {
    run(async |io| {
        let long = io.timeout(Duration::MAX, async { 1 }).await;
        assert_eq!(long, Ok(1));
        let none = io.timeout(Duration::ZERO, async { 1 }).await;
        assert_eq!(none, Ok(1), "what is ready is not late");
        let pending = std::future::pending::<()>();
        assert!(io.timeout(Duration::ZERO, pending).await.is_err());
        let listener = ambidex::net::TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        io.connect(address, Duration::MAX).await.expect("connect");
        let mut ages = io.interval(Duration::MAX);
        assert!(io.timeout(Duration::ZERO, ages.tick()).await.is_err());
        let mut nothing = io.interval(Duration::ZERO);
        let first = nothing.tick().await;
        assert!(nothing.tick().await > first);
    });
}
