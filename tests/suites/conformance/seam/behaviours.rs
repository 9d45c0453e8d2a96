//! What the engine builds on: who is answered, what breaks a chain, what a cancel does, when the bell rings.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

use ambidex::disk::kernel::{Call, Link};

use super::super::judge::Behaviour;
use super::super::text::result_text;
use super::{Seam, adopt};

/// Whether the kernel keeps links; if not, that is noted.
fn links(s: &mut Seam) -> bool {
    let links = s.kernel.capabilities().links;
    if !links {
        s.note("it has no links");
    }
    links
}

/// Whether the doorbell has rung.
fn rang(s: &Seam) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let bell = s.kernel.doorbell();
    let mut fds = [PollFd::new(&bell, PollFlags::IN)];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).expect("poll") > 0
}

pub(super) const ALL: &[Behaviour<Seam>] = &[
    Behaviour {
        name: "each entry is answered once, with its own user_data",
        expect: "1: 10, 2: 3, 3: 0, 4: 10; 0123456789 789",
        script: |s| {
            let reads = [(0, 10), (7, 3), (10, 4), (0, 64)];
            let calls = reads.map(|(offset, length)| s.reading(offset, length));
            let numbered = calls.into_iter().zip(1..);
            let entries = numbered
                .map(|(call, number)| s.entry(number, call))
                .collect();
            let answers = s.all(entries);
            s.answers(&answers);
            s.note(format!("{} {}", s.held(0), s.held(1)));
        },
    },
    Behaviour {
        name: "an entry takes room until it is submitted",
        expect: "8; 7, 1 queued; 8, 0 queued; 1: 1",
        script: |s| {
            s.note(s.kernel.room().to_string());
            let read = s.reading(0, 1);
            s.push(vec![s.entry(1, read)]);
            s.note(format!("{}, {} queued", s.kernel.room(), s.kernel.queued()));
            s.enter();
            s.note(format!("{}, {} queued", s.kernel.room(), s.kernel.queued()));
            let answers = s.reap(1);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "an enter with nothing to do succeeds and answers nothing",
        expect: "ok; nothing",
        script: |s| {
            let entered = s.kernel.enter();
            s.note(result_text(&entered.map(|()| "ok")));
            let next = s.kernel.next();
            s.note(next.map_or("nothing".to_owned(), |one| format!("{one:?}")));
        },
    },
    Behaviour {
        name: "a chain of what succeeds runs to its end",
        expect: "1: 10, 2: 5, 3: 5",
        script: |s| {
            if links(s) {
                let calls = vec![s.reading(0, 10), s.reading(5, 5), s.reading(0, 5)];
                s.chain(calls, Link::Next);
            }
        },
    },
    Behaviour {
        name: "a short read breaks a chain",
        expect: "1: 3, 2: ECANCELED, 3: ECANCELED",
        script: |s| {
            if links(s) {
                let calls = vec![s.reading(7, 10), s.reading(0, 5), s.reading(0, 5)];
                s.chain(calls, Link::Next);
            }
        },
    },
    Behaviour {
        name: "an error breaks a chain",
        expect: "1: 5, 2: ENOENT, 3: ECANCELED, 4: ECANCELED",
        script: |s| {
            if links(s) {
                let calls = vec![
                    s.reading(0, 5),
                    s.missing(),
                    s.reading(0, 5),
                    s.reading(0, 5),
                ];
                s.chain(calls, Link::Next);
            }
        },
    },
    Behaviour {
        name: "a hard link goes on after a short read and after an error",
        expect: "1: 3, 2: ENOENT, 3: 5",
        script: |s| {
            if links(s) {
                let calls = vec![s.reading(7, 10), s.missing(), s.reading(0, 5)];
                s.chain(calls, Link::NextAnyway);
            }
        },
    },
    Behaviour {
        name: "a broken chain breaks nothing beside it",
        expect: "1: ENOENT, 2: ECANCELED, 3: 5",
        script: |s| {
            if links(s) {
                let calls = [s.missing(), s.reading(0, 5), s.reading(0, 5)];
                let mut entries: Vec<_> = calls
                    .into_iter()
                    .zip(1..)
                    .map(|(call, number)| s.entry(number, call))
                    .collect();
                entries[0].link = Link::Next;
                let answers = s.all(entries);
                s.answers(&answers);
            }
        },
    },
    Behaviour {
        name: "a cancel of what has not been submitted",
        expect: "1: 10",
        script: |s| {
            let read = s.reading(0, 10);
            s.push(vec![s.entry(1, read)]);
            s.kernel.cancel(1);
            let answers = s.reap(1);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "a cancel of what is worked on",
        expect: "1: ECANCELED",
        script: |s| {
            let read = s.hanging();
            s.push(vec![s.entry(1, read)]);
            s.enter_hanging();
            s.kernel.cancel(1);
            s.let_go();
            let answers = s.reap(1);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "a cancel of what is done comes too late",
        expect: "1: 10",
        script: |s| {
            let read = s.reading(0, 10);
            s.push(vec![s.entry(1, read)]);
            s.enter();
            s.wait_for_completion();
            s.kernel.cancel(1);
            let answers = s.reap(1);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "a cancel of what nobody knows is nothing",
        expect: "1: 10",
        script: |s| {
            s.kernel.cancel(77);
            let read = s.reading(0, 10);
            let answers = s.all(vec![s.entry(1, read)]);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "with nothing to reap the bell is armed and silent",
        expect: "armed; rang false",
        script: |s| {
            let armed = s.kernel.arm();
            s.note(if armed { "armed" } else { "work" });
            s.note(format!("rang {}", rang(s)));
            s.kernel.disarm();
        },
    },
    Behaviour {
        name: "with something to reap the bell is not armed",
        expect: "work; 1: 10",
        script: |s| {
            let read = s.reading(0, 10);
            s.push(vec![s.entry(1, read)]);
            s.enter();
            s.wait_for_completion();
            s.note("work");
            let answers = s.reap(1);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "a call made at once answers as one submitted",
        expect: "10 0123456789; ENOENT",
        script: |s| {
            let read = s.reading(0, 64);
            let count = s.now(&read);
            let bytes = s.held(0).trim_end_matches('\0').to_owned();
            s.note(format!("{count} {bytes}"));
            let missing = s.missing();
            let answer = s.now(&missing);
            s.note(super::errno_name(-answer));
        },
    },
    Behaviour {
        name: "what is cached is read without waiting",
        expect: "10",
        script: |s| {
            let mut room = [MaybeUninit::uninit(); 64];
            let file = adopt(s.file);
            let result = s
                .kernel
                .read_now(file.as_fd(), &mut room, 0, libc::RWF_NOWAIT);
            s.note(result_text(&result));
            std::mem::forget(file);
        },
    },
    Behaviour {
        name: "an opened file is read by its descriptor until that is closed",
        expect: "2: 10; 3: 0",
        script: |s| {
            let path = s.path.clone();
            let open = s.opening(path);
            let fd = s.all(vec![s.entry(1, open)])[0].1;
            let read = s.reading_from(fd, 0, 64);
            let answers = s.all(vec![s.entry(2, read)]);
            s.answers(&answers);
            let answers = s.all(vec![s.entry(3, Call::Close { fd })]);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "a closed descriptor is EBADF",
        expect: "1: EBADF",
        script: |s| {
            let path = s.path.clone();
            let open = s.opening(path);
            let fd = s.all(vec![s.entry(1, open)])[0].1;
            s.all(vec![s.entry(2, Call::Close { fd })]);
            let read = s.reading_from(fd, 0, 64);
            let answers = s.all(vec![s.entry(1, read)]);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "a duplicate is another descriptor of the same file",
        expect: "another; 1: 10; 2: 0",
        script: |s| {
            let file = adopt(s.file);
            let copy = s.kernel.duplicate(file.as_fd()).expect("a descriptor");
            std::mem::forget(file);
            let fd = std::os::fd::IntoRawFd::into_raw_fd(copy);
            s.note(if fd == s.file { "the same" } else { "another" });
            let read = s.reading_from(fd, 0, 64);
            let answers = s.all(vec![s.entry(1, read)]);
            s.answers(&answers);
            let answers = s.all(vec![s.entry(2, Call::Close { fd })]);
            s.answers(&answers);
        },
    },
    Behaviour {
        name: "what is known of an open file is known at once",
        expect: "10 true",
        script: |s| {
            let file = adopt(s.file);
            let metadata = s.kernel.status_cached(file.as_fd()).expect("metadata");
            std::mem::forget(file);
            s.note(format!("{} {}", metadata.len(), metadata.is_file()));
        },
    },
    Behaviour {
        name: "no entry changes an epoll set with what is none",
        expect: "1: EINVAL",
        script: |s| {
            let call = Call::Watch {
                epoll: s.file,
                operation: libc::EPOLL_CTL_DEL,
                fd: s.pipe.0.as_raw_fd(),
                event: std::ptr::null(),
            };
            let answers = s.all(vec![s.entry(1, call)]);
            s.answers(&answers);
        },
    },
];
