//! HTTP/1.1 without I/O: bytes in, decisions out. RFC 9110, RFC 9112.

pub mod chunked;
pub mod conditional;
mod fields;
pub mod head;
pub mod range;
pub mod request;
pub mod target;
