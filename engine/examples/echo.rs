//! An echo server on 127.0.0.1:7777: `cargo run -p ambidex --example echo`, then `nc 127.0.0.1 7777`.
//! With `--once` it serves one connection, its own, and ends.

use std::io;

use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Engine, Handle};

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
    }
}

/// Sends one message to ourselves and checks what comes back.
async fn once(io: &Handle, listener: &TcpListener) -> io::Result<()> {
    let client = TcpStream::connect(io.net(), listener.local_addr()?).await?;
    let (stream, _) = io.accept(listener).await?;
    let server = io.spawn(echo(stream));
    client.write_all(b"hello").await?;
    let mut answer = [0; 5];
    let mut filled = 0;
    while filled < answer.len() {
        filled += client.read(&mut answer[filled..]).await?;
    }
    assert_eq!(&answer, b"hello");
    drop(client);
    server.await?
}

fn main() -> io::Result<()> {
    let only_once = std::env::args().any(|argument| argument == "--once");
    let address = if only_once {
        "127.0.0.1:0"
    } else {
        "127.0.0.1:7777"
    };
    Engine::new()?.run(async |io| {
        let address = address.parse().map_err(io::Error::other)?;
        let listener = TcpListener::bind(io.net(), address)?;
        println!("echoing on {}", listener.local_addr()?);
        if only_once {
            return once(&io, &listener).await;
        }
        loop {
            let (stream, _peer) = io.accept(&listener).await?;
            io.spawn(echo(stream)).detach();
        }
    })?
}
