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
    /// A write.
    Write,
    /// A write to the end of a file.
    Append,
    /// An open that must create.
    Create,
    /// A change of names or attributes, that is not the same if made twice.
    Name,
    /// A look at names or attributes.
    Look,
    /// A copy or splice.
    Transfer,
    /// A sync, or a change of a file's extents, that is the same if made twice.
    Change,
    /// A change of an epoll set.
    Watch,
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
    use Kind::{
        Append, Change, Close, Create, Enter, Look, Name, Open, Read, ReadNoWait, Status, Transfer,
        Watch, Write,
    };
    match (kind, errno) {
        // close(2): the descriptor is gone whatever the errno says; a retry could close a
        // stranger's.
        (Close, libc::EINTR) => Verdict::Report,
        // It may have been made all the same: a second one would find the first one's file, or
        // append the same bytes twice.
        (Create | Name | Append, libc::EINTR) => Verdict::Report,
        // A write or copy that was interrupted has moved nothing, or it would be short.
        (Read | ReadNoWait | Write | Open | Status | Change | Look | Transfer, libc::EINTR) => {
            Verdict::Retry
        }
        // A regular file never answers this to a read or write that may wait, except from old kernels
        // under memory pressure; openat2(2) answers it when a rename races RESOLVE_BENEATH.
        (Read | Write | Append | Open | Create | Status, libc::EAGAIN) => Verdict::Retry,
        // io_uring_enter(2): out of requests or memory, or completions must be reaped first.
        (Enter, libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ENOMEM) => Verdict::Retry,
        // epoll_ctl(2) answers neither; io_uring's own machinery may.
        (Watch, libc::EINTR | libc::EAGAIN) => Verdict::Retry,
        (Enter, _) => Verdict::Bug,
        // The memory is lent: it cannot be bad. The descriptor is pinned, but a user may have closed
        // it by its number: EBADF is theirs to know.
        (
            Read | ReadNoWait | Write | Append | Open | Create | Status | Name | Look,
            libc::EFAULT,
        ) => Verdict::Bug,
        _ => Verdict::Report,
    }
}

/// Whether a call on this thread that failed with `error` is made again; counts in `tries`.
pub(crate) fn again(kind: Kind, error: &std::io::Error, tries: &mut u8) -> bool {
    let retry = judge(kind, error.raw_os_error().unwrap_or(0)) == Verdict::Retry;
    *tries = tries.saturating_add(1);
    retry && *tries <= RETRIES_MAX
}
