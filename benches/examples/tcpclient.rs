//! The article's client: `tcpclient -s IP -p PORT -c COUNT -d DELAY_S -i GAP_MS`.

use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use clap::Parser;

/// Sends messages one by one, and waits for the answer of each.
#[derive(Parser)]
struct Args {
    /// The server's address
    #[arg(short = 's')]
    ip: IpAddr,
    /// Its port
    #[arg(short = 'p')]
    port: u16,
    /// How many messages to send
    #[arg(short = 'c', value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Seconds before it connects
    #[arg(short = 'd', default_value = "0")]
    delay: u64,
    /// Milliseconds before each message
    #[arg(short = 'i', default_value = "1000")]
    gap: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pid={}: {error}", process::id());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    thread::sleep(Duration::from_secs(args.delay));
    let start = Real.now();
    let mut stream = TcpStream::connect((args.ip, args.port))?;
    let (mut sent, mut received) = (0, 0);
    for number in 0..args.count {
        thread::sleep(Duration::from_millis(args.gap));
        let message = format!("Client pid={}, The msg number {number}\n", process::id());
        stream.write_all(message.as_bytes())?;
        sent += message.len();
        let mut answer = vec![0; message.len()];
        let answered = stream.read_exact(&mut answer);
        answered.map_err(|error| {
            io::Error::new(error.kind(), format!("no answer {number}: {error}"))
        })?;
        received += answer.len();
        let answer = String::from_utf8_lossy(&answer);
        let _ = write!(io::stdout(), "Rcvd from Server: {answer}");
    }
    let (pid, seconds) = (process::id(), (Real.now() - start).as_secs());
    println!("pid={pid}, time_taken = {seconds}, bytes_sent={sent}, bytes_recd={received}");
    Ok(())
}
