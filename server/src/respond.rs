//! From a request to its answer.

use std::io;
use std::path::Path;

use ambidex::disk::policy::Place;
use ambidex::disk::{File, Metadata};
use ambidex::net::TcpStream;

use crate::http::conditional::{Validators, Verdict, judge};
use crate::http::head::{Head, Status};
use crate::http::range::{Selection, select};
use crate::http::request::{Method, Refusal, Request};
use crate::http::target::{self, Target};
use crate::serve::Worker;

/// What serves for a directory.
const INDEX: &[u8] = b"index.html";

/// A file to serve, or where to look for it.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives on the stack, for a moment"
)]
enum Found {
    File(File, Metadata, Vec<u8>),
    Redirect(String),
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
        if request.method == Method::Other {
            let head = self.head(Status(405)).field("Allow", "GET, HEAD");
            self.send_text(stream, request, head, Status(405), keep_alive)
                .await?;
            return Ok(keep_alive);
        }
        let Ok(target) = target::parse(request.target) else {
            let head = self.head(Status(400));
            self.send_text(stream, request, head, Status(400), false)
                .await?;
            return Ok(false);
        };
        match self.locate(&target).await {
            Ok(Found::File(file, metadata, path)) => {
                self.send_found(stream, request, &file, &metadata, &path, keep_alive)
                    .await?;
            }
            Ok(Found::Redirect(location)) => {
                let head = self.head(Status(301)).field("Location", location);
                self.send_text(stream, request, head, Status(301), keep_alive)
                    .await?;
            }
            Err(status) => {
                let head = self.head(status);
                let head = if status.0 == 503 {
                    head.field("Retry-After", 1)
                } else {
                    head
                };
                self.send_text(stream, request, head, status, keep_alive)
                    .await?;
            }
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

    fn head(&self, status: Status) -> Head {
        Head::new(status, &self.date())
    }

    async fn locate(&self, target: &Target<'_>) -> Result<Found, Status> {
        let mut path = target.path.clone();
        if target.directory {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(INDEX);
        }
        let file = self
            .site
            .find(&path)
            .await
            .map_err(|error| status_of(&error))?;
        let metadata = match file.place() {
            Place::Remote(_) => file.metadata().await.map_err(|error| status_of(&error))?,
            Place::Local | Place::Memory => *file.metadata_at_open(),
        };
        if metadata.is_file() {
            return Ok(Found::File(file, metadata, path));
        }
        if metadata.is_dir() && !target.directory {
            return Ok(Found::Redirect(target::slash_redirect(target)));
        }
        Err(Status(404))
    }

    async fn send_found(
        &self,
        stream: &TcpStream,
        request: &Request<'_>,
        file: &File,
        metadata: &Metadata,
        path: &[u8],
        keep_alive: bool,
    ) -> io::Result<()> {
        let size = metadata.len();
        let validators = Validators::new(metadata, self.io.wall());
        let selection = match (judge(request, &validators), request.range) {
            (Verdict::Failed, _) => {
                let head = self.head(Status(412));
                return self
                    .send_text(stream, request, head, Status(412), keep_alive)
                    .await;
            }
            (Verdict::NotModified, _) => {
                let head = with_validators(self.head(Status(304)), &validators);
                return self.send(stream, &head.finish(keep_alive)).await;
            }
            // RFC 9110, 14.2: a range is defined for GET only.
            (Verdict::Proceed, Some(range)) if request.method == Method::Get => select(range, size),
            (Verdict::Proceed | Verdict::IgnoreRange, _) => Selection::Whole,
        };
        let (head, range) = match selection {
            Selection::Unsatisfiable => {
                let head = self.head(Status(416));
                let head = head.field("Content-Range", format_args!("bytes */{size}"));
                return self
                    .send_text(stream, request, head, Status(416), keep_alive)
                    .await;
            }
            Selection::Whole => (self.head(Status(200)), 0..size),
            Selection::Part(part) => {
                let (first, last) = (part.start, part.end - 1);
                let value = format_args!("bytes {first}-{last}/{size}");
                (self.head(Status(206)).field("Content-Range", value), part)
            }
        };
        let head = with_validators(head, &validators)
            .field("Content-Type", content_type(path))
            .field("Accept-Ranges", "bytes")
            .field("Content-Length", range.end - range.start)
            .finish(keep_alive);
        if request.method == Method::Head || range.is_empty() {
            return self.send(stream, &head).await;
        }
        self.send_file(stream, &head, file, range).await
    }

    async fn send_text(
        &self,
        stream: &TcpStream,
        request: &Request<'_>,
        head: Head,
        status: Status,
        keep_alive: bool,
    ) -> io::Result<()> {
        let bytes = text(head, status, request.method != Method::Head, keep_alive);
        self.send(stream, &bytes).await
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

fn with_validators(head: Head, validators: &Validators) -> Head {
    let head = head.field("ETag", &validators.etag);
    match validators.modified {
        Some(seconds) => head.date("Last-Modified", seconds),
        None => head,
    }
}

fn content_type(path: &[u8]) -> String {
    let name = String::from_utf8_lossy(path);
    let kind = mime_guess::from_path(Path::new(&*name)).first_or_octet_stream();
    if kind.type_() == mime_guess::mime::TEXT {
        return format!("{kind}; charset=utf-8");
    }
    kind.to_string()
}

/// What an errno of looking for a file means to the client.
fn status_of(error: &io::Error) -> Status {
    match error.raw_os_error().unwrap_or(0) {
        // EXDEV: it leads outside; ENXIO, ENODEV: a socket or a device. To the client there is no
        // such thing.
        libc::ENOENT
        | libc::ENOTDIR
        | libc::ELOOP
        | libc::EXDEV
        | libc::ENAMETOOLONG
        | libc::ENXIO
        | libc::ENODEV => Status(404),
        libc::EACCES | libc::EPERM => Status(403),
        libc::EAGAIN | libc::EBUSY | libc::EMFILE | libc::ENFILE | libc::ENOMEM => Status(503),
        _ if error.kind() == io::ErrorKind::NotFound => Status(404),
        _ => Status(500),
    }
}
