//! The bounds of one request's work on files: how long, how many before it, how many at once.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::{Duration, Instant};

use ambidex::Elapsed;
use ambidex::disk::policy::{Lane, Place};
use ambidex::disk::{File, Metadata};

use crate::admission::FilePlace;
use crate::http::head::Status;
use crate::http::target::Target;
use crate::locate::{Found, status_of};
use crate::respond::Exchange;
use crate::serve::Worker;

/// Requests that may wait for their turn on one device that may hang, behind the 32 that the
/// engine has at work there; the next is answered 503 at once.
pub(crate) const LANE_QUEUE_MAX: usize = 256;
/// An open that takes longer is no local one: its place is given back until it is through, so that
/// a hung mount does not keep the files of others from being opened.
const PLACE_HELD: Duration = Duration::from_millis(100);

/// One request's work on files.
pub(crate) struct Work {
    /// When it is given up.
    deadline: Option<Instant>,
    /// Why it failed before a byte of the answer was sent.
    failure: Cell<Option<Status>>,
}

impl Work {
    fn left(&self, now: Instant) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(now);
        self.deadline.map_or(Duration::MAX, left)
    }

    /// It failed, and nothing has been sent: there can still be an honest answer.
    pub(crate) fn fail(&self, error: &io::Error) {
        let status = match error.kind() {
            // The disk, or a file that is being changed: it may be better soon.
            ErrorKind::TimedOut | ErrorKind::UnexpectedEof => Status(503),
            _ => status_of(error),
        };
        self.failure.set(Some(status));
    }

    /// The status to answer with, if it failed before a byte of the answer was sent.
    pub(crate) fn failure(&self) -> Option<Status> {
        self.failure.get()
    }
}

impl Worker {
    /// Begins the work on files of one request; now its time runs.
    pub(crate) fn work(&self) -> Work {
        let deadline = self.limits.disk_deadline;
        Work {
            deadline: deadline.and_then(|patience| self.io.now().checked_add(patience)),
            failure: Cell::new(None),
        }
    }

    /// Waits for `future` within the deadline of `work`.
    ///
    /// # Errors
    /// [`Elapsed`]: what it did on a disk goes on there, and is cleaned up when it ends.
    ///
    /// # Cancel safety
    /// That of `future`.
    pub(crate) async fn in_time<T>(
        &self,
        work: &Work,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        if work.deadline.is_none() {
            return Ok(future.await);
        }
        let left = work.left(self.io.now());
        self.io.timeout(left, future).await
    }

    /// Whether so many wait for this device that one more had better not.
    pub(crate) fn is_crowded(&self, lane: impl FnOnce() -> Lane) -> bool {
        let disk = self.io.disk();
        disk.waiting() >= LANE_QUEUE_MAX && disk.waiting_in(lane()) >= LANE_QUEUE_MAX
    }

    /// Looks for what answers `target`, in time and if there are descriptors for it. The place is
    /// to be kept while a file is open.
    ///
    /// # Errors
    /// The status of what cannot be had.
    pub(crate) async fn find(
        &self,
        exchange: &Exchange<'_>,
        target: &Target<'_>,
    ) -> Result<(Found, FilePlace<'_>), Status> {
        let lane = || exchange.host.site.lane(&target.path);
        if self.is_crowded(lane) {
            return Err(Status(503));
        }
        let late = |_| Status(503);
        let work = &exchange.work;
        let place = self.in_time(work, self.place()).await.map_err(late)?;
        let locating = self.locate(&exchange.host, exchange.request, target);
        let mut locating = pin!(locating);
        let soon = work.left(self.io.now()).min(PLACE_HELD);
        if let Ok(found) = self.io.timeout(soon, locating.as_mut()).await {
            return Ok((found?, place));
        }
        drop(place);
        // Of those that came at once, before any was seen to wait.
        if self.io.disk().waiting_in(lane()) > LANE_QUEUE_MAX {
            return Err(Status(503));
        }
        let found = self.in_time(work, locating).await.map_err(late)??;
        let place = self.in_time(work, self.place()).await.map_err(late)?;
        Ok((found, place))
    }

    /// The metadata of an open file: as of now, where they were not asked of the device when it was
    /// opened.
    ///
    /// # Errors
    /// The status of what cannot be had; 503 if too many wait for that device.
    pub(crate) async fn metadata(&self, file: &File) -> Result<Metadata, Status> {
        let Place::Remote(lane) = file.place() else {
            return Ok(*file.metadata_at_open());
        };
        // On the way to it nobody knew which device it is on.
        if self.buffers.remote(lane).is_crowded(self.io.disk()) {
            return Err(Status(503));
        }
        let metadata = file.metadata().await;
        metadata.map_err(|error| status_of(&error))
    }

    async fn place(&self) -> FilePlace<'_> {
        if let Some(place) = self.descriptors.try_file() {
            return place;
        }
        if self.drop_kept()
            && let Some(place) = self.descriptors.try_file()
        {
            return place;
        }
        self.shed();
        self.descriptors.file().await
    }
}
