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
        // io_uring gives up what it has not begun when it cannot make a thread for it: too many processes, or signals that
        // interrupt fork(2) each time. Who has called an operation back knows that.
        (
            Read | ReadNoWait | Write | Append | Open | Create | Status | Name | Look | Change
            | Transfer | Watch,
            libc::ECANCELED,
        ) => Verdict::Retry,
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

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 14] = [
        Kind::Read,
        Kind::ReadNoWait,
        Kind::Open,
        Kind::Status,
        Kind::Close,
        Kind::Write,
        Kind::Append,
        Kind::Create,
        Kind::Name,
        Kind::Look,
        Kind::Transfer,
        Kind::Change,
        Kind::Watch,
        Kind::Enter,
    ];

    /// The kinds that `errno` answers with `verdict`.
    fn with(errno: i32, verdict: Verdict) -> Vec<Kind> {
        let mut kinds = KINDS.to_vec();
        kinds.retain(|kind| judge(*kind, errno) == verdict);
        kinds
    }

    #[test]
    fn only_what_is_the_same_if_made_twice_is_retried() {
        use Kind::*;
        let interrupted = [
            Read, ReadNoWait, Open, Status, Write, Look, Transfer, Change, Watch, Enter,
        ];
        assert_eq!(with(libc::EINTR, Verdict::Retry), interrupted);
        let again = [Read, Open, Status, Write, Append, Create, Watch, Enter];
        assert_eq!(with(libc::EAGAIN, Verdict::Retry), again);
        let mut given_up = KINDS.to_vec();
        given_up.retain(|kind| ![Close, Enter].contains(kind));
        assert_eq!(with(libc::ECANCELED, Verdict::Retry), given_up);
        for errno in [libc::EBUSY, libc::ENOMEM] {
            assert_eq!(with(errno, Verdict::Retry), [Enter]);
        }
    }

    /// A sync that failed and is made again may say that all is well: the pages that were lost are clean.
    #[test]
    fn errors_of_the_device_and_of_the_user_are_reported_unchanged() {
        for errno in [libc::EIO, libc::ENOSPC, libc::ENOENT, libc::EBADF] {
            assert_eq!(with(errno, Verdict::Retry), []);
            assert_eq!(with(errno, Verdict::Bug), [Kind::Enter]);
        }
    }

    #[test]
    fn lent_memory_that_is_bad_is_a_broken_rule() {
        use Kind::*;
        let lent = [
            Read, ReadNoWait, Open, Status, Write, Append, Create, Name, Look, Enter,
        ];
        assert_eq!(with(libc::EFAULT, Verdict::Bug), lent);
    }

    #[test]
    fn an_interrupted_call_is_made_again_so_many_times_and_no_more() {
        let error = std::io::Error::from_raw_os_error(libc::EINTR);
        let mut tries = 0;
        for _ in 0..RETRIES_MAX {
            assert!(again(Kind::Read, &error, &mut tries));
        }
        assert!(!again(Kind::Read, &error, &mut tries));
        let error = std::io::Error::from_raw_os_error(libc::EIO);
        assert!(!again(Kind::Read, &error, &mut 0));
    }
}
