//! The echo server on monoio's io_uring driver: a task for each connection, its buffer handed over
//! for each operation.

use std::io;

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream, UnixStream};
use monoio::{IoUringDriver, RuntimeBuilder};

use super::EXHAUSTED_PAUSE;
use super::race::race;
use crate::baselines::{BUFFER_BYTES, Service};

pub(super) fn serve(service: Service) -> io::Result<()> {
    let builder = RuntimeBuilder::<IoUringDriver>::new();
    let mut runtime = builder.enable_timer().build()?;
    runtime.block_on(async {
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
                monoio::spawn(echo(stream, upper));
            }
            Err(_shortage) => monoio::time::sleep(EXHAUSTED_PAUSE).await,
        }
    }
}

async fn echo(mut stream: TcpStream, upper: bool) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (length, mut message) = stream.read(buffer).await;
        if length? == 0 {
            return Ok(());
        }
        if upper {
            message.make_ascii_uppercase();
        }
        let (sent, back) = stream.write_all(message).await;
        sent?;
        buffer = back;
    }
}
