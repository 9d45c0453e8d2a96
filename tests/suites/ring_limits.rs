//! The ring at its limits, on the real kernel and both backends: the smallest queues, the ends of files, the end of
//! the engine, and signals that never stop.

use std::cell::RefCell;
use std::fs;
use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use ambidex::disk::{BufResult, Choice, File, IoBuf, OpenOptions, Options, Pool};
use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Builder, Engine, Handle};
use ambidex_tests::sim::{Patience, backends, descriptors, poison, poll_once};
use bytes::BytesMut;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

fn engine(choice: Choice, sq_entries: u32, cq_entries: u32) -> Engine {
    let options = Options {
        choice,
        sq_entries,
        cq_entries,
        ..Options::default()
    };
    poison::builder(options)
        .and_then(Builder::build)
        .expect("an engine")
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7 % 256) as u8).collect()
}

/// A directory with a file `data` of `length` bytes.
fn directory(length: usize) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("data");
    fs::write(&path, content(length)).expect("a file");
    (directory, path)
}

async fn errno<T>(result: impl Future<Output = BufResult<T, Vec<u8>>>) -> Option<i32> {
    let (result, buffer) = result.await;
    assert_eq!(buffer.capacity(), 64, "the buffer comes back in any case");
    result.err().and_then(|error| error.raw_os_error())
}

/// 1,000 reads at once; tells in which order they ended.
fn thousand_reads(mut engine: Engine) -> Vec<usize> {
    let (_directory, path) = directory(64_000);
    let ended = engine.run(async |io| {
        let file = File::open(io.disk(), path).await.expect("open");
        let ended = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for at in 0..1000 {
            let (file, ended) = (file.clone(), Rc::clone(&ended));
            tasks.push(io.spawn(async move {
                let (result, buffer) = file.read_at(Vec::with_capacity(64), at as u64 * 64).await;
                assert_eq!(result.expect("read"), 64);
                assert_eq!(buffer, content(64_000)[at * 64..at * 64 + 64]);
                ended.borrow_mut().push(at);
            }));
        }
        for task in tasks {
            task.await.expect("a read");
        }
        assert_eq!((io.disk().in_flight(), io.disk().waiting()), (0, 0));
        ended.take()
    });
    ended.expect("the loop")
}

#[test]
fn with_queues_of_one_entry_a_thousand_reads_end_in_order_of_admission() {
    for choice in backends("one entry") {
        let ended = thousand_reads(engine(choice, 1, 1));
        assert!(
            ended.is_sorted() && ended.len() == 1000,
            "{choice:?}: {ended:?}"
        );
    }
}

#[test]
fn with_a_submission_queue_of_four_a_thousand_reads_all_end() {
    for choice in backends("four entries") {
        assert_eq!(thousand_reads(engine(choice, 4, 1024)).len(), 1000);
        assert_eq!(thousand_reads(engine(choice, 4, 4)).len(), 1000);
    }
}

#[test]
fn after_the_end_of_the_engine_every_use_is_an_error_at_once() {
    for choice in backends("use after the end") {
        let (directory, path) = directory(64);
        let mut engine = engine(choice, 8, 8);
        let opened = engine.run(async |io| File::open(io.disk(), &path).await);
        let file = opened.expect("the loop").expect("open");
        let io = engine.handle();
        assert_eq!(
            engine
                .shut_down(Duration::from_secs(10))
                .operations_given_up,
            0
        );

        let read = poll_once(pin!(file.read_at(vec![1, 2, 3], 0)));
        assert!(matches!(read, Poll::Ready((Err(_), buffer)) if buffer == [1, 2, 3]));
        assert!(matches!(
            poll_once(pin!(File::open(io.disk(), &path))),
            Poll::Ready(Err(_))
        ));
        assert!(matches!(
            poll_once(pin!(file.metadata())),
            Poll::Ready(Err(_))
        ));
        let clone = file.clone();
        assert!(matches!(
            poll_once(pin!(clone.close())),
            Poll::Ready(Ok(()))
        ));
        assert!(poll_once(pin!(file.close())).is_ready());
        assert_eq!(descriptors(&directory.path().to_string_lossy()), 0);
        assert!(matches!(
            poll_once(pin!(io.spawn(async {}))),
            Poll::Ready(Err(_))
        ));
    }
}

#[test]
fn parts_may_be_dropped_in_any_order() {
    for choice in backends("drop order") {
        let (directory, path) = directory(64);
        let mut engine = engine(choice, 8, 8);
        let pool = Pool::new(2, 4096);
        let opened = engine.run(async |io| {
            let file = File::open(io.disk(), &path).await.expect("open");
            (file.clone(), file.read_at(pool.take().await, 0).await)
        });
        let (file, (result, buffer)) = opened.expect("the loop");
        assert_eq!(result.expect("read"), 64);
        let bytes = pool.try_take().expect("another").freeze();
        drop(pool);
        let io = engine.handle();
        let (unpolled, mut polled) = (
            io.sleep(Duration::ZERO),
            Box::pin(io.sleep(Duration::from_secs(9))),
        );
        assert!(poll_once(polled.as_mut()).is_pending());
        let mut read = Box::pin(file.read_at(Vec::with_capacity(8), 0));
        assert!(poll_once(read.as_mut()).is_pending());
        drop(engine);
        drop((read, unpolled, polled));
        drop(io);
        assert_eq!(descriptors(&directory.path().to_string_lossy()), 1);
        drop(file);
        assert_eq!(descriptors(&directory.path().to_string_lossy()), 0);
        assert_eq!((buffer.len(), bytes.len()), (64, 0));
    }
}

#[test]
fn reads_at_the_ends_of_a_file_answer_as_the_manual_says() {
    for choice in backends("ends of a file") {
        let (directory, path) = directory(100);
        let done = engine(choice, 8, 8).run(async |io| {
            let file = File::open(io.disk(), &path).await.expect("open");
            let buffer = || Vec::with_capacity(64);
            let (result, buffer_back) = file.read_at(buffer(), 90).await;
            assert_eq!(
                (result.expect("read"), &buffer_back[..]),
                (10, &content(100)[90..])
            );
            assert_eq!(file.read_at(buffer(), 100).await.0.expect("the end"), 0);
            assert_eq!(
                file.read_at(buffer(), 1 << 40)
                    .await
                    .0
                    .expect("past the end"),
                0
            );
            assert_eq!(file.read_at(Vec::new(), 0).await.0.expect("no room"), 0);
            let past = 1 << 63;
            assert_eq!(
                errno(file.read_at(buffer(), past)).await,
                Some(libc::EINVAL)
            );
            assert_eq!(
                errno(file.read_at(buffer(), u64::MAX)).await,
                Some(libc::EINVAL)
            );
            let nul = File::open(io.disk(), "da\0ta")
                .await
                .expect_err("a NUL byte");
            assert_eq!(nul.kind(), ErrorKind::InvalidInput);
            let folder = File::open(io.disk(), directory.path()).await.expect("open");
            assert_eq!(errno(folder.read_at(buffer(), 0)).await, Some(libc::EISDIR));
            let missing = File::open(io.disk(), path.join("nothing"))
                .await
                .expect_err("no directory");
            assert_eq!(missing.raw_os_error(), Some(libc::ENOTDIR));
            file.close().await.expect("close");
        });
        done.expect("the loop");
    }
}

#[test]
fn a_read_of_what_was_not_opened_for_reading_is_an_error_and_no_panic() {
    for choice in backends("not for reading") {
        let (directory, path) = directory(100);
        let found = engine(choice, 8, 8).run(async |io| {
            let folder = OpenOptions::new()
                .directory()
                .open(io.disk(), directory.path())
                .await;
            let folder = folder.expect("open");
            let write_only = OpenOptions::new().custom_flags(libc::O_WRONLY);
            let file = write_only.open(io.disk(), &path).await.expect("open");
            let buffer = || Vec::with_capacity(64);
            [
                errno(folder.read_at(buffer(), 0)).await,
                errno(file.read_at(buffer(), 0)).await,
            ]
        });
        assert_eq!(
            found.expect("the loop"),
            [Some(libc::EBADF); 2],
            "{choice:?}"
        );
    }
}

#[test]
fn a_fifo_reads_the_same_on_every_backend() {
    let found: Vec<_> = backends("read of a FIFO")
        .into_iter()
        .map(|choice| {
            let (directory, _) = directory(1);
            let path = directory.path().join("fifo");
            mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a FIFO");
            let mut both = fs::OpenOptions::new();
            let writer = both.read(true).write(true).open(&path).expect("a FIFO");
            rustix::io::write(&writer, b"x").expect("a byte");
            let read = engine(choice, 8, 8).run(async |io| {
                let file = File::open(io.disk(), &path).await.expect("open");
                file.read_at(Vec::with_capacity(64), 0).await.0
            });
            read.expect("the loop")
                .map_err(|error| error.raw_os_error())
        })
        .collect();
    assert!(found.iter().all(|answer| *answer == found[0]), "{found:?}");
}

#[test]
fn every_kind_of_buffer_comes_back_with_what_was_read() {
    for choice in backends("kinds of buffers") {
        let (_directory, path) = directory(100);
        let done = engine(choice, 8, 8).run(async |io| {
            let file = File::open(io.disk(), path).await.expect("open");
            let all = content(100);
            let boxed = vec![9; 20].into_boxed_slice();
            let (result, boxed) = file.read_at(boxed, 95).await;
            assert_eq!(
                (result.expect("read"), &boxed[..5], boxed[5]),
                (5, &all[95..], 9)
            );
            let (result, bytes) = file.read_at(BytesMut::with_capacity(20), 10).await;
            assert_eq!(bytes[..result.expect("read")], all[10..30]);
            let (result, view) = file.read_at(vec![9; 10].slice(4..8), 0).await;
            assert_eq!(result.expect("read"), 4);
            assert_eq!(view.into_inner(), [&[9; 4], &all[..4]].concat());
            let nested = vec![9; 10].slice(2..9).slice(1..3);
            let (result, view) = file.read_at(nested, 0).await;
            assert_eq!(result.expect("read"), 2);
            assert_eq!(
                view.into_inner().into_inner(),
                [&[9; 3], &all[..2]].concat()
            );
            let (result, view) = file.read_at(vec![9; 4].slice(7..9), 0).await;
            assert_eq!((result.expect("nothing"), view.into_inner().len()), (0, 4));
        });
        done.expect("the loop");
    }
}

#[test]
fn a_memory_file_is_read_without_the_ring() {
    for choice in backends("tmpfs") {
        let directory = TempDir::new_in("/dev/shm").expect("a directory");
        let path = directory.path().join("data");
        fs::write(&path, content(10_000)).expect("a file");
        let done = engine(choice, 8, 8).run(async |io| {
            let file = File::open(io.disk(), &path).await.expect("open");
            let before = io.disk().counters().submitted;
            let (result, buffer) = file.read_at(Vec::with_capacity(20_000), 100).await;
            assert_eq!(result.expect("read"), 9_900);
            assert_eq!(buffer, content(10_000)[100..]);
            assert_eq!(
                errno(file.read_at(Vec::with_capacity(64), u64::MAX)).await,
                Some(libc::EINVAL)
            );
            assert_eq!(file.metadata().await.expect("metadata").len(), 10_000);
            assert_eq!(io.disk().counters().submitted, before);
        });
        done.expect("the loop");
    }
}

#[test]
fn ten_thousand_files_opened_and_closed_leave_no_descriptor() {
    for choice in backends("many files") {
        let (directory, path) = directory(64);
        let name = directory.path().to_string_lossy().into_owned();
        let done = engine(choice, 8, 64).run(async |io| {
            for round in 0..2500 {
                let (one, two) = (File::open(io.disk(), &path), File::open(io.disk(), &path));
                let (one, two) = (one.await.expect("open"), two.await.expect("open"));
                let (clone, mut read) = (two.clone(), Box::pin(two.read_at(vec![0; 64], 0)));
                one.close().await.expect("close");
                if round % 2 == 0 {
                    let _ = poll_once(read.as_mut());
                }
                drop((read, clone));
                drop(two);
                // Abandoned at one moment or another.
                let mut open = Box::pin(File::open(io.disk(), &path));
                let _ = poll_once(open.as_mut());
                if round % 3 == 0 {
                    io.yield_now().await;
                }
                drop(open);
            }
            // What was abandoned is closed when the kernel has opened it.
            let patience = Patience::new();
            while descriptors(&name) > 0 {
                io.yield_now().await;
                patience.check("the last descriptor to be closed");
            }
        });
        done.expect("the loop");
    }
}

#[test]
fn an_engine_gives_up_at_the_end_of_its_patience_and_says_so() {
    for choice in backends("patience") {
        for patience in [0, 100] {
            let (directory, path) = directory(64);
            let fifo = directory.path().join("fifo");
            mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
            let mut engine = engine(choice, 8, 8);
            let ran = engine.run(async |io: Handle| {
                let (disk, fifo) = (io.disk().clone(), fifo.clone());
                io.spawn(async move { File::open(&disk, fifo).await.map(drop) })
                    .detach();
                let file = File::open(io.disk(), &path).await.expect("open");
                io.spawn(async move { drop(file.read_at(vec![0; 64], 0).await) })
                    .detach();
            });
            ran.expect("the loop");
            let report = engine.shut_down(Duration::from_millis(patience));
            assert_eq!(
                (report.tasks_cancelled, report.operations_given_up),
                (2, 1),
                "{choice:?}"
            );
        }
    }
}

/// Signals this thread all the while, until dropped.
struct Storm {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Storm {
    fn new() -> Storm {
        let (over, heard) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        signal_hook::flag::register(signal_hook::consts::SIGUSR1, heard).expect("a handler");
        // kill(2) of a thread's id prefers that thread.
        let (target, told) = (rustix::thread::gettid(), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                kill_process(target, Signal::USR1).expect("kill");
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        Storm {
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn echo(io: &Handle, rounds: usize) {
    let address = "127.0.0.1:0".parse().expect("an address");
    let listener = TcpListener::bind(io.net(), address).expect("bind");
    let client = TcpStream::connect(io.net(), listener.local_addr().expect("bound")).await;
    let (client, (server, _)) = (
        client.expect("connect"),
        io.accept(&listener).await.expect("accept"),
    );
    let server = io.spawn(async move {
        let mut buffer = [0; 64];
        loop {
            match server.read(&mut buffer).await.expect("read") {
                0 => return,
                length => server.write_all(&buffer[..length]).await.expect("write"),
            }
        }
    });
    let mut buffer = [0; 64];
    for round in 0..rounds {
        client.write_all(&[round as u8]).await.expect("write");
        assert_eq!(client.read(&mut buffer).await.expect("read"), 1);
        assert_eq!(buffer[0], round as u8);
    }
    drop(client);
    server.await.expect("the echo");
}

#[test]
fn a_storm_of_signals_disturbs_neither_files_nor_sockets() {
    for choice in backends("signals") {
        let (_directory, path) = directory(64_000);
        let storm = Storm::new();
        let interrupted = engine(choice, 64, 64).run(async |io: Handle| {
            let expected = Rc::new(content(64_000));
            let echoes = io.clone();
            let echoes = io.spawn(async move { echo(&echoes, 2000).await });
            let mut tasks = Vec::new();
            for task in 0..10 {
                let (io, path, expected) = (io.clone(), path.clone(), Rc::clone(&expected));
                tasks.push(io.clone().spawn(async move {
                    for round in 0..1000 {
                        let file = File::open(io.disk(), &path).await.expect("open");
                        let offset = (task * 1000 + round) % 63_000;
                        let (result, buffer) =
                            file.read_at(Vec::with_capacity(64), offset as u64).await;
                        assert_eq!(buffer, expected[offset..offset + result.expect("read")]);
                        assert_eq!(buffer.len(), 64);
                    }
                }));
            }
            for task in tasks {
                task.await.expect("reads");
            }
            echoes.await.expect("echoes");
            // Asleep, so that at least one wait is interrupted.
            let patience = Patience::new();
            while io.metrics().interrupted == 0 {
                io.sleep(Duration::from_millis(20)).await;
                patience.check("a signal to come through");
            }
        });
        drop(storm);
        interrupted.expect("the loop");
    }
}
