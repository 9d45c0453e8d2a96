//! HTTP/1.1 without I/O: bytes in, decisions out. RFC 9110, RFC 9112.

pub mod conditional;
pub mod head;
pub mod range;
pub mod request;
pub mod target;
