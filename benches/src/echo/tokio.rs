//! The echo server on tokio: one thread, a task for each connection.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Builder;

use super::EXHAUSTED_PAUSE;
use super::race::race;
use crate::baselines::{BUFFER_BYTES, Service};

pub(super) fn serve(service: Service) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        service.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(service.listener)?;
        let stop = service.stop.into_stream();
        stop.set_nonblocking(true)?;
        let stop = UnixStream::from_std(stop)?;
        race(stop.readable(), accept(&listener, service.upper)).await
    })
}

async fn accept(listener: &TcpListener, upper: bool) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                stream.set_nodelay(true)?;
                tokio::spawn(echo(stream, upper));
            }
            Err(_shortage) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
        }
    }
}

async fn echo(mut stream: TcpStream, upper: bool) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let message = &mut buffer[..length];
        if upper {
            message.make_ascii_uppercase();
        }
        stream.write_all(message).await?;
    }
}
