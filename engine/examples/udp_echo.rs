//! Echoes UDP messages on 127.0.0.1:7777, as many as are there in one system call each way:
//! `cargo run -p ambidex --example udp_echo`, then `nc -u 127.0.0.1 7777`.
//! With `--once` it serves one message, its own, and ends.

use std::io;

use ambidex::net::UdpSocket;
use ambidex::net::udp::{Incoming, Outgoing};
use ambidex::{Engine, Handle};

/// Receives what is there and sends it back.
async fn turn(socket: &UdpSocket, buffers: &mut [[u8; 1500]]) -> io::Result<()> {
    let mut room: Vec<_> = (buffers.iter_mut())
        .map(|buffer| Incoming::new(buffer))
        .collect();
    let count = socket.recv_many(&mut room).await?;
    let answers: Vec<_> = (room[..count].iter())
        .map(|one| Outgoing {
            bytes: one.message(),
            to: one.from,
        })
        .collect();
    let mut rest = &answers[..];
    while !rest.is_empty() {
        rest = &rest[socket.send_many(rest).await?..];
    }
    Ok(())
}

/// Sends one message to ourselves and checks what comes back.
async fn once(io: &Handle, server: UdpSocket) -> io::Result<()> {
    let client = UdpSocket::bind(io.net(), "127.0.0.1:0".parse().map_err(io::Error::other)?)?;
    client.connect(&server.local_addr()?)?;
    client.send(b"hello").await?;
    turn(&server, &mut [[0; 1500]]).await?;
    let mut answer = [0; 16];
    let received = client.recv(&mut answer).await?;
    assert_eq!(&answer[..received.length], b"hello");
    Ok(())
}

fn main() -> io::Result<()> {
    let only_once = std::env::args().any(|argument| argument == "--once");
    let port = if only_once { 0 } else { 7777 };
    Engine::new()?.run(async |io| {
        let socket = UdpSocket::bind(io.net(), ([127, 0, 0, 1], port).into())?;
        println!("echoing on {}", socket.local_addr()?);
        if only_once {
            return once(&io, socket).await;
        }
        let mut buffers = vec![[0; 1500]; 32];
        loop {
            turn(&socket, &mut buffers).await?;
        }
    })?
}
