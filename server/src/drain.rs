//! Bodies that nobody reads, taken off the input so that another request can follow.

use std::io;

use ambidex::net::TcpStream;

use crate::http::chunked::Chunked;
use crate::http::request::{Body, Expectation, Method, Request};
use crate::serve::Worker;

/// The largest body that is read only to be thrown away; for more, closing is cheaper.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

impl Worker {
    /// Whether the body of `request` is read, so that another request can follow. Not if the client
    /// waits to be told to send it: then it is told at once that it need not. Not for a method that is
    /// refused: those have bodies that are worth no waiting; a program may take it, though.
    pub(crate) fn is_drainable(&self, request: &Request<'_>) -> bool {
        let small = match request.body {
            Body::None => false,
            Body::Length(length) => length <= DRAIN_BYTES_MAX,
            Body::Chunked => true,
        };
        let known = matches!(request.method, Method::Get | Method::Head | Method::Options)
            || self.hosts.takes_methods();
        small && known && request.keep_alive && request.expectation == Expectation::None
    }

    /// Takes the body off the input that follows a head of `head` bytes.
    pub(crate) async fn drain(
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
}

/// What became of a body.
pub(crate) enum Drained {
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
