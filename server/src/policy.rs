//! What is said about files beside their bytes: header fields, redirects.

use crate::http::head::Head;
use crate::http::request::Request;

/// What is said about files beside their bytes.
#[derive(Clone, Debug, Default)]
pub struct Policy {}

impl Policy {
    /// Adds the fields that go with an answer about `path` (relative, decoded).
    pub(crate) fn decorate(&self, head: Head, _request: &Request<'_>, _path: &[u8]) -> Head {
        head
    }
}
