//! A server and its client in one engine, with a clock that only the test moves.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use ambidex::clock::{Clock, Real};
use ambidex::disk::Choice;
use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Builder, Engine, Handle};
use ambidex_server::{Config, Files, Limits, Server, Site, Stop};
use ambidex_tests::loops::{ANY_PORT, builder, field};
use ambidex_tests::sim::backends;
use ambidex_tests::sim::disk::{Control, Disk, MODIFIED, fake};

/// Turns within which whatever can happen has happened.
const TURNS: u32 = 100;

/// Stands still until it is told otherwise.
pub(crate) struct Hand {
    start: Instant,
    day: SystemTime,
    passed: Cell<Duration>,
}

impl Hand {
    fn new(day: SystemTime) -> Rc<Hand> {
        Rc::new(Hand {
            start: Real.now(),
            day,
            passed: Cell::default(),
        })
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.passed.set(self.passed.get() + time);
    }
}

impl Clock for Hand {
    fn now(&self) -> Instant {
        self.start + self.passed.get()
    }

    fn wall(&self) -> SystemTime {
        self.day + self.passed.get()
    }
}

/// An answer: head, and body as text.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        let status = self.head.get(9..12).and_then(|digits| digits.parse().ok());
        status.expect("a status")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// A server that runs, and a connection to it.
pub(crate) struct Scene {
    pub(crate) io: Handle,
    pub(crate) clock: Rc<Hand>,
    address: SocketAddr,
    stream: TcpStream,
}

impl Scene {
    /// A connection more.
    pub(crate) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.io.net(), self.address).await;
        stream.expect("a connection")
    }

    /// What a request of these lines is answered.
    pub(crate) async fn ask(&self, lines: &[&str]) -> Answer {
        ask(&self.stream, lines).await
    }

    /// What answers a plain GET of `path`: its body if it is 200, else its status.
    pub(crate) async fn get(&self, path: &str) -> String {
        let answer = self.ask(&[&format!("GET {path} HTTP/1.1")]).await;
        match answer.status() {
            200 => answer.body,
            status => status.to_string(),
        }
    }

    /// Asserts that `path` is answered by `text`, as often as it takes to be kept.
    pub(crate) async fn expect(&self, path: &str, text: &str) {
        for _ in 0..3 {
            assert_eq!(self.get(path).await, text, "{path}");
        }
    }

    /// Lets everybody do what there is to do.
    pub(crate) async fn settle(&self) {
        for _ in 0..TURNS {
            self.io.yield_now().await;
        }
    }
}

/// Sends a request of these lines, and reads the answer.
pub(crate) async fn ask(stream: &TcpStream, lines: &[&str]) -> Answer {
    let mut request = lines.join("\r\n");
    if !request.contains("Host: ") {
        request.push_str("\r\nHost: t");
    }
    request.push_str("\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    let (mut answer, mut part) = (String::new(), [0; 1024]);
    loop {
        if let Some((head, body)) = answer.split_once("\r\n\r\n") {
            let bodiless = request.starts_with("HEAD") || head.starts_with("HTTP/1.1 304");
            let length = field(head, "Content-Length").filter(|_| !bodiless);
            if body.len() >= length.map_or(0, |length| length.parse().expect("a number")) {
                let (head, body) = (head.to_owned(), body.to_owned());
                return Answer { head, body };
            }
        }
        let count = stream.read(&mut part).await.expect("read");
        assert!(count > 0, "cut short: {answer}");
        answer += std::str::from_utf8(&part[..count]).expect("text");
    }
}

/// A server on each backend, some time after whatever is in `root` was changed.
pub(crate) fn on_disk(root: &Path, config: &Config, test: impl AsyncFn(&Scene)) {
    for choice in backends("open files") {
        on_backend(
            choice,
            root,
            |site| Server::new(site).config(config.clone()),
            &test,
        );
    }
}

/// As [`on_disk`], on one backend, with whatever server there is to be.
pub(crate) fn on_backend(
    choice: Choice,
    root: &Path,
    server: impl FnOnce(Site) -> Server,
    test: impl AsyncFnOnce(&Scene),
) {
    let clock = Hand::new(Real.wall() + Duration::from_secs(3600));
    play(builder(choice), &clock, root, server, test);
}

/// A server on a disk in memory, so many seconds after its first file was made.
pub(crate) fn in_memory(after: u64, place: Disk, test: impl AsyncFnOnce(&Scene, &Control)) {
    in_memory_with(after, place, Config::default(), test);
}

pub(crate) fn in_memory_with(
    after: u64,
    place: Disk,
    config: Config,
    test: impl AsyncFnOnce(&Scene, &Control),
) {
    let (kernel, disk) = fake(64, 64, 1);
    disk.directory("site");
    disk.disk(place);
    let day = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED + after);
    let builder = Engine::builder().disk_kernel(Box::new(kernel));
    let server = |site| Server::new(site).config(config);
    let root = Path::new("site");
    play(builder, &Hand::new(day), root, server, async |scene| {
        test(scene, &disk).await;
    });
}

/// With so many files that may stay open, and forms of files.
pub(crate) fn config(open_files_max: usize, files: Files) -> Config {
    let limits = Limits {
        open_files_max,
        ..Limits::default()
    };
    Config {
        limits,
        files,
        ..Config::default()
    }
}

fn play(
    builder: Builder,
    clock: &Rc<Hand>,
    root: &Path,
    server: impl FnOnce(Site) -> Server,
    test: impl AsyncFnOnce(&Scene),
) {
    let engine = builder.clock(Rc::clone(clock) as Rc<dyn Clock>).build();
    let played = engine.expect("an engine").run(async |io: Handle| {
        let site = Site::open(&io, root).await.expect("a site");
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("a port");
        let address = listener.local_addr().expect("bound");
        let (server, stop) = (server(site), Stop::default());
        let serving = io.spawn({
            let (io, stop) = (io.clone(), stop.clone());
            async move { server.serve(&io, listener, &stop).await }
        });
        let stream = TcpStream::connect(io.net(), address).await;
        let scene = Scene {
            io: io.clone(),
            clock: Rc::clone(clock),
            address,
            stream: stream.expect("a connection"),
        };
        test(&scene).await;
        drop(scene);
        stop.set();
        let served = serving.await.expect("it ends");
        served.expect("it serves to the end");
    });
    played.expect("the loop");
}
