//! The way of a file from disk to socket.
//!
//! Memory is the point. A read is first tried without waiting, into a buffer of the `hot` pool,
//! which is held only while the kernel copies; what is not cached is read again, this time
//! waiting, into a buffer of the `cold` pool; each mount that may hang for ever has a pool of its
//! own. So whoever waits for a disk never holds what a cached file needs. A client that does not
//! read keeps its buffer only while buffers are plenty; else the rest is read again, from the
//! page cache, when it is ready.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice};
use std::ops::Range;

use ambidex::disk::policy::{Lane, Place};
use ambidex::disk::{File, IoBuf, Pool, PoolBuf, ReadFlags};
use ambidex::net::TcpStream;

use crate::serve::Worker;

/// Bytes read at a time: submitting a cold read of 256 KiB would take 0.1 ms of the loop.
const CHUNK_BYTES: usize = 128 * 1024;
/// Reads that the kernel is copying this very turn.
const HOT_BUFFERS: usize = 32;
/// Reads that wait for a disk.
const COLD_BUFFERS: usize = 64;
/// Reads that wait for one network or FUSE mount; the engine allows it no more in flight.
const REMOTE_BUFFERS: usize = 32;

/// The buffers of one worker: 12 MiB, and 4 MiB for each remote mount; only what is used is backed.
pub(crate) struct Buffers {
    hot: Pool,
    cold: Pool,
    remote: RefCell<Vec<(Lane, Pool)>>,
}

impl Buffers {
    pub(crate) fn new() -> Buffers {
        Buffers {
            hot: Pool::new(HOT_BUFFERS, CHUNK_BYTES),
            cold: Pool::new(COLD_BUFFERS, CHUNK_BYTES),
            remote: RefCell::default(),
        }
    }

    /// The pool for reads that wait for `place`.
    fn waiting(&self, place: Place) -> Pool {
        let Place::Remote(lane) = place else {
            return self.cold.clone();
        };
        let mut remote = self.remote.borrow_mut();
        if let Some((_, pool)) = remote.iter().find(|(known, _)| *known == lane) {
            return pool.clone();
        }
        let pool = Pool::new(REMOTE_BUFFERS, CHUNK_BYTES);
        remote.push((lane, pool.clone()));
        pool
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
    /// Sends `head`, then `range` of `file`, header and first bytes in one call.
    ///
    /// # Errors
    /// Those of the socket; of the file; `UnexpectedEof` if the file has become shorter;
    /// `TimedOut` if the client takes nothing. Nothing more may be sent then: what the client has
    /// is visibly cut short.
    pub(crate) async fn send_file(
        &self,
        stream: &TcpStream,
        head: &[u8],
        file: &File,
        range: Range<u64>,
    ) -> io::Result<()> {
        let mut head = head;
        let mut at = range.start;
        let mut chunk: Option<Chunk> = None;
        while at < range.end {
            let current = match chunk.take() {
                Some(chunk) if !chunk.from(at).is_empty() => chunk,
                _ => self.read(file, at..range.end).await?,
            };
            let bytes = current.from(at);
            let sent = match stream.try_write_vectored(&[IoSlice::new(head), IoSlice::new(bytes)]) {
                Some(sent) => sent?,
                None => 0,
            };
            let of_head = sent.min(head.len());
            let all = sent == head.len() + bytes.len();
            head = &head[of_head..];
            at += (sent - of_head) as u64;
            if !all {
                if current.is_scarce() {
                    drop(current);
                } else {
                    chunk = Some(current);
                }
                self.writable(stream).await?;
            }
        }
        if head.is_empty() {
            return Ok(());
        }
        self.send(stream, head).await
    }

    /// Reads some bytes, at least one.
    async fn read(&self, file: &File, range: Range<u64>) -> io::Result<Chunk> {
        let at = range.start;
        if !matches!(file.place(), Place::Remote(_)) {
            let pool = self.buffers.hot.clone();
            let bytes = self.read_into(&pool, file, &range, ReadFlags::NOWAIT).await;
            match bytes {
                // 0 may be the end, or Linux 5.9 saying "not cached": ask again, waiting.
                Ok(bytes) if !bytes.is_empty() => {
                    return Ok(Chunk { bytes, at, pool });
                }
                Err(error) if !may_be_cold(&error) => return Err(error),
                _ => {}
            }
        }
        let pool = self.buffers.waiting(file.place());
        let bytes = self
            .read_into(&pool, file, &range, ReadFlags::default())
            .await?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(Chunk { bytes, at, pool })
    }

    async fn read_into(
        &self,
        pool: &Pool,
        file: &File,
        range: &Range<u64>,
        flags: ReadFlags,
    ) -> io::Result<PoolBuf> {
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let buffer = pool.take().await.slice(0..left.min(CHUNK_BYTES));
        let (result, buffer) = file.read_at_with(buffer, range.start, flags).await;
        result.map(|_| buffer.into_inner())
    }
}

/// Not cached, or the filesystem cannot tell.
fn may_be_cold(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::Unsupported | ErrorKind::InvalidInput
    )
}
