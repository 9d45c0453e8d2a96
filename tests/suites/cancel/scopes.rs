//! What a scope reaches: all that its future makes, whoever polls it and how, and nothing else. On a kernel that answers
//! when it is told to.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ambidex::disk::{BufResult, OpenOptions, Outcome};
use ambidex_tests::sim::disk::{CountedBuf, Faults};
use ambidex_tests::sim::{drive, poll_once, turn};

use super::stage::{Part, Stage, one_by_one, together};
use super::{called_back, errno, outcome, outcome_now};

#[test]
fn a_composite_is_called_back_between_its_parts_with_what_it_has() {
    let mut stage = Stage::new(2);
    let (file, buffer) = (stage.file.clone(), CountedBuf::new(64, &stage.alive));
    let whole = async move { file.read_exact_at(buffer, 0).await };
    let mut whole = pin!(stage.ring.handle().cancellable(whole));
    stage.control.script_answers([10]);
    assert!(poll_once(whole.as_mut()).is_pending());
    turn(&mut stage.ring);
    // A short read is answered; the next has not been begun.
    stage.control.finish_one();
    turn(&mut stage.ring);
    let Outcome::Cancelled((result, buffer)) = outcome_now(whole.as_mut()) else {
        panic!("it had more to read");
    };
    assert_eq!(errno(&result), Some(libc::ECANCELED));
    drop(buffer);
    stage.at_rest();
}

#[test]
fn a_copy_is_called_back_at_each_of_its_steps() {
    // The copy itself; the read, then the write, of what the kernel does not copy.
    for steps in 0..3 {
        let mut stage = Stage::new(4);
        stage.control.file("to", Vec::new());
        stage.control.hang(false);
        let handle = stage.ring.handle();
        let options = OpenOptions::new().write();
        let to = drive(&mut stage.ring, options.open(&handle, "to")).expect("open");
        stage.control.hang(true);
        let from = stage.file.clone();
        let copy = async move { from.copy_range(0, &to, 0, 100).await };
        let mut copy = pin!(handle.cancellable(copy));
        stage.control.script_answers([-libc::EXDEV]);
        for _ in 0..steps {
            assert!(poll_once(copy.as_mut()).is_pending());
            turn(&mut stage.ring);
            stage.control.finish_one();
            turn(&mut stage.ring);
        }
        assert!(poll_once(copy.as_mut()).is_pending());
        turn(&mut stage.ring);
        assert_eq!(stage.ring.in_flight(), 1, "step {steps}");
        let Outcome::Cancelled(result) = outcome(&mut stage.ring, copy.as_mut()) else {
            panic!("step {steps} was in flight");
        };
        assert_eq!(errno(&result), Some(libc::ECANCELED));
        assert_eq!(stage.control.content("to"), Some(Vec::new()));
        stage.at_rest();
    }
}

#[test]
fn a_stream_is_called_back_with_all_that_it_reads_ahead() {
    let mut stage = Stage::new(8);
    let handle = stage.ring.handle();
    let mut stream = stage.file.stream(0..u64::MAX, 16, 3);
    // Each chunk in a scope of its own, while the next two are read ahead.
    stage.control.hang(false);
    for _ in 0..2 {
        let chunk = drive(&mut stage.ring, handle.cancellable(stream.next()));
        assert_eq!(chunk.expect("read").map(|chunk| chunk.len()), Some(16));
    }
    stage.control.hang(true);
    // What was read ahead is used up; then the next is in the kernel.
    for _ in 0..2 {
        let mut next = pin!(handle.cancellable(stream.next()));
        while poll_once(next.as_mut()).is_pending() {
            turn(&mut stage.ring);
            stage.control.finish_one();
        }
    }
    {
        let mut next = pin!(handle.cancellable(stream.next()));
        assert!(poll_once(next.as_mut()).is_pending());
        turn(&mut stage.ring);
    }
    assert!(stage.ring.in_flight() > 0, "begun in scopes that are gone");
    let mut next = Box::pin(handle.cancellable(stream.next()));
    assert!(poll_once(next.as_mut()).is_pending());
    let Outcome::Cancelled(result) = outcome(&mut stage.ring, next.as_mut()) else {
        panic!("a read was in the kernel");
    };
    assert_eq!(errno(&result), Some(libc::ECANCELED));
    assert_eq!(stage.ring.in_flight(), 0, "all were called back");
    drop(next);
    drop(stream);
    stage.at_rest();
}

#[test]
fn several_side_by_side_are_all_called_back_however_they_are_polled() {
    for alone in [false, true] {
        // One in the kernel, one queued, two that wait for a credit.
        let mut stage = Stage::new(2);
        let bystander = stage.read();
        let parts: Vec<Part<_>> = (0..4).map(|_| stage.read() as Part<_>).collect();
        let all: Part<Vec<_>> = if alone {
            Box::pin(one_by_one(parts))
        } else {
            Box::pin(together(parts))
        };
        let mut all = pin!(stage.ring.handle().cancellable(all));
        assert!(poll_once(all.as_mut()).is_pending());
        turn(&mut stage.ring);
        let mut bystander = bystander;
        assert!(poll_once(bystander.as_mut()).is_pending());
        assert_eq!(stage.ring.handle().waiting(), 3);
        all.canceller().cancel();
        turn(&mut stage.ring);
        let Outcome::Cancelled(ended) = outcome(&mut stage.ring, all.as_mut()) else {
            panic!("the kernel has answered none");
        };
        assert_eq!(ended.len(), 4);
        ended
            .into_iter()
            .for_each(|end| drop(called_back(Outcome::Cancelled(end))));
        stage.control.hang(false);
        let (result, buffer) = drive(&mut stage.ring, bystander);
        assert_eq!((result.expect("read"), buffer.filled().len()), (64, 64));
        drop(buffer);
        stage.at_rest();
    }
}

#[test]
fn those_that_wait_for_a_credit_are_each_told_by_their_own_waker() {
    // The only credit is held by somebody else, and for long.
    let mut stage = Stage::new(1);
    let mut stranger = stage.read();
    assert!(poll_once(stranger.as_mut()).is_pending());
    turn(&mut stage.ring);
    let parts: Vec<Part<_>> = (0..3).map(|_| stage.read() as Part<_>).collect();
    let mut all = pin!(stage.ring.handle().cancellable(one_by_one(parts)));
    assert!(poll_once(all.as_mut()).is_pending());
    assert_eq!(stage.ring.handle().waiting(), 3);
    let Outcome::Cancelled(ended) = outcome_now(all.as_mut()) else {
        panic!("none was begun");
    };
    drop(ended);
    assert_eq!((stage.ring.handle().waiting(), stage.alive.get()), (0, 1));
    stage.control.finish_one();
    drop(drive(&mut stage.ring, stranger));
    stage.at_rest();
}

#[test]
fn what_the_kernel_had_no_room_for_is_called_back_when_it_comes_to_it() {
    // io_uring does not know an entry that an enter has left behind, so it cannot give that up.
    let mut stage = Stage::new(4);
    let mut left = pin!(stage.ring.handle().cancellable(stage.read()));
    assert!(poll_once(left.as_mut()).is_pending());
    stage.control.script_enters([libc::EAGAIN]);
    stage.ring.submit().expect("it is tried again");
    assert!(stage.ring.stalled());
    stage.control.faults(Faults {
        late_cancel: 100,
        ..Faults::default()
    });
    assert!(poll_once(pin!(left.as_mut().cancel())).is_pending());
    stage.control.faults(Faults::default());
    turn(&mut stage.ring);
    drop(called_back(outcome_now(left.as_mut())));
    stage.at_rest();
}

#[test]
fn an_outer_cancel_reaches_what_is_inside_however_it_is_polled() {
    for alone in [false, true] {
        let mut stage = Stage::new(2);
        let handle = stage.ring.handle();
        // Two credits: the last two wait.
        let inner: Vec<_> = (0..4).map(|_| handle.cancellable(stage.read())).collect();
        let cancellers: Vec<_> = inner.iter().map(|one| one.canceller()).collect();
        let parts = inner
            .into_iter()
            .map(|one| Box::pin(one) as Part<_>)
            .collect();
        let all: Part<Vec<_>> = if alone {
            Box::pin(one_by_one(parts))
        } else {
            Box::pin(together(parts))
        };
        let mut all = pin!(handle.cancellable(all));
        assert!(poll_once(all.as_mut()).is_pending());
        turn(&mut stage.ring);
        let Outcome::Cancelled(ended) = outcome(&mut stage.ring, all.as_mut()) else {
            panic!("the kernel has answered none");
        };
        assert!(
            ended
                .iter()
                .all(|(result, _)| errno(result) == Some(libc::ECANCELED))
        );
        assert!(cancellers.iter().all(|inner| inner.is_cancelled()));
        drop(ended);
        stage.at_rest();
    }
}

#[test]
fn an_inner_cancel_touches_nothing_else_of_the_outer_and_is_not_its_outcome() {
    let mut stage = Stage::new(4);
    let handle = stage.ring.handle();
    let inner = handle.cancellable(stage.read());
    let canceller = inner.canceller();
    let parts: Vec<Part<BufResult<usize, CountedBuf>>> = vec![Box::pin(inner), stage.read()];
    let mut all = pin!(handle.cancellable(together(parts)));
    assert!(poll_once(all.as_mut()).is_pending());
    turn(&mut stage.ring);
    canceller.cancel();
    turn(&mut stage.ring);
    assert!(poll_once(all.as_mut()).is_pending(), "the other goes on");
    assert_eq!(stage.ring.in_flight(), 1);
    assert!(!all.canceller().is_cancelled());
    stage.control.finish_one();
    turn(&mut stage.ring);
    // The outer one is cancelled now, too late for what is left of it.
    let Outcome::Completed(ended) = outcome_now(all.as_mut()) else {
        panic!("nothing was called back because of the outer one");
    };
    assert_eq!(errno(&ended[0].0), Some(libc::ECANCELED));
    assert_eq!(ended[1].0.as_ref().ok(), Some(&64));
    drop(ended);
    stage.at_rest();
}

#[test]
fn what_was_polled_elsewhere_before_belongs_to_where_it_is_polled_now() {
    let mut stage = Stage::new(1);
    let handle = stage.ring.handle();
    let (mut flying, mut waiting) = (stage.read(), stage.read());
    assert!(poll_once(flying.as_mut()).is_pending());
    let mut elsewhere = pin!(handle.cancellable(poll_fn(|cx| waiting.as_mut().poll(cx))));
    assert!(poll_once(elsewhere.as_mut()).is_pending());
    let elsewhere = elsewhere.canceller();
    turn(&mut stage.ring);
    let inner = handle.cancellable(flying);
    let parts = vec![Box::pin(inner) as Part<_>, waiting as Part<_>];
    let mut all = pin!(handle.cancellable(together(parts)));
    assert!(poll_once(all.as_mut()).is_pending());
    elsewhere.cancel();
    assert!(
        poll_once(all.as_mut()).is_pending(),
        "it is no longer there"
    );
    let Outcome::Cancelled(ended) = outcome(&mut stage.ring, all.as_mut()) else {
        panic!("the kernel has answered none");
    };
    drop(ended);
    stage.at_rest();
}

#[test]
fn a_cancellable_that_is_polled_before_it_is_put_into_another_is_reached_all_the_same() {
    let mut stage = Stage::new(1);
    let handle = stage.ring.handle();
    let mut inner: Vec<_> = (0..2)
        .map(|_| Box::pin(handle.cancellable(stage.read())))
        .collect();
    inner
        .iter_mut()
        .for_each(|one| assert!(poll_once(one.as_mut()).is_pending()));
    turn(&mut stage.ring);
    let parts = inner.into_iter().map(|one| one as Part<_>).collect();
    let mut all = pin!(handle.cancellable(one_by_one(parts)));
    assert!(poll_once(all.as_mut()).is_pending());
    let Outcome::Cancelled(ended) = outcome(&mut stage.ring, all.as_mut()) else {
        panic!("the kernel has answered none");
    };
    drop(ended);
    stage.at_rest();
}

#[test]
fn what_begins_after_a_cancel_is_refused_and_nothing_outside_is() {
    let mut stage = Stage::new(4);
    stage.control.hang(false);
    let handle = stage.ring.handle();
    let (first, second) = (stage.read(), stage.read());
    let both = async move { (first.await, second.await) };
    let mut both = pin!(handle.cancellable(both));
    both.canceller().cancel();
    let submitted = stage.ring.counters().submitted;
    let ((one, _), (two, _)) = drive(&mut stage.ring, both.as_mut());
    assert_eq!(
        (errno(&one), errno(&two)),
        (Some(libc::ECANCELED), Some(libc::ECANCELED))
    );
    assert_eq!(stage.ring.counters().submitted, submitted);
    let outside = stage.read();
    let (result, buffer) = drive(&mut stage.ring, outside);
    assert_eq!(result.expect("outside of it"), 64);
    drop(buffer);
    stage.at_rest();
}

#[test]
fn a_future_without_file_operations_completes_in_its_own_time() {
    let stage = Stage::new(1);
    let bell = Cell::new(false);
    let work = poll_fn(|_| {
        if bell.get() {
            Poll::Ready(3)
        } else {
            Poll::Pending
        }
    });
    let mut work = pin!(stage.ring.handle().cancellable(work));
    assert!(poll_once(pin!(work.as_mut().cancel())).is_pending());
    bell.set(true);
    assert_eq!(outcome_now(work.as_mut()), Outcome::Completed(3));
}

#[test]
fn a_cancel_from_within_the_future_itself_is_one() {
    let mut stage = Stage::new(4);
    let handle = stage.ring.handle();
    let slot: Rc<Cell<Option<ambidex::disk::cancel::Canceller>>> = Rc::default();
    let (own, read) = (Rc::clone(&slot), stage.read());
    let work = async move {
        own.take().expect("set below").cancel();
        read.await
    };
    let mut work = pin!(handle.cancellable(work));
    slot.set(Some(work.canceller()));
    drop(called_back(outcome_now(work.as_mut())));
    stage.at_rest();
}
