//! The load generator against a server of a few lines that stalls, lies or goes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

const BODY: &[u8] = b"all of it";
/// What has not happened by then never does.
const GUARD: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_millis(500);

/// What the server does from a certain request on.
#[derive(Clone, Copy)]
enum Trouble {
    None,
    /// All its connections wait once for [`STALL`].
    Stall,
    /// It closes them, and takes no others.
    Death,
}

struct Shared {
    trouble: Trouble,
    /// Which request it befalls, counted from 1.
    at: u64,
    requests: AtomicU64,
    connections: Mutex<Vec<TcpStream>>,
    gate: Mutex<()>,
}

/// Answers every request alike. Its threads end with their connections.
fn server(trouble: Trouble, at: u64) -> (SocketAddr, Arc<Shared>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new(Shared {
        trouble,
        at,
        requests: AtomicU64::new(0),
        connections: Mutex::default(),
        gate: Mutex::default(),
    });
    let own = Arc::clone(&shared);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, shared) = (stream.unwrap(), Arc::clone(&own));
            let mut connections = shared.connections.lock().unwrap();
            let dead = shared.requests.load(Ordering::SeqCst) >= shared.at;
            if dead && matches!(shared.trouble, Trouble::Death) {
                return;
            }
            connections.push(stream.try_clone().unwrap());
            drop(connections);
            thread::spawn(move || answer(stream, &shared));
        }
    });
    (address, shared)
}

fn answer(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut pending, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let length @ 1.. = stream.read(&mut piece)? else {
            return Ok(());
        };
        pending.extend_from_slice(&piece[..length]);
        while let Some(end) = pending.windows(4).position(|four| four == b"\r\n\r\n") {
            let request: Vec<u8> = pending.drain(..end + 4).collect();
            // Whoever is stalled holds all others up.
            let held = shared.gate.lock().unwrap();
            let number = shared.requests.fetch_add(1, Ordering::SeqCst) + 1;
            match shared.trouble {
                Trouble::Stall if number == shared.at => thread::sleep(STALL),
                Trouble::Death if number >= shared.at => {
                    for connection in shared.connections.lock().unwrap().drain(..) {
                        connection.shutdown(Shutdown::Both)?;
                    }
                    return Ok(());
                }
                _ => {}
            }
            drop(held);
            let closes = request.windows(5).any(|five| five == b"close");
            let field = if closes { "Connection: close\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 200 OK\r\n{field}Content-Length: {}\r\n\r\n",
                BODY.len()
            );
            stream.write_all(&[head.as_bytes(), BODY].concat())?;
            if closes {
                return Ok(());
            }
        }
    }
}

fn ask(request: &[u8], content: &[u8]) -> Rc<Ask> {
    Rc::new(Ask {
        request: request.into(),
        length: BODY.len() as u64,
        content: Some(content.into()),
        ticket: 0,
    })
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Ends when the server has had so many requests, however long that takes.
fn run_until(class: Class, server: &Arc<Shared>, requests: u64) -> Measurement {
    let window = Window {
        warm_up: Duration::ZERO,
        runtime: Duration::from_secs(60),
    };
    let (meter, interrupt) = (Meter::new(&[]), Interrupt::default());
    let (own, server) = (interrupt.clone(), Arc::clone(server));
    thread::spawn(move || {
        while server.requests.load(Ordering::SeqCst) < requests && !own.is_set() {
            thread::sleep(Duration::from_millis(1));
        }
        own.raise();
    });
    let mut engine = engine().unwrap();
    let measured = measure(&mut engine, vec![class], window, &meter, &interrupt, || {});
    // Also if the requests never came.
    interrupt.raise();
    measured.unwrap()
}

fn run(class: Class, runtime_ms: u64) -> Measurement {
    let window = Window {
        warm_up: Duration::ZERO,
        runtime: Duration::from_millis(runtime_ms),
    };
    let (meter, interrupt) = (Meter::new(&[]), Interrupt::default());
    let mut engine = engine().unwrap();
    measure(&mut engine, vec![class], window, &meter, &interrupt, || {}).unwrap()
}

fn at(curve: &[(f64, f64)], percentile: f64) -> f64 {
    let found = curve.iter().find(|(one, _)| *one == percentile);
    found.expect("a percentile of the curve").1
}

/// 200 requests a second for two seconds, and a stall of half a second: of 400 requests 100 are due
/// in it, and the slowest tenth of all waits 300 to 500 ms. A closed loop sends four in it.
#[test]
fn a_stall_is_seen_by_what_was_due_in_it() {
    let (address, _) = server(Trouble::Stall, 20);
    let open = Class::new(address, 4, ask(REQUEST, BODY)).open(Some(Duration::from_millis(5)));
    let measured = run(open, 2000);
    let seen = &measured.classes[0];
    let due = seen.due.unwrap();
    assert!(due >= 400, "{due} in {} s", measured.seconds);
    assert_eq!(
        due,
        seen.requests + seen.unfinished as u64,
        "each is accounted for"
    );
    assert_eq!((seen.errors, measured.failure.as_deref()), (0, None));
    assert!(at(&seen.curve, 90.0) >= 0.25, "{seen:?}");
    let uncorrected = seen.uncorrected.as_ref().unwrap();
    assert!(at(&uncorrected.curve, 90.0) < 0.25, "{uncorrected:?}");
    assert!(uncorrected.latency.max >= 0.49, "{uncorrected:?}");
}

#[test]
fn a_closed_loop_does_not_see_the_stall() {
    let (address, shared) = server(Trouble::Stall, 20);
    let measured = run_until(Class::new(address, 4, ask(REQUEST, BODY)), &shared, 200);
    let seen = &measured.classes[0];
    assert_eq!((seen.errors, seen.due), (0, None));
    assert!(seen.requests >= 80, "{seen:?}");
    assert!(
        at(&seen.curve, 90.0) < 0.25,
        "four of {} waited",
        seen.requests
    );
    assert!(seen.latency.max >= 0.49, "{seen:?}");
}

#[test]
fn a_pipeline_gets_all_its_answers() {
    let (address, shared) = server(Trouble::None, 0);
    let class = Class::new(address, 2, ask(REQUEST, BODY)).pipelined(8);
    let measured = run_until(class, &shared, 100);
    let seen = &measured.classes[0];
    assert_eq!((seen.errors, seen.first_error.as_deref()), (0, None));
    let received = shared.requests.load(Ordering::SeqCst);
    assert!(seen.requests >= 16 && received >= seen.requests, "{seen:?}");
}

#[test]
fn without_keep_alive_each_request_has_a_connection() {
    let (address, shared) = server(Trouble::None, 0);
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let class = Class::new(address, 2, ask(request, BODY)).without_keep_alive();
    let measured = run_until(class, &shared, 20);
    let seen = &measured.classes[0];
    assert_eq!((seen.errors, seen.first_error.as_deref()), (0, None));
    let connections = shared.connections.lock().unwrap().len() as u64;
    assert!(
        seen.requests > 2 && connections >= seen.requests,
        "{connections}, {seen:?}"
    );
}

#[test]
fn other_bytes_of_the_same_length_are_no_answer() {
    let (address, shared) = server(Trouble::None, 0);
    // Who asks again has looked at the first answer.
    let measured = run_until(
        Class::new(address, 1, ask(REQUEST, b"all of me")),
        &shared,
        2,
    );
    let seen = &measured.classes[0];
    assert_eq!(seen.requests, 0);
    let told = seen.first_error.as_deref();
    assert_eq!(told, Some("the body differs from the file at byte 7"));
}

#[test]
fn a_server_that_dies_is_told_and_what_it_answered_is_kept() {
    let (address, _) = server(Trouble::Death, 40);
    let interval = Duration::from_millis(5);
    let class = Class::new(address, 4, ask(REQUEST, BODY)).open(Some(interval));
    let mut engine = engine().unwrap();
    let ran = engine.run(async |io| {
        let classes = [Rc::new(class)];
        let (tasks, begin) = (start(&io, &classes), io.now());
        classes[0].begin(begin);
        while classes[0].lost().is_none() {
            assert!(io.now() < begin + GUARD, "nobody notices");
            io.sleep(Duration::from_millis(1)).await;
        }
        // Each has more to ask for by then, and nobody to ask.
        io.sleep(10 * interval).await;
        let end = io.now();
        tasks.into_iter().for_each(JoinHandle::abort);
        let seconds = (end - begin).as_secs_f64();
        let failure = failure(&classes, &Interrupt::default(), seconds);
        (classes[0].end(end, seconds), failure.unwrap())
    });
    let (seen, failure) = ran.unwrap();
    assert!(seen.requests > 0 && seen.requests < 40, "{seen:?}");
    assert!(seen.unfinished > 0, "what was due and never sent: {seen:?}");
    assert!(failure.starts_with("the server was lost: "), "{failure}");
}
