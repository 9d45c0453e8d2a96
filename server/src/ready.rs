//! Answers that are ready: head and body of small files that are asked for again and again, made once.
//!
//! An answer is as fresh as the open file that it was made of: it is sent while that is kept, for a second after its
//! path was looked up, and only if statx(2) says that the file is as it was. Content that was read within the tick of
//! the filesystem's clock in which the file had changed may be of a later state with the same times, and is not kept.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::rc::{Rc, Weak};
use std::time::{Instant, UNIX_EPOCH};

use ambidex::net::TcpStream;
use lru::LruCache;

use crate::hosts::Host;
use crate::http::head::Head;
use crate::http::request::{Expectation, Method, Request};
use crate::locate::Representation;
use crate::open_files::{Kept, is_fresh, write_key};
use crate::respond::Exchange;
use crate::serve::Worker;

/// The largest body: more would be sent in pieces, and leave little room for others.
pub(crate) const BODY_BYTES_MAX: u64 = 64 * 1024;
/// Of head and key: others are rare, and a client chooses the key.
const HEAD_BYTES_MAX: usize = 4 * 1024;
/// Of all answers of a worker, keys included; and of those that are being sent to clients who are slow to take them.
const BYTES_MAX: usize = 20 * 1024 * 1024;
/// A client can choose many targets for one file, and all may have to be forgotten at once.
const ANSWERS_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// What an answer takes beside its bytes, in tables and boxes.
const ENTRY_BYTES: usize = 256;
/// The longest tick of a clock that stamps files, in seconds: that of FAT.
const TICK_SECONDS: i64 = 2;
/// Where the date stands in a head, and how long it is.
const DATE_AT: usize = b"HTTP/1.1 200 OK\r\nDate: ".len();
const DATE_BYTES: usize = b"Sun, 06 Nov 1994 08:49:37 GMT".len();

/// The answer to a plain GET.
struct Ready {
    kept: Weak<Kept>,
    /// When the path was looked up, and that of the file beside which it lies: the earlier.
    looked_up: Instant,
    /// Without `Connection`.
    head: Box<[u8]>,
    body: Box<[u8]>,
}

impl Ready {
    /// What one takes under its key.
    fn bytes((key, ready): (&Vec<u8>, &Rc<Ready>)) -> usize {
        ENTRY_BYTES + key.len() + ready.head.len() + ready.body.len()
    }
}

/// An answer that was begun.
pub(crate) struct Sent {
    /// Of all of it.
    pub(crate) bytes: usize,
    /// What the socket did not take.
    pub(crate) rest: Option<Box<Unsent>>,
}

/// The end of an answer.
pub(crate) struct Unsent {
    head: Vec<u8>,
    ready: Rc<Ready>,
    body_at: usize,
    all: Rc<Cell<usize>>,
}

impl Unsent {
    fn new(head: Vec<u8>, ready: Rc<Ready>, body_at: usize, all: &Rc<Cell<usize>>) -> Unsent {
        let all = Rc::clone(all);
        all.set(all.get() + ready.body.len());
        Unsent {
            head,
            ready,
            body_at,
            all,
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.ready.body.len());
    }
}

/// The answers of one worker, by host, target and what the client accepts.
pub(crate) struct ReadyAnswers {
    answers: RefCell<LruCache<Vec<u8>, Rc<Ready>>>,
    /// What they take.
    bytes: Cell<usize>,
    /// What those take that are being sent, whether they are among these or not.
    unsent: Rc<Cell<usize>>,
    /// A key is looked up without an allocation.
    key: RefCell<Vec<u8>>,
    /// A head with its date.
    head: RefCell<Vec<u8>>,
}

impl Default for ReadyAnswers {
    fn default() -> ReadyAnswers {
        ReadyAnswers {
            answers: RefCell::new(LruCache::new(ANSWERS_MAX)),
            bytes: Cell::default(),
            unsent: Rc::default(),
            key: RefCell::default(),
            head: RefCell::default(),
        }
    }
}

impl ReadyAnswers {
    fn get(&self, host: &Host, request: &Request<'_>) -> Option<Rc<Ready>> {
        let key = &mut *self.key.borrow_mut();
        write_answer_key(key, host, request);
        self.answers.borrow_mut().get(key.as_slice()).cloned()
    }

    /// Forgets those whose file is no longer kept.
    pub(crate) fn sweep(&self) {
        let mut answers = self.answers.borrow_mut();
        answers.retain(|_, ready| ready.kept.strong_count() > 0);
        self.bytes.set(answers.iter().map(Ready::bytes).sum());
    }

    /// Keeps `ready`; who has not been asked for the longest makes room for it.
    fn keep(&self, key: Vec<u8>, ready: Ready) {
        let ready = Rc::new(ready);
        let mut answers = self.answers.borrow_mut();
        let mut bytes = self.bytes.get() + Ready::bytes((&key, &ready));
        if let Some((key, ready)) = answers.push(key, ready) {
            bytes -= Ready::bytes((&key, &ready));
        }
        while bytes > BYTES_MAX
            && let Some((key, ready)) = answers.pop_lru()
        {
            bytes -= Ready::bytes((&key, &ready));
        }
        self.bytes.set(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.answers.borrow().is_empty()
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.answers.borrow_mut().clear();
        self.bytes.set(0);
    }
}

impl Worker {
    /// Sends the answer that is ready for `request`, if there is one.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn send_ready(
        &self,
        stream: &TcpStream,
        request: &Request<'_>,
        keep_alive: bool,
    ) -> io::Result<Option<Sent>> {
        let Some(ready) = self.find_ready(request) else {
            return Ok(None);
        };
        let head = &mut *self.ready.head.borrow_mut();
        head.clear();
        head.extend_from_slice(&ready.head[..DATE_AT]);
        head.extend_from_slice(self.date().as_bytes());
        head.extend_from_slice(&ready.head[DATE_AT + DATE_BYTES..]);
        Head::conclude(head, keep_alive);
        let slices = [IoSlice::new(head), IoSlice::new(&ready.body)];
        let bytes = head.len() + ready.body.len();
        let sent = stream.try_write_vectored(&slices).transpose()?.unwrap_or(0);
        let rest = (sent < bytes).then(|| {
            let head_rest = head.get(sent..).unwrap_or_default().to_vec();
            let body_at = sent.saturating_sub(head.len());
            Box::new(Unsent::new(head_rest, ready, body_at, &self.ready.unsent))
        });
        Ok(Some(Sent { bytes, rest }))
    }

    /// Sends what the socket did not take at once. The body is not copied: many may be slow to take it.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` if the client takes nothing.
    pub(crate) async fn send_unsent(&self, stream: &TcpStream, unsent: &Unsent) -> io::Result<()> {
        self.send(stream, &unsent.head).await?;
        self.send(stream, &unsent.ready.body[unsent.body_at..])
            .await
    }

    fn find_ready(&self, request: &Request<'_>) -> Option<Rc<Ready>> {
        let is_too_much = self.ready.unsent.get() > BYTES_MAX;
        if self.open_files.is_none() || !is_plain(request) || is_too_much {
            return None;
        }
        let host = self.hosts.select(request)?;
        let ready = self.ready.get(&host, request)?;
        let is_current = is_fresh(ready.looked_up, self.io.now())
            && ready.kept.upgrade().is_some_and(|kept| kept.is_unchanged());
        is_current.then_some(ready)
    }

    /// Keeps the answer to `exchange` for the next who asks alike: a head that lacks only `Connection`, and
    /// the whole file `found`.
    pub(crate) fn make_ready(
        &self,
        exchange: &Exchange<'_>,
        found: &Representation,
        head: &[u8],
        body: &[u8],
    ) {
        let Some(kept) = &found.kept else { return };
        let date = head.get(DATE_AT..DATE_AT + DATE_BYTES);
        // A second has gone by, or a rule has put another field there.
        if date != Some(self.date().as_bytes()) {
            return;
        }
        let mut key = Vec::new();
        write_answer_key(&mut key, &exchange.host, exchange.request);
        if key.len() + head.len() > HEAD_BYTES_MAX {
            return;
        }
        let ready = Ready {
            kept: Weak::clone(kept),
            looked_up: found.looked_up,
            head: head.into(),
            body: body.into(),
        };
        self.ready.keep(key, ready);
    }

    /// Whether the answer `found` to `exchange` may be kept: it depends on nothing but what its key holds,
    /// and what is read from now on is what the metadata are of.
    pub(crate) fn may_be_ready(&self, exchange: &Exchange<'_>, found: &Representation) -> bool {
        let now = self.io.wall().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs().cast_signed());
        let times = [
            found.metadata.changed_seconds(),
            // It can be set, and what is in the future is said to be now.
            found.metadata.modified_parts().0,
        ];
        let is_settled = times
            .iter()
            .all(|time| time.saturating_add(TICK_SECONDS) < now);
        found.kept.is_some()
            && found.metadata.len() <= BODY_BYTES_MAX
            && is_plain(exchange.request)
            && matches!(found.vary, None | Some("Accept-Encoding"))
            && !exchange.host.policy.looks_at_requests()
            && !self.has_detours(&exchange.host)
            && is_settled
    }
}

/// A GET of the whole file, whatever the client has already.
fn is_plain(request: &Request<'_>) -> bool {
    request.method == Method::Get
        && request.expectation == Expectation::None
        && request.range.is_none()
        && request.if_match.is_none()
        && request.if_none_match.is_none()
        && request.if_modified_since.is_none()
        && request.if_unmodified_since.is_none()
}

fn write_answer_key(key: &mut Vec<u8>, host: &Host, request: &Request<'_>) {
    write_key(key, host, request.target.as_bytes());
    if !host.files.precompressed.is_empty() {
        // No target has such a byte. To take nothing in particular is to say nothing.
        key.push(b'\n');
        key.extend_from_slice(request.field("accept-encoding").unwrap_or("").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use ambidex::clock::{Clock, Real};

    use super::*;

    fn ready(body: usize) -> Ready {
        Ready {
            kept: Weak::new(),
            looked_up: Real.now(),
            head: Box::default(),
            body: vec![0; body].into(),
        }
    }

    #[test]
    fn answers_take_no_more_memory_than_they_may() {
        let answers = ReadyAnswers::default();
        let most = usize::try_from(BODY_BYTES_MAX).unwrap();
        let each = most + ENTRY_BYTES + 4;
        for number in 0..2 * BYTES_MAX / most {
            answers.keep(number.to_ne_bytes()[..4].to_vec(), ready(most));
            assert!(answers.bytes.get() <= BYTES_MAX);
        }
        assert_eq!(answers.answers.borrow().len(), BYTES_MAX / each);
        // One in place of another.
        let last = answers
            .answers
            .borrow()
            .peek_mru()
            .map(|(key, _)| key.clone());
        answers.keep(last.unwrap(), ready(1));
        assert_eq!(answers.bytes.get(), BYTES_MAX / each * each - most + 1);
        // No file is kept.
        answers.sweep();
        assert!(answers.is_empty());
        assert_eq!(answers.bytes.get(), 0);
    }

    #[test]
    fn what_slow_clients_hold_is_counted_for_as_long_as_they_do() {
        let answers = ReadyAnswers::default();
        let (one, other) = (Rc::new(ready(100)), Rc::new(ready(20)));
        let first = Unsent::new(Vec::new(), one, 7, &answers.unsent);
        let second = Unsent::new(Vec::new(), other, 0, &answers.unsent);
        assert_eq!(answers.unsent.get(), 120);
        drop(first);
        assert_eq!(answers.unsent.get(), 20);
        drop(second);
        assert_eq!(answers.unsent.get(), 0);
    }
}
