//! Row 8: connections that rest beside those that do not.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::goal::Goal;
use super::nginx::Setup;
use super::stage::{Clients, Contestant, RATE, Stage, figure};
use super::{OURS, Row};
use crate::Error;
use crate::interrupt::Interrupt;
use crate::load;
use crate::{machine, usage};

const NONE_IDLE: &str = ", none idle";
const MANY_IDLE: &str = ", many idle";
const MEMORY: &str = "resident bytes/idle connection";
const CLIENTS: Clients = Clients {
    connections: 64,
    keep_alive: true,
};
const FILE: &str = "1k";
const FILE_BYTES: u64 = 1024;
/// Addresses that connections come from: each has 28,232 ports, of which some are in TIME_WAIT.
const SOURCES: usize = 8;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Descriptors of this process and of a server beside its connections.
const OTHERS: u64 = 600;
const NGINX: Setup = Setup {
    sendfile: true,
    aio: false,
};

pub(super) const ROW: Row = Row {
    number: 8,
    work: "15,000 idle connections beside 64 active",
    goals: || {
        let pair = |who: &str| [MANY_IDLE, NONE_IDLE].map(|what| format!("{who}{what}"));
        let [many, none] = pair(OURS);
        let [nginx_many, nginx_none] = pair(&NGINX.name());
        vec![
            Goal::of("rate / with none idle", RATE, many.clone())
                .to([none])
                .at_least(0.97),
            Goal::of("resident bytes for each idle", MEMORY, many).at_most(512.0),
            Goal::of("nginx: rate / with none idle", RATE, nginx_many.clone()).to([nginx_none]),
            Goal::of("nginx: resident bytes for each idle", MEMORY, nginx_many),
        ]
    },
    run,
    cells: |options| 4 * options.rounds,
    wants_two: true,
};

fn run(stage: &mut Stage<'_>) -> Result<(), Error> {
    let idle = stage.options.idle_connections;
    machine::allow_descriptors(idle as u64 + OTHERS)?;
    let root = stage.site(&[(FILE.to_owned(), FILE_BYTES)])?;
    let processors = stage.server_processors();
    for round in 0..stage.options.rounds {
        // New ones each time: memory that a connection has left would be used again by the next.
        let ours = stage.ours(OURS, &root, (1, "auto"), &processors);
        pair(stage, OURS, ours, round);
        let nginx = stage.nginx(&root, NGINX, &processors);
        pair(stage, &NGINX.name(), nginx, round);
    }
    Ok(())
}

/// The same server without idle connections and with them.
fn pair(stage: &mut Stage<'_>, name: &str, started: Result<Contestant, Error>, round: usize) {
    let one = match started {
        Ok(one) => one,
        Err(why) => return stage.refuse(name, &why.to_string()),
    };
    let url = one.url.join(FILE);
    let none = format!("{name}{NONE_IDLE}");
    stage.turn(&none, round, |stage| {
        stage.ask(url.clone(), &one.pids, CLIENTS)
    });
    let many = format!("{name}{MANY_IDLE}");
    stage.turn(&many, round, |stage| {
        let before = resident(&one)?;
        let address = load::resolve(&url)?;
        let number = stage.options.idle_connections;
        let idle = connect(address, &url.request(), number, stage.interrupt)?;
        let grown = resident(&one)?.saturating_sub(before);
        let mut figures = stage.ask(url.clone(), &one.pids, CLIENTS)?;
        let left = idle.iter().filter(|stream| is_open(stream)).count();
        if left < number {
            let why = format!("{left} of {number} idle connections were left at the end");
            return Err(Error::Run(why));
        }
        figures.push(figure(MEMORY, grown as f64 / number as f64));
        Ok(figures)
    });
}

fn resident(one: &Contestant) -> Result<u64, Error> {
    let bytes = one.pids.iter().map(|pid| usage::resident_bytes(*pid));
    bytes
        .sum::<io::Result<u64>>()
        .map_err(|error| Error::Run(format!("the server was lost: {error}")))
}

/// So many connections, each of which has been answered once.
fn connect(
    address: SocketAddr,
    request: &[u8],
    number: usize,
    interrupt: &Interrupt,
) -> Result<Vec<TcpStream>, Error> {
    let mut streams = Vec::with_capacity(number);
    while streams.len() < number && !interrupt.is_set() {
        let at = streams.len();
        let made = connect_one(address, request, at % SOURCES);
        streams.push(made.map_err(|error| {
            Error::Run(format!("idle connection {} of {number}: {error}", at + 1))
        })?);
    }
    Ok(streams)
}

fn connect_one(address: SocketAddr, request: &[u8], source: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if let IpAddr::V4(ip) = address.ip()
        && ip.is_loopback()
    {
        let from = Ipv4Addr::new(127, 0, 0, 2 + source as u8);
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    // Cut when it is dropped, so that no tuple rests in TIME_WAIT.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(request)?;
    receive(&mut stream)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Reads an answer whose body has [`FILE_BYTES`].
fn receive(stream: &mut TcpStream) -> io::Result<()> {
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&piece[..length]),
        }
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() as u64 >= head as u64 + 4 + FILE_BYTES) {
            return Ok(());
        }
    }
}

/// Nothing has come, and it was not closed.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = stream.peek(&mut [0]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn what_the_server_closed_is_not_idle() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut kept = Vec::new();
            for number in 0..2 {
                let (mut stream, from) = listener.accept().unwrap();
                let expected = Ipv4Addr::new(127, 0, 0, 2 + number);
                assert_eq!(from.ip(), IpAddr::from(expected));
                let mut piece = [0; 100];
                let length = stream.read(&mut piece).unwrap();
                assert_eq!(&piece[..length], b"ask");
                stream.write_all(b"head\r\n\r\n").unwrap();
                stream.write_all(&[0; FILE_BYTES as usize]).unwrap();
                kept.push(stream);
            }
            kept
        });
        let streams = connect(address, b"ask", 2, &Interrupt::default()).unwrap();
        let mut kept = server.join().unwrap();
        assert!(streams.iter().all(is_open));
        drop(kept.remove(0));
        // Until the end has arrived.
        streams[0].set_nonblocking(false).unwrap();
        assert_eq!(streams[0].peek(&mut [0]).unwrap(), 0);
        assert!(!is_open(&streams[0]) && is_open(&streams[1]));
    }
}
