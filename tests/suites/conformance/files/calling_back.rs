//! Operations that are called back, or whose future is dropped.

use std::pin::pin;
use std::task::Poll;

use ambidex::disk::Outcome;
use ambidex_tests::sim::{poll_once, turn_until};

use super::super::text::result_text;
use super::{Behaviour, Files};

/// Notes how a read ended that is called back after `turns` turns of the ring; its buffer comes back.
fn call_back(s: &mut Files, begun: bool, finished: bool) {
    let file = s.put("data", b"content");
    let handle = s.handle.clone();
    let mut read = pin!(handle.cancellable(file.read_at(Vec::with_capacity(64), 0)));
    if begun && let Poll::Ready((result, _)) = poll_once(read.as_mut()) {
        return s.note(format!("at once: {}", result_text(&result)));
    }
    if finished {
        turn_until(&mut s.ring, "the read", |ring| ring.in_flight() == 0);
    }
    let outcome = s.drive(read.as_mut().cancel());
    let word = match &outcome {
        Outcome::Cancelled(_) => "called back",
        Outcome::Completed(_) => "carried out",
    };
    let (result, buffer) = outcome.into_inner();
    assert_eq!(buffer.capacity(), 64, "the buffer comes back");
    s.note(format!("{word}: {}", result_text(&result)));
}

pub(super) const ALL: &[Behaviour<Files>] = &[
    Behaviour {
        name: "a read that has not begun is called back",
        expect: "called back: ECANCELED",
        script: |s| call_back(s, false, false),
    },
    Behaviour {
        name: "a read that the kernel has not been given is called back",
        expect: "called back: ECANCELED",
        script: |s| call_back(s, true, false),
    },
    Behaviour {
        name: "a read that is done is not called back",
        expect: "carried out: 7",
        script: |s| call_back(s, true, true),
    },
    Behaviour {
        name: "a dropped read leaves the file as it was",
        expect: "7 content",
        script: |s| {
            let file = s.put("data", b"content");
            let owner = file.clone();
            let mut read = Box::pin(async move {
                let _ = owner.read_at(Vec::with_capacity(64), 0).await;
            });
            let _ = poll_once(read.as_mut());
            drop(read);
            s.read(&file, 0, 64);
        },
    },
];
