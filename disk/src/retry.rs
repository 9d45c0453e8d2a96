//! What an errno means: retry, or report. The one table (G6).

/// What to do about an errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not the caller's concern: do it again.
    Retry,
    /// The caller's to know, unchanged.
    Report,
    /// Cannot happen unless this crate broke a rule: reported, and an assertion in debug builds.
    Bug,
}

/// Which operation an errno answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A read that may wait.
    Read,
    /// A read with `RWF_NOWAIT`.
    ReadNoWait,
    /// An open.
    Open,
    /// A statx.
    Status,
    /// A close.
    Close,
    /// io_uring_enter(2) itself.
    Enter,
}

/// Times that one operation is retried before its errno is reported all the same.
pub const RETRIES_MAX: u8 = 16;

/// Judges a positive `errno` that answers `kind`.
///
/// ```
/// use ambidex_disk::retry::{Kind, Verdict, judge};
/// assert_eq!(judge(Kind::Read, libc::EINTR), Verdict::Retry);
/// assert_eq!(judge(Kind::ReadNoWait, libc::EAGAIN), Verdict::Report);
/// assert_eq!(judge(Kind::Read, libc::EIO), Verdict::Report);
/// ```
#[must_use]
pub fn judge(kind: Kind, errno: i32) -> Verdict {
    use Kind::{Close, Enter, Open, Read, ReadNoWait, Status};
    match (kind, errno) {
        // close(2): the descriptor is gone whatever the errno says; a retry could close a
        // stranger's.
        (Close, libc::EINTR) => Verdict::Report,
        (Read | ReadNoWait | Open | Status, libc::EINTR) => Verdict::Retry,
        // A regular file never answers this to a read that may wait, except from old kernels
        // under memory pressure; openat2(2) answers it when a rename races RESOLVE_BENEATH.
        (Read | Open | Status, libc::EAGAIN) => Verdict::Retry,
        // io_uring_enter(2): out of requests or memory, or completions must be reaped first.
        (Enter, libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => Verdict::Retry,
        (Enter, _) => Verdict::Bug,
        // The descriptor is pinned and the memory is lent: neither can be bad. To a read, EBADF
        // also says that the file was not opened for reading.
        (Status | Close, libc::EBADF) => Verdict::Bug,
        (Read | ReadNoWait | Open | Status, libc::EFAULT) => Verdict::Bug,
        _ => Verdict::Report,
    }
}

/// Whether a call on this thread that failed with `error` is made again; counts in `tries`.
pub(crate) fn again(kind: Kind, error: &std::io::Error, tries: &mut u8) -> bool {
    let retry = judge(kind, error.raw_os_error().unwrap_or(0)) == Verdict::Retry;
    *tries = tries.saturating_add(1);
    retry && *tries <= RETRIES_MAX
}
