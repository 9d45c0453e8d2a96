//! Disk and sockets in one loop: sends a file to a socket while a timer ticks and another thread
//! calls. `cargo run -p ambidex --example both_hands`.

use std::io;
use std::thread;
use std::time::Duration;

use ambidex::disk::{File, Pool};
use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Engine, Handle};

async fn send(io: Handle, stream: TcpStream) -> io::Result<u64> {
    let file = File::open(io.disk(), "/proc/self/maps").await?;
    let pool = Pool::new(1, 4096);
    let mut offset = 0;
    loop {
        let (result, buffer) = file.read_at(pool.take().await, offset).await;
        if result? == 0 {
            return Ok(offset);
        }
        stream.write_all(&buffer).await?;
        offset += buffer.len() as u64;
    }
}

fn main() -> io::Result<()> {
    let mut engine = Engine::new()?;
    let remote = engine.handle().remote();
    let caller =
        thread::spawn(move || remote.spawn(|_io| async { println!("another thread called") }));
    engine.run(async |io| {
        let address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
        let listener = TcpListener::bind(io.net(), address)?;
        let client = TcpStream::connect(io.net(), listener.local_addr()?).await?;
        let (stream, _peer) = io.accept(&listener).await?;
        let ticker = io.spawn({
            let io = io.clone();
            async move {
                io.sleep(Duration::from_millis(5)).await;
                println!("the timer ticked");
            }
        });
        let sender = io.spawn(send(io.clone(), stream));
        let mut received = 0;
        let mut buffer = [0; 4096];
        loop {
            match client.read(&mut buffer).await? {
                0 => break,
                length => received += length as u64,
            }
        }
        let sent = sender.await??;
        ticker.await?;
        println!("{received} bytes arrived of {sent}: {:?}", io.metrics());
        Ok::<(), io::Error>(())
    })??;
    caller
        .join()
        .map_err(|_| io::Error::other("the caller panicked"))?
        .map_err(io::Error::other)
}
