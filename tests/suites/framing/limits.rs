//! Trap 64: how large a head may be. The defaults are tested in `refusals`.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use ambidex::Engine;
use ambidex_server::{Config, Limits, Site, Stop, serve};
use ambidex_tests::client::Client;

use crate::tree;

fn status(addr: SocketAddr, request: &str) -> u16 {
    let mut client = Client::connect(addr);
    client.send_refusable(request.as_bytes());
    let response = client.read_response(false);
    if response.status == 200 {
        assert_eq!(client.get("/b").body, b"beta");
    } else {
        assert_eq!(response.header("connection"), Some("close"));
        client.expect_closed();
    }
    response.status
}

#[test]
fn a_head_is_bounded_by_the_limits_of_the_server() {
    let tree = tree();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let stop = Stop::default();
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let mut engine = Engine::new().expect("an engine");
            let served = engine.run(async |io| {
                let site = Site::open(&io, tree.path()).await?;
                let listener = ambidex::net::TcpListener::from_std(io.net(), listener)?;
                let limits = Limits {
                    header_bytes_max: 1000,
                    fields_max: 5,
                    target_bytes_max: 100,
                    ..Limits::default()
                };
                let config = Config {
                    limits,
                    ..Config::default()
                };
                serve(&io, listener, site, config, &stop).await
            });
            served.expect("an engine").expect("served");
        });
        let with = |target: &str, fields: &str| {
            let request = format!("GET {target} HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
            status(addr, &request)
        };
        let target = |length: usize| format!("/a?{}", "x".repeat(length - 3));
        assert_eq!(with(&target(100), ""), 200);
        assert_eq!(with(&target(101), ""), 414);
        assert_eq!(status(addr, &format!("GET {}", target(500))), 414);
        assert_eq!(with("/a", &"X: y\r\n".repeat(4)), 200);
        assert_eq!(with("/a", &"X: y\r\n".repeat(5)), 431);
        // 27 bytes are not the filler's.
        let filler = |length: usize| format!("X: {}\r\n", "y".repeat(length - 5));
        let rest = "GET /a HTTP/1.1\r\nHost: t\r\n\r\n".len();
        assert_eq!(with("/a", &filler(1000 - rest)), 200);
        assert_eq!(with("/a", &filler(1001 - rest)), 431);
        assert_eq!(with("/a", &filler(100_000)), 431);
        assert_eq!(with("/a", &format!("{}: y\r\n", "x".repeat(2000))), 431);
        stop.set();
        server.join().expect("no panic");
    });
}
