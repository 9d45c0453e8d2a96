//! The scenes of liburing's own tests, written anew for this engine's public API: on the real kernel and both backends.
//! Those that other suites play already are named on the page docs/src/traps.md.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ambidex::disk::{Backend, Choice, File, Op, OpenOptions, Options, Outcome, Pool};
use ambidex::net::Token;
use ambidex::poll::{Event, Events};
use ambidex::{Engine, Handle, Poll};
use ambidex_tests::alone::alone;
use ambidex_tests::loops::{builder, engine, engines, pattern, run_on};
use ambidex_tests::sim::{HANG, backends, descriptors};
use futures_util::future::join_all;
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

const DISK: &str = env!("CARGO_TARGET_TMPDIR");
const BLOCK: usize = 4096;

/// A directory with a file `data` of so many blocks and a FIFO `fifo`.
fn stage(blocks: usize) -> (TempDir, PathBuf, PathBuf) {
    let own = TempDir::new_in(DISK).expect("a directory");
    let (data, fifo) = (own.path().join("data"), own.path().join("fifo"));
    fs::write(&data, pattern(blocks * BLOCK)).expect("a file");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    (own, data, fifo)
}

/// A FIFO open at both ends: reads of it wait on the ring until something is written.
async fn open_fifo(io: &Handle, path: &Path) -> (File, fs::File) {
    let both = fs::OpenOptions::new().read(true).write(true).open(path);
    let file = File::open(io.disk(), path).await.expect("open");
    (file, both.expect("a FIFO"))
}

/// Opens `path` by token.
fn open(poll: &mut Poll, options: &OpenOptions, path: &Path) -> File {
    let open = Op::open(poll.disk(), options, path);
    poll.submit(Token(0), open).expect("begun");
    let mut events = Events::with_capacity(1);
    poll.poll(&mut events, Some(HANG)).expect("the loop");
    match events.drain().next() {
        Some(Event::Complete(complete)) => complete.into_file().expect("open"),
        other => panic!("an open was begun: {other:?}"),
    }
}

/// pipe-eof: the writer goes while the read waits.
#[test]
fn a_read_that_waits_ends_with_the_last_writer() {
    for mut engine in engines("the last writer") {
        run_on(&mut engine, async |io| {
            for _ in 0..50 {
                let (reader, writer) = io::pipe().expect("a pipe");
                let file = File::from_fd(io.disk(), OwnedFd::from(reader)).expect("a file");
                let reading = io.spawn(async move { file.read_at(Vec::with_capacity(8), 0).await });
                io.yield_now().await;
                drop(writer);
                let (result, buffer) = reading.await.expect("joined");
                assert_eq!((result.expect("the end"), buffer.len()), (0, 0));
            }
        });
    }
}

/// io-cancel: data and the cancel meet at any moment.
#[test]
fn a_byte_and_a_cancel_race_and_the_byte_is_read_or_stays() {
    let (_own, _, fifo) = stage(1);
    for mut engine in engines("cancels that race") {
        run_on(&mut engine, async |io| {
            let (file, mut both) = open_fifo(&io, &fifo).await;
            let mut writer = both.try_clone().expect("the same");
            let (ask, asked) = mpsc::channel();
            let writing = thread::spawn(move || {
                for round in asked {
                    (0..round % 64 * 16).for_each(|_| std::hint::spin_loop());
                    writer.write_all(&[round as u8]).expect("write");
                }
            });
            for round in 0..500_usize {
                let read = file.read_at(Vec::with_capacity(1), 0);
                let mut read = pin!(io.disk().cancellable(read));
                ask.send(round).expect("it listens");
                let mut early = io.timeout(Duration::ZERO, read.as_mut()).await;
                // Called back before the kernel or a thread has it, and at each stage after.
                for _ in 0..round % 4 {
                    if early.is_err() {
                        io.yield_now().await;
                        early = io.timeout(Duration::ZERO, read.as_mut()).await;
                    }
                }
                let outcome = match early {
                    Ok(_) => None,
                    Err(_) => Some(read.as_mut().cancel().await),
                };
                let taken = match (early, outcome) {
                    (Ok(read), _) | (_, Some(Outcome::Completed(read))) => Some(read),
                    _ => None,
                };
                let (result, buffer) = match taken {
                    Some((Ok(length), buffer)) => (Ok(length), buffer),
                    // The byte stays, or is still to come.
                    _ => file.read_at(Vec::with_capacity(1), 0).await,
                };
                assert_eq!(result.expect("read"), 1);
                assert_eq!(buffer, [round as u8], "no byte is lost or comes twice");
            }
            drop(ask);
            writing.join().expect("the writer");
            both.flush().expect("it is still open");
        });
    }
}

/// cq-overflow: cancels have completions too, and those of a full queue find no room.
#[test]
fn more_cancels_than_the_queue_has_entries_all_end_and_the_loop_goes_on() {
    let (_own, data, fifo) = stage(1);
    for choice in backends("cancels and small queues") {
        for entries in [1, 2, 8] {
            let options = Options {
                choice,
                sq_entries: entries,
                cq_entries: entries,
                ..Options::default()
            };
            let poll = Engine::builder().disk(options).build_poll();
            let mut poll = poll.expect("a loop");
            let both = fs::OpenOptions::new().read(true).write(true).open(&fifo);
            let mut both = both.expect("a FIFO");
            let waiting = open(&mut poll, &OpenOptions::new(), &fifo);
            let file = open(&mut poll, &OpenOptions::new(), &data);
            let mut events = Events::with_capacity(64);
            for _ in 0..20 {
                let mut begun = Vec::new();
                while let Ok(id) = {
                    let read = Op::read_at(&waiting, Vec::with_capacity(1), 0);
                    poll.submit(Token(1), read)
                } {
                    begun.push(id);
                }
                assert!(!begun.is_empty() && begun.len() <= entries as usize);
                poll.poll(&mut events, Some(Duration::ZERO)).expect("turn");
                let mut ended: Vec<_> = events.drain().collect();
                for id in begun.iter().chain(&begun).chain(&begun) {
                    poll.cancel(*id);
                }
                if choice == Choice::Threads {
                    // A thread inside the call cannot be called back: a byte for each.
                    both.write_all(&vec![0; begun.len()]).expect("write");
                }
                while ended.len() < begun.len() {
                    poll.poll(&mut events, Some(HANG)).expect("the loop");
                    assert!(!events.is_empty(), "hangs: {} of {begun:?}", ended.len());
                    ended.extend(events.drain());
                }
                assert_eq!(ended.len(), begun.len(), "each ends once");
                let read = Op::read_at(&file, Vec::with_capacity(8), 0);
                poll.submit(Token(2), read).expect("all credits are back");
                poll.poll(&mut events, Some(HANG)).expect("the loop");
                let last = events.drain().next();
                let Some(Event::Complete(complete)) = last else {
                    panic!("{last:?}");
                };
                assert_eq!((complete.token(), complete.result().expect("read")), (2, 8));
            }
        }
    }
}

/// How a process of [`a_process_may_end_while_it_reads`] ends.
const ENDS: &str = "AMBIDEX_TESTS_ENDS";

/// The child's part: `HOW BACKEND FILE FIFO`.
#[test]
fn child() {
    let Ok(words) = std::env::var(ENDS) else {
        return;
    };
    let words: Vec<&str> = words.split(' ').collect();
    let [how, backend, data, fifo] = words[..] else {
        panic!("{words:?}");
    };
    let choice = Choice::parse(backend).expect("a backend");
    run_on(&mut engine(choice), async |io| {
        let direct = OpenOptions::new().direct().open(io.disk(), data).await;
        let (direct, pool) = (direct.expect("open"), Pool::new(64, BLOCK));
        let (fifo, _both) = open_fifo(&io, fifo.as_ref()).await;
        for at in 0..64 {
            let (direct, buffer) = (direct.clone(), pool.take().await);
            let read = async move { direct.read_at(buffer, at * BLOCK as u64).await.0 };
            io.spawn(read).detach();
        }
        io.spawn(async move { fifo.read_at(vec![0; 8], 0).await.0 })
            .detach();
        io.yield_now().await;
        match how {
            "exit" => std::process::exit(7),
            "abort" => std::process::abort(),
            // The loop goes with its thread's stack untouched.
            _ => thread::spawn(|| std::process::exit(7))
                .join()
                .expect("ends"),
        }
    });
}

/// exit-no-cleanup, submit-and-exit, b19062a56726: with reads of a disk in flight, and one that waits for ever.
#[test]
fn a_process_may_end_while_it_reads() {
    let (_own, data, fifo) = stage(64);
    for choice in backends("the end of a process") {
        let backend = format!("{choice:?}").to_lowercase();
        for how in ["exit", "abort", "thread"] {
            let words = format!("{how} {backend} {} {}", data.display(), fifo.display());
            let program = std::env::current_exe().expect("this program");
            let output = Command::new(program)
                .args(["--exact", "child"])
                .env(ENDS, words)
                .output();
            let status = output.expect("a process").status;
            let expected = match how {
                "abort" => (None, Some(libc::SIGABRT)),
                _ => (Some(7), None),
            };
            assert_eq!(
                (status.code(), status.signal()),
                expected,
                "{how} {choice:?}"
            );
            assert_eq!(fs::read(&data).expect("it is there"), pattern(64 * BLOCK));
        }
    }
}

/// thread-exit: the loop goes while its thread unwinds.
#[test]
fn a_thread_that_panics_while_it_reads_leaves_nothing_behind() {
    let (own, data, _) = stage(64);
    for choice in backends("the end of a thread") {
        let data = data.clone();
        let dying = thread::spawn(move || {
            run_on(&mut engine(choice), async |io| {
                let file = OpenOptions::new().direct().open(io.disk(), data).await;
                let (file, pool) = (file.expect("open"), Pool::new(64, BLOCK));
                for at in 0..64 {
                    let (file, buffer) = (file.clone(), pool.take().await);
                    let read = async move { file.read_at(buffer, at * BLOCK as u64).await.0 };
                    io.spawn(read).detach();
                }
                io.yield_now().await;
                panic!("on purpose");
            });
        });
        assert!(dying.join().is_err());
        assert_eq!(descriptors(&own.path().to_string_lossy()), 0, "{choice:?}");
    }
}

/// file-update, ooo-file-unreg: places of the table change hands while what they name is read.
#[test]
fn files_enter_and_leave_the_table_while_they_are_read() {
    let own = TempDir::new_in(DISK).expect("a directory");
    let path = |at: usize| own.path().join(at.to_string());
    for at in 0..8 {
        fs::write(path(at), [at as u8; BLOCK]).expect("a file");
    }
    for choice in backends("the table of files") {
        let options = Options {
            choice,
            table_entries: 2,
            ..Options::default()
        };
        let mut engine = Engine::builder().disk(options).build().expect("an engine");
        run_on(&mut engine, async |io| {
            let mut fixed = 0;
            for round in 0..200 {
                let at = round % 8;
                let direct = OpenOptions::new().direct().open(io.disk(), path(at)).await;
                let (file, pool) = (direct.expect("open"), Pool::new(4, BLOCK));
                fixed += usize::from(file.fix().is_ok());
                let reading: Vec<_> = (0..4)
                    .map(|_| {
                        let (file, buffer) = (file.clone(), pool.try_take().expect("free"));
                        io.spawn(async move { file.read_at(buffer, 0).await })
                    })
                    .collect();
                if round % 2 == 0 {
                    io.yield_now().await;
                }
                // Its place is free when the last read has ended, and the next file may get it.
                drop(file);
                for read in reading {
                    let (result, buffer) = read.await.expect("joined");
                    assert_eq!(result.expect("read"), BLOCK);
                    assert!(
                        buffer.iter().all(|byte| *byte == at as u8),
                        "another file's"
                    );
                }
            }
            assert_eq!(fixed > 0, choice == Choice::Uring, "{fixed}");
        });
        assert_eq!(descriptors(&own.path().to_string_lossy()), 0);
    }
}

/// buf-update: registered memory goes while it is lent.
#[test]
fn registered_pools_come_and_go_while_their_memory_is_lent() {
    let (_own, data, _) = stage(8);
    for mut engine in engines("registered memory") {
        run_on(&mut engine, async |io| {
            let file = OpenOptions::new().direct().open(io.disk(), &data).await;
            let file = file.expect("open");
            let is_uring = io.capabilities().backend == Backend::Uring;
            for round in 0..40 {
                let pool = Pool::new(8, BLOCK);
                let registered = io.disk().register(&pool);
                // Sixteen at most, and for as long as the ring lives.
                assert_eq!(registered.is_ok(), round < 16 && is_uring);
                let reads: Vec<_> = (0..8)
                    .map(|at| {
                        let (file, buffer) = (file.clone(), pool.try_take().expect("free"));
                        io.spawn(async move { file.read_at(buffer, at * BLOCK as u64).await })
                    })
                    .collect();
                io.yield_now().await;
                drop(pool);
                for (at, read) in reads.into_iter().enumerate() {
                    let (result, buffer) = read.await.expect("joined");
                    assert_eq!(result.expect("read"), BLOCK);
                    assert_eq!(
                        buffer[0],
                        (at * BLOCK % 251) as u8,
                        "what `pattern` has there"
                    );
                }
            }
        });
    }
}

/// close-while-reading: a close neither waits for the read nor ends it.
#[test]
fn a_file_closed_while_its_read_waits_is_read_all_the_same() {
    let (own, _, fifo) = stage(1);
    for mut engine in engines("close") {
        run_on(&mut engine, async |io| {
            for _ in 0..20 {
                let (file, mut both) = open_fifo(&io, &fifo).await;
                let clone = file.clone();
                let reading = io.spawn(async move { clone.read_at(vec![0; 8], 0).await });
                io.yield_now().await;
                file.close().await.expect("close");
                assert!(!reading.is_finished());
                both.write_all(b"late").expect("write");
                let (result, buffer) = reading.await.expect("joined");
                assert_eq!((result.expect("read"), &buffer[..4]), (4, &b"late"[..]));
            }
        });
        drop(engine);
        assert_eq!(descriptors(&own.path().to_string_lossy()), 0);
    }
}

/// truncate, short-read: what is read while the file shrinks and grows is bytes of the file, or fewer.
#[test]
fn a_file_that_shrinks_and_grows_is_read_short_and_never_wrong() {
    let (_own, data, _) = stage(16);
    for mut engine in engines("a file that changes") {
        fs::write(&data, pattern(16 * BLOCK)).expect("whole");
        run_on(&mut engine, async |io| {
            let file = OpenOptions::new().write().open(io.disk(), &data).await;
            let file = file.expect("open");
            for round in 0..100_u64 {
                let length = round * 613 % (16 * BLOCK as u64);
                let (cut, reads) = futures_util::join!(
                    file.set_len(length),
                    join_all((0..16).map(|at| {
                        let at = at * BLOCK as u64;
                        file.read_at(Vec::with_capacity(BLOCK), at)
                    })),
                );
                cut.expect("cut");
                for (at, (result, buffer)) in reads.into_iter().enumerate() {
                    assert!(result.expect("read") <= BLOCK);
                    let first = (at * BLOCK % 251) as u8;
                    // Behind a cut, what it grows by is zeros.
                    assert!(buffer.first().is_none_or(|byte| [first, 0].contains(byte)));
                }
                file.set_len(16 * BLOCK as u64).await.expect("grown");
                let (result, _) = file.write_at(pattern(16 * BLOCK), 0).await;
                assert_eq!(result.expect("written"), 16 * BLOCK);
            }
        });
    }
}

/// defer-taskrun: what a ring that nobody turns has to deliver waits, and goes with it.
#[test]
fn a_loop_that_is_not_turned_keeps_its_completions_and_goes_with_them() {
    let name = "a_loop_that_is_not_turned_keeps_its_completions_and_goes_with_them";
    if !alone(name) {
        return;
    }
    let (own, data, _) = stage(64);
    for choice in backends(name) {
        for taken in [true, false] {
            let mut poll = builder(choice).build_poll().expect("a loop");
            let file = open(&mut poll, &OpenOptions::new().direct(), &data);
            let pool = Pool::new(64, BLOCK);
            for at in 0..64 {
                let buffer = pool.try_take().expect("free");
                let read = Op::read_at(&file, buffer, at * BLOCK as u64);
                poll.submit(Token(at), read).expect("begun");
            }
            let mut events = Events::with_capacity(64);
            poll.poll(&mut events, Some(Duration::ZERO)).expect("turn");
            let mut ended = events.drain().count();
            // Another loop sleeps and turns in the meantime.
            run_on(&mut engine(choice), async |io| {
                io.sleep(Duration::from_millis(5)).await;
            });
            while taken && ended < 64 {
                poll.poll(&mut events, Some(HANG)).expect("the loop");
                assert!(!events.is_empty(), "hangs");
                ended += events.drain().count();
            }
            drop(file);
            assert_eq!(poll.shut_down(HANG), 0);
            assert_eq!(descriptors(&own.path().to_string_lossy()), 0);
        }
    }
}
