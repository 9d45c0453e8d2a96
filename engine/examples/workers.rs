//! The classic split: one thread accepts, others serve, and what computes has a pool of its own.
//! `cargo run -p ambidex --example workers`, then `nc 127.0.0.1 7002`; each line is answered with its checksum.

use std::sync::mpsc;
use std::{env, io, thread};

use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Engine, Handle, Remote};

/// Stands for whatever takes a processor's time.
fn checksum(line: &[u8]) -> u64 {
    line.iter().map(|byte| u64::from(*byte)).sum()
}

async fn serve(io: Handle, stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let line = buffer[..length].to_vec();
        let sum = io.spawn_blocking(move || checksum(&line)).await.unwrap();
        let _ = stream.write_all(format!("{sum}\n").as_bytes()).await;
    }
}

/// An engine on a thread of its own, until it is drained.
fn worker() -> io::Result<Remote> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        Engine::new()?.run(async |io| {
            let _ = sender.send(io.remote());
            io.draining().await;
        })
    });
    receiver.recv().map_err(io::Error::other)
}

/// Sends one line and looks at the answer.
async fn ask(address: std::net::SocketAddr, io: Handle) -> io::Result<()> {
    let (client, mut answer) = (TcpStream::connect(io.net(), address).await?, [0; 64]);
    client.write_all(b"hello").await?;
    let length = client.read(&mut answer).await?;
    assert_eq!(&answer[..length], b"532\n");
    Ok(())
}

fn main() -> io::Result<()> {
    let (workers, once) = ([worker()?, worker()?], env::args().any(|a| a == "--once"));
    Engine::new()?.run(async |io| {
        let port = if once { 0 } else { 7002 };
        let listener = TcpListener::bind(io.net(), ([127, 0, 0, 1], port).into())?;
        let asked = once.then(|| io.spawn(ask(listener.local_addr().unwrap(), io.clone())));
        let rounds = if once { 1 } else { usize::MAX };
        for worker in workers.iter().cycle().take(rounds) {
            let (stream, peer) = io.accept(&listener).await?;
            println!("{peer} is served elsewhere");
            worker.hand_over(io.net(), stream, serve)?;
        }
        asked.unwrap().await?
    })?
}
