//! One connection: requests in, answers out, in order.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use ambidex::net::TcpStream;

use crate::drain::Drained;
use crate::http::head::Status;
use crate::http::request::{Body, Bounds, Parsed, Refusal, parse_within};
use crate::rate::Pace;
use crate::ready::Sent;
use crate::serve::Worker;

/// Bytes read at a time.
pub(crate) const READ_BYTES: usize = 16 * 1024;
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
    /// It was looked for among the answers that are ready, in vain.
    is_not_ready: bool,
}

/// What the input calls for.
enum Step {
    Receive,
    Refuse(Refusal),
    /// The body after a head of so many bytes is to be read.
    Drain(usize, Body),
    Answered(Answered),
}

/// What there is to know of a request once it is answered.
struct Answered {
    /// How long its head was.
    head: usize,
    /// Whether the connection goes on.
    keep_alive: bool,
    /// Whether the client said that it sends no more: `Connection: close`, or HTTP/1.0, and no body.
    is_last: bool,
}

/// What came of reading from a connection that rested.
enum Glance {
    /// Nothing had come after all.
    Nothing,
    /// The client has ended its side.
    End,
    /// The answer to all that had come was ready, and is sent as far as the socket took it. The second: the
    /// connection goes on.
    Sent(Sent, bool),
    /// More than that is to be done. The second: it is one request, and its answer is not ready.
    Input(Vec<u8>, bool),
}

/// What is left to be waited for after an answer. In a box: there rarely is anything.
type Finish<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + 'a>>;

/// What follows when there is nothing more to be answered.
enum Next {
    /// More requests may come. So many empty lines have come before the next.
    Rest(usize),
    End(End),
}

impl Worker {
    /// Serves the connection of this key to its end. Its rest tells the outside when nothing is under way.
    ///
    /// What this keeps is what an idle connection takes of memory: all that a request needs is in boxes.
    #[expect(
        clippy::manual_async_fn,
        reason = "an `async fn` keeps its arguments twice"
    )]
    pub(crate) fn converse(&self, stream: &TcpStream, key: usize) -> impl Future<Output = ()> {
        async move {
            let mut empty_lines = 0;
            self.begin_rest(key);
            let ended = loop {
                if let Err(error) = poll_fn(|cx| stream.poll_readable(cx)).await {
                    break Err(error);
                }
                match self.glance(stream) {
                    Ok(Glance::Nothing) => continue,
                    Ok(Glance::End) => break Ok(End::Clean),
                    Ok(Glance::Sent(sent, goes_on)) => {
                        self.rest_of(key).end();
                        empty_lines = 0;
                        // The socket has it all at once: what may come later no look would show.
                        if !goes_on && sent.rest.is_none() {
                            break Ok(End::Clean);
                        }
                        if let Some(finish) = self.finish(stream, sent)
                            && let Err(error) = finish.await
                        {
                            break Err(error);
                        }
                        if !goes_on {
                            break self.end_of_last(stream);
                        }
                        // The order to stop may have come meanwhile.
                        if self.stop.is_set() {
                            break Ok(End::Linger);
                        }
                    }
                    Ok(Glance::Input(input, is_not_ready)) => {
                        self.rest_of(key).end();
                        let first = Progress {
                            empty_lines,
                            is_not_ready,
                            ..Progress::default()
                        };
                        let requests = self.requests(stream, input, first);
                        match Box::pin(requests).await {
                            // None may begin to rest any more.
                            Ok(Next::Rest(_)) if self.stop.is_set() => break Ok(End::Clean),
                            Ok(Next::Rest(lines)) => empty_lines = lines,
                            Ok(Next::End(end)) => break Ok(end),
                            Err(error) => break Err(error),
                        }
                    }
                    Err(error) => break Err(error),
                }
                self.begin_rest(key);
            };
            self.rest_of(key).end();
            if should_linger(stream, &ended) {
                Box::pin(self.linger(stream)).await;
            }
        }
    }

    /// From now on [`Worker::end_silent`] may end it.
    fn begin_rest(&self, key: usize) {
        let may_be_ended = self.rest_of(key).begin(self.io.now());
        if may_be_ended {
            self.descriptors.tell();
        }
    }

    /// Reads what has come. If that is one request whose answer is ready, sends it at once.
    ///
    /// # Errors
    /// Those of the socket.
    fn glance(&self, stream: &TcpStream) -> io::Result<Glance> {
        // One scratch buffer for all connections: it is filled and emptied without waiting.
        let scratch = &mut *self.scratch.borrow_mut();
        let input = match stream.try_read(scratch).transpose()? {
            None => return Ok(Glance::Nothing),
            Some(0) => return Ok(Glance::End),
            Some(length) => &scratch[..length],
        };
        if !self.ready.is_empty()
            && let Parsed::Complete(request, head) = parse_within(input, &self.bounds())
            && head == input.len()
            && request.body == Body::None
            && !self.stop.is_set()
        {
            return Ok(
                match self.send_ready(stream, &request, request.keep_alive)? {
                    Some(sent) => Glance::Sent(sent, request.keep_alive),
                    None => Glance::Input(input.to_vec(), true),
                },
            );
        }
        Ok(Glance::Input(input.to_vec(), false))
    }

    /// One request after the other, until there is none. Nothing is read while one is answered: that bounds how
    /// many a client can have waiting here.
    async fn requests(
        &self,
        stream: &TcpStream,
        mut input: Vec<u8>,
        mut progress: Progress,
    ) -> io::Result<Next> {
        loop {
            progress.pass_empty_lines(&mut input);
            match self.step(stream, &input, &progress).await? {
                Step::Receive if input.is_empty() => return Ok(Next::Rest(progress.empty_lines)),
                Step::Receive => {
                    let received = self.receive(stream, &mut input, &mut progress.since);
                    match received.await {
                        Ok(0) => return Ok(Next::End(End::Clean)),
                        Ok(_) => {}
                        Err(error) if error.kind() == ErrorKind::TimedOut => {
                            return self.timed_out(stream).await;
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
                        Drained::Late => return self.timed_out(stream).await,
                        Drained::Gone => return Ok(Next::End(End::Clean)),
                    }
                }
                // The order to stop may have come during the answer.
                Step::Answered(answered) if !answered.keep_alive || self.stop.is_set() => {
                    let is_all = answered.is_last && input.len() == answered.head;
                    let end = if is_all {
                        self.end_of_last(stream)?
                    } else {
                        End::Linger
                    };
                    return Ok(Next::End(end));
                }
                Step::Answered(Answered { head, .. }) => {
                    input.drain(..head);
                    progress = Progress::default();
                }
            }
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            header_bytes_max: self.limits.header_bytes_max,
            fields_max: self.limits.fields_max,
            target_bytes_max: self.limits.target_bytes_max,
        }
    }

    /// Looks at the start of the input, and answers what is there to be answered.
    async fn step(
        &self,
        stream: &TcpStream,
        input: &[u8],
        progress: &Progress,
    ) -> io::Result<Step> {
        match parse_within(input, &self.bounds()) {
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
                let is_last = !request.keep_alive && request.body == Body::None;
                let keep_alive = request.keep_alive && rest_is_known && !self.stop.is_set();
                let answered = |keep_alive| {
                    Step::Answered(Answered {
                        head,
                        keep_alive,
                        is_last,
                    })
                };
                if !progress.is_not_ready
                    && let Some(sent) = self.send_ready(stream, &request, keep_alive)?
                {
                    if let Some(finish) = self.finish(stream, sent) {
                        finish.await?;
                    }
                    return Ok(answered(keep_alive));
                }
                let keep_alive = self.respond(stream, &request, keep_alive).await?;
                Ok(answered(keep_alive))
            }
        }
    }

    /// Reads more of a head. Its first byte starts the clock of the whole head.
    async fn receive(
        &self,
        stream: &TcpStream,
        input: &mut Vec<u8>,
        since: &mut Option<Instant>,
    ) -> io::Result<usize> {
        let now = self.io.now();
        let gone = now.saturating_duration_since(*since.get_or_insert(now));
        let left = self.limits.header_timeout.saturating_sub(gone);
        let mut patience = pin!(self.io.sleep(left));
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
            Poll::Pending => late(patience.as_mut().poll(cx)),
        })
        .await
    }

    async fn timed_out(&self, stream: &TcpStream) -> io::Result<Next> {
        self.send_status(stream, Status(408)).await?;
        Ok(Next::End(End::Linger))
    }

    async fn end_refused(&self, stream: &TcpStream, refusal: Refusal) -> io::Result<Next> {
        self.refuse(stream, refusal).await?;
        Ok(Next::End(End::Linger))
    }

    /// Appends what has arrived to `input`. `None` if nothing has.
    pub(crate) fn try_read(
        &self,
        stream: &TcpStream,
        input: &mut Vec<u8>,
    ) -> Option<io::Result<usize>> {
        // One scratch buffer for all connections: it is filled and emptied without waiting.
        let scratch = &mut *self.scratch.borrow_mut();
        let read = stream.try_read(scratch)?;
        if let Ok(length) = read {
            input.extend_from_slice(&scratch[..length]);
        }
        Some(read)
    }

    /// How to end when the client has said that it sends no more, and has been answered.
    ///
    /// # Errors
    /// Those of the socket.
    fn end_of_last(&self, stream: &TcpStream) -> io::Result<End> {
        let scratch = &mut *self.scratch.borrow_mut();
        let come = stream.try_read(scratch).transpose()?;
        Ok(if come.is_some_and(|length| length > 0) {
            End::Linger
        } else {
            End::Clean
        })
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
        if self.ends_turn(bytes.len()) {
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

    /// What is to be waited for once the answer is `sent`: room for what the socket did not take, or others' turns.
    fn finish<'a>(&'a self, stream: &'a TcpStream, sent: Sent) -> Option<Finish<'a>> {
        match sent.rest {
            Some(rest) => Some(Box::pin(
                async move { self.send_unsent(stream, &rest).await },
            )),
            None if self.ends_turn(sent.bytes) => Some(Box::pin(async {
                self.io.yield_now().await;
                Ok(())
            })),
            None => None,
        }
    }

    /// Called for each short answer: after some of them, of the longer ones sooner, it is others' turn.
    fn ends_turn(&self, bytes: usize) -> bool {
        let sends = self.sends.get() + 1 + bytes / SHORT_BYTES;
        let ends = sends >= SENDS_PER_TURN;
        self.sends.set(if ends { 0 } else { sends });
        ends
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
        }
    }
}

/// A plain close could destroy the answer on its way, and the whole ones before an answer that broke off. But if that
/// has no length, only a reset tells that it broke off.
fn should_linger(stream: &TcpStream, ended: &io::Result<End>) -> bool {
    match ended {
        Ok(End::Clean) => false,
        Ok(End::Linger) => true,
        Err(_) => !stream
            .options()
            .linger()
            .is_ok_and(|linger| linger.is_some()),
    }
}

/// What a wait that a sleep has ended comes to.
fn late<T>(sleep: Poll<()>) -> Poll<io::Result<T>> {
    sleep.map(|()| Err(ErrorKind::TimedOut.into()))
}
