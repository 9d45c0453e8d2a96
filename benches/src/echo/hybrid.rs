//! The echo server on this project's engine: a task for each connection.

use std::io;
use std::sync::Arc;

use ambidex::net::{TcpListener, TcpStream, UnixStream};
use ambidex::{Engine, Handle};

use super::race::race;
use crate::baselines::{BUFFER_BYTES, Counters, Service};

/// After so many messages of a connection the engine is asked for its counts at each so many only: that takes longer
/// than counting.
const MESSAGES_PER_COUNT: u64 = 16;

pub(super) fn serve(service: Service) -> io::Result<()> {
    Engine::new()?.run(async |io| {
        let listener = TcpListener::from_std(io.net(), service.listener)?;
        let stop = UnixStream::from_owned(io.net(), service.stop.into_stream())?;
        let stopped = async { stop.read(&mut [0]).await.map(drop) };
        let accepting = accept(&io, &listener, service.upper, &service.counters);
        race(stopped, accepting).await
    })?
}

async fn accept(
    io: &Handle,
    listener: &TcpListener,
    upper: bool,
    counters: &Arc<Counters>,
) -> io::Result<()> {
    loop {
        let (stream, _peer) = io.accept(listener).await?;
        counters.accept();
        stream.set_nodelay(true)?;
        let counters = Arc::clone(counters);
        let task = io.clone();
        // A connection that breaks has ended.
        io.spawn(async move { echo(&task, &stream, upper, &counters).await })
            .detach();
    }
}

async fn echo(io: &Handle, stream: &TcpStream, upper: bool, counters: &Counters) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let tell = || counters.calls_so_far(io.metrics().calls);
    for number in 1u64.. {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        let message = &mut buffer[..length];
        if upper {
            message.make_ascii_uppercase();
        }
        stream.write_all(message).await?;
        if number < MESSAGES_PER_COUNT || number.is_multiple_of(MESSAGES_PER_COUNT) {
            tell();
        }
    }
    tell();
    Ok(())
}
