//! From a request to its answer.

use std::io;
use std::rc::Rc;

use ambidex::net::TcpStream;

use crate::hosts::Host;
use crate::http::head::{Head, Status};
use crate::http::request::{Expectation, Method, Refusal, Request};
use crate::http::target;
use crate::locate::Found;
use crate::route::Detour;
use crate::serve::{RETRY_SECONDS, Worker};
use crate::work::Work;

/// What can be done with a file.
const ALLOW: &str = "GET, HEAD, OPTIONS";

/// A request that is being answered.
pub(crate) struct Exchange<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) request: &'a Request<'a>,
    pub(crate) host: Rc<Host>,
    /// Whether the connection goes on after the answer.
    pub(crate) keep_alive: bool,
    pub(crate) work: Work,
}

impl Worker {
    /// Answers `request`, and tells whether the connection goes on: not unless `keep_alive`.
    ///
    /// # Errors
    /// Those after which nothing more may be sent on this connection.
    pub(crate) async fn respond(
        &self,
        stream: &TcpStream,
        request: &Request<'_>,
        keep_alive: bool,
    ) -> io::Result<bool> {
        let Some(host) = self.hosts.select(request) else {
            let with_body = request.method != Method::Head;
            let head = self.head(Status(421));
            let head = head.text("X-Content-Type-Options", "nosniff");
            let bytes = text(head, Status(421), with_body, keep_alive);
            self.send(stream, &bytes).await?;
            return Ok(keep_alive);
        };
        let exchange = Exchange {
            stream,
            request,
            host,
            keep_alive,
            work: self.work(),
        };
        if request.expectation == Expectation::Other {
            self.send_text(&exchange, Status(417)).await?;
            return Ok(keep_alive);
        }
        if !self.has_detours(&exchange.host) {
            return self.answer(exchange).await;
        }
        // In a box: most servers have no rules, and each connection would pay with its size.
        match Box::pin(self.detour(&exchange)).await? {
            Detour::Answered(keep_alive) => Ok(keep_alive),
            Detour::Straight => self.answer(exchange).await,
            Detour::Rewritten(target) => {
                let mut request = request.clone();
                request.target = &target;
                let request = &request;
                self.answer(Exchange {
                    request,
                    ..exchange
                })
                .await
            }
        }
    }

    /// Answers from the site.
    async fn answer(&self, mut exchange: Exchange<'_>) -> io::Result<bool> {
        let Exchange {
            request,
            keep_alive,
            ..
        } = exchange;
        match request.method {
            Method::Get | Method::Head => {}
            Method::Options => return self.options(exchange).await,
            Method::Other => {
                let head = self.head(Status(405)).text("Allow", ALLOW);
                self.send_text_with(&exchange, head, Status(405)).await?;
                return Ok(keep_alive);
            }
            Method::Unknown => {
                self.send_text(&exchange, Status(501)).await?;
                return Ok(keep_alive);
            }
        }
        let Ok(target) = target::parse(request.target) else {
            exchange.keep_alive = false;
            self.send_text(&exchange, Status(400)).await?;
            return Ok(false);
        };
        match self.find(&exchange, &target).await {
            Ok((Found::File(found), _place)) => {
                let delivered = self.deliver(&exchange, &found).await;
                match exchange.work.failure() {
                    Some(status) => self.send_error(&exchange, status).await?,
                    None => delivered?,
                }
            }
            Ok((Found::Redirect(location), _)) => {
                let head = self.head(Status(301)).field("Location", location);
                self.send_text_with(&exchange, head, Status(301)).await?;
            }
            Ok((Found::Listing(listed), _place)) => {
                return self.send_listing(&exchange, &target, *listed).await;
            }
            Err(status) => self.send_error(&exchange, status).await?,
        }
        Ok(keep_alive)
    }

    /// Says what can be done with a file, or with the server (`*`).
    async fn options(&self, mut exchange: Exchange<'_>) -> io::Result<bool> {
        let target = exchange.request.target;
        if target != "*" && target::parse(target).is_err() {
            exchange.keep_alive = false;
            self.send_text(&exchange, Status(400)).await?;
            return Ok(false);
        }
        let head = self.head(Status(204)).text("Allow", ALLOW);
        let policy = &exchange.host.policy;
        let head = policy.accompany(head, exchange.request);
        let bytes = head.finish(exchange.keep_alive);
        self.send(exchange.stream, &bytes).await?;
        Ok(exchange.keep_alive)
    }

    /// Answers what is not a request; the connection ends.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn refuse(&self, stream: &TcpStream, refusal: Refusal) -> io::Result<()> {
        let status = Status(match refusal {
            Refusal::BadRequest => 400,
            Refusal::TargetTooLong => 414,
            Refusal::FieldsTooLarge => 431,
            Refusal::Coding => 501,
            Refusal::Version => 505,
        });
        self.send_status(stream, status).await
    }

    /// Answers with nothing but a status; the connection ends.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn send_status(&self, stream: &TcpStream, status: Status) -> io::Result<()> {
        let head = self.head(status).text("X-Content-Type-Options", "nosniff");
        let bytes = text(head, status, true, false);
        self.send(stream, &bytes).await
    }

    pub(crate) fn head(&self, status: Status) -> Head {
        Head::new(status, &self.date())
    }

    /// Answers with a status and a word about it.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn send_text(
        &self,
        exchange: &Exchange<'_>,
        status: Status,
    ) -> io::Result<()> {
        let mut head = self.head(status);
        if status.0 == 503 {
            head = head.field("Retry-After", RETRY_SECONDS);
        }
        self.send_text_with(exchange, head, status).await
    }

    /// As [`Worker::send_text`], with a head that has been begun.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn send_text_with(
        &self,
        exchange: &Exchange<'_>,
        head: Head,
        status: Status,
    ) -> io::Result<()> {
        let with_body = exchange.request.method != Method::Head;
        let head = exchange.host.policy.accompany(head, exchange.request);
        let bytes = text(head, status, with_body, exchange.keep_alive);
        self.send(exchange.stream, &bytes).await
    }
}

/// A short answer for people.
fn text(head: Head, status: Status, with_body: bool, keep_alive: bool) -> Vec<u8> {
    let body = format!("{} {}\n", status.0, status.reason());
    let mut bytes = head
        .text("Content-Type", "text/plain; charset=utf-8")
        .number("Content-Length", body.len() as u64)
        .finish(keep_alive);
    if with_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}
