//! Everything in one loop: a file goes to a socket while a timer, a signal, a child's end, a change of a file and a
//! message of another thread arrive. `cargo run -p ambidex --example events`.

use std::process::{Command, Stdio};
use std::{env, fs, io, process, thread};

use ambidex::disk::{File, Pool};
use ambidex::net::event::{Changes, Child, Signals, Timer, UserEvent, Watch};
use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Engine, Handle};
use std::time::Duration;

async fn send(io: Handle, stream: TcpStream) -> io::Result<u64> {
    let file = File::open(io.disk(), env::current_exe()?).await?;
    let (pool, mut offset) = (Pool::new(1, 65536), 0);
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
    // Before any thread starts: those that come inherit it.
    let _blocked = ambidex::net::event::BlockedSignals::new(&[libc::SIGUSR1])?;
    Engine::new()?.run(async |io| {
        let listener = TcpListener::bind(io.net(), "127.0.0.1:0".parse().unwrap())?;
        let client = TcpStream::connect(io.net(), listener.local_addr()?).await?;
        let sender = io.spawn(send(io.clone(), io.accept(&listener).await?.0));
        let (timer, event) = (Timer::new(io.net())?, UserEvent::new(io.net())?);
        let signals = Signals::new(io.net(), &[libc::SIGUSR1])?;
        let sleeper = Command::new("cat").stdin(Stdio::piped()).spawn()?;
        let (child, watch) = (Child::adopt(io.net(), sleeper)?, Watch::new(io.net())?);
        let path = env::temp_dir().join(format!("ambidex-events-{}", process::id()));
        fs::write(&path, "before")?;
        watch.add(&path, Changes::MODIFIED)?;

        timer.every(Duration::from_millis(2))?;
        Child::from_pid(io.net(), process::id())?.kill(libc::SIGUSR1)?;
        child.kill(libc::SIGTERM)?;
        fs::write(&path, "after")?;
        let notifier = event.notifier();
        thread::spawn(move || notifier.notify());

        let (mut received, mut buffer) = (0, vec![0; 65536]);
        while let length @ 1.. = client.read(&mut buffer).await? {
            received += length as u64;
        }
        println!("{received} of {} bytes arrived", sender.await??);
        println!("the timer: {} periods", timer.tick().await?);
        println!("the signal: {:?}", signals.recv().await?);
        println!("the child: {}", child.wait().await?);
        println!("the file: {:?}", watch.next().await?.change);
        println!("the other thread: {} call", event.notified().await?);
        fs::remove_file(&path)
    })?
}
