//! The programs around the echo servers: what they say when something is missing or goes away.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use ambidex_bench::Error;
use ambidex_bench::echo::client::{self, Load};
use ambidex_bench::echo::net::{self, Options};
use ambidex_bench::echo::{EchoEngine, Running};
use ambidex_bench::interrupt::Interrupt;
use ambidex_bench::load::Window;
use ambidex_bench::machine;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ambidex-bench");
const GUARD: Duration = Duration::from_secs(30);
const BASELINES: [EchoEngine; 6] = [
    EchoEngine::Threads,
    EchoEngine::Select,
    EchoEngine::Poll,
    EchoEngine::EpollLevel,
    EchoEngine::EpollEdge,
    EchoEngine::EpollOneshot,
];

/// A server in a process of its own, with so many descriptors.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(engine: EchoEngine, descriptors: u32) -> Server {
        let script = format!(
            "ulimit -n {descriptors} && exec {PROGRAM} echo-server --control --listen 127.0.0.1:0 --engine {engine}"
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("a line");
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.unwrap_or_else(|| panic!("{line:?}"));
        Server {
            child,
            address: address.parse().expect("an address"),
        }
    }

    /// Ends it with its pipe; what it said on standard error.
    fn end(self) -> String {
        let output = self.child.wait_with_output().expect("a child");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// Connects, and tells whether the connection is served.
fn served(address: SocketAddr) -> (TcpStream, bool) {
    let mut stream = TcpStream::connect(address).expect("the queue takes it");
    stream.set_read_timeout(Some(GUARD)).expect("a socket");
    // A refused one may be gone before it is written to.
    let _ = stream.write_all(b"x");
    let mut answer = [0];
    let is_served = match stream.read(&mut answer) {
        Ok(1) => true,
        Ok(_) => false,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
        Err(error) => panic!("neither served nor refused: {error}"),
    };
    (stream, is_served)
}

/// Ends a connection that was served. When the end is read, the server's descriptor is closed.
fn finish(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).expect("a connection");
    stream.read_to_end(&mut Vec::new()).expect("the end");
}

#[test]
fn who_has_no_descriptor_left_refuses_and_goes_on() {
    for engine in BASELINES {
        let server = Server::start(engine, 40);
        let clients: Vec<_> = (0..50).map(|_| served(server.address)).collect();
        let (open, refused): (Vec<_>, Vec<_>) = clients.into_iter().partition(|client| client.1);
        assert!(
            open.len() >= 20 && !refused.is_empty(),
            "{engine}: {} open",
            open.len()
        );
        open.into_iter().for_each(|client| finish(client.0));
        let (stream, is_served) = served(server.address);
        assert!(is_served, "{engine}: there is room again");
        finish(stream);
        let said = server.end();
        assert!(said.contains("Too many open files"), "{engine}: {said}");
    }
}

#[test]
fn select_serves_no_descriptor_above_its_limit_and_says_so() {
    const CLIENTS: usize = 1100;
    if let Err(error) = machine::allow_descriptors(2 * CLIENTS as u64) {
        println!("SKIPPED select's limit: {error}");
        return;
    }
    for (engine, serves_all) in [
        (EchoEngine::Select, false),
        (EchoEngine::Poll, true),
        (EchoEngine::EpollLevel, true),
    ] {
        let server = Server::start(engine, 2000);
        let clients: Vec<_> = (0..CLIENTS).map(|_| served(server.address)).collect();
        let open = clients.iter().filter(|client| client.1).count();
        assert_eq!(open == CLIENTS, serves_all, "{engine}: {open}");
        assert!(open > 1000, "{engine}: {open}");
        let said = server.end();
        assert_eq!(
            said.contains("fd_set of 1024 bits"),
            !serves_all,
            "{engine}: {said}"
        );
    }
}

fn load(address: SocketAddr) -> Load {
    Load {
        address,
        connections: 4,
        idle: 2,
        size: 100,
        interval: None,
        window: Window {
            warm_up: Duration::ZERO,
            runtime: Duration::from_millis(300),
        },
    }
}

/// It is not the time that ends it.
fn for_ever(address: SocketAddr) -> Load {
    Load {
        window: Window {
            warm_up: Duration::ZERO,
            runtime: Duration::from_secs(3600),
        },
        ..load(address)
    }
}

#[test]
fn a_server_that_goes_away_ends_the_measurement_and_what_was_seen_is_kept() {
    let server = Running::start(EchoEngine::EpollLevel, false).expect("a server");
    let load = for_ever(server.address);
    let mut server = Some(server);
    let outcome = client::run(&load, &Interrupt::default(), || {
        if let Some(server) = server.take() {
            server.stop().expect("a clean end");
        }
        Ok(())
    });
    let outcome = outcome.expect("an outcome");
    assert!(outcome.interrupted);
    assert!(outcome.summary.errors >= 4, "{:?}", outcome.summary);
    let first = outcome.summary.first_error.expect("a reason");
    assert!(first.contains("was lost"), "{first}");
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let server = Running::start(EchoEngine::EpollLevel, true).expect("a server");
    let load = Load {
        interval: Some(Duration::from_millis(10)),
        ..for_ever(server.address)
    };
    let (interrupt, start) = (Interrupt::default(), Real.now());
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            // Most of these are messages, of which all but four have been answered.
            while server.counters.counts().events < 30 && Real.now() - start < GUARD {
                thread::sleep(Duration::from_millis(1));
            }
            interrupt.raise();
        });
        client::run(&load, &interrupt, || Ok(()))
    });
    let outcome = outcome.expect("an outcome");
    assert_eq!(outcome.summary.errors, 0, "{:?}", outcome.summary);
    // As many as were due, whenever they were sent: one each 10 ms, from a moment after the start on.
    let due = (Real.now() - start).as_millis() as u64 / 10 + 1;
    assert!(
        (1..=due).contains(&outcome.summary.requests),
        "{:?}",
        outcome.summary
    );
    server.stop().expect("a clean end");
}

fn run(arguments: &[&str]) -> Output {
    let output = Command::new(PROGRAM).args(arguments).output();
    output.expect("the program")
}

#[test]
fn a_server_that_is_not_there_is_a_line_that_says_so() {
    // Bound and kept, so that nobody else gets the port; nobody listens there.
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    bound.bind(&any_port.into()).expect("a free port");
    let address = bound.local_addr().expect("bound").as_socket();
    let address = address.expect("an address of IP");
    let output = run(&["echo-client", "--connect", &address.to_string()]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is the server running there?"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn both_ends_are_measured_and_told_as_json() {
    let output = run(&[
        "net",
        "--engine",
        "select,epoll-level,hybrid",
        "--rounds",
        "2",
        "--runtime",
        "0.2",
        "--warm-up",
        "0",
        "--connections",
        "4",
        "--idle",
        "10",
        "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&report["schema"], &report["kind"]),
        (&1.into(), &"net".into())
    );
    let cells = report["cells"].as_array().expect("cells");
    let names: Vec<_> = cells.iter().map(|cell| cell["engine"].as_str()).collect();
    let round = ["select", "epoll-level", "hybrid"].map(Some);
    assert_eq!(names, [round, round].concat(), "engines take turns");
    for cell in cells {
        assert!(cell["failure"].is_null(), "{cell}");
        assert!(cell["server"]["user_us"].is_u64(), "{cell}");
    }
}

#[test]
fn a_server_that_cannot_start_costs_its_cell_only() {
    let options = Options {
        engines: vec![EchoEngine::Select, EchoEngine::Poll],
        load: load(SocketAddr::from(([127, 0, 0, 1], 0))),
        rounds: 1,
        program: "false".into(),
        processors: None,
    };
    let outcome = match net::run(&options, &Interrupt::default(), &mut |_, _| ()) {
        Err(Error::Start(text)) => return println!("SKIPPED: {text}"),
        outcome => outcome.expect("an outcome"),
    };
    assert_eq!((outcome.cells.len(), outcome.failures()), (2, 2));
    let failure = outcome.cells[0].failure.as_deref().expect("a reason");
    assert_eq!(failure, "the server cannot be started: exit status: 1");
}

#[test]
fn a_server_ends_with_the_pipe_to_who_started_it() {
    let server = Server::start(EchoEngine::Hybrid, 100);
    let (_stream, is_served) = served(server.address);
    assert!(is_served);
    // With a client still there.
    server.end();
}
