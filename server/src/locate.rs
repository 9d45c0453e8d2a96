//! From a target to what answers it.

use std::io;
use std::path::Path;

use ambidex::disk::{File, Metadata};

use crate::hosts::Host;
use crate::http::head::Status;
use crate::http::request::Request;
use crate::http::target::{self, Target};
use crate::serve::Worker;

/// A file, as one of the forms in which it can be sent.
pub(crate) struct Representation {
    pub(crate) file: File,
    pub(crate) metadata: Metadata,
    /// Its name inside the site: relative, decoded.
    pub(crate) path: Vec<u8>,
    pub(crate) content_type: String,
    /// `Content-Encoding`, and whether the choice depended on the request (`Vary`).
    pub(crate) encoding: Option<&'static str>,
    pub(crate) varies: bool,
}

/// What answers a target.
pub(crate) enum Found {
    File(Box<Representation>),
    Redirect(String),
}

impl Worker {
    /// Looks for what answers `target`.
    ///
    /// # Errors
    /// The status of what cannot be had.
    pub(crate) async fn locate(
        &self,
        host: &Host,
        _request: &Request<'_>,
        target: &Target<'_>,
    ) -> Result<Found, Status> {
        let mut path = target.path.clone();
        if target.directory {
            if !path.is_empty() {
                path.push(b'/');
            }
            let index = host.files.index.first();
            path.extend_from_slice(index.map_or(b"index.html", |name| name.as_bytes()));
        }
        let found = host.site.find(&path).await;
        let file = found.map_err(|error| status_of(&error))?;
        let metadata = self.metadata(&file).await?;
        if metadata.is_file() {
            return Ok(Found::File(Box::new(Representation {
                content_type: content_type(&path),
                file,
                metadata,
                path,
                encoding: None,
                varies: false,
            })));
        }
        if metadata.is_dir() && !target.directory {
            return Ok(Found::Redirect(target::slash_redirect(target)));
        }
        Err(Status(404))
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
pub(crate) fn status_of(error: &io::Error) -> Status {
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
