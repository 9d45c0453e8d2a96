//! A load of several clients that check every byte they get.
//!
//! An answer is right, or visibly cut short (fewer bytes than its head promises, then the end of the
//! connection), or an honest refusal (503, 500, a closed connection). Anything else is wrong, and panics:
//! another byte, another length, another status, a malformed head, silence past the hang guard.
#![allow(clippy::disallowed_methods)] // How long an answer took is measured.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, Response};
use crate::rig::cold;
use crate::tree::mix;

/// What a load asks for, and what may come.
#[derive(Clone, Debug)]
pub struct Page {
    path: String,
    versions: Vec<Vec<u8>>,
    place: Option<PathBuf>,
    hot: bool,
}

impl Page {
    /// A file that holds `bytes`.
    pub fn new(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::versions(path, vec![bytes])
    }

    /// A file that is changed meanwhile: an answer has to be one of these versions, and no mix of them.
    pub fn versions(path: impl Into<String>, versions: Vec<Vec<u8>>) -> Self {
        let path = path.into();
        Self {
            path,
            versions,
            place: None,
            hot: false,
        }
    }

    /// Counts the time of each of its answers: see [`Tally::hot`].
    pub fn hot(mut self) -> Self {
        self.hot = true;
        self
    }

    /// Evicts the file at `place` from the page cache before each request for it.
    pub fn cold(mut self, place: &Path) -> Self {
        self.place = Some(place.to_owned());
        self
    }

    /// Whether `bytes`, from `from` on of a file of `size`, are in one version.
    fn has(&self, size: u64, from: u64, bytes: &[u8]) -> bool {
        let from = from as usize;
        let mut versions = self.versions.iter().filter(|v| v.len() as u64 == size);
        versions.any(|version| version.get(from..from + bytes.len()) == Some(bytes))
    }
}

/// What became of the requests of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Right to the last byte.
    pub right: u64,
    /// Right as far as they went, and visibly shorter than promised.
    pub cut: u64,
    /// Answered 500 or 503, or closed before an answer began.
    pub refused: u64,
    /// How long the right answers of hot pages took.
    hot: Vec<Duration>,
}

impl Tally {
    /// Adds the counts of `other`.
    pub fn add(&mut self, mut other: Self) {
        self.right += other.right;
        self.cut += other.cut;
        self.refused += other.refused;
        self.hot.append(&mut other.hot);
    }

    /// The counts only: these times are not to be mixed with others.
    pub fn without_times(mut self) -> Self {
        self.hot.clear();
        self
    }

    /// Asserts that every request was answered right.
    ///
    /// # Panics
    /// When one was not.
    pub fn expect_right(&self, when: &str) {
        let other = (self.cut, self.refused);
        assert_eq!(other, (0, 0), "{when}: answers cut and refused");
    }

    /// The time within which `percent` of the right answers of hot pages came. A measurement, not for
    /// assertions.
    pub fn hot(&self, percent: usize) -> Duration {
        let mut times = self.hot.clone();
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        times.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// Clients, and what they ask for.
#[derive(Clone, Debug)]
pub struct Load {
    addr: SocketAddr,
    pages: Arc<[Page]>,
    clients: usize,
}

impl Load {
    /// `clients` that ask the server at `addr` for `pages`: whole and in ranges, on connections that are
    /// kept and on new ones.
    pub fn new(addr: SocketAddr, pages: impl Into<Arc<[Page]>>, clients: usize) -> Self {
        let pages = pages.into();
        Self {
            addr,
            pages,
            clients,
        }
    }

    /// Has each client make so many requests, and waits for all answers.
    ///
    /// # Panics
    /// When an answer is wrong.
    pub fn run(&self, requests_each: usize) -> Tally {
        self.begin(requests_each).join()
    }

    /// Has the clients ask until [`Running::finish`].
    pub fn start(&self) -> Running {
        self.begin(usize::MAX)
    }

    fn begin(&self, requests_each: usize) -> Running {
        let shared = Arc::new(Shared::default());
        let client = |number| {
            let (load, shared) = (self.clone(), shared.clone());
            thread::spawn(move || {
                let mut one = One::new(&load, number);
                for turn in 0..requests_each {
                    if shared.stop.load(Ordering::SeqCst) {
                        break;
                    }
                    one.turn(turn);
                    shared.ended.fetch_add(1, Ordering::SeqCst);
                }
                one.tally
            })
        };
        let threads = (0..self.clients).map(client).collect();
        Running { shared, threads }
    }
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    ended: AtomicU64,
}

/// A load under way.
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Running {
    /// Requests that have come to an end so far, whichever.
    ///
    /// # Panics
    /// When a client has ended before it was told to: an answer was wrong.
    pub fn ended(&self) -> u64 {
        let gone = self.threads.iter().any(JoinHandle::is_finished);
        assert!(!gone, "a client got a wrong answer");
        self.shared.ended.load(Ordering::SeqCst)
    }

    /// Lets each client end the request it is at.
    ///
    /// # Panics
    /// When an answer was wrong.
    pub fn finish(self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.join()
    }

    fn join(mut self) -> Tally {
        let mut tally = Tally::default();
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(part) => tally.add(part),
                Err(panic) => resume_unwind(panic),
            }
        }
        tally
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails does not wait for its clients; they end by themselves.
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// How one request ended.
enum End {
    Right,
    Cut,
    Refused,
}

/// One client.
struct One<'a> {
    load: &'a Load,
    number: usize,
    kept: Option<Client>,
    tally: Tally,
}

impl<'a> One<'a> {
    fn new(load: &'a Load, number: usize) -> Self {
        Self {
            load,
            number,
            kept: None,
            tally: Tally::default(),
        }
    }

    fn turn(&mut self, turn: usize) {
        let load = self.load;
        let page = &load.pages[(self.number + turn) % load.pages.len()];
        if let Some(place) = &page.place {
            cold::evict(place).expect("eviction");
        }
        let choice = mix(self.number as u64, turn as u64);
        let begun = Instant::now();
        let end = self.fetch(page, choice).unwrap_or_else(|error| {
            let kind = error.kind();
            assert!(is_end(kind), "{} got {error}", page.path);
            self.kept = None;
            End::Refused
        });
        match end {
            End::Right => {
                self.tally.right += 1;
                if page.hot {
                    self.tally.hot.push(begun.elapsed());
                }
            }
            End::Cut => self.tally.cut += 1,
            End::Refused => self.tally.refused += 1,
        }
    }

    /// An error is one before the head was there.
    fn fetch(&mut self, page: &Page, choice: u64) -> io::Result<End> {
        let (fresh, last) = (choice.is_multiple_of(4), choice.is_multiple_of(8));
        let mut client = match self.kept.take() {
            Some(kept) if !fresh => kept,
            _ => Client::try_connect(self.load.addr)?,
        };
        let range = Part::choose(choice >> 8, page.versions[0].len() as u64);
        let field = range.map_or(String::new(), Part::field);
        let close = if last { "Connection: close\r\n" } else { "" };
        let path = &page.path;
        let request = format!("GET {path} HTTP/1.1\r\nHost: load\r\n{field}{close}\r\n");
        client.stream().write_all(request.as_bytes())?;
        let head = client.read_head()?;
        let mut body = Vec::new();
        let promised = head.content_length();
        match client.by_ref().take(promised).read_to_end(&mut body) {
            Err(error) if !is_end(error.kind()) => return Err(error),
            _ => {}
        }
        let end = judge(page, &head, &body, range);
        if (body.len() as u64) < promised {
            return Ok(end);
        }
        if head.header("connection") == Some("close") {
            client.expect_closed();
        } else {
            assert!(!last, "asked to close, it does not say so");
            self.kept = Some(client);
        }
        Ok(end)
    }
}

/// A part of a file, as it is asked for.
#[derive(Clone, Copy, Debug)]
enum Part {
    Between(u64, u64),
    From(u64),
    Last(u64),
}

impl Part {
    /// The whole, or a part that a file of `size` has.
    fn choose(choice: u64, size: u64) -> Option<Self> {
        let at = mix(choice, 1) % size.max(1);
        match choice % 6 {
            _ if size == 0 => None,
            0 => Some(Self::Between(at, at + mix(choice, 2) % 100_000)),
            1 => Some(Self::From(at)),
            2 => Some(Self::Last(1 + at)),
            _ => None,
        }
    }

    fn field(self) -> String {
        match self {
            Self::Between(from, to) => format!("Range: bytes={from}-{to}\r\n"),
            Self::From(from) => format!("Range: bytes={from}-\r\n"),
            Self::Last(length) => format!("Range: bytes=-{length}\r\n"),
        }
    }

    /// What of a file of `size` has to come: where it begins, and how much.
    fn of(self, size: u64) -> (u64, u64) {
        let (from, to) = match self {
            Self::Between(from, to) => (from, (to + 1).min(size)),
            Self::From(from) => (from, size),
            Self::Last(length) => (size.saturating_sub(length), size),
        };
        (from, to.saturating_sub(from))
    }
}

fn is_end(kind: ErrorKind) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        kind,
        BrokenPipe
            | ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | ErrorKind::UnexpectedEof
    )
}

fn judge(page: &Page, head: &Response, body: &[u8], range: Option<Part>) -> End {
    let (path, promised) = (&page.path, head.content_length());
    let (from, size) = match (head.status, range) {
        (200, None) => (0, promised),
        (206, Some(part)) => {
            let field = head.header("content-range").expect("where the part is");
            let size = field
                .rsplit_once('/')
                .and_then(|(_, size)| size.parse().ok());
            let size = size.expect("the size of the whole");
            let (from, length) = part.of(size);
            let expected = format!("bytes {from}-{}/{size}", from + length - 1);
            assert_eq!((field, promised), (expected.as_str(), length), "{path}");
            (from, size)
        }
        // What was asked for is beyond a version that is shorter.
        (416, Some(_)) if page.versions.len() > 1 => return End::Refused,
        (500 | 503, _) => return End::Refused,
        (status, _) => panic!("{path} {range:?} answered {status}: {:?}", head.headers),
    };
    let right = page.has(size, from, body);
    assert!(right, "{path} {range:?}: a wrong byte, or a wrong length");
    if body.len() as u64 == promised {
        End::Right
    } else {
        End::Cut
    }
}
