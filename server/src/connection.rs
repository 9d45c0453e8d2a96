//! One connection: requests in, answers out, in order.

use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use ambidex::net::TcpStream;

use crate::http::head::Status;
use crate::http::request::{Parsed, Refusal, Request, parse};
use crate::rate::Pace;
use crate::serve::Worker;
use crate::shed::Rest;

/// Bytes read at a time.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// The largest body that is read only to be thrown away; for more, closing is cheaper.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;
/// How long a lingering close waits for the client to have read the answer.
const LINGER: Duration = Duration::from_secs(2);
/// Short answers in a row before others have a turn: one client may send requests without end.
const SENDS_PER_TURN: u32 = 64;

/// Why a connection ends.
enum End {
    /// Everything was answered.
    Clean,
    /// The client may still be sending: a plain close could destroy the answer on its way.
    Linger,
}

impl Worker {
    /// Serves one connection to its end. `idle` tells the outside when nothing is under way.
    pub(crate) async fn converse(&self, stream: TcpStream, idle: &Rest) {
        match self.requests(&stream, idle).await {
            Ok(End::Linger) => self.linger(&stream).await,
            // Reset, timed out, or a file that broke off: there is nobody to tell.
            Ok(End::Clean) | Err(_) => {}
        }
    }

    async fn requests(&self, stream: &TcpStream, idle: &Rest) -> io::Result<End> {
        let mut input = Vec::new();
        let mut since = None;
        loop {
            let (consumed, keep_alive) = match parse(&input) {
                Parsed::Partial => {
                    idle.set(input.is_empty());
                    let received = self.receive(stream, &mut input, &mut since).await;
                    idle.set(false);
                    match received {
                        Ok(0) => return Ok(End::Clean),
                        Ok(_) => continue,
                        Err(error) if error.kind() == ErrorKind::TimedOut => {
                            return self.timed_out(stream, &input).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Parsed::Refused(refusal) => return self.end_refused(stream, refusal).await,
                Parsed::Complete(request, length) => {
                    let may_go_on = self.may_go_on(&request);
                    let keep_alive = self.respond(stream, &request, may_go_on).await?;
                    let body = request.body_bytes.unwrap_or(0);
                    // The order to stop may have come during the answer.
                    (length as u64 + body, keep_alive && !self.stop.is_set())
                }
            };
            if !keep_alive {
                return Ok(End::Linger);
            }
            since = None;
            self.discard(stream, &mut input, consumed).await?;
        }
    }

    /// Whether the connection can be used after this request.
    fn may_go_on(&self, request: &Request<'_>) -> bool {
        let drainable = match request.body_bytes {
            Some(0) => true,
            Some(length) => length <= DRAIN_BYTES_MAX && !request.expects,
            None => false,
        };
        request.keep_alive && drainable && !self.stop.is_set()
    }

    /// Reads more of a head. The first byte starts the clock of the whole head.
    async fn receive(
        &self,
        stream: &TcpStream,
        input: &mut Vec<u8>,
        since: &mut Option<Instant>,
    ) -> io::Result<usize> {
        let patience = if input.is_empty() {
            // An idle connection holds no memory.
            *input = Vec::new();
            self.limits.idle_timeout
        } else {
            let start = *since.get_or_insert_with(|| self.io.now());
            let spent = self.io.now().saturating_duration_since(start);
            self.limits.header_timeout.saturating_sub(spent)
        };
        let read = async {
            loop {
                stream.readable().await?;
                if let Some(read) = self.try_read(stream, input) {
                    return read;
                }
            }
        };
        self.io.timeout(patience, read).await?
    }

    async fn timed_out(&self, stream: &TcpStream, input: &[u8]) -> io::Result<End> {
        if input.is_empty() {
            return Ok(End::Clean);
        }
        self.send_status(stream, Status(408)).await?;
        Ok(End::Linger)
    }

    async fn end_refused(&self, stream: &TcpStream, refusal: Refusal) -> io::Result<End> {
        self.refuse(stream, refusal).await?;
        Ok(End::Linger)
    }

    /// Appends what has arrived to `input`. `None` if nothing has.
    fn try_read(&self, stream: &TcpStream, input: &mut Vec<u8>) -> Option<io::Result<usize>> {
        // One scratch buffer for all connections: it is filled and emptied without waiting.
        let scratch = &mut *self.scratch.borrow_mut();
        let read = stream.try_read(scratch)?;
        if let Ok(length) = read {
            input.extend_from_slice(&scratch[..length]);
        }
        Some(read)
    }

    /// Takes `count` bytes off the input, reading what of them has not arrived.
    async fn discard(&self, stream: &TcpStream, input: &mut Vec<u8>, count: u64) -> io::Result<()> {
        let mut left = count;
        let deadline = self.limits.header_timeout;
        let drain = async {
            loop {
                let here = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                input.drain(..here);
                left -= here as u64;
                if left == 0 {
                    return Ok(());
                }
                stream.readable().await?;
                if let Some(read) = self.try_read(stream, input)
                    && read? == 0
                {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
        };
        self.io.timeout(deadline, drain).await?
    }

    /// Closes so that the client gets the whole answer: ends our side, then reads until it ends
    /// its own. Closing with unread input would send RST, which may overtake the answer.
    pub(crate) async fn linger(&self, stream: &TcpStream) {
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut unread = Vec::new();
        let mut left = DRAIN_BYTES_MAX;
        let drain = async {
            while stream.readable().await.is_ok() {
                unread.clear();
                match self.try_read(stream, &mut unread) {
                    Some(Ok(0) | Err(_)) => return,
                    Some(Ok(read)) if read as u64 > left => return,
                    Some(Ok(read)) => left -= read as u64,
                    None => {}
                }
            }
        };
        let _ = self.io.timeout(LINGER, drain).await;
    }

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` if the client takes nothing, or too little.
    pub(crate) async fn send(&self, stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        let sends = self.sends.get().wrapping_add(1);
        self.sends.set(sends);
        if sends.is_multiple_of(SENDS_PER_TURN) {
            self.io.yield_now().await;
        }
        let mut pace = Pace::new(&self.limits);
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(sent) = stream.try_write_vectored(&[IoSlice::new(rest)]) else {
                self.writable(stream, &mut pace).await?;
                continue;
            };
            let sent = sent?;
            pace.taken(sent);
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// Waits until the client takes more.
    ///
    /// # Errors
    /// `TimedOut` if it does not, or is slower than it must be.
    pub(crate) async fn writable(&self, stream: &TcpStream, pace: &mut Pace) -> io::Result<()> {
        let since = self.io.now();
        let writable = stream.writable();
        self.io
            .timeout(self.limits.write_timeout, writable)
            .await??;
        pace.waited(self.io.now().saturating_duration_since(since))
    }
}
