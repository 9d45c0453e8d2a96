//! Control data that carries descriptors: `SCM_RIGHTS` of unix(7), laid out as cmsg(3) says.
//!
//! Written and read as bytes: the kernel asks for no alignment, and nothing here needs a pointer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Descriptors that one message can carry (`SCM_MAX_FD`); unix(7).
pub(crate) const RIGHTS_MAX: usize = 253;

const WORD: usize = size_of::<usize>();
/// `struct cmsghdr` of the kernel: the length, a machine word, then level and type.
const HEADER: usize = WORD + 2 * size_of::<i32>();
const FD: usize = size_of::<RawFd>();

/// Control data for `fds`; none for none.
///
/// # Errors
/// `EINVAL` for more than [`RIGHTS_MAX`], as the kernel would answer.
pub(crate) fn pack(fds: &[BorrowedFd<'_>]) -> io::Result<Vec<u8>> {
    if fds.len() > RIGHTS_MAX {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut control = room(fds.len());
    if fds.is_empty() {
        return Ok(control);
    }
    let length = control.len().to_ne_bytes();
    control[..WORD].copy_from_slice(&length);
    control[WORD..WORD + 4].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control[WORD + 4..HEADER].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    for (place, fd) in control[HEADER..].chunks_exact_mut(FD).zip(fds) {
        place.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
    }
    Ok(control)
}

/// Room for the control data of `fds_max` descriptors, at most [`RIGHTS_MAX`]; none for none.
/// Exactly so much: padding could hold one more.
pub(crate) fn room(fds_max: usize) -> Vec<u8> {
    match fds_max.min(RIGHTS_MAX) {
        0 => Vec::new(),
        count => vec![0; HEADER + count * FD],
    }
}

/// The numbers of the descriptors in `control`, which the kernel has filled.
pub(crate) fn parse(control: &[u8]) -> impl Iterator<Item = RawFd> + '_ {
    let mut rest = control;
    let messages = std::iter::from_fn(move || {
        let (length, _) = rest.get(..HEADER)?.split_first_chunk::<WORD>()?;
        let length = usize::from_ne_bytes(*length).clamp(HEADER, rest.len());
        let message = &rest[WORD..length];
        // The next begins at a word; the last may end without padding.
        rest = &rest[length.next_multiple_of(WORD).min(rest.len())..];
        Some(message)
    });
    messages.flat_map(|message| {
        let (kind, data) = message.split_at(HEADER - WORD);
        let rights = [
            libc::SOL_SOCKET.to_ne_bytes(),
            libc::SCM_RIGHTS.to_ne_bytes(),
        ];
        let data = if kind == rights.concat() { data } else { &[] };
        let number = |fd: &[u8]| fd.try_into().map(RawFd::from_ne_bytes).ok();
        data.chunks_exact(FD).filter_map(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn what_is_packed_is_parsed() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let (fd, number) = (file.as_fd(), file.as_raw_fd());
        for count in [0, 1, 2, RIGHTS_MAX] {
            let control = pack(&vec![fd; count]).unwrap();
            assert_eq!(parse(&control).collect::<Vec<_>>(), vec![number; count]);
        }
        assert!(pack(&vec![fd; RIGHTS_MAX + 1]).is_err());
    }

    #[test]
    fn control_data_of_other_kinds_is_passed_over_and_what_is_cut_off_is_not_read() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let rights = pack(&[file.as_fd()]).unwrap();
        let mut other = rights.clone();
        other[WORD + 4] ^= 2;
        other.resize(other.len().next_multiple_of(WORD), 0);
        let both = [other, rights].concat();
        assert_eq!(parse(&both).collect::<Vec<_>>(), [file.as_raw_fd()]);
        for cut in 0..both.len() {
            assert_eq!(parse(&both[..cut]).count(), 0);
        }
    }
}
