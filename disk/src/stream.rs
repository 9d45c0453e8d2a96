//! Reading a file from front to back, some chunks ahead.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::buffer::{BufResult, IoBuf, Slice};
use crate::file::File;

/// As many reads as a ring has credits, unless told otherwise: more would only wait.
const WINDOW_MAX: usize = 1024;

type Read = Pin<Box<dyn Future<Output = BufResult<usize, Slice<Vec<u8>>>>>>;

/// A chunk on its way.
enum Chunk {
    Reading(Read),
    /// What was read, and whether the file ended within.
    Read(io::Result<Vec<u8>>, bool),
}

/// The chunks of a range of a file, in order; see [`File::stream`].
pub struct ReadAhead {
    file: File,
    /// What is left to ask for.
    range: Range<u64>,
    chunk: usize,
    window: usize,
    chunks: VecDeque<Chunk>,
}

impl File {
    /// Reads `range` from front to back in chunks of `chunk` bytes, with up to `window` of them
    /// under way at a time: `chunk * window` bytes of memory. Both are at least 1, and `window` is
    /// at most 1,024; a chunk that there is no memory for is an error. Nothing is read
    /// before [`ReadAhead::next`] is first called, and only it asks for more.
    ///
    /// ```no_run
    /// # async fn example(handle: ambidex_disk::Handle) -> std::io::Result<()> {
    /// use ambidex_disk::File;
    /// let file = File::open(&handle, "/var/log/syslog").await?;
    /// let mut chunks = file.stream(0..u64::MAX, 128 * 1024, 4);
    /// let mut lines = 0;
    /// while let Some(chunk) = chunks.next().await? {
    ///     lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn stream(&self, range: Range<u64>, chunk: usize, window: usize) -> ReadAhead {
        ReadAhead {
            file: self.clone(),
            range,
            chunk: chunk.max(1),
            window: window.clamp(1, WINDOW_MAX),
            chunks: VecDeque::new(),
        }
    }
}

impl ReadAhead {
    /// The next chunk: as long as asked, but for the last one of the range or file, and never
    /// empty. `None` at the end. Short reads are gone on with.
    ///
    /// # Errors
    /// Those of [`File::read_at`], where the chunk would have been. What follows is given up: then
    /// comes `None`.
    ///
    /// # Cancel safety
    /// Safe: no chunk is lost.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Vec<u8>>>> {
        self.ask();
        // Each is polled, for a read is only queued then.
        for chunk in &mut self.chunks {
            chunk.poll(cx);
        }
        match self.chunks.pop_front() {
            None => Poll::Ready(Ok(None)),
            Some(reading @ Chunk::Reading(_)) => {
                self.chunks.push_front(reading);
                Poll::Pending
            }
            Some(Chunk::Read(result, ended)) => {
                if ended {
                    self.chunks.clear();
                    self.range.start = self.range.end;
                }
                Poll::Ready(result.map(|chunk| (!chunk.is_empty()).then_some(chunk)))
            }
        }
    }

    /// Fills the window.
    fn ask(&mut self) {
        while self.chunks.len() < self.window && self.range.start < self.range.end {
            let offset = self.range.start;
            let left = self.range.end - offset;
            let length = usize::try_from(left).map_or(self.chunk, |left| left.min(self.chunk));
            self.range.start += length as u64;
            let file = self.file.clone();
            let read = async move {
                let mut buffer = Vec::new();
                let room = buffer.try_reserve_exact(length);
                let buffer = buffer.slice(0..length);
                match room {
                    Ok(()) => file.read_full_at(buffer, offset).await,
                    Err(_) => (Err(io::ErrorKind::OutOfMemory.into()), buffer),
                }
            };
            self.chunks.push_back(Chunk::Reading(Box::pin(read)));
        }
    }
}

impl Chunk {
    fn poll(&mut self, cx: &mut Context<'_>) {
        let Chunk::Reading(read) = self else { return };
        if let Poll::Ready((result, buffer)) = read.as_mut().poll(cx) {
            let room = buffer.range().len();
            let ended = !matches!(result, Ok(length) if length == room);
            *self = Chunk::Read(result.map(|_| buffer.into_inner()), ended);
        }
    }
}

impl fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAhead")
            .field("file", &self.file)
            .field("left", &self.range)
            .field("ahead", &self.chunks.len())
            .finish_non_exhaustive()
    }
}
