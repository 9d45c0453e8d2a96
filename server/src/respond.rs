//! From a request to its answer.

use std::io;
use std::rc::Rc;

use ambidex::net::TcpStream;

use crate::hosts::Host;
use crate::http::head::{Head, Status};
use crate::http::request::{Method, Refusal, Request};
use crate::http::target;
use crate::locate::Found;
use crate::serve::{RETRY_SECONDS, Worker};
use crate::work::Work;

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
        let mut exchange = Exchange {
            stream,
            request,
            host: self.hosts.select(request),
            keep_alive,
            work: self.work(),
        };
        if request.method == Method::Other {
            let head = self.head(Status(405)).field("Allow", "GET, HEAD");
            self.send_text_with(&exchange, head, Status(405)).await?;
            return Ok(keep_alive);
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
                    Some(status) => self.send_text(&exchange, status).await?,
                    None => delivered?,
                }
            }
            Ok((Found::Redirect(location), _)) => {
                let head = self.head(Status(301)).field("Location", location);
                self.send_text_with(&exchange, head, Status(301)).await?;
            }
            Err(status) => self.send_text(&exchange, status).await?,
        }
        Ok(keep_alive)
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
            Refusal::Version => 505,
        });
        self.send_status(stream, status).await
    }

    /// Answers with nothing but a status; the connection ends.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) async fn send_status(&self, stream: &TcpStream, status: Status) -> io::Result<()> {
        let bytes = text(self.head(status), status, true, false);
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
        let bytes = text(head, status, with_body, exchange.keep_alive);
        self.send(exchange.stream, &bytes).await
    }
}

/// A short answer for people.
fn text(head: Head, status: Status, with_body: bool, keep_alive: bool) -> Vec<u8> {
    let body = format!("{} {}\n", status.0, status.reason());
    let mut bytes = head
        .field("Content-Type", "text/plain; charset=utf-8")
        .field("Content-Length", body.len())
        .finish(keep_alive);
    if with_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    bytes
}
