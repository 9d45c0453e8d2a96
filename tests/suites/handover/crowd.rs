//! A thousand connections, and engines on two threads of their own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ambidex::net::event::{Notifier, UserEvent};
use ambidex::net::{ListenOptions, TcpListener, TcpStream};
use ambidex::{Engine, Handle, Remote, Report};
use ambidex_tests::loops::{ANY_PORT, run, run_on};
use ambidex_tests::sim::HANG;

const CONNECTIONS: u32 = 1000;
/// Clients at a time: descriptors have a limit.
const AT_ONCE: u32 = 100;

/// An engine on a thread of its own.
struct Worker {
    remote: Remote,
    stop: Notifier,
    thread: JoinHandle<Report>,
}

impl Worker {
    /// `begin` is called first, and what it returns comes back.
    fn start<T: Send + 'static>(begin: impl FnOnce(&Handle) -> T + Send + 'static) -> (Worker, T) {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut engine = Engine::new().expect("an engine");
            run_on(&mut engine, async |io| {
                let stop = UserEvent::new(io.net()).expect("an event");
                let begun = begin(&io);
                let ready = (io.remote(), stop.notifier(), begun);
                sender.send(ready).expect("somebody waits");
                stop.notified().await.expect("an event");
            });
            engine.drain(HANG).expect("the loop")
        });
        let (remote, stop, begun) = receiver.recv().expect("a worker");
        let worker = Worker {
            remote,
            stop,
            thread,
        };
        (worker, begun)
    }

    fn stop(self) -> Report {
        self.stop.notify();
        self.thread.join().expect("the worker lives")
    }
}

/// Answers the number that the client sends, and who answered.
async fn answer(stream: TcpStream, worker: u8) {
    let mut number = [0; 4];
    let mut have = 0;
    while have < number.len() {
        let more = stream.read(&mut number[have..]).await.expect("read");
        assert_ne!(more, 0, "the client ends last");
        have += more;
    }
    let [a, b, c, d] = number;
    stream
        .write_all(&[a, b, c, d, worker])
        .await
        .expect("write");
}

/// Who answered `number`. Panics if that was not exactly one.
async fn ask(io: Handle, address: SocketAddr, number: u32) -> u8 {
    let stream = TcpStream::connect(io.net(), address)
        .await
        .expect("connect");
    stream
        .write_all(&number.to_le_bytes())
        .await
        .expect("write");
    let mut answers = Vec::new();
    let mut buffer = [0; 16];
    loop {
        match stream.read(&mut buffer).await.expect("read") {
            0 => break,
            length => answers.extend_from_slice(&buffer[..length]),
        }
    }
    assert_eq!(answers.len(), 5, "one answer");
    assert_eq!(answers[..4], number.to_le_bytes(), "its own answer");
    answers[4]
}

/// How many each of two workers answered.
async fn ask_all(io: &Handle, address: SocketAddr) -> [u32; 2] {
    let mut answered = [0; 2];
    for batch in 0..CONNECTIONS / AT_ONCE {
        let numbers = batch * AT_ONCE..(batch + 1) * AT_ONCE;
        let asked: Vec<_> = numbers
            .map(|number| io.spawn(ask(io.clone(), address, number)))
            .collect();
        for asked in asked {
            answered[asked.await.expect("answered") as usize] += 1;
        }
    }
    answered
}

#[test]
fn of_a_thousand_connections_handed_to_two_workers_each_is_answered_once() {
    let workers = [(); 2].map(|()| Worker::start(|_| ()).0);
    let answered = run(async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        let remotes = workers.each_ref().map(|worker| worker.remote.clone());
        let own = io.clone();
        let accepts = io.spawn(async move {
            for (number, remote) in (0..2).cycle().zip(remotes.iter().cycle()).take(1000) {
                let (stream, _) = own.accept(&listener).await.expect("accept");
                let serve = async move |_io, stream| answer(stream, number).await;
                remote
                    .hand_over(own.net(), stream, serve)
                    .expect("handed over");
            }
        });
        let answered = ask_all(&io, address).await;
        accepts.await.expect("all were accepted");
        answered
    });
    assert_eq!(answered, [CONNECTIONS / 2; 2], "each its turn");
    for worker in workers {
        let report = worker.stop();
        assert_eq!((report.tasks_cancelled, report.operations_given_up), (0, 0));
    }
}

#[test]
fn of_a_thousand_connections_to_a_shared_port_each_is_answered_once_and_both_get_some() {
    fn listen(io: &Handle, address: SocketAddr, worker: u8) -> SocketAddr {
        let options = ListenOptions {
            reuse_port: true,
            ..ListenOptions::default()
        };
        let listener = TcpListener::bind_with(io.net(), address, &options).expect("bind");
        let bound = listener.local_addr().expect("bound");
        let own = io.clone();
        let accepts = async move {
            loop {
                futures_util::select_biased! {
                    () = Box::pin(futures_util::FutureExt::fuse(own.draining())) => return,
                    accepted = Box::pin(futures_util::FutureExt::fuse(own.accept(&listener))) => {
                        let (stream, _) = accepted.expect("accept");
                        own.spawn(answer(stream, worker)).detach();
                    }
                }
            }
        };
        io.spawn(accepts).detach();
        bound
    }
    let (first, address) = Worker::start(|io| listen(io, ANY_PORT, 0));
    let (second, same) = Worker::start(move |io| listen(io, address, 1));
    assert_eq!(BTreeSet::from([address, same]).len(), 1);
    let answered = run(async |io| ask_all(&io, address).await);
    assert_eq!(answered.iter().sum::<u32>(), CONNECTIONS);
    assert!(answered.iter().all(|some| *some > 0), "{answered:?}");
    for worker in [first, second] {
        assert_eq!(worker.stop().tasks_cancelled, 0);
    }
}
