//! What was obtained at set-up, and why not more.

use std::fmt;

/// Who does the work behind the ring's face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring(7).
    Uring,
    /// A bounded pool of threads.
    Threads,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::Uring => "uring",
            Backend::Threads => "threads",
        })
    }
}

/// What was obtained at set-up; see [`Ring::capabilities`](crate::Ring::capabilities).
///
/// ```
/// use ambidex_disk::{Backend, Choice, Options, Ring};
/// let ring = Ring::new(&Options { choice: Choice::Threads, ..Options::default() })?;
/// assert_eq!(ring.capabilities().backend, Backend::Threads);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// Who does the work.
    pub backend: Backend,
    /// The `IORING_SETUP_*` flags obtained, by name. Empty for threads.
    pub flags: Vec<&'static str>,
    /// Entries of the submission queue.
    pub sq_entries: usize,
    /// Entries of the completion queue: the bound on operations in flight.
    pub cq_entries: usize,
    /// The operations this crate uses, and whether this kernel knows them.
    pub operations: Vec<(&'static str, bool)>,
    /// Places in the table of files, for [`File::fix`](crate::File::fix) and chains; 0 if there is
    /// none.
    pub table_entries: usize,
    /// Whether entries can be linked, so that one begins when another has ended.
    pub links: bool,
    /// Whether openat2(2) may be called (Linux 5.6, and not denied by seccomp).
    pub openat2: bool,
    /// Why the backend is not io_uring, or why a rung of the set-up ladder was left.
    pub downgrades: Vec<String>,
}
