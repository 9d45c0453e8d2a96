//! Engines that do not hang, and sockets to try on them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use ambidex::disk::{Choice, Options};
use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Builder, Engine, Handle};

use crate::sim::net::FakeNet;
use crate::sim::{HANG, backends};

/// Loopback, and whatever port is free.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs `main` on a new engine, but not for ever.
///
/// # Panics
/// If it hangs.
pub fn run<T>(main: impl AsyncFnOnce(Handle) -> T) -> T {
    let mut engine = Engine::new().expect("an engine");
    run_on(&mut engine, main)
}

/// Runs `main` on `engine`, but not for ever.
///
/// # Panics
/// If it hangs.
pub fn run_on<T>(engine: &mut Engine, main: impl AsyncFnOnce(Handle) -> T) -> T {
    let done = engine.run(async |io| {
        let limit = io.clone();
        limit.timeout(HANG, main(io)).await
    });
    done.expect("the loop").expect("it hangs")
}

/// What makes an engine on `choice`.
pub fn builder(choice: Choice) -> Builder {
    Engine::builder().disk(Options {
        choice,
        ..Options::default()
    })
}

/// An engine on `choice`.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn engine(choice: Choice) -> Engine {
    builder(choice).build().expect("an engine")
}

/// An engine on each backend that this machine has.
pub fn engines(test: &str) -> impl Iterator<Item = Engine> {
    backends(test).into_iter().map(engine)
}

/// An engine on a kernel that a test can put answers into.
///
/// # Panics
/// If it cannot be had.
#[must_use]
pub fn faked() -> (Engine, Rc<FakeNet>) {
    let net = Rc::new(FakeNet::default());
    let engine = Engine::builder().net_kernel(net.clone()).build();
    (engine.expect("an engine"), net)
}

/// Both ends of a connection.
///
/// # Panics
/// If it cannot be made.
pub async fn pair(io: &Handle) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
    let client = TcpStream::connect(io.net(), listener.local_addr().expect("bound")).await;
    let (server, _) = io.accept(&listener).await.expect("accept");
    (client.expect("connect"), server)
}

/// Sends a request of these lines, and gives the answer: its head, and as much text as the head promises.
///
/// # Panics
/// When the answer is cut short.
pub async fn ask(stream: &TcpStream, lines: &[&str]) -> String {
    let request = format!("{}\r\nHost: t\r\n\r\n", lines.join("\r\n"));
    stream.write_all(request.as_bytes()).await.expect("write");
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len()
                >= field(head, "Content-Length").map_or(0, |n| n.parse().expect("a number"))
        {
            return text.into_owned();
        }
        let count = stream.read(&mut part).await.expect("read");
        assert!(count > 0, "cut short: {text}");
        answer.extend_from_slice(&part[..count]);
    }
}

/// The value of the field `name` in the head of an answer.
#[must_use]
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|line| line.0 == name).map(|line| line.1)
}

/// Bytes that tell where they stand.
#[must_use]
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// The errno of a failure.
#[must_use]
pub fn errno<T>(result: &io::Result<T>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}
