//! A file as an answer: conditions, ranges, head and body.

use std::fmt::Write;
use std::io;
use std::ops::Range;

use crate::http::conditional::{Validators, Verdict, judge};
use crate::http::head::{Head, Status};
use crate::http::range::{Selection, select};
use crate::http::request::Method;
use crate::locate::Representation;
use crate::policy::fields;
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
        let validators = Validators::new(&found.metadata, found.encoding, self.io.wall());
        let selection = match (judge(request, &validators), request.range) {
            (Verdict::Failed, _) => return self.send_text(exchange, Status(412)).await,
            (Verdict::NotModified, _) => {
                let head = self.describe(Status(304), found, &validators);
                let bytes = decorate(exchange, head, found).finish(exchange.keep_alive);
                return self.send(exchange.stream, &bytes).await;
            }
            // RFC 9110, 14.2, defines ranges for GET only and has us ignore them with any other
            // method: HEAD describes the whole file, though some servers say 206 to it.
            (Verdict::Proceed, Some(range)) if request.method == Method::Get => select(range, size),
            (Verdict::Proceed | Verdict::IgnoreRange, _) => Selection::Whole,
        };
        match selection {
            Selection::Unsatisfiable => {
                let head = self.head(Status(416));
                let head = head.field("Content-Range", format_args!("bytes */{size}"));
                self.send_text_with(exchange, head, Status(416)).await
            }
            Selection::Whole => {
                let head = self.describe(Status(200), found, &validators);
                let head = typed(head, &found.content_type, found, size);
                self.send_range(exchange, head, found, 0..size).await
            }
            Selection::Part(part) => {
                let head = self.describe(Status(206), found, &validators);
                let head = typed(head, &found.content_type, found, part.end - part.start);
                let head = head.content_range(&part, size);
                self.send_range(exchange, head, found, part).await
            }
            Selection::Parts(parts) => {
                let head = self.describe(Status(206), found, &validators);
                self.send_parts(exchange, head, found, &parts).await
            }
        }
    }

    async fn send_range(
        &self,
        exchange: &Exchange<'_>,
        head: Head,
        found: &Representation,
        range: Range<u64>,
    ) -> io::Result<()> {
        let mut head = decorate(exchange, head, found);
        let size = found.metadata.len();
        let reusable = range == (0..size) && self.may_be_ready(exchange, found);
        let unfinished = reusable.then(|| head.edit().clone());
        let head = head.finish(exchange.keep_alive);
        // HEAD must not touch the disk.
        if exchange.request.method == Method::Head || range.is_empty() {
            return self.send(exchange.stream, &head).await;
        }
        let keep = |body: &[u8]| {
            if let Some(head) = &unfinished
                && body.len() as u64 == size
            {
                self.make_ready(exchange, found, head, body);
            }
        };
        self.send_file(exchange, &head, &found.file, range, keep)
            .await
    }

    /// Sends several parts as multipart/byteranges: RFC 9110, 14.6.
    async fn send_parts(
        &self,
        exchange: &Exchange<'_>,
        head: Head,
        found: &Representation,
        parts: &[Range<u64>],
    ) -> io::Result<()> {
        let boundary = format!("{:032x}", fastrand::u128(..));
        let heads = part_heads(&boundary, found, parts);
        let end = format!("\r\n--{boundary}--\r\n");
        let heads_bytes: usize = heads.iter().map(String::len).sum();
        let bytes: u64 = parts.iter().map(|part| part.end - part.start).sum();
        let length = bytes + (heads_bytes + end.len()) as u64;
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        let head = typed(head, &content_type, found, length);
        let mut head = decorate(exchange, head, found);
        // A rule may have a type for the file; this is that of the parts together.
        fields::set(head.edit(), "Content-Type", &content_type);
        let head = head.finish(exchange.keep_alive);
        // What stands before the bytes of a part goes out with them.
        let mut before = head;
        for (part_head, part) in heads.iter().zip(parts) {
            before.extend_from_slice(part_head.as_bytes());
            self.send_file(exchange, &before, &found.file, part.clone(), |_| {})
                .await?;
            before.clear();
        }
        self.send(exchange.stream, end.as_bytes()).await
    }

    /// Begins a head with the fields that go with 200, 206 and 304 alike.
    fn describe(&self, status: Status, found: &Representation, validators: &Validators) -> Head {
        let mut head = self.head(status).text("ETag", &validators.etag);
        if let Some(seconds) = validators.modified {
            head = head.date("Last-Modified", seconds);
        }
        if let Some(fields) = found.vary {
            head = head.text("Vary", fields);
        }
        head
    }
}

/// Adds what the policy of the host says, which may change what is there.
fn decorate(exchange: &Exchange<'_>, head: Head, found: &Representation) -> Head {
    let policy = &exchange.host.policy;
    policy.decorate(head, exchange.request, &found.path)
}

/// The fields about a content, which 304 has none of.
fn typed(head: Head, content_type: &str, found: &Representation, length: u64) -> Head {
    let head = head
        .text("Content-Type", content_type)
        .text("Accept-Ranges", "bytes")
        .number("Content-Length", length);
    match found.encoding {
        Some(encoding) => head.text("Content-Encoding", encoding),
        None => head,
    }
}

/// What stands before each part.
fn part_heads(boundary: &str, found: &Representation, parts: &[Range<u64>]) -> Vec<String> {
    let (size, content_type) = (found.metadata.len(), &found.content_type);
    let head = |part: &Range<u64>| {
        let mut text = String::new();
        let (first, last) = (part.start, part.end - 1);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\
             Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
        );
        text
    };
    parts.iter().map(head).collect()
}
