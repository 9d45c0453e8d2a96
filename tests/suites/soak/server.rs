//! A server that tells about its engine: `soak_server DIR` serves the directory on a free port of 127.0.0.1 and
//! answers `/engine` with counts, as JSON. Run by the suite `soak`; ends when it is killed.

use std::env;
use std::io;

use ambidex::disk::ring::leaked;
use ambidex::net::TcpListener;
use ambidex::{Engine, Handle};
use ambidex_server::{Answer, Config, Files, Listing, Server, Site, Stop};

/// What must come back to its start when nothing is asked for, with this request itself among it.
fn counts(io: &Handle) -> String {
    let disk = io.disk();
    serde_json::json!({
        "in_flight": disk.in_flight(),
        "waiting": disk.waiting(),
        "tasks": io.tasks(),
        "leaked": leaked(),
        "stale": disk.counters().stale,
        "bugs": disk.counters().bugs,
        "unanswered": disk.counters().submitted - disk.counters().completed,
    })
    .to_string()
}

fn main() -> io::Result<()> {
    let root = env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    Engine::new()?.run(async |io| {
        let config = Config {
            files: Files {
                listing: Listing::Json,
                ..Files::default()
            },
            ..Config::default()
        };
        let asked = io.clone();
        let server = Server::new(Site::open(&io, root).await?)
            .config(config)
            .route("/engine", async move |_, reply| {
                reply.send(Answer::new(200).body(counts(&asked))).await
            });
        let listener = TcpListener::bind(io.net(), ([127, 0, 0, 1], 0).into())?;
        println!("listening on http://{}", listener.local_addr()?);
        server.serve(&io, listener, &Stop::default()).await
    })?
}
