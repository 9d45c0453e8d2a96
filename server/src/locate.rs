//! From a target to what answers it.
//!
//! Whatever is opened goes through [`Worker::entry`]: the client's own path, an index, a
//! precompressed form, a page of the site's owner.

use std::borrow::Cow;
use std::io;
use std::rc::Weak;
use std::time::Instant;

use ambidex::disk::{File, Metadata};

use crate::encoding::{Preference, names_html, takes_anything};
use crate::files::Listing;
use crate::hosts::Host;
use crate::http::head::Status;
use crate::http::request::Request;
use crate::http::target::{self, Target};
use crate::mime::{compressible, extension};
use crate::open_files::Kept;
use crate::serve::{Worker, is_shortage};

/// A file, as one of the forms in which it can be sent.
pub(crate) struct Representation {
    pub(crate) file: File,
    pub(crate) metadata: Metadata,
    /// Its name inside the site: relative, decoded, without the ending of an encoding.
    pub(crate) path: Vec<u8>,
    pub(crate) content_type: Cow<'static, str>,
    /// `Content-Encoding`.
    pub(crate) encoding: Option<&'static str>,
    /// What keeps the file open, if that is how it was found.
    pub(crate) kept: Option<Weak<Kept>>,
    /// When its path was looked up, and that of the file beside which it lies: the earlier.
    pub(crate) looked_up: Instant,
    /// `Vary`: the fields of a request that the choice depends on.
    pub(crate) vary: Option<&'static str>,
}

/// A directory that is to be listed.
pub(crate) struct Listed {
    /// Open for reading.
    pub(crate) directory: File,
    /// Relative, decoded; empty for the root.
    pub(crate) path: Vec<u8>,
}

/// What answers a target.
pub(crate) enum Found {
    File(Box<Representation>),
    Listing(Box<Listed>),
    Redirect(String),
}

/// What is there under some name.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) file: File,
    pub(crate) metadata: Metadata,
    /// When the path was looked up.
    pub(crate) looked_up: Instant,
    /// What keeps it open, if that is how it was found.
    pub(crate) kept: Option<Weak<Kept>>,
}

const NOT_FOUND: Status = Status(404);

impl Worker {
    /// Looks for what answers `target`.
    ///
    /// # Errors
    /// The status of what cannot be had.
    pub(crate) async fn locate(
        &self,
        host: &Host,
        request: &Request<'_>,
        target: &Target<'_>,
    ) -> Result<Found, Status> {
        if host.files.hides(&target.path) {
            return Err(NOT_FOUND);
        }
        let found = if target.directory {
            self.locate_directory(host, request, target).await
        } else {
            self.locate_name(host, request, target).await
        };
        match (found, &host.files.fallback) {
            (Err(NOT_FOUND), Some(page)) if wants_page(request, &target.path) => {
                let entry = self.page(host, page).await?;
                let path = relative(page).to_vec();
                let mut found = self.represent(host, request, entry, path).await?;
                found.vary = Some(match found.vary {
                    Some(_) => "Accept, Accept-Encoding",
                    None => "Accept",
                });
                Ok(Found::File(found))
            }
            (found, _) => found,
        }
    }

    /// A path that ends with a slash: the index, or the listing.
    async fn locate_directory(
        &self,
        host: &Host,
        request: &Request<'_>,
        target: &Target<'_>,
    ) -> Result<Found, Status> {
        for name in &host.files.index {
            let mut path = Vec::with_capacity(target.path.len() + 1 + name.len());
            path.extend_from_slice(&target.path);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name.as_bytes());
            match self.entry(host, &path).await {
                Ok(entry) if entry.metadata.is_file() => {
                    let found = self.represent(host, request, entry, path).await?;
                    return Ok(Found::File(found));
                }
                Ok(_) | Err(NOT_FOUND) => {}
                Err(status) => return Err(status),
            }
        }
        if host.files.listing == Listing::Off {
            return Err(NOT_FOUND);
        }
        let entry = self.entry(host, &target.path).await?;
        if !entry.metadata.is_dir() {
            return Err(NOT_FOUND);
        }
        Ok(Found::Listing(Box::new(Listed {
            directory: entry.file,
            path: target.path.clone(),
        })))
    }

    /// A path that does not end with a slash: a file, a page without its `.html`, or a directory
    /// that lacks its slash.
    async fn locate_name(
        &self,
        host: &Host,
        request: &Request<'_>,
        target: &Target<'_>,
    ) -> Result<Found, Status> {
        let entry = self.entry(host, &target.path).await;
        let directory = match entry {
            Ok(entry) if entry.metadata.is_file() => {
                let path = target.path.clone();
                let found = self.represent(host, request, entry, path).await?;
                return Ok(Found::File(found));
            }
            Ok(entry) => entry.metadata.is_dir(),
            Err(NOT_FOUND) => false,
            Err(status) => return Err(status),
        };
        if host.files.clean_urls {
            let path = [&target.path, &b".html"[..]].concat();
            match self.entry(host, &path).await {
                Ok(entry) if entry.metadata.is_file() => {
                    let found = self.represent(host, request, entry, path).await?;
                    return Ok(Found::File(found));
                }
                Ok(_) | Err(NOT_FOUND) => {}
                Err(status) => return Err(status),
            }
        }
        if directory {
            return Ok(Found::Redirect(target::slash_redirect(target)));
        }
        Err(NOT_FOUND)
    }

    /// Opens what is there under `path`, of whatever kind.
    ///
    /// # Errors
    /// The status of what cannot be had.
    pub(crate) async fn entry(&self, host: &Host, path: &[u8]) -> Result<Entry, Status> {
        if host.files.hides(path) {
            return Err(NOT_FOUND);
        }
        if let Some(open_files) = &self.open_files
            && let Some(entry) = open_files.get(host, path, self.io.now())
        {
            return Ok(entry);
        }
        let looked_up = self.io.now();
        let found = self.open(host, path).await;
        let file = found.map_err(|error| status_of(&error))?;
        let metadata = self.metadata(&file).await?;
        let entry = Entry {
            file,
            metadata,
            looked_up,
            kept: None,
        };
        if let Some(open_files) = &self.open_files {
            open_files.keep(host, path, &entry);
        }
        Ok(entry)
    }

    async fn open(&self, host: &Host, path: &[u8]) -> io::Result<File> {
        let found = host.site.find_within(path, &host.files).await;
        match (&found, &self.open_files) {
            // Others took more than was foreseen: what is open for nobody makes room.
            (Err(error), Some(open_files)) if is_shortage(error) && open_files.close().await => {
                host.site.find_within(path, &host.files).await
            }
            _ => found,
        }
    }

    /// Opens a page that the owner of the site has named.
    ///
    /// # Errors
    /// The status of what cannot be had: 404 for what is no file.
    pub(crate) async fn page(&self, host: &Host, page: &str) -> Result<Entry, Status> {
        let entry = self.entry(host, relative(page)).await?;
        if !entry.metadata.is_file() {
            return Err(NOT_FOUND);
        }
        Ok(entry)
    }

    /// Chooses the form in which the regular file `entry` is sent.
    async fn represent(
        &self,
        host: &Host,
        request: &Request<'_>,
        entry: Entry,
        path: Vec<u8>,
    ) -> Result<Box<Representation>, Status> {
        let content_type = host.files.types.of(&path);
        let mut found = Box::new(Representation {
            file: entry.file,
            metadata: entry.metadata,
            path,
            content_type,
            encoding: None,
            kept: entry.kept,
            looked_up: entry.looked_up,
            vary: None,
        });
        let offered = &host.files.precompressed;
        if offered.is_empty() || !compressible(&found.content_type) {
            return Ok(found);
        }
        // Said of every form, also where none lies beside the file: it may be made at any time.
        found.vary = Some("Accept-Encoding");
        let preference = Preference::new(request.field("accept-encoding"), offered);
        for encoding in preference.encodings() {
            let sibling = [&found.path, encoding.suffix().as_bytes()].concat();
            // One that cannot be had for whatever reason is as good as none.
            if let Ok(entry) = self.entry(host, &sibling).await
                && entry.metadata.is_file()
            {
                found.file = entry.file;
                found.metadata = entry.metadata;
                found.kept = entry.kept;
                found.looked_up = found.looked_up.min(entry.looked_up);
                found.encoding = Some(encoding.name());
                return Ok(found);
            }
        }
        if !preference.identity {
            return Err(Status(406));
        }
        Ok(found)
    }
}

/// Names of pages may be written as in a URL.
pub(crate) fn relative(page: &str) -> &[u8] {
    page.trim_start_matches('/').as_bytes()
}

/// Whether a person goes to `path`, which is not there, or something fetches a part of a page.
fn wants_page(request: &Request<'_>, path: &[u8]) -> bool {
    let accept = request.field("accept");
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let bare = extension(path).is_empty() && !name.contains(&b'.');
    names_html(accept) || (bare && takes_anything(accept))
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
        | libc::ENODEV => NOT_FOUND,
        libc::EACCES | libc::EPERM => Status(403),
        libc::EAGAIN | libc::EBUSY | libc::EMFILE | libc::ENFILE | libc::ENOMEM => Status(503),
        _ if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
        _ => Status(500),
    }
}
