//! Whoever echoes behaves in the same way: what is measured against each other does the same work.
//!
//! Each behaviour is tested on each engine. A wrong server may hang instead of failing: reads have
//! a guard of half a minute.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ambidex::disk::{Choice, Options};
use ambidex_bench::echo::{EchoEngine, Running};

const GUARD: Duration = Duration::from_secs(30);
/// More than kernel buffers hold on the way there and back.
const FLOOD_BYTES: usize = 32 << 20;

fn client(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(GUARD)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Ends a connection, so that a thread that writes to it does not outlast a failed assertion.
struct Cut<'a>(&'a TcpStream);

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Bytes that differ from their neighbours, and no two offsets of a power of two look alike.
fn pattern(length: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..251).collect();
    let mut bytes = block.repeat(length / block.len() + 1);
    bytes.truncate(length);
    bytes
}

/// Sends `message` and reads as many bytes back.
fn exchange(mut stream: &TcpStream, message: &[u8]) -> Vec<u8> {
    let mut answer = vec![0; message.len()];
    stream.write_all(message).expect("the server reads");
    stream.read_exact(&mut answer).expect("the server answers");
    answer
}

fn one_byte(server: &Running) {
    let stream = client(server);
    assert_eq!(exchange(&stream, b"x"), b"x");
}

fn sixty_four_kibibytes(server: &Running) {
    let (mut stream, message) = (client(server), pattern(64 << 10));
    let mut writing = stream.try_clone().expect("a descriptor");
    let mut answer = vec![0; message.len()];
    thread::scope(|scope| {
        scope.spawn(|| writing.write_all(&message).expect("the server reads"));
        stream.read_exact(&mut answer).expect("the server answers");
    });
    assert!(answer == message, "as it was sent");
}

fn many_small_messages(server: &Running) {
    let stream = client(server);
    for number in 0..300_u32 {
        let message = number.to_le_bytes();
        assert_eq!(exchange(&stream, &message), message);
    }
    // And without waiting for answers in between.
    let (mut reading, mut sent) = (&stream, Vec::new());
    for number in 0..300_u32 {
        let message = number.to_be_bytes();
        (&stream).write_all(&message).expect("the server reads");
        sent.extend(message);
    }
    let mut answer = vec![0; sent.len()];
    reading.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, sent);
}

fn half_close(server: &Running) {
    let mut stream = client(server);
    let message = pattern(40_000);
    stream.write_all(&message).expect("the server reads");
    stream.shutdown(Shutdown::Write).expect("a connection");
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the server answers and closes");
    assert!(answer == message, "all of it, then the end");
}

fn closed_without_a_word(server: &Running) {
    drop(client(server));
    one_byte(server);
}

fn reset(server: &Running) {
    let witness = client(server);
    for _ in 0..20 {
        let stream = client(server);
        exchange(&stream, b"here");
        (&stream)
            .write_all(&pattern(5000))
            .expect("the server reads");
        let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        linger.expect("a socket");
        // Now a RST, perhaps in the middle of the answer.
        drop(stream);
        assert_eq!(exchange(&witness, b"still here"), b"still here");
    }
}

fn a_hundred_clients(server: &Running) {
    // Two hundred descriptors of 1,024, above which select has none: one at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let clients: Vec<TcpStream> = (0..100).map(|_| client(server)).collect();
    for round in 0..3_u8 {
        for (number, mut stream) in (0_u8..).zip(&clients) {
            stream
                .write_all(&[round, number])
                .expect("the server reads");
        }
        for (number, mut stream) in (0_u8..).zip(&clients) {
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).expect("the server answers");
            assert_eq!(answer, [round, number]);
        }
    }
    for mut stream in clients {
        stream.shutdown(Shutdown::Write).expect("a connection");
        // When the end is read, the server's descriptor is closed.
        stream.read_to_end(&mut Vec::new()).expect("the end");
    }
}

fn calls_are_counted_as_they_are_made(server: &Running) {
    let stream = client(server);
    let after_three = || {
        (0..3).for_each(|_| drop(exchange(&stream, b"count")));
        // Those of the second message at least: the third may be answered before it is counted.
        server.counters.counts().calls
    };
    let first = after_three();
    assert!(first > 0 && after_three() > first, "{first}");
}

fn a_peer_that_does_not_read(server: &Running) {
    let (stream, witness) = (client(server), client(server));
    let message = pattern(FLOOD_BYTES);
    thread::scope(|scope| {
        let flood = scope.spawn(|| (&stream).write_all(&message));
        let _cut = Cut(&stream);
        for _ in 0..200 {
            assert_eq!(exchange(&witness, b"served"), b"served");
        }
        // Whoever keeps what nobody takes would have read on.
        assert!(!flood.is_finished(), "32 MiB are waiting somewhere");
        for expected in message.chunks(1 << 20) {
            let mut chunk = vec![0; expected.len()];
            (&stream)
                .read_exact(&mut chunk)
                .expect("the server answers");
            assert!(chunk == expected, "in order");
        }
        flood.join().expect("no panic").expect("the server reads");
    });
}

fn a_peer_that_never_reads_and_goes(server: &Running) {
    let stream = client(server);
    stream.set_nonblocking(true).expect("a socket");
    let chunk = pattern(1 << 16);
    // Until the kernel takes no more for now: the server is in the middle of an answer.
    while (&stream).write(&chunk).is_ok() {}
    drop(stream);
    one_byte(server);
}

fn upper_case(server: &Running) {
    let stream = client(server);
    let (message, answer) = ("hello, Wörld 1", "HELLO, WöRLD 1");
    assert_eq!(exchange(&stream, message.as_bytes()), answer.as_bytes());
}

/// Runs `behaviour` against `engine`, and ends it with a client still connected.
fn check(engine: EchoEngine, upper: bool, behaviour: fn(&Running)) {
    if let Err(reason) = available(engine) {
        println!("SKIPPED {engine}: {reason}");
        return;
    }
    let server = Running::start(engine, upper).expect("a server");
    behaviour(&server);
    let mut idle = client(&server);
    exchange(&idle, b"I stay");
    server.stop().expect("a clean end");
    // A dropped runtime of monoio leaves the sockets of its tasks open.
    if engine.name() != "monoio" {
        // Reads on after EINTR, which work for a ring of this process causes.
        let ended = idle.read_to_end(&mut Vec::new());
        let is_reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        let has_ended = ended.as_ref().map_or_else(is_reset, |_| true);
        assert!(has_ended, "the connection has ended: {ended:?}");
    }
}

fn available(engine: EchoEngine) -> io::Result<()> {
    if !["uring", "monoio", "compio"].contains(&engine.name().as_str()) {
        return Ok(());
    }
    let options = Options {
        choice: Choice::Uring,
        ..Options::default()
    };
    ambidex::Engine::builder().disk(options).build().map(drop)
}

macro_rules! on_each {
    ($($(#[$condition:meta])* $name:ident: $engine:ident;)*) => { $(
        $(#[$condition])*
        mod $name {
            use ambidex_bench::echo::EchoEngine::$engine as ENGINE;

            macro_rules! behaves {
                ($behaviour:ident, $upper:expr) => {
                    #[test]
                    fn $behaviour() {
                        super::check(ENGINE, $upper, super::$behaviour);
                    }
                };
            }

            behaves!(one_byte, false);
            behaves!(sixty_four_kibibytes, false);
            behaves!(many_small_messages, false);
            behaves!(half_close, false);
            behaves!(closed_without_a_word, false);
            behaves!(reset, false);
            behaves!(a_hundred_clients, false);
            behaves!(a_peer_that_does_not_read, false);
            behaves!(a_peer_that_never_reads_and_goes, false);
            behaves!(upper_case, true);

            #[test]
            fn calls_are_counted_as_they_are_made() {
                if ENGINE.counts_calls() {
                    super::check(ENGINE, false, super::calls_are_counted_as_they_are_made);
                }
            }
        }
    )* };
}

on_each! {
    threads: Threads;
    select: Select;
    poll: Poll;
    epoll_level: EpollLevel;
    epoll_edge: EpollEdge;
    epoll_oneshot: EpollOneshot;
    hybrid: Hybrid;
    uring: Uring;
    #[cfg(feature = "peers")]
    mio: Mio;
    #[cfg(feature = "peers")]
    tokio: Tokio;
    #[cfg(feature = "peers")]
    monoio: Monoio;
    #[cfg(feature = "peers")]
    compio: Compio;
}
