//! What happened, as text that is the same on every machine.

use std::io;

/// An errno's name.
pub(crate) fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EACCES => "EACCES",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EAGAIN => "EAGAIN",
        libc::EBADF => "EBADF",
        libc::EBUSY => "EBUSY",
        libc::ECANCELED => "ECANCELED",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::ECONNRESET => "ECONNRESET",
        libc::EEXIST => "EEXIST",
        libc::EFBIG => "EFBIG",
        libc::EINTR => "EINTR",
        libc::EINVAL => "EINVAL",
        libc::EIO => "EIO",
        libc::EISCONN => "EISCONN",
        libc::EISDIR => "EISDIR",
        libc::ELOOP => "ELOOP",
        libc::EMSGSIZE => "EMSGSIZE",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENODATA => "ENODATA",
        libc::ENODEV => "ENODEV",
        libc::ENOENT => "ENOENT",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTCONN => "ENOTCONN",
        libc::ENOTDIR => "ENOTDIR",
        libc::ENOTEMPTY => "ENOTEMPTY",
        libc::ENOTSOCK => "ENOTSOCK",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EPERM => "EPERM",
        libc::EPIPE => "EPIPE",
        libc::ERANGE => "ERANGE",
        libc::ESPIPE => "ESPIPE",
        libc::EXDEV => "EXDEV",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

/// An error's errno; without one, what it says up to the first digit.
pub(crate) fn error_text(error: &io::Error) -> String {
    let Some(errno) = error.raw_os_error() else {
        let text = error.to_string();
        let words = text.split(|c: char| c.is_ascii_digit()).next();
        return words.unwrap_or_default().trim().to_owned();
    };
    errno_name(errno)
}

/// A result: what it is, or why not.
pub(crate) fn result_text<T: ToString>(result: &io::Result<T>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => error_text(error),
    }
}

/// Bytes, each run of three or more as `byte*count`, zero as `_`.
pub(crate) fn shape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for run in bytes.chunk_by(|one, next| one == next) {
        let byte = if run[0] == 0 { '_' } else { char::from(run[0]) };
        if run.len() < 3 {
            text.extend(std::iter::repeat_n(byte, run.len()));
        } else {
            text.push_str(&format!("{byte}*{} ", run.len()));
        }
    }
    text.trim_end().to_owned()
}

#[test]
fn runs_are_counted_and_short_ones_are_spelt_out() {
    assert_eq!(shape(b"0123"), "0123");
    assert_eq!(shape(b"aab\0\0\0\0c"), "aab_*4 c");
    assert_eq!(shape(b""), "");
}
