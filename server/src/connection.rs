//! One connection: requests in, answers out, in order.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use ambidex::net::TcpStream;
use ambidex::timers::Sleep;

use crate::http::chunked::Chunked;
use crate::http::head::Status;
use crate::http::request::{
    Body, Bounds, Expectation, Method, Parsed, Refusal, Request, parse_within,
};
use crate::rate::Pace;
use crate::serve::Worker;
use crate::shed::Rest;

/// Bytes read at a time.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// The largest body that is read only to be thrown away; for more, closing is cheaper.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;
/// Empty lines before a request that are passed over: old clients end a body with one (RFC 9112, 2.2).
const EMPTY_LINES_MAX: usize = 4;
/// How long a lingering close waits for the client to have read the answer.
const LINGER: Duration = Duration::from_secs(2);
/// How much of what the client still sends a lingering close reads.
const LINGER_BYTES_MAX: u64 = 1024 * 1024;
/// Short answers in a row before others have a turn: one client may send requests without end.
const SENDS_PER_TURN: usize = 64;
/// An answer of more bytes counts as several: 512 KiB in a row at most, as for files.
const SHORT_BYTES: usize = 8 * 1024;

/// Later than anybody waits.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Why a connection ends.
enum End {
    /// Everything was answered.
    Clean,
    /// The client may still be sending: a plain close could destroy the answer on its way.
    Linger,
}

/// What is known of the request at the start of the input.
#[derive(Default)]
struct Progress {
    /// When its first byte came.
    since: Option<Instant>,
    /// Empty lines before it.
    empty_lines: usize,
    /// Its body: `None` until it was looked at, then whether all of it has been taken off the input.
    drained: Option<bool>,
}

/// What the input calls for.
enum Step {
    Receive,
    Refuse(Refusal),
    /// The body after a head of so many bytes is to be read.
    Drain(usize, Body),
    /// Answered: how long its head was, and whether the connection goes on.
    Answered(usize, bool),
}

impl Worker {
    /// Serves one connection to its end. `idle` tells the outside when nothing is under way.
    pub(crate) async fn converse(&self, stream: TcpStream, idle: &Rest) {
        match self.requests(&stream, idle).await {
            Ok(End::Clean) => {}
            Ok(End::Linger) => self.linger(&stream).await,
            // The last answer has no length: only a reset tells that it broke off.
            Err(_)
                if stream
                    .options()
                    .linger()
                    .is_ok_and(|linger| linger.is_some()) => {}
            // The whole answers before the one that broke off are to arrive.
            Err(_) => self.linger(&stream).await,
        }
    }

    /// One request after the other. Nothing is read while one is answered: that bounds how many a
    /// client can have waiting here.
    async fn requests(&self, stream: &TcpStream, idle: &Rest) -> io::Result<End> {
        let mut input = Vec::new();
        let mut progress = Progress::default();
        let mut patience = pin!(self.io.sleep(self.limits.idle_timeout));
        loop {
            progress.pass_empty_lines(&mut input);
            match self.step(stream, &input, &progress).await? {
                Step::Receive => {
                    idle.set(input.is_empty());
                    let patience = patience.as_mut();
                    let received = self
                        .receive(stream, &mut input, &mut progress.since, patience)
                        .await;
                    idle.set(false);
                    match received {
                        Ok(0) => return Ok(End::Clean),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::TimedOut => {
                            return self.timed_out(stream, &input).await;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Step::Refuse(refusal) => return self.end_refused(stream, refusal).await,
                Step::Drain(head, body) => {
                    match self.drain(stream, &mut input, head, body).await? {
                        Drained::All => progress.drained = Some(true),
                        Drained::Part => progress.drained = Some(false),
                        Drained::Bad => {
                            return self.end_refused(stream, Refusal::BadRequest).await;
                        }
                        Drained::Late => return self.timed_out(stream, &input).await,
                        Drained::Gone => return Ok(End::Clean),
                    }
                }
                // The order to stop may have come during the answer.
                Step::Answered(_, keep_alive) if !keep_alive || self.stop.is_set() => {
                    return Ok(End::Linger);
                }
                Step::Answered(head, _) => {
                    input.drain(..head);
                    progress = Progress::default();
                }
            }
        }
    }

    /// Looks at the start of the input, and answers what is ready to be.
    async fn step(
        &self,
        stream: &TcpStream,
        input: &[u8],
        progress: &Progress,
    ) -> io::Result<Step> {
        let bounds = Bounds {
            header_bytes_max: self.limits.header_bytes_max,
            fields_max: self.limits.fields_max,
            target_bytes_max: self.limits.target_bytes_max,
        };
        match parse_within(input, &bounds) {
            Parsed::Partial => Ok(Step::Receive),
            Parsed::Refused(refusal) => Ok(Step::Refuse(refusal)),
            Parsed::Complete(request, head) => {
                let rest_is_known = match progress.drained {
                    Some(drained) => drained,
                    None if self.is_drainable(&request) => {
                        return Ok(Step::Drain(head, request.body));
                    }
                    None => request.body == Body::None,
                };
                let keep_alive = request.keep_alive && rest_is_known && !self.stop.is_set();
                let keep_alive = self.respond(stream, &request, keep_alive).await?;
                Ok(Step::Answered(head, keep_alive))
            }
        }
    }

    /// Whether the body of `request` is read, so that another request can follow. Not if the client
    /// waits to be told to send it: then it is told at once that it need not. Not for a method that is
    /// refused: those have bodies that are worth no waiting; a program may take it, though.
    fn is_drainable(&self, request: &Request<'_>) -> bool {
        let small = match request.body {
            Body::None => false,
            Body::Length(length) => length <= DRAIN_BYTES_MAX,
            Body::Chunked => true,
        };
        let known = matches!(request.method, Method::Get | Method::Head | Method::Options)
            || self.hosts.takes_methods();
        small && known && request.keep_alive && request.expectation == Expectation::None
    }

    /// Reads more of a head, for as long as `patience` is set to. The first byte starts the clock of the
    /// whole head.
    async fn receive(
        &self,
        stream: &TcpStream,
        input: &mut Vec<u8>,
        since: &mut Option<Instant>,
        mut patience: Pin<&mut Sleep>,
    ) -> io::Result<usize> {
        let now = self.io.now();
        let limit = if input.is_empty() {
            // An idle connection holds no memory.
            *input = Vec::new();
            now.checked_add(self.limits.idle_timeout)
        } else {
            let start = *since.get_or_insert(now);
            start.checked_add(self.limits.header_timeout)
        };
        // What cannot be expressed is later than anybody waits.
        patience.as_mut().reset(limit.unwrap_or(now + FAR));
        let mut read = pin!(async {
            loop {
                stream.readable().await?;
                if let Some(read) = self.try_read(stream, input) {
                    return read;
                }
            }
        });
        poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Ready(read) => Poll::Ready(read),
            Poll::Pending => patience
                .as_mut()
                .poll(cx)
                .map(|()| Err(ErrorKind::TimedOut.into())),
        })
        .await
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

    /// Takes the body off the input that follows a head of `head` bytes.
    async fn drain(
        &self,
        stream: &TcpStream,
        input: &mut Vec<u8>,
        head: usize,
        body: Body,
    ) -> io::Result<Drained> {
        let mut drain = Drain::new(body);
        let draining = async {
            loop {
                if let Some(drained) = drain.take(input, head) {
                    return Ok(drained);
                }
                stream.readable().await?;
                if let Some(read) = self.try_read(stream, input)
                    && read? == 0
                {
                    return Ok(Drained::Gone);
                }
            }
        };
        match self.io.timeout(self.limits.header_timeout, draining).await {
            Ok(drained) => drained,
            Err(_) => Ok(Drained::Late),
        }
    }

    /// Closes so that the client gets the whole answer: ends our side, then reads until it ends
    /// its own. Closing with unread input would send RST, which may overtake the answer.
    pub(crate) async fn linger(&self, stream: &TcpStream) {
        if stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut unread = Vec::new();
        let mut left = LINGER_BYTES_MAX;
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
        self.take_turns(bytes.len()).await;
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

    /// Called for each short answer: after some of them, of the longer ones sooner, others have a turn.
    pub(crate) async fn take_turns(&self, bytes: usize) {
        let sends = self.sends.get() + 1 + bytes / SHORT_BYTES;
        if sends < SENDS_PER_TURN {
            self.sends.set(sends);
            return;
        }
        self.sends.set(0);
        self.io.yield_now().await;
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

impl Progress {
    /// Takes empty lines off the input, as many as are allowed before one request.
    fn pass_empty_lines(&mut self, input: &mut Vec<u8>) {
        while self.empty_lines < EMPTY_LINES_MAX && input.starts_with(b"\r\n") {
            input.drain(..2);
            self.empty_lines += 1;
            if input.is_empty() {
                // It belonged to the request before: this connection is idle.
                self.since = None;
            }
        }
    }
}

/// What became of a body.
enum Drained {
    All,
    /// It is larger than what is worth reading.
    Part,
    /// It is framed wrong.
    Bad,
    /// It did not come in time.
    Late,
    /// The client left.
    Gone,
}

/// A body that is being thrown away.
struct Drain {
    /// Bytes that may still come; of all of them, if `chunked` is `None`.
    left: u64,
    chunked: Option<Chunked>,
}

impl Drain {
    fn new(body: Body) -> Drain {
        match body {
            Body::None => Drain {
                left: 0,
                chunked: None,
            },
            Body::Length(left) => Drain {
                left,
                chunked: None,
            },
            Body::Chunked => Drain {
                left: DRAIN_BYTES_MAX,
                chunked: Some(Chunked::default()),
            },
        }
    }

    /// Takes what is there of the body off the input, after `head` bytes. `None` if more is to come.
    fn take(&mut self, input: &mut Vec<u8>, head: usize) -> Option<Drained> {
        // A bound that does not depend on how much has arrived: the answer must not either.
        let here = (input.len() - head).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let (taken, done) = match &mut self.chunked {
            None => (here, here as u64 == self.left),
            Some(chunked) => match chunked.skip(&input[head..head + here]) {
                Ok(skipped) => skipped,
                Err(_) => return Some(Drained::Bad),
            },
        };
        input.drain(head..head + taken);
        self.left -= taken as u64;
        match (done, self.left) {
            (true, _) => Some(Drained::All),
            (false, 0) => Some(Drained::Part),
            (false, _) => None,
        }
    }
}
