//! A file as an answer: conditions, ranges, head and body.

use std::io;

use crate::http::conditional::{Validators, Verdict, judge};
use crate::http::head::{Head, Status};
use crate::http::range::{Selection, select};
use crate::http::request::Method;
use crate::locate::Representation;
use crate::respond::Exchange;
use crate::serve::Worker;

impl Worker {
    /// Sends `found`, or the part of it that was asked for, or why not.
    ///
    /// # Errors
    /// Those after which nothing more may be sent on this connection.
    pub(crate) async fn deliver(
        &self,
        exchange: &Exchange<'_>,
        found: &Representation,
    ) -> io::Result<()> {
        let request = exchange.request;
        let size = found.metadata.len();
        let validators = Validators::new(&found.metadata, self.io.wall());
        let selection = match (judge(request, &validators), request.range) {
            (Verdict::Failed, _) => return self.send_text(exchange, Status(412)).await,
            (Verdict::NotModified, _) => {
                let head = with_validators(self.head(Status(304)), &validators);
                let head = self.describe(exchange, head, found);
                let bytes = head.finish(exchange.keep_alive);
                return self.send(exchange.stream, &bytes).await;
            }
            // RFC 9110, 14.2: a range is defined for GET only.
            (Verdict::Proceed, Some(range)) if request.method == Method::Get => select(range, size),
            (Verdict::Proceed | Verdict::IgnoreRange, _) => Selection::Whole,
        };
        let (head, range) = match selection {
            Selection::Unsatisfiable => {
                let head = self.head(Status(416));
                let head = head.field("Content-Range", format_args!("bytes */{size}"));
                return self.send_text_with(exchange, head, Status(416)).await;
            }
            Selection::Whole => (self.head(Status(200)), 0..size),
            Selection::Part(part) => {
                let (first, last) = (part.start, part.end - 1);
                let value = format_args!("bytes {first}-{last}/{size}");
                (self.head(Status(206)).field("Content-Range", value), part)
            }
        };
        let head = with_validators(head, &validators)
            .field("Content-Type", &found.content_type)
            .field("Accept-Ranges", "bytes")
            .field("Content-Length", range.end - range.start);
        let head = self.describe(exchange, head, found);
        let head = head.finish(exchange.keep_alive);
        if request.method == Method::Head || range.is_empty() {
            return self.send(exchange.stream, &head).await;
        }
        self.send_file(exchange, &head, &found.file, range).await
    }

    /// The fields that go with 200, 206 and 304 alike.
    fn describe(&self, exchange: &Exchange<'_>, head: Head, found: &Representation) -> Head {
        let mut head = head;
        if found.varies {
            head = head.field("Vary", "Accept-Encoding");
        }
        if let Some(encoding) = found.encoding {
            head = head.field("Content-Encoding", encoding);
        }
        let policy = &exchange.host.policy;
        policy.decorate(head, exchange.request, &found.path)
    }
}

fn with_validators(head: Head, validators: &Validators) -> Head {
    let head = head.field("ETag", &validators.etag);
    match validators.modified {
        Some(seconds) => head.date("Last-Modified", seconds),
        None => head,
    }
}
