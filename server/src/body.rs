//! The way of a file from disk to socket.
//!
//! Memory is the point. A read is first tried without waiting, into a buffer of the `hot` pool,
//! which is held only while the kernel copies; what is not cached is read again, this time
//! waiting, into a buffer of the `cold` pool; each mount that may hang for ever has a pool of its
//! own. So whoever waits for a disk never holds what a cached file needs. A client that does not
//! read keeps its buffer only while buffers are plenty; else the rest is read again, from the
//! page cache, when it is ready.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ambidex::Handle;
use ambidex::disk::policy::{Lane, Place};
use ambidex::disk::{File, Handle as Disk, IoBuf, Pool, PoolBuf, ReadFlags};
use ambidex::net::TcpStream;

use crate::rate::Pace;
use crate::ready::BODY_BYTES_MAX;
use crate::respond::Exchange;
use crate::serve::Worker;
use crate::work::LANE_QUEUE_MAX;

/// Bytes read at a time: submitting a cold read of 256 KiB would take 0.1 ms of the loop.
const CHUNK_BYTES: usize = 128 * 1024;
/// Reads that the kernel is copying this very turn.
const HOT_BUFFERS: usize = 32;
/// Reads that wait for a disk.
const COLD_BUFFERS: usize = 64;
/// Reads that wait for one network or FUSE mount; the engine allows it no more in flight.
const REMOTE_BUFFERS: usize = 32;
/// Bytes sent in a row before others have a turn: a client that always has room would else keep
/// the loop for itself.
const TURN_BYTES: usize = 4 * CHUNK_BYTES;
/// Bytes of which is seen at a time whether they are in the page cache, and for how long that is believed.
const LOOK_BYTES: u64 = 1024 * 1024;
const LOOKED_FOR: Duration = Duration::from_millis(10);
/// Bytes that go with the head where sendfile(2) sends the rest.
const FIRST_BYTES: u64 = 16 * 1024;
/// What the kernel may hold of an answer beyond what is on its way to the client. Without a bound
/// it takes megabytes, and says that there is room again only after a third of that: a slow
/// client would look like one that takes nothing.
const UNSENT_BYTES: u32 = 256 * 1024;

/// The buffers of one worker: 12 MiB, and 4 MiB for each remote mount; only what is used is backed.
pub(crate) struct Buffers {
    hot: Pool,
    cold: Pool,
    remote: RefCell<Vec<Rc<Remote>>>,
}

/// The buffers for one mount that may hang.
pub(crate) struct Remote {
    lane: Lane,
    pool: Pool,
    /// Answers that have not begun and wait for a buffer.
    waiting: Cell<usize>,
}

impl Buffers {
    pub(crate) fn new() -> Buffers {
        Buffers {
            hot: Pool::new(HOT_BUFFERS, CHUNK_BYTES),
            cold: Pool::new(COLD_BUFFERS, CHUNK_BYTES),
            remote: RefCell::default(),
        }
    }

    /// What reads from the mount of `lane` share.
    pub(crate) fn remote(&self, lane: Lane) -> Rc<Remote> {
        let mut remote = self.remote.borrow_mut();
        if let Some(known) = remote.iter().find(|known| known.lane == lane) {
            return Rc::clone(known);
        }
        let new = Rc::new(Remote {
            lane,
            pool: Pool::new(REMOTE_BUFFERS, CHUNK_BYTES),
            waiting: Cell::new(0),
        });
        remote.push(Rc::clone(&new));
        new
    }
}

impl Remote {
    /// Whether so many wait for this mount, for a buffer or for their turn, that one more had
    /// better not.
    pub(crate) fn is_crowded(&self, disk: &Disk) -> bool {
        self.waiting.get() + disk.waiting_in(self.lane) >= LANE_QUEUE_MAX
    }
}

/// One answer more that waits for a buffer.
struct Queued(Rc<Remote>);

impl Queued {
    /// Who has come so far is not refused any more: [`Remote::is_crowded`] is asked before.
    fn new(remote: &Rc<Remote>) -> Queued {
        remote.waiting.set(remote.waiting.get() + 1);
        Queued(Rc::clone(remote))
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

/// Bytes of a file from `at`, in a buffer of `pool`.
struct Chunk {
    bytes: PoolBuf,
    at: u64,
    pool: Pool,
}

impl Chunk {
    fn from(&self, at: u64) -> &[u8] {
        let skip = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        self.bytes.get(skip..).unwrap_or_default()
    }

    /// Whether others may soon want the buffer more than this client does.
    fn is_scarce(&self) -> bool {
        self.pool.free() < self.pool.capacity() / 2
    }
}

impl Worker {
    /// Sends `head`, then `range` of `file`, header and first bytes in one call. `see_first` is shown the bytes
    /// that were read first.
    ///
    /// # Errors
    /// Those of the socket; of the file; `UnexpectedEof` if the file has become shorter;
    /// `TimedOut` if the client takes nothing or too little, or the disk gives nothing. Nothing
    /// more may be sent then: what the client has is visibly cut short. Except if the first read
    /// failed and `head` begins the answer: then `exchange.work` says what to answer instead.
    pub(crate) async fn send_file(
        &self,
        exchange: &Exchange<'_>,
        head: &[u8],
        file: &File,
        range: Range<u64>,
        see_first: impl FnOnce(&[u8]),
    ) -> io::Result<()> {
        let stream = exchange.stream;
        let mut pace = Pace::new(&self.limits);
        let mut head = head;
        let mut at = range.start;
        let mut in_a_row = 0;
        let mut warm = Warm::new(&self.io, exchange, file, &range);
        let mut chunk: Option<Chunk> = if range.is_empty() {
            None
        } else {
            let first = warm.first(&range);
            let first = self.read_first(exchange, head, file, first).await?;
            see_first(first.from(at));
            Some(first)
        };
        if range.end - at > u64::from(UNSENT_BYTES) {
            // Refused, memory is bounded by what the system allows a socket.
            let _ = stream.options().set_tcp_notsent_lowat(UNSENT_BYTES);
        }
        while at < range.end {
            let (sent, goes_on);
            if head.is_empty()
                && chunk.is_none()
                && let Some(done) = warm.send(stream, at..range.end)
            {
                (sent, goes_on) = done?;
                at += sent as u64;
            } else {
                let current = match chunk.take() {
                    Some(chunk) if !chunk.from(at).is_empty() => chunk,
                    _ => self.read_later(file, at..range.end).await?,
                };
                let slices = [IoSlice::new(head), IoSlice::new(current.from(at))];
                let asked = slices[0].len() + slices[1].len();
                sent = stream.try_write_vectored(&slices).transpose()?.unwrap_or(0);
                goes_on = sent == asked;
                let of_head = sent.min(head.len());
                head = &head[of_head..];
                at += (sent - of_head) as u64;
                chunk = (!goes_on && !current.is_scarce()).then_some(current);
            }
            pace.taken(sent);
            in_a_row += sent;
            if !goes_on {
                self.writable(stream, &mut pace).await?;
                in_a_row = 0;
            } else if in_a_row >= TURN_BYTES {
                self.io.yield_now().await;
                in_a_row = 0;
            }
        }
        if head.is_empty() {
            return Ok(());
        }
        self.send(stream, head).await
    }

    /// The first bytes, in the time that the request has left. While nothing has been sent there
    /// can be another answer.
    async fn read_first(
        &self,
        exchange: &Exchange<'_>,
        head: &[u8],
        file: &File,
        range: Range<u64>,
    ) -> io::Result<Chunk> {
        let read = self.in_time(&exchange.work, self.read(file, range, true));
        let read = read.await.unwrap_or_else(|late| Err(late.into()));
        if let Err(error) = &read
            && head.starts_with(b"HTTP/")
        {
            exchange.work.fail(error);
        }
        read
    }

    /// Further bytes: each read has all the time that a disk may take.
    async fn read_later(&self, file: &File, range: Range<u64>) -> io::Result<Chunk> {
        let read = self.read(file, range, false);
        match self.limits.disk_deadline {
            Some(patience) => self.io.timeout(patience, read).await?,
            None => read.await,
        }
    }

    /// Reads some bytes, at least one.
    async fn read(&self, file: &File, range: Range<u64>, is_first: bool) -> io::Result<Chunk> {
        let at = range.start;
        let (pool, queued) = if let Place::Remote(lane) = file.place() {
            let remote = self.buffers.remote(lane);
            let queued = is_first.then(|| Queued::new(&remote));
            (remote.pool.clone(), queued)
        } else {
            let pool = self.buffers.hot.clone();
            let buffer = pool.take().await;
            let bytes = self
                .read_into(buffer, file, &range, ReadFlags::NOWAIT)
                .await;
            match bytes {
                // 0 may be the end, or Linux 5.9 saying "not cached": ask again, waiting.
                Ok(bytes) if !bytes.is_empty() => {
                    return Ok(Chunk { bytes, at, pool });
                }
                Err(error) if !may_be_cold(&error) => return Err(error),
                _ => {}
            }
            (self.buffers.cold.clone(), None)
        };
        let buffer = pool.take().await;
        drop(queued);
        let bytes = self
            .read_into(buffer, file, &range, ReadFlags::default())
            .await?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Chunk { bytes, at, pool })
    }

    async fn read_into(
        &self,
        buffer: PoolBuf,
        file: &File,
        range: &Range<u64>,
        flags: ReadFlags,
    ) -> io::Result<PoolBuf> {
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let buffer = buffer.slice(0..left.min(CHUNK_BYTES));
        let (result, buffer) = file.read_at_with(buffer, range.start, flags).await;
        result.map(|_| buffer.into_inner())
    }
}

/// What of a file can be sent out of the page cache.
struct Warm<'a> {
    io: &'a Handle,
    file: &'a File,
    /// Whether that is wanted, and can be done.
    is_wanted: bool,
    /// Up to where it was warm when it was looked at, and when that was.
    until: u64,
    looked: Instant,
}

impl Warm<'_> {
    fn new<'a>(
        io: &'a Handle,
        exchange: &Exchange<'_>,
        file: &'a File,
        range: &Range<u64>,
    ) -> Warm<'a> {
        // What is small costs little either way, and may become an answer that is kept.
        let is_large = range.end.saturating_sub(range.start) > BODY_BYTES_MAX;
        let mut warm = Warm {
            io,
            file,
            is_wanted: is_large && exchange.host.files.sendfile,
            until: range.start,
            looked: io.now(),
        };
        warm.is_warm(range);
        warm
    }

    /// What to read of `range` before its head is sent.
    fn first(&self, range: &Range<u64>) -> Range<u64> {
        if self.until > range.start + FIRST_BYTES {
            range.start..range.start + FIRST_BYTES
        } else {
            range.clone()
        }
    }

    /// Sends what is warm at the start of `rest`: how many bytes went, and whether to go on without waiting. `None` if
    /// nothing is, or it has to be copied.
    fn send(&mut self, stream: &TcpStream, rest: Range<u64>) -> Option<io::Result<(usize, bool)>> {
        if !self.is_warm(&rest) {
            return None;
        }
        let window = rest.start..self.until.min(rest.start + TURN_BYTES as u64);
        Some(match stream.try_sendfile(self.file, window) {
            // The socket is full.
            None => Ok((0, false)),
            Some(Ok(0)) => Err(ErrorKind::UnexpectedEof.into()),
            // Also if it is less than asked for: to ask again tells whether the socket is full.
            Some(Ok(sent)) => Ok((usize::try_from(sent).unwrap_or(usize::MAX), true)),
            Some(Err(error)) if cannot_be_sent(&error) => {
                self.is_wanted = false;
                return None;
            }
            Some(Err(error)) => Err(error),
        })
    }

    /// Whether the start of `rest` is warm. It is looked at again after a while.
    fn is_warm(&mut self, rest: &Range<u64>) -> bool {
        if !self.is_wanted {
            return false;
        }
        let now = self.io.now();
        if self.until > rest.start && now.saturating_duration_since(self.looked) < LOOKED_FOR {
            return true;
        }
        let look = rest.start..rest.end.min(rest.start + LOOK_BYTES);
        let is_warm = self.file.is_cached(look.clone());
        if is_warm {
            (self.until, self.looked) = (look.end, now);
        }
        is_warm
    }
}

/// Whether sendfile(2) cannot do it here: the filesystem has no way, or a filter forbids the call.
fn cannot_be_sent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::EPERM)
    )
}

/// Not cached, or the filesystem cannot tell.
fn may_be_cold(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Unsupported | ErrorKind::InvalidInput
    )
}
