//! How a ring is set up.

use std::io;

/// Which backend is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring if it can be had, else threads.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// Threads.
    Threads,
}

impl Choice {
    /// Reads the environment variable `AMBIDEX_DISK`: `auto`, `uring` or `threads`; unset is auto.
    ///
    /// # Errors
    /// `InvalidInput` for any other value, naming it.
    ///
    /// ```
    /// use ambidex_disk::Choice;
    /// assert_eq!(Choice::parse("threads").unwrap(), Choice::Threads);
    /// assert!(Choice::parse("sync").is_err());
    /// ```
    pub fn from_environment() -> io::Result<Choice> {
        match std::env::var_os("AMBIDEX_DISK") {
            None => Ok(Choice::Auto),
            Some(value) => Choice::parse(&value.to_string_lossy()),
        }
    }

    /// Reads one of the three words.
    ///
    /// # Errors
    /// `InvalidInput` for any other word, naming it.
    pub fn parse(word: &str) -> io::Result<Choice> {
        match word {
            "auto" | "" => Ok(Choice::Auto),
            "uring" => Ok(Choice::Uring),
            "threads" => Ok(Choice::Threads),
            other => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("AMBIDEX_DISK={other} is not a backend: use auto, uring or threads"),
            )),
        }
    }
}

/// How a ring is set up; see [`Ring::new`](crate::Ring::new).
///
/// ```
/// use ambidex_disk::Options;
/// let small = Options { sq_entries: 8, cq_entries: 16, ..Options::default() };
/// assert!(small.cq_entries >= small.sq_entries);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Which backend is wanted.
    pub choice: Choice,
    /// Entries of the submission queue: what one enter can submit. At most 32,768.
    pub sq_entries: u32,
    /// Entries of the completion queue, at least `sq_entries`: the bound on operations in flight.
    pub cq_entries: u32,
    /// Most threads that may block in the kernel for this ring, on either backend.
    pub workers_max: u32,
    /// Most operations in flight on one filesystem that may block without end (network, FUSE).
    /// Below `workers_max`, so that one hung mount leaves workers for the others.
    pub remote_max: usize,
    /// Places in io_uring's table of files: for [`File::fix`](crate::File::fix), and one for each
    /// chain in flight that opens a file.
    pub table_entries: u32,
    /// Operations of io_uring, by the names of [`Capabilities::operations`], to treat as if this
    /// kernel lacked them: they go to worker threads. For tests, and for a kernel whose operation
    /// is broken.
    ///
    /// [`Capabilities::operations`]: crate::Capabilities::operations
    pub masked: Vec<&'static str>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            choice: Choice::Auto,
            sq_entries: 256,
            cq_entries: 1024,
            workers_max: 128,
            remote_max: 32,
            table_entries: 64,
            masked: Vec::new(),
        }
    }
}
