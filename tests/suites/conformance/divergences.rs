//! Where a kernel does otherwise than Linux does by default (io_uring on ext4), what it does, and why that does not
//! matter. The suite fails on each that is missing here, and on each that is no longer true.
//!
//! Kernels are named by words: `sim` with `local` or `memory`; a filesystem with `uring` or `threads`; `direct` too, for
//! direct I/O. A declaration is about all that have its words.

use super::judge::Divergence;

const fn on(
    on: &'static str,
    behaviour: &'static str,
    does: &'static str,
    because: &'static str,
) -> Divergence {
    Divergence {
        behaviour,
        on,
        does,
        because,
    }
}

/// Each kernel with what it does otherwise.
#[rustfmt::skip]
pub(crate) const DECLARED: &[Divergence] = &[
    // Files.
    on("tmpfs", "a read that has not begun is called back", "carried out: 7", MEMORY),
    on("sim memory", "a read that has not begun is called back", "carried out: 7", MEMORY),
    on("tmpfs", "a read that the kernel has not been given is called back", "at once: 7", MEMORY),
    on("sim memory", "a read that the kernel has not been given is called back", "at once: 7", MEMORY),
    on("tmpfs", "a read that is done is not called back", "at once: 7", MEMORY),
    on("sim memory", "a read that is done is not called back", "at once: 7", MEMORY),
    on("tmpfs", "a range that is zeroed reads zeroes", "EOPNOTSUPP; 12288 a*12288",
        "tmpfs has no FALLOC_FL_ZERO_RANGE; `Allocate::ZERO` says that not every filesystem has"),
    on("xfs", "a directory replaces only an empty one", "EEXIST; ENOTDIR; EISDIR; ok; inner",
        "renameat2(2) allows either errno; nothing here asks which"),
    on("btrfs", "what direct I/O asks for is a power of two up to a block", "it does not tell", UNTOLD),
    on("tmpfs", "what direct I/O asks for is a power of two up to a block", "it does not tell", UNTOLD),
    on("btrfs", "a direct read that is misaligned is refused, and what is wrong is named",
        "4096 a*4096; 4097 a*4097; 4096", BY_THE_CACHE),
    on("tmpfs", "a direct read that is misaligned is refused, and what is wrong is named",
        "4096 a*4096; 4097 a*4097; 4096", BY_THE_CACHE),
    on("btrfs", "a direct write that is misaligned is refused and changes nothing",
        "4096; 1; 4097 b*4097", BY_THE_CACHE),
    on("tmpfs", "a direct write that is misaligned is refused and changes nothing",
        "4096; 1; 4097 b*4097", BY_THE_CACHE),
    // The seam of files.
    on("threads", "a chain of what succeeds runs to its end", "it has no links", STEP_BY_STEP),
    on("threads", "a short read breaks a chain", "it has no links", STEP_BY_STEP),
    on("threads", "an error breaks a chain", "it has no links", STEP_BY_STEP),
    on("threads", "a hard link goes on after a short read and after an error", "it has no links", STEP_BY_STEP),
    on("threads", "a broken chain breaks nothing beside it", "it has no links", STEP_BY_STEP),
    on("threads", "a cancel of what has not been submitted", "1: ECANCELED", EARLY_CANCEL),
    on("sim", "a cancel of what has not been submitted", "1: ECANCELED", EARLY_CANCEL),
    on("threads", "a cancel of what is worked on", "1: 1",
        "a thread inside a system call is not called back: the contract is that it is answered all the same"),
    on("overlay", "what is cached is read without waiting", "EOPNOTSUPP", NO_NOWAIT),
    on("tmpfs", "what is cached is read without waiting", "EOPNOTSUPP", NO_NOWAIT),
    // Sockets.
    on("sim net", "a send to who has closed is reset, and then EPIPE", "1; ECONNRESET; EPIPE; ENOTCONN",
        "Linux answers EPIPE for a reset after the other end's FIN; for the server either is the end of a connection"),
];

const STEP_BY_STEP: &str =
    "its capabilities say so, and chains are made step by step; `chains` runs on both";
const EARLY_CANCEL: &str = "io_uring does not look into its submission queue; either answer is within the contract of a cancel";
const NO_NOWAIT: &str =
    "it cannot tell, and says so: the read goes to a thread, or on memory is made at once";
const MEMORY: &str =
    "what memory answers is answered at once, on the calling thread: there is nothing to call back";
const UNTOLD: &str =
    "it does not fill STATX_DIOALIGN in; `File::direct_io` answers `None` and the kernel judges";
const BY_THE_CACHE: &str =
    "it takes what is misaligned by way of the page cache: the right bytes, only slower";

/// What the simulated kernels have not, and why they can do without.
#[rustfmt::skip]
pub(crate) const NOT_SIMULATED: &[(&str, &str)] = &[
    ("bytes are spliced from a file to a pipe and on", PIPES),
    ("a splice from an empty pipe does not wait where that is asked, and its end is 0", PIPES),
    ("a tee leaves the bytes where they are", PIPES),
    ("a splice needs a pipe, and no offset in it", PIPES),
    ("what is peeked at is still there", NO_MESSAGES),
    ("after an end of reading there is nothing to receive", NO_MESSAGES),
    ("a file is sent up to its end", NO_MESSAGES),
    ("messages keep their bounds, and what does not fit is lost", NO_MESSAGES),
    ("an empty message is a message", NO_MESSAGES),
    ("a descriptor is passed on, and lost where it is not asked for", NO_MESSAGES),
    ("no entry changes an epoll set with what is none",
        "the fake disk has no epoll sets, and does not say that it has the operation"),
    ("a closed descriptor is EBADF",
        "the fake disk panics instead: the engine pins what it uses, and one that does not is to be caught"),
];

const NO_MESSAGES: &str =
    "the simulated network has what the server asks of one, and ENOSYS for the rest";
const PIPES: &str =
    "the fake disk has no pipes: what may hang is simulated by what the device delays";

/// Whether a simulated kernel is asked for it.
pub(crate) fn is_simulated(behaviour: &str) -> bool {
    NOT_SIMULATED.iter().all(|(name, _)| *name != behaviour)
}
