//! An answer whose length is not known beforehand.

use std::io;

use crate::http::head::Head;
use crate::respond::Exchange;
use crate::serve::Worker;

/// Bytes gathered before they are sent.
const CHUNK_BYTES: usize = 32 * 1024;

/// An answer whose length is not known beforehand: one that turns out short has a Content-Length;
/// a longer one is chunked, or ends with the connection for HTTP/1.0.
pub(super) struct Output<'a> {
    worker: &'a Worker,
    exchange: &'a Exchange<'a>,
    /// Until it is sent.
    head: Option<Head>,
    /// What is to be sent next.
    pub(super) bytes: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(super) fn new(worker: &'a Worker, exchange: &'a Exchange<'a>, head: Head) -> Output<'a> {
        Output {
            worker,
            exchange,
            head: Some(head),
            bytes: Vec::with_capacity(CHUNK_BYTES / 8),
        }
    }

    fn chunked(&self) -> bool {
        let line = self.exchange.request.head.split(|byte| *byte == b'\r');
        let line = line.into_iter().next().unwrap_or_default();
        !line.ends_with(b" HTTP/1.0")
    }

    /// Sends what has gathered, if it is much.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn flush_full(&mut self) -> io::Result<()> {
        if self.bytes.len() < CHUNK_BYTES {
            return Ok(());
        }
        let chunked = self.chunked();
        let mut message = match self.head.take() {
            Some(head) if chunked => head
                .field("Transfer-Encoding", "chunked")
                .finish(self.exchange.keep_alive),
            Some(head) => head.finish(false),
            None => Vec::new(),
        };
        if chunked {
            message.extend_from_slice(format!("{:x}\r\n", self.bytes.len()).as_bytes());
        }
        message.append(&mut self.bytes);
        if chunked {
            message.extend_from_slice(b"\r\n");
        }
        self.worker.send(self.exchange.stream, &message).await
    }

    /// Sends the rest, and tells whether the connection goes on.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn finish(mut self) -> io::Result<bool> {
        let (worker, stream) = (self.worker, self.exchange.stream);
        if let Some(head) = self.head.take() {
            let head = head.field("Content-Length", self.bytes.len());
            let mut message = head.finish(self.exchange.keep_alive);
            message.append(&mut self.bytes);
            worker.send(stream, &message).await?;
            return Ok(self.exchange.keep_alive);
        }
        if !self.chunked() {
            worker.send(stream, &self.bytes).await?;
            return Ok(false);
        }
        let mut message = Vec::with_capacity(self.bytes.len() + 16);
        // A chunk of no bytes would end the body.
        if !self.bytes.is_empty() {
            message.extend_from_slice(format!("{:x}\r\n", self.bytes.len()).as_bytes());
            message.append(&mut self.bytes);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"0\r\n\r\n");
        worker.send(stream, &message).await?;
        Ok(self.exchange.keep_alive)
    }
}
