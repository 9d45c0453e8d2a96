//! A site inside a program of one's own: files, a route with a streaming body, and a hook that wants a password.
//! `cargo run -p ambidex-server --example embedded -- docs/site`, then
//! `curl -u reader:secret 127.0.0.1:8080/count`; with `--once` it asks itself and ends.

use std::io;
use std::time::Duration;

use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Engine, Handle};
use ambidex_server::{Answer, Incoming, Reply, Server, Site, Stop};

/// `reader:secret`, as Basic authentication sends it (RFC 7617).
const CREDENTIALS: &str = "Basic cmVhZGVyOnNlY3JldA==";

async fn authorize(request: &Incoming<'_>) -> Option<Answer> {
    if request.field("authorization") == Some(CREDENTIALS) {
        return None;
    }
    Some(Answer::new(401).field("WWW-Authenticate", "Basic realm=\"files\""))
}

/// Ten lines, each when its time has come. A client that is slow is waited for.
async fn count(io: &Handle, reply: Reply<'_>) -> io::Result<()> {
    let head = Answer::new(200).field("Content-Type", "text/plain");
    let mut body = reply.stream(head, None).await?;
    for number in 1..=10 {
        body.write(format!("{number}\n").as_bytes()).await?;
        io.sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// One request, and what came back.
async fn ask(io: &Handle, address: std::net::SocketAddr) -> io::Result<String> {
    let client = TcpStream::connect(io.net(), address).await?;
    let request = format!("GET /count HTTP/1.0\r\nAuthorization: {CREDENTIALS}\r\n\r\n");
    client.write_all(request.as_bytes()).await?;
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while let length @ 1.. = client.read(&mut piece).await? {
        answer.extend_from_slice(&piece[..length]);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn main() -> io::Result<()> {
    let root = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let once = std::env::args().any(|argument| argument == "--once");
    Engine::new()?.run(async |io| {
        let (stop, timer) = (Stop::default(), io.clone());
        let server = Server::new(Site::open(&io, root).await?)
            .before(authorize)
            .route("/count", async move |_, reply| count(&timer, reply).await);
        let port = if once { 0 } else { 8080 };
        let listener = TcpListener::bind(io.net(), ([127, 0, 0, 1], port).into())?;
        if once {
            let (client, address) = (io.clone(), listener.local_addr()?);
            let stop = stop.clone();
            let asking = async move {
                print!("{}", ask(&client, address).await.unwrap_or_default());
                stop.set();
            };
            io.spawn(asking).detach();
        }
        server.serve(&io, listener, &stop).await
    })?
}
