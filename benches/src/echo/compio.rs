//! The echo server on compio's io_uring driver: a task for each connection, its buffer handed over
//! for each operation.

use std::io;

use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream, UnixStream};
use compio::runtime::Runtime;

use super::EXHAUSTED_PAUSE;
use super::race::race;
use crate::baselines::{BUFFER_BYTES, Service};

pub(super) fn serve(service: Service) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let listener = TcpListener::from_std(service.listener)?;
        let mut stop = UnixStream::from_std(service.stop.into_stream())?;
        let stopped = async { stop.read(vec![0; 1]).await.0.map(drop) };
        race(stopped, accept(&listener, service.upper)).await
    })
}

async fn accept(listener: &TcpListener, upper: bool) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                stream.set_nodelay(true)?;
                compio::runtime::spawn(echo(stream, upper)).detach();
            }
            Err(_shortage) => compio::time::sleep(EXHAUSTED_PAUSE).await,
        }
    }
}

async fn echo(mut stream: TcpStream, upper: bool) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER_BYTES);
    loop {
        // A shorter message than the last one would keep the length of that.
        buffer.clear();
        let BufResult(length, mut message) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        if upper {
            message.make_ascii_uppercase();
        }
        let BufResult(sent, back) = stream.write_all(message).await;
        sent?;
        buffer = back;
    }
}
