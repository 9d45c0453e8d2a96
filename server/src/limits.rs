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
    /// How long a connection may rest between requests; then it is closed silently, a 64th of that or a
    /// millisecond later at most: one look at all connections finds those that are due.
    pub idle_timeout: Duration,
    /// How long a client may take no byte of its answer; then it is cut off.
    pub write_timeout: Duration,
    /// Bytes per second that a client must take of its answer, on average over as long as
    /// [`Limits::write_timeout`]; a slower one is cut off. Only the time counts for which the
    /// server waits for the client. `None` lets them be as slow as the time-out allows.
    pub min_rate: Option<u64>,
    /// How long opening a file, its metadata and its first bytes may take all together; then 503.
    /// The same goes for each later read; then the connection is cut. `None` waits for ever.
    pub disk_deadline: Option<Duration>,
    /// Most connections at a time, of all workers together; the next is answered 503. Fewer if
    /// the process may not have so many descriptors (RLIMIT_NOFILE).
    pub connections_max: usize,
    /// Most connections of one client at a time, a client being an IPv4 address or an IPv6 /64;
    /// the next is answered 503.
    pub connections_per_address_max: Option<usize>,
    /// Descriptors for connections and files, of all workers together. `None`: as many as
    /// RLIMIT_NOFILE leaves.
    pub descriptors_max: Option<usize>,
    /// Files that each worker keeps open between requests, of those on local filesystems; fewer if there are not
    /// descriptors enough. 0: each request opens its own.
    pub open_files_max: usize,
    /// After a stop: how long answers in flight may take.
    pub grace_period: Duration,
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
            // Below any link that people wait for; attacks by reading slowly take a few bytes.
            min_rate: Some(100),
            disk_deadline: Some(Duration::from_secs(30)),
            connections_max: 16_384,
            connections_per_address_max: None,
            descriptors_max: None,
            open_files_max: 1000,
            grace_period: Duration::from_secs(10),
            header_bytes_max: 16 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
        }
    }
}
