//! Answers with a page of the site's owner instead of a line of text.
//!
//! The status stays what it is. Neither conditions nor ranges apply: they are about what was asked
//! for, which is not there. Nothing of the request appears in the answer.

use std::borrow::Cow;
use std::io;
use std::rc::Rc;

use ambidex::disk::File;

use crate::files::Files;
use crate::http::head::{Head, Status};
use crate::http::request::Method;
use crate::locate::{Entry, relative};
use crate::respond::Exchange;
use crate::serve::Worker;
use crate::site::Site;

/// The largest page that is kept in memory.
const KEPT_BYTES_MAX: u64 = 256 * 1024;

/// A page that needs no disk.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    content_type: Cow<'static, str>,
}

impl Site {
    /// Reads what must be at hand when the disk is not: the page for 500 and above. If it cannot be
    /// had, those answers are text.
    pub(crate) async fn prepare(&self, files: &Files) {
        let Some(page) = &files.page_50x else { return };
        let path = relative(page);
        if files.hides(path) {
            return;
        }
        if let Ok(file) = self.find_within(path, files).await
            && let Ok(bytes) = read(&file).await
        {
            let content_type = files.types.of(path);
            *self.kept.borrow_mut() = Some(Rc::new(Kept {
                bytes,
                content_type,
            }));
        }
    }
}

/// All of a small regular file.
async fn read(file: &File) -> io::Result<Vec<u8>> {
    let metadata = crate::site::metadata(file).await?;
    if !metadata.is_file() || metadata.len() > KEPT_BYTES_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let size = usize::try_from(metadata.len()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let buffer = Vec::with_capacity(size - bytes.len());
        let (result, part) = file.read_at(buffer, bytes.len() as u64).await;
        if result? == 0 {
            break;
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

impl Worker {
    /// Answers that `status` is all there is, with the site's page for it if there is one.
    ///
    /// # Errors
    /// Those after which nothing more may be sent on this connection.
    pub(crate) async fn send_error(
        &self,
        exchange: &Exchange<'_>,
        status: Status,
    ) -> io::Result<()> {
        let host = &exchange.host;
        let mut head = self.head(status);
        if status.0 == 503 {
            head = head.field("Retry-After", 1);
        }
        if status.0 == 404 && host.files.fallback.is_some() {
            // To somebody else this would have been the page of the application.
            head = head.field("Vary", "Accept");
        }
        if status.0 == 404
            && let Some(name) = &host.files.page_404
            && let Ok(page) = self.page(host, name).await
        {
            return self.send_page(exchange, head, &page, relative(name)).await;
        }
        let kept = host.site.kept.borrow().clone();
        if let Some(page) = kept.filter(|_| status.0 >= 500) {
            let head = host.policy.accompany(head, exchange.request);
            let mut bytes = head
                .field("Content-Type", &page.content_type)
                .field("Content-Length", page.bytes.len())
                .finish(exchange.keep_alive);
            if exchange.request.method != Method::Head {
                bytes.extend_from_slice(&page.bytes);
            }
            return self.send(exchange.stream, &bytes).await;
        }
        self.send_text_with(exchange, head, status).await
    }

    async fn send_page(
        &self,
        exchange: &Exchange<'_>,
        head: Head,
        page: &Entry,
        path: &[u8],
    ) -> io::Result<()> {
        let size = page.metadata.len();
        let head = head
            .field("Content-Type", exchange.host.files.types.of(path))
            .field("Content-Length", size);
        let policy = &exchange.host.policy;
        let head = policy.accompany(head, exchange.request);
        let head = head.finish(exchange.keep_alive);
        if exchange.request.method == Method::Head || size == 0 {
            return self.send(exchange.stream, &head).await;
        }
        self.send_file(exchange, &head, &page.file, 0..size, |_| {})
            .await
    }
}
