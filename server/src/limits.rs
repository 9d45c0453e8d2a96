//! Limits and time-outs.

use std::time::Duration;

/// Limits and time-outs of a server.
///
/// ```
/// use ambidex_server::Limits;
/// use std::time::Duration;
/// let patient = Limits { idle_timeout: Duration::from_secs(300), ..Limits::default() };
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request to the end of its header fields; then 408.
    pub header_timeout: Duration,
    /// How long a connection may rest between requests; then it is closed silently.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of its answer; then it is cut off.
    pub write_timeout: Duration,
    /// After a stop: how long answers in flight may take.
    pub grace_period: Duration,
    /// How long a disk may take to open a file or to list a directory; then 503 with `Retry-After`.
    pub disk_deadline: Option<Duration>,
    /// Bytes a second that a client must take of its answer; slower ones are cut off.
    pub min_rate: Option<u64>,
    /// Most connections at once, of each worker.
    pub connections_max: Option<usize>,
    /// Most connections at once from one address, of each worker.
    pub connections_per_address_max: Option<usize>,
    /// Most bytes of a request's line and header fields together; then 431.
    pub header_bytes_max: usize,
    /// Most header fields of a request, up to 1,024; then 431.
    pub fields_max: usize,
    /// Most bytes of a request's target; then 414.
    pub target_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            grace_period: Duration::from_secs(10),
            disk_deadline: None,
            min_rate: None,
            connections_max: None,
            connections_per_address_max: None,
            header_bytes_max: 16 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
        }
    }
}
