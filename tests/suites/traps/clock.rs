//! The time of day jumps, as when somebody sets it or a virtual machine goes on elsewhere.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Handle, JoinHandle};
use ambidex_server::{Config, Limits, Server, Site, Stop};
use ambidex_tests::loops::{ANY_PORT, ask, builder, field, run_on};
use ambidex_tests::sim::backends;
use ambidex_tests::sim::clock::Turned;
use ambidex_tests::tree::Tree;
use httpdate::fmt_http_date;

/// So short that the harness, which goes by the same clock, is patient until the end.
const IDLE: Duration = Duration::from_secs(5);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What the time of day is in turn; the file was last changed at the second.
fn jumps(now: SystemTime) -> [SystemTime; 6] {
    [
        now,
        now - YEAR,
        now + YEAR,
        now - 20 * YEAR,
        now + 3 * YEAR,
        now,
    ]
}

/// Conditional requests and `Date` go by `wall`, on a connection that has seen other times and on a new one.
async fn expect_dates(stream: &TcpStream, wall: SystemTime, modified: SystemTime, etag: &str) {
    let whole = ask(stream, &["GET /a HTTP/1.1"]).await;
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("alpha"));
    let date = fmt_http_date(wall);
    assert_eq!(field(&whole, "Date"), Some(date.as_str()));
    // RFC 9110, 8.8.2.1: never later than the answer.
    let told = fmt_http_date(modified.min(wall));
    assert_eq!(field(&whole, "Last-Modified"), Some(told.as_str()));
    assert_eq!(field(&whole, "ETag"), Some(etag));
    let known = format!("If-None-Match: {etag}");
    let since = format!("If-Modified-Since: {told}");
    for condition in [known, since] {
        let answer = ask(stream, &["GET /a HTTP/1.1", &condition]).await;
        assert!(answer.starts_with("HTTP/1.1 304"), "{condition}: {answer}");
        assert_eq!(field(&answer, "Date"), Some(date.as_str()));
    }
    let same = format!("If-Range: {etag}");
    let part = ask(stream, &["GET /a HTTP/1.1", "Range: bytes=1-2", &same]).await;
    assert!(part.starts_with("HTTP/1.1 206") && part.ends_with("\r\n\r\nlp"));
}

/// A server on `io` that ends who rests for [`IDLE`], and where it listens.
async fn serve(io: &Handle, tree: &Tree, stop: &Stop) -> (SocketAddr, JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind(io.net(), ANY_PORT).expect("a port");
    let address = listener.local_addr().expect("bound");
    let site = Site::open(io, tree.path()).await.expect("a site");
    let limits = Limits {
        idle_timeout: IDLE,
        ..Limits::default()
    };
    let server = Server::new(site).config(Config {
        limits,
        ..Config::default()
    });
    let (on, stop) = (io.clone(), stop.clone());
    let serving = io.spawn(async move { server.serve(&on, listener, &stop).await });
    (address, serving)
}

#[test]
fn the_time_of_day_jumps_by_years_dates_follow_and_no_deadline_does() {
    // Whole seconds, as HTTP has them.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let tree = Tree::new();
    tree.file("a", "alpha").modified("a", now - YEAR);
    for choice in backends("jumps") {
        let clock = Turned::new();
        let engine = builder(choice).clock(clock.clone()).build();
        run_on(&mut engine.expect("an engine"), async |io| {
            let stop = Stop::default();
            let (address, serving) = serve(&io, &tree, &stop).await;
            let connect = || TcpStream::connect(io.net(), address);
            let kept = connect().await.expect("a connection");
            let first = ask(&kept, &["GET /a HTTP/1.1"]).await;
            let etag = field(&first, "ETag").expect("an entity tag");
            for wall in jumps(now) {
                clock.set_wall(wall);
                let fresh = connect().await.expect("a connection");
                for stream in [&kept, &fresh] {
                    expect_dates(stream, wall, now - YEAR, etag).await;
                }
                // Not a moment has passed for those who wait.
                clock.turn(IDLE / 10);
                io.yield_now().await;
            }
            clock.set_wall(now - YEAR);
            clock.turn(IDLE);
            let ended = kept.read(&mut [0]).await;
            assert_eq!(
                ended.expect("an end"),
                0,
                "it has been idle for long enough"
            );
            stop.set();
            let served = serving.await.expect("it ends");
            served.expect("it serves to the end");
        });
    }
}

#[test]
fn who_rests_too_long_is_ended_and_who_asks_meanwhile_is_not() {
    let tree = Tree::new();
    tree.file("a", "alpha");
    for choice in backends("rests") {
        let clock = Turned::new();
        let engine = builder(choice).clock(clock.clone()).build();
        run_on(&mut engine.expect("an engine"), async |io| {
            let stop = Stop::default();
            let (address, serving) = serve(&io, &tree, &stop).await;
            let connect = || async { TcpStream::connect(io.net(), address).await.expect("in") };
            let (silent, served, busy) = (connect().await, connect().await, connect().await);
            let ask = async |stream: &TcpStream| {
                let answer = ask(stream, &["GET /a HTTP/1.1"]).await;
                assert!(answer.ends_with("alpha"), "{answer}");
            };
            ask(&served).await;
            ask(&busy).await;
            clock.turn(IDLE * 6 / 10);
            ask(&busy).await;
            clock.turn(IDLE * 5 / 10);
            for stream in [&silent, &served] {
                assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
            }
            ask(&busy).await;
            clock.turn(IDLE);
            assert_eq!(busy.read(&mut [0]).await.expect("an end"), 0);
            // Whoever comes when nobody was there is looked after too.
            let last = connect().await;
            ask(&last).await;
            clock.turn(IDLE);
            assert_eq!(last.read(&mut [0]).await.expect("an end"), 0);
            stop.set();
            let served = serving.await.expect("it ends");
            served.expect("it serves to the end");
        });
    }
}

#[test]
fn connections_of_a_server_that_was_dropped_go_on_and_are_ended_when_they_rest_too_long() {
    let tree = Tree::new();
    tree.file("a", "alpha");
    for choice in backends("goes on") {
        let clock = Turned::new();
        let engine = builder(choice).clock(clock.clone()).build();
        run_on(&mut engine.expect("an engine"), async |io| {
            let stop = Stop::default();
            let (address, serving) = serve(&io, &tree, &stop).await;
            let stream = TcpStream::connect(io.net(), address).await.expect("in");
            let served = async || {
                let answer = ask(&stream, &["GET /a HTTP/1.1"]).await;
                assert!(answer.ends_with("alpha"), "{answer}");
            };
            served().await;
            serving.abort();
            io.yield_now().await;
            served().await;
            clock.turn(IDLE);
            assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
        });
    }
}
