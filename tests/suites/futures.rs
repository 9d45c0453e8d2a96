//! `futures-util` on the engine: its `select!`, `join!` and collections, with operations of every kind in them. Nothing is
//! lost, and who loses a `select!` can be asked again.

use std::collections::BTreeSet;
use std::future::ready;
use std::io;
use std::pin::pin;
use std::time::Duration;

use ambidex::disk::File;
use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Elapsed, Engine, Handle};
use ambidex_tests::loops::{ANY_PORT, engines, pair, pattern, run_on};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, join, select, select_biased};
use tempfile::{NamedTempFile, TempDir};

const TICK: Duration = Duration::from_millis(1);
const SIZE: usize = 64 * 1024;

fn on_each(test: &str, mut main: impl AsyncFnMut(&Handle)) {
    for mut engine in engines(test) {
        run_on(&mut engine, async |io| main(&io).await);
    }
}

fn file_with(bytes: &[u8]) -> NamedTempFile {
    let file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    std::fs::write(file.path(), bytes).expect("content");
    file
}

async fn open(io: &Handle, file: &NamedTempFile) -> File {
    File::open(io.disk(), file.path()).await.expect("open")
}

#[test]
fn joined_reads_sleeps_and_sockets_all_end() {
    let content = file_with(&pattern(SIZE));
    on_each("join", async |io| {
        let file = open(io, &content).await;
        let (client, server) = pair(io).await;
        let mut word = [0; 5];
        let (read, (), sent, received, spawned) = join!(
            file.read_at(Vec::with_capacity(SIZE), 0),
            io.sleep(TICK),
            client.write_all(b"hello"),
            server.read(&mut word),
            io.spawn(async { 7 }),
        );
        assert_eq!(read.0.expect("read"), SIZE);
        assert_eq!(read.1, pattern(SIZE));
        sent.expect("write");
        assert_eq!((received.expect("read"), &word), (5, b"hello"));
        assert_eq!(spawned.expect("it ends"), 7);
    });
}

#[test]
fn bytes_survive_every_select_that_their_reader_loses() {
    const MESSAGES: usize = 500;
    on_each("losing reader", async |io| {
        let (client, server) = pair(io).await;
        let own = io.clone();
        let writer = io.spawn(async move {
            for number in 0..MESSAGES {
                client.write_all(&[number as u8]).await.expect("write");
                if number % 7 == 0 {
                    own.yield_now().await;
                }
            }
        });
        let (mut bytes, mut buffer, mut losses) = (Vec::new(), [0; 3], 0);
        loop {
            // Which of the two is asked first is random, and the other is dropped.
            let won = select! {
                read = Box::pin(server.read(&mut buffer).fuse()) => Some(read.expect("read")),
                () = Box::pin(io.yield_now().fuse()) => None,
            };
            match won {
                Some(0) => break,
                Some(length) => bytes.extend_from_slice(&buffer[..length]),
                None => losses += 1,
            }
        }
        writer.await.expect("all was written");
        let expected: Vec<u8> = (0..MESSAGES).map(|number| number as u8).collect();
        assert_eq!(bytes, expected);
        assert!(losses > 0, "it never lost: nothing was tried");
    });
}

#[test]
fn connections_survive_every_select_that_accepting_loses() {
    const CLIENTS: usize = 100;
    on_each("losing accept", async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        let own = io.clone();
        let clients = io.spawn(async move {
            let connect = |_| TcpStream::connect(own.net(), address);
            let connecting: FuturesUnordered<_> = (0..CLIENTS).map(connect).collect();
            connecting.map(Result::unwrap).collect::<Vec<_>>().await
        });
        let (mut accepted, mut ticks) = (Vec::new(), 0);
        let mut interval = io.interval(Duration::from_micros(50));
        while accepted.len() < CLIENTS {
            select_biased! {
                _ = Box::pin(interval.tick().fuse()) => ticks += 1,
                connection = Box::pin(io.accept(&listener).fuse()) => {
                    accepted.push(connection.expect("accept").1);
                }
            }
        }
        let clients = clients.await.expect("all connect");
        let theirs = clients
            .iter()
            .map(|client| client.local_addr().expect("bound"));
        let ours: BTreeSet<_> = accepted.into_iter().collect();
        assert_eq!(ours, theirs.collect(), "each once; {ticks} ticks");
    });
}

#[test]
fn unordered_futures_of_every_kind_all_end_once() {
    const EACH: usize = 50;
    let content = file_with(&pattern(SIZE));
    on_each("unordered", async |io| {
        let file = open(io, &content).await;
        let all = FuturesUnordered::new();
        for number in 0..EACH {
            let (file, offset) = (&file, number as u64 * 100);
            all.push(
                async move {
                    let (result, bytes) = file.read_at(Vec::with_capacity(100), offset).await;
                    assert_eq!(result.expect("read"), 100);
                    assert_eq!(bytes, pattern(SIZE)[offset as usize..][..100]);
                    number
                }
                .boxed_local(),
            );
            let nap = io.sleep(TICK * (number as u32 % 3));
            all.push(nap.map(move |()| EACH + number).boxed_local());
            let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
            let connect = async move {
                let address = listener.local_addr().expect("bound");
                let (accepted, connected) =
                    join!(io.accept(&listener), TcpStream::connect(io.net(), address));
                connected.expect("connect");
                accepted.expect("accept");
                2 * EACH + number
            };
            all.push(connect.boxed_local());
        }
        let ended: Vec<usize> = all.collect().await;
        assert_eq!(ended.len(), 3 * EACH);
        assert_eq!(BTreeSet::from_iter(ended), (0..3 * EACH).collect());
    });
}

#[test]
fn a_read_goes_on_through_selects_that_it_loses_and_keeps_its_buffer() {
    let content = file_with(&pattern(SIZE));
    on_each("a read by reference", async |io| {
        let file = open(io, &content).await;
        for _ in 0..50 {
            let mut read = pin!(file.read_at(Vec::with_capacity(SIZE), 0).fuse());
            let (result, bytes) = loop {
                select_biased! {
                    () = Box::pin(io.yield_now().fuse()) => {}
                    read = read => break read,
                }
            };
            assert_eq!(result.expect("read"), SIZE);
            assert_eq!(bytes, pattern(SIZE));
        }
        assert_eq!(io.disk().in_flight(), 0);
    });
}

#[test]
fn reads_dropped_by_a_select_leave_nothing_in_flight_and_nothing_open() {
    let own = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = own.path().join("dropped-by-a-select");
    std::fs::write(&path, pattern(SIZE)).expect("content");
    for mut engine in engines("dropped reads") {
        run_on(&mut engine, async |io| {
            for _ in 0..100 {
                let opened = async {
                    let file = File::open(io.disk(), &path).await?;
                    let (result, _) = file.read_at(Vec::with_capacity(SIZE), 0).await;
                    result
                };
                select_biased! {
                    read = Box::pin(opened.fuse()) => assert_eq!(read.expect("read"), SIZE),
                    () = Box::pin(io.yield_now().fuse()) => {}
                }
            }
        });
        let report = engine.drain(ambidex_tests::sim::HANG).expect("the loop");
        assert_eq!(report.operations_given_up, 0);
        assert_eq!(ambidex_tests::sim::descriptors("dropped-by-a-select"), 0);
    }
}

#[test]
fn timeouts_in_a_join_end_each_for_itself() {
    on_each("timeouts", async |io| {
        let (_client, server) = pair(io).await;
        let mut buffer = [0; 8];
        let (silent, prompt, nested) = join!(
            io.timeout(TICK, server.read(&mut buffer)),
            io.timeout(Duration::MAX, ready(3)),
            io.timeout(TICK * 20, io.timeout(TICK, std::future::pending::<()>())),
        );
        assert!(matches!(silent, Err(Elapsed)));
        assert_eq!(prompt, Ok(3));
        assert_eq!(nested, Ok(Err(Elapsed)), "the inner one first");
    });
}

#[test]
fn an_interval_that_loses_every_select_loses_no_tick() {
    on_each("interval", async |io| {
        let mut interval = io.interval(TICK);
        let mut ticks = Vec::new();
        while ticks.len() < 5 {
            select_biased! {
                () = Box::pin(io.yield_now().fuse()) => {}
                due = Box::pin(interval.tick().fuse()) => ticks.push(due),
            }
            if let Some(due) = interval.tick().now_or_never() {
                ticks.push(due);
            }
        }
        let gaps = ticks.windows(2).map(|two| two[1] - two[0]);
        assert!(gaps.into_iter().all(|gap| gap >= TICK), "{ticks:?}");
    });
}

#[test]
fn one_task_that_waits_for_many_is_enough_for_all() {
    const PAIRS: usize = 200;
    async fn echoes(io: &Handle) -> io::Result<usize> {
        let (client, server) = pair(io).await;
        let mut buffer = [0; 4];
        client.write_all(b"ping").await?;
        let length = server.read(&mut buffer).await?;
        server.write_all(&buffer[..length]).await?;
        client.read(&mut buffer).await
    }
    let mut engine = Engine::new().expect("an engine");
    run_on(&mut engine, async |io| {
        let all: FuturesUnordered<_> = (0..PAIRS).map(|_| echoes(&io)).collect();
        let lengths: Vec<_> = all.map(Result::unwrap).collect().await;
        assert_eq!(lengths, vec![4; PAIRS]);
        assert_eq!(io.tasks(), 0, "all of it was the main future");
    });
}
