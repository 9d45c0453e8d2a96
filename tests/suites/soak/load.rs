//! Mixed load: clients of many kinds that come and go, and check each byte they get.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Result};
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ambidex_tests::client::{Client, Response};
use ambidex_tests::tree::{Tree, content, content_at};
use fastrand::Rng;
use rustix::fs::{Advice, fadvise};

const HOT_FILES: usize = 16;
const HOT_BYTES: usize = 1024;
const COLD_FILES: usize = 8;
const COLD_BYTES: usize = 256 << 10;
const LARGE_SEED: u64 = 99;
const LARGE_BYTES: usize = 4 << 20;
/// What a slow client takes at a time.
const SIP_BYTES: usize = 32 << 10;
/// Who finds no server lets one come up.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);

/// What there is to fetch; served with a listing of directories.
pub(crate) struct Site {
    pub(crate) tree: Tree,
    hot: Vec<Vec<u8>>,
    large: Vec<u8>,
}

impl Site {
    pub(crate) fn new() -> Site {
        let tree = Tree::new();
        let hot: Vec<_> = (0..HOT_FILES)
            .map(|file| content(file as u64, HOT_BYTES))
            .collect();
        for (file, bytes) in hot.iter().enumerate() {
            tree.file(format!("hot/{file}"), bytes);
        }
        for file in 0..COLD_FILES {
            tree.file(format!("cold/{file}"), content(cold_seed(file), COLD_BYTES));
        }
        let large = content(LARGE_SEED, LARGE_BYTES);
        tree.file("large", &large);
        Site { tree, hot, large }
    }

    /// Reads all files from the disk.
    ///
    /// # Panics
    /// If one is not as it was made.
    pub(crate) fn check(&self) {
        let is = |path: String, expected: &[u8]| {
            let found = fs::read(self.tree.path().join(&path)).expect("a file");
            assert!(found == expected, "{path} has changed");
        };
        for (file, bytes) in self.hot.iter().enumerate() {
            is(format!("hot/{file}"), bytes);
        }
        for file in 0..COLD_FILES {
            is(
                format!("cold/{file}"),
                &content(cold_seed(file), COLD_BYTES),
            );
        }
        is("large".to_owned(), &self.large);
    }
}

fn cold_seed(file: usize) -> u64 {
    1000 + file as u64
}

/// What clients have met with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Responses that were right to the last byte.
    pub(crate) right: u64,
    /// Connections that ended before that, by the client's will.
    pub(crate) left: u64,
    /// Connections that were cut visibly short; what had come was right.
    pub(crate) cut: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.right += other.right;
        self.left += other.left;
        self.cut += other.cut;
    }
}

/// Clients on threads of their own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Counts>>,
}

impl Load {
    /// `clients` clients at a time, each resting for `pause` between its visits. Unless the server is `mortal`,
    /// a connection that is cut is a failure.
    pub(crate) fn start(
        site: &Arc<Site>,
        address: SocketAddr,
        clients: u64,
        pause: Duration,
        mortal: bool,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let (site, stop) = (Arc::clone(site), Arc::clone(&stop));
            thread::spawn(move || {
                let mut visitor = Visitor {
                    site: &site,
                    address,
                    rng: Rng::with_seed(number),
                    counts: Counts::default(),
                };
                while !stop.load(Ordering::Relaxed) {
                    let visited = visitor.visit();
                    if let Err(error) = visited {
                        assert!(mortal && is_cut(error.kind()), "{error}");
                        let refused = error.kind() == ErrorKind::ConnectionRefused;
                        visitor.counts.cut += u64::from(!refused);
                        thread::sleep(REFUSED_PAUSE);
                    }
                    thread::sleep(pause);
                }
                visitor.counts
            })
        };
        let clients = (0..clients).map(client).collect();
        Load { stop, clients }
    }

    /// Whether a client has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.clients.iter().any(JoinHandle::is_finished)
    }

    /// Stops them, and tells what they have met with.
    ///
    /// # Panics
    /// If one has got a wrong byte.
    pub(crate) fn finish(self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        let mut counts = Counts::default();
        for client in self.clients {
            counts += client.join().expect("no client got a wrong answer");
        }
        counts
    }
}

/// How a connection ends whose server is killed.
fn is_cut(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
    matches!(
        kind,
        BrokenPipe | ConnectionRefused | ConnectionReset | UnexpectedEof
    )
}

struct Visitor<'a> {
    site: &'a Site,
    address: SocketAddr,
    rng: Rng,
    counts: Counts,
}

impl Visitor<'_> {
    /// Comes, asks for one thing or several, and goes.
    fn visit(&mut self) -> Result<()> {
        let mut client = Client::try_connect(self.address)?;
        for _ in 0..self.rng.usize(1..=8) {
            match self.rng.u8(0..12) {
                0..=4 => self.hot(&mut client)?,
                5 => self.cold(&mut client)?,
                6 | 7 => self.range(&mut client)?,
                8 => self.listing(&mut client)?,
                9 => self.missing(&mut client)?,
                10 => self.slow(&mut client)?,
                _ => return self.leave(client),
            }
            self.counts.right += 1;
        }
        Ok(())
    }

    fn hot(&mut self, client: &mut Client) -> Result<()> {
        let file = self.rng.usize(..HOT_FILES);
        let response = ask(client, &format!("/hot/{file}"), "")?;
        assert_eq!(response.status, 200);
        expect(client, &response, &self.site.hot[file])
    }

    /// What is not in the page cache: the disk must be waited for.
    fn cold(&mut self, client: &mut Client) -> Result<()> {
        let file = self.rng.usize(..COLD_FILES);
        let path = self.site.tree.path().join(format!("cold/{file}"));
        let evicted = fadvise(&File::open(path)?, 0, None, Advice::DontNeed);
        evicted.expect("advice on a file");
        let response = ask(client, &format!("/cold/{file}"), "")?;
        assert_eq!(response.status, 200);
        expect(client, &response, &content(cold_seed(file), COLD_BYTES))
    }

    fn range(&mut self, client: &mut Client) -> Result<()> {
        let file = self.rng.usize(..COLD_FILES);
        let first = self.rng.usize(..COLD_BYTES);
        let last = self.rng.usize(first..COLD_BYTES);
        let field = format!("Range: bytes={first}-{last}\r\n");
        let response = ask(client, &format!("/cold/{file}"), &field)?;
        assert_eq!(response.status, 206, "{field}");
        let length = last - first + 1;
        expect(
            client,
            &response,
            &content_at(cold_seed(file), first as u64, length),
        )
    }

    fn listing(&mut self, client: &mut Client) -> Result<()> {
        let response = ask(client, "/hot/", "Accept: application/json\r\n")?;
        assert_eq!(response.status, 200);
        let mut body = vec![0; response.content_length() as usize];
        client.read_exact(&mut body)?;
        let listing: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let text = listing.to_string();
        assert!(
            (0..HOT_FILES).all(|file| text.contains(&format!("\"{file}\""))),
            "{text}"
        );
        Ok(())
    }

    fn missing(&mut self, client: &mut Client) -> Result<()> {
        let response = ask(client, "/nothing/here", "")?;
        assert_eq!(response.status, 404);
        let mut body = vec![0; response.content_length() as usize];
        client.read_exact(&mut body)
    }

    /// Takes a large file by small sips.
    fn slow(&mut self, client: &mut Client) -> Result<()> {
        let response = ask(client, "/large", "")?;
        assert_eq!(response.status, 200);
        self.sip(client, LARGE_BYTES)
    }

    /// Leaves in the middle: of a request, or of an answer, in good order or by a reset.
    fn leave(&mut self, mut client: Client) -> Result<()> {
        self.counts.left += 1;
        if self.rng.bool() {
            client.send_refusable(b"GET /large HTTP/1.1\r\nHo");
        } else {
            ask(&mut client, "/large", "")?;
            let length = self.rng.usize(..LARGE_BYTES / 2);
            self.sip(&mut client, length)?;
        }
        if self.rng.bool() {
            client.reset();
        }
        Ok(())
    }

    /// The first `length` bytes of the large file.
    fn sip(&mut self, client: &mut Client, length: usize) -> Result<()> {
        let mut sip = [0; SIP_BYTES];
        for start in (0..length).step_by(SIP_BYTES) {
            let sip = &mut sip[..SIP_BYTES.min(length - start)];
            client.read_exact(sip)?;
            let expected = &self.site.large[start..start + sip.len()];
            assert!(sip == expected, "at {start}");
            // Now and then a moment without reading, so that the server must wait.
            if self.rng.u8(..32) == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }
}

/// Asks, and reads the head of the answer.
fn ask(client: &mut Client, path: &str, field: &str) -> Result<Response> {
    client.send_refusable(format!("GET {path} HTTP/1.1\r\nHost: t\r\n{field}\r\n").as_bytes());
    client.read_head()
}

/// Reads a body. As much of it as comes is right, whether or not all of it comes.
fn expect(client: &mut Client, response: &Response, expected: &[u8]) -> Result<()> {
    assert_eq!(response.content_length(), expected.len() as u64);
    let mut body = vec![0; expected.len()];
    let mut filled = 0;
    while filled < body.len() {
        let length = client.read(&mut body[filled..])?;
        assert!(
            body[filled..filled + length] == expected[filled..filled + length],
            "at {filled}"
        );
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        filled += length;
    }
    Ok(())
}
