//! Threads that answer for the ring: `disk/src/workers.rs`.

use super::{Sleep, model, wait_for};
use crate::kernel::{Call, Completion, Entry, Link, OpenHow};
use crate::sync::{Arc, spawn};
use crate::syscalls;
use crate::workers::{Answers, Workers};

/// A ring's half: reaps, and sleeps when there is nothing.
struct Reaper {
    answers: Arc<Answers>,
    sleep: Sleep,
}

impl Reaper {
    fn new() -> Reaper {
        let _ = syscalls::take_counts();
        let answers = Answers::new().expect("an eventfd");
        Reaper {
            sleep: Sleep::on(&*answers),
            answers,
        }
    }

    fn reap(&self) -> Completion {
        loop {
            if let Some(completion) = self.answers.next() {
                return completion;
            }
            if self.answers.arm() {
                self.sleep.wait();
            }
            self.answers.disarm();
        }
    }

    /// Waits until no other thread has the answers.
    fn outlive(&self) {
        wait_for("the end of a thread", || {
            Arc::strong_count(&self.answers) == 1
        });
    }

    fn reap_all(&self, count: usize) -> Vec<u64> {
        let mut reaped: Vec<_> = (0..count).map(|_| self.reap().user_data).collect();
        reaped.sort_unstable();
        assert!(self.answers.next().is_none(), "answered twice");
        reaped
    }
}

fn open(user_data: u64) -> Entry {
    const HOW: OpenHow = OpenHow {
        flags: 0,
        mode: 0,
        resolve: 0,
    };
    Entry {
        call: Call::Open {
            dir: libc::AT_FDCWD,
            path: c"/".as_ptr(),
            how: &HOW,
        },
        punt: true,
        given_up: false,
        table: None,
        link: Link::None,
        user_data,
    }
}

fn dispatch(workers: &Workers, user_data: u64) {
    // SAFETY: what the entry points to is static.
    let dispatched = unsafe { workers.dispatch(open(user_data)) };
    dispatched.expect("a thread");
}

#[test]
fn an_answer_is_seen_or_rings() {
    model("two threads answer, the ring sleeps", || {
        let reaper = Reaper::new();
        let threads = [1, 2].map(|user_data| {
            let answers = Arc::clone(&reaper.answers);
            spawn(move || answers.push_and_ring(Completion::cancelled(user_data)))
        });
        assert_eq!(reaper.reap_all(2), [1, 2]);
        for thread in threads {
            assert!(thread.join().expect("answered"));
        }
    });
}

#[test]
fn an_answer_given_while_the_ring_ends_is_handed_out_or_given_back() {
    model("a thread answers, the ring ends", || {
        let reaper = Reaper::new();
        let thread = {
            let answers = Arc::clone(&reaper.answers);
            spawn(move || answers.push_and_ring(Completion::cancelled(1)))
        };
        reaper.answers.close();
        let before = reaper.answers.next().is_some();
        let taken = thread.join().expect("answered");
        assert_eq!(before || reaper.answers.next().is_some(), taken);
    });
}

#[test]
fn each_job_is_answered_once_by_however_many_threads() {
    for threads_max in [1, 2] {
        model("two jobs, then the pool ends", move || {
            let reaper = Reaper::new();
            let workers = Workers::new(&reaper.answers, threads_max, true);
            dispatch(&workers, 1);
            dispatch(&workers, 2);
            assert_eq!(reaper.reap_all(2), [1, 2]);
            drop(workers);
            reaper.outlive();
            assert_eq!(syscalls::take_counts(), (2, 0));
        });
    }
}

#[test]
fn a_job_that_is_called_back_is_done_or_cancelled_and_never_both() {
    model("a job is begun and called back", || {
        let reaper = Reaper::new();
        let workers = Workers::new(&reaper.answers, 1, true);
        dispatch(&workers, 1);
        let in_time = workers.cancel(1);
        let expected = if in_time { -libc::ECANCELED } else { 0 };
        assert_eq!(reaper.reap().result, expected);
        assert!(reaper.answers.next().is_none(), "answered twice");
        drop(workers);
        reaper.outlive();
        assert_eq!(syscalls::take_counts(), (u32::from(!in_time), 0));
    });
}

#[test]
fn an_open_that_ends_after_its_ring_is_closed_where_it_ends() {
    model("an open is begun, the ring ends", || {
        let reaper = Reaper::new();
        let workers = Workers::new(&reaper.answers, 1, true);
        dispatch(&workers, 1);
        reaper.answers.close();
        drop(workers);
        reaper.outlive();
        let handed_out = u32::from(reaper.answers.next().is_some());
        assert_eq!(syscalls::take_counts(), (1, 1 - handed_out));
    });
}
