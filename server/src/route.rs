//! Requests that are not for a file of the site: preflights, hooks, routes, redirects, rewrites.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::hook::{Answer, Incoming, Local, is_1_0, method};
use crate::hosts::Host;
use crate::http::head::{Head, Status};
use crate::http::request::Method;
use crate::http::target;
use crate::policy::path_of;
use crate::respond::Exchange;
use crate::serve::Worker;

/// A path that the program answers itself.
pub(crate) struct Route {
    path: Vec<u8>,
    /// Whether it answers for all that begins so.
    prefix: bool,
    handler: Box<dyn Handler>,
}

impl Route {
    pub(crate) fn new(pattern: &str, handler: impl Handler + 'static) -> Route {
        let prefix = pattern.strip_suffix('*');
        Route {
            path: prefix.unwrap_or(pattern).as_bytes().to_vec(),
            prefix: prefix.is_some(),
            handler: Box::new(handler),
        }
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self.prefix {
            true => path.starts_with(&self.path),
            false => path == self.path,
        }
    }
}

/// Answers a request.
pub(crate) trait Handler {
    fn call<'a>(
        &'a self,
        incoming: &'a Incoming<'a>,
        reply: Reply<'a>,
    ) -> Local<'a, io::Result<()>>;
}

impl<F: AsyncFn(&Incoming<'_>, Reply<'_>) -> io::Result<()>> Handler for F {
    fn call<'a>(
        &'a self,
        incoming: &'a Incoming<'a>,
        reply: Reply<'a>,
    ) -> Local<'a, io::Result<()>> {
        Box::pin(self(incoming, reply))
    }
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing was sent.
    Untouched,
    /// All was sent.
    Whole,
    /// A head without body: what was asked for with HEAD.
    HeadOnly,
    /// So many bytes of the body are missing.
    Left(u64),
    /// The last chunk is missing.
    Chunked,
    /// The end of the connection will be the end of the body.
    UntilClose,
}

/// Where a route answers, once: with all at a time, or with a body that it writes bit by bit.
#[must_use = "a request wants an answer"]
pub struct Reply<'a> {
    worker: &'a Worker,
    exchange: &'a Exchange<'a>,
    progress: &'a Cell<Progress>,
}

impl<'a> Reply<'a> {
    /// Sends `answer`.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` if the client takes nothing.
    pub async fn send(self, answer: Answer) -> io::Result<()> {
        self.worker.send_answer(self.exchange, answer).await?;
        self.progress.set(Progress::Whole);
        Ok(())
    }

    /// Sends the head of `answer`, for a body of `length` bytes, or of an unknown number: in chunks,
    /// or to a client of HTTP/1.0 until the connection ends. A body that `answer` has goes first.
    /// After this the route returns `Ok` when the body is whole; an error ends the connection, so that the
    /// client sees that something is missing.
    ///
    /// # Errors
    /// Those of [`Body::write`].
    pub async fn stream(self, answer: Answer, length: Option<u64>) -> io::Result<Body<'a>> {
        let answer = answer.checked();
        let (worker, exchange) = (self.worker, self.exchange);
        let head = worker.begin(exchange, &answer);
        let old = is_1_0(exchange.request);
        let (head, progress) = match length {
            Some(length) => (head.field("Content-Length", length), Progress::Left(length)),
            None if old => (head, Progress::UntilClose),
            None => (
                head.field("Transfer-Encoding", "chunked"),
                Progress::Chunked,
            ),
        };
        let keep_alive = exchange.keep_alive && progress != Progress::UntilClose;
        let without_body = exchange.request.method == Method::Head || is_bodiless(answer.status);
        if progress == Progress::UntilClose && !without_body {
            // Until it is whole, also if the route panics: a plain close would say that it is.
            exchange.stream.options().set_linger(Some(Duration::ZERO))?;
        }
        worker
            .send(exchange.stream, &head.finish(keep_alive))
            .await?;
        self.progress.set(if without_body {
            Progress::HeadOnly
        } else {
            progress
        });
        let mut body = Body { reply: self };
        if !answer.body.is_empty() && !without_body {
            body.write(&answer.body).await?;
        }
        Ok(body)
    }
}

/// The body of an answer, while it is written.
pub struct Body<'a> {
    reply: Reply<'a>,
}

impl Body<'_> {
    /// Sends `bytes`, all of them, waiting while the client is slower than we are: whoever awaits
    /// this holds no more memory than one piece.
    ///
    /// # Errors
    /// Those of the socket; `TimedOut` if the client takes nothing; `InvalidInput` for more bytes than the
    /// length that was announced; `BrokenPipe` if no body is wanted (HEAD): return it, the
    /// connection goes on.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Reply {
            worker,
            exchange,
            progress,
        } = self.reply;
        if bytes.is_empty() {
            return Ok(());
        }
        match progress.get() {
            Progress::Left(left) => {
                let Some(left) = left.checked_sub(bytes.len() as u64) else {
                    let text = "more bytes than Content-Length says";
                    return Err(io::Error::new(ErrorKind::InvalidInput, text));
                };
                worker.send(exchange.stream, bytes).await?;
                progress.set(Progress::Left(left));
                Ok(())
            }
            Progress::Chunked => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(bytes);
                chunk.extend_from_slice(b"\r\n");
                worker.send(exchange.stream, &chunk).await
            }
            Progress::UntilClose => worker.send(exchange.stream, bytes).await,
            Progress::Untouched | Progress::Whole | Progress::HeadOnly => {
                Err(ErrorKind::BrokenPipe.into())
            }
        }
    }
}

/// What becomes of a request before its file is looked for.
pub(crate) enum Detour {
    /// It was answered; whether the connection goes on.
    Answered(bool),
    /// Nothing.
    Straight,
    /// It is for another target.
    Rewritten(String),
}

impl Worker {
    /// Whether requests for `host` must be looked at before their files are.
    pub(crate) fn has_detours(&self, host: &Host) -> bool {
        let own = !self.hosts.before.is_empty() || !self.hosts.routes.is_empty();
        own || host.policy.detours()
    }

    /// Does what comes before files. A preflight comes first: it has no credentials to show.
    ///
    /// # Errors
    /// Those after which nothing more may be sent on this connection.
    pub(crate) async fn detour(&self, exchange: &Exchange<'_>) -> io::Result<Detour> {
        let request = exchange.request;
        if let Some(lines) = exchange.host.policy.preflight(request) {
            let mut head = self.head(Status(204));
            head.edit().extend_from_slice(&lines);
            let bytes = head.finish(exchange.keep_alive);
            self.send(exchange.stream, &bytes).await?;
            return Ok(Detour::Answered(exchange.keep_alive));
        }
        // What makes no sense is refused where files are.
        let Ok(target) = target::parse(request.target) else {
            return Ok(Detour::Straight);
        };
        let method = method(request);
        if matches!(method, "TRACE" | "CONNECT") {
            return Ok(Detour::Straight);
        }
        let incoming = Incoming {
            request,
            target: &target,
        };
        for hook in &self.hosts.before {
            if let Some(answer) = hook.call(&incoming).await {
                self.send_answer(exchange, answer).await?;
                return Ok(Detour::Answered(exchange.keep_alive));
            }
        }
        let path = path_of(&target);
        if let Some(route) = self.hosts.routes.iter().find(|route| route.matches(&path)) {
            return self.take_route(exchange, route, &incoming).await;
        }
        let moves = &exchange.host.policy.moves;
        if moves.is_empty() || !matches!(method, "GET" | "HEAD") {
            return Ok(Detour::Straight);
        }
        if let Some((status, location)) = moves.redirect(&target) {
            let head = self.head(Status(status)).field("Location", location);
            self.send_text_with(exchange, head, Status(status)).await?;
            return Ok(Detour::Answered(exchange.keep_alive));
        }
        Ok(moves
            .rewrite(&target)
            .map_or(Detour::Straight, Detour::Rewritten))
    }

    async fn take_route(
        &self,
        exchange: &Exchange<'_>,
        route: &Route,
        incoming: &Incoming<'_>,
    ) -> io::Result<Detour> {
        let progress = Cell::new(Progress::Untouched);
        let reply = Reply {
            worker: self,
            exchange,
            progress: &progress,
        };
        let outcome = route.handler.call(incoming, reply).await;
        let keep_alive = match (progress.get(), outcome) {
            // It failed, or forgot to answer, before anything was sent.
            (Progress::Untouched, _) => {
                self.send_answer(exchange, Answer::new(500)).await?;
                exchange.keep_alive
            }
            // There was no body to fail with.
            (Progress::Whole | Progress::HeadOnly, _) => exchange.keep_alive,
            (_, Err(error)) => return Err(error),
            (Progress::Left(0), Ok(())) => exchange.keep_alive,
            (Progress::Left(_), Ok(())) => return Err(ErrorKind::UnexpectedEof.into()),
            (Progress::Chunked, Ok(())) => {
                self.send(exchange.stream, b"0\r\n\r\n").await?;
                exchange.keep_alive
            }
            (Progress::UntilClose, Ok(())) => {
                exchange.stream.options().set_linger(None)?;
                false
            }
        };
        Ok(Detour::Answered(keep_alive))
    }

    fn begin(&self, exchange: &Exchange<'_>, answer: &Answer) -> Head {
        let head = self.head(Status(answer.status));
        let mut head = exchange.host.policy.accompany(head, exchange.request);
        let bytes = head.edit();
        for (name, value) in &answer.fields {
            crate::policy::fields::add(bytes, name, value);
        }
        head
    }

    /// Sends an answer of the program's own.
    ///
    /// # Errors
    /// Those of the socket.
    async fn send_answer(&self, exchange: &Exchange<'_>, answer: Answer) -> io::Result<()> {
        let answer = answer.checked();
        let mut head = self.begin(exchange, &answer);
        if !is_bodiless(answer.status) {
            head = head.field("Content-Length", answer.body.len());
        }
        let mut bytes = head.finish(exchange.keep_alive);
        if exchange.request.method != Method::Head && !is_bodiless(answer.status) {
            bytes.extend_from_slice(&answer.body);
        }
        self.send(exchange.stream, &bytes).await
    }
}

/// Whether answers of this status never have a body; RFC 9110, 6.4.1.
fn is_bodiless(status: u16) -> bool {
    matches!(status, 204 | 304)
}
