//! Called back at each moment, on the real kernel and both backends.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use ambidex::disk::{Cancellable, Choice, File, Outcome};
use ambidex_tests::sim::disk::CountedBuf;
use ambidex_tests::sim::{Bell, backends, drive, poll_once, turn, wait_for_completion};

use super::scene::{Operation, Scene, poll_all};
use super::{Read, called_back, carried_out, outcome, outcome_now, poll_with, reading};

fn read(scene: &Scene, file: &File) -> Cancellable<Read> {
    let buffer = CountedBuf::new(512, &scene.alive);
    scene.ring.handle().cancellable(reading(file, buffer))
}

/// Nothing is in flight, nobody waits, no buffer is out, and as many files are open.
fn at_rest(scene: &mut Scene, files: usize) {
    scene.drain();
    let handle = scene.ring.handle();
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
    assert_eq!((scene.lent(), scene.descriptors()), ((0, 0), files));
}

#[test]
fn before_its_first_poll_nothing_was_asked_of_the_kernel() {
    for choice in backends("before the first poll") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let asked = |scene: &Scene| {
            let counters = scene.ring.counters();
            (counters.enters, counters.submitted, counters.calls_here)
        };
        let before = asked(&scene);
        let mut read = pin!(read(&scene, &file));
        drop(called_back(outcome_now(read.as_mut())));
        turn(&mut scene.ring);
        assert_eq!(asked(&scene), before);
        at_rest(&mut scene, 1);
    }
}

#[test]
fn while_it_waits_for_a_credit_it_leaves_the_line_at_once() {
    for choice in backends("waiting for a credit") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut ahead = scene.reads(&file);
        poll_all(&mut ahead);
        let (mut waiting, bell) = (pin!(read(&scene, &file)), Bell::new());
        assert!(poll_with(waiting.as_mut(), &bell).is_pending());
        assert_eq!(scene.ring.handle().waiting(), 1);
        waiting.canceller().cancel();
        assert!(bell.has_rung(), "it could go on and was not told");
        drop(called_back(outcome_now(waiting.as_mut())));
        assert_eq!(scene.ring.handle().waiting(), 0);
        ahead
            .into_iter()
            .for_each(|read| drive(&mut scene.ring, read));
        at_rest(&mut scene, 1);
    }
}

#[test]
fn while_it_waits_for_its_mount_it_leaves_that_line_too() {
    for choice in backends("waiting for a mount") {
        let mut scene = Scene::new(choice);
        let file = scene.remote();
        let mut ahead = scene.reads(&file);
        assert!(poll_once(ahead[0].as_mut()).is_pending());
        let (mut waiting, bell) = (pin!(read(&scene, &file)), Bell::new());
        assert!(poll_with(waiting.as_mut(), &bell).is_pending());
        assert!(poll_once(ahead[1].as_mut()).is_pending());
        assert_eq!(scene.ring.handle().waiting(), 2);
        waiting.canceller().cancel();
        assert!(bell.has_rung(), "it could go on and was not told");
        drop(called_back(outcome_now(waiting.as_mut())));
        // The one behind it is next.
        ahead
            .into_iter()
            .for_each(|read| drive(&mut scene.ring, read));
        at_rest(&mut scene, 0);
    }
}

#[test]
fn while_it_holds_its_place_of_the_mount_and_waits_for_a_credit_both_lines_go_on() {
    for choice in backends("waiting for both") {
        let mut scene = Scene::new(choice);
        let (file, remote) = (scene.file(), scene.remote());
        let mut ahead = scene.reads(&file);
        poll_all(&mut ahead);
        let mut waiting = pin!(read(&scene, &remote));
        assert!(poll_once(waiting.as_mut()).is_pending());
        drop(called_back(outcome_now(waiting.as_mut())));
        ahead
            .into_iter()
            .for_each(|read| drive(&mut scene.ring, read));
        // The only place of the mount is free again.
        for read in scene.reads(&remote) {
            drive(&mut scene.ring, read);
        }
        at_rest(&mut scene, 1);
    }
}

#[test]
fn while_it_is_queued_it_is_never_submitted() {
    for choice in backends("queued") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let before = scene.ring.counters().submitted;
        let (mut queued, bell) = (pin!(read(&scene, &file)), Bell::new());
        assert!(poll_with(queued.as_mut(), &bell).is_pending());
        queued.canceller().cancel();
        assert!(
            bell.has_rung() && scene.ring.in_flight() == 0,
            "ended at once"
        );
        drop(called_back(outcome_now(queued.as_mut())));
        turn(&mut scene.ring);
        assert_eq!(scene.ring.counters().submitted, before);
        at_rest(&mut scene, 1);
    }
}

#[test]
fn while_it_waits_for_a_thread_it_comes_back_at_once_and_who_has_the_thread_goes_on() {
    for choice in backends("waiting for a thread") {
        let mut scene = Scene::new(choice);
        let file = scene.remote();
        let hung = scene.occupy_worker();
        let mut waiting = pin!(read(&scene, &file));
        assert!(poll_once(waiting.as_mut()).is_pending());
        for _ in 0..3 {
            turn(&mut scene.ring);
        }
        assert_eq!(scene.ring.in_flight(), 2);
        drop(called_back(outcome(&mut scene.ring, waiting.as_mut())));
        assert_eq!((scene.lent(), scene.ring.in_flight()), ((0, 0), 1));
        let writer = scene.fifo_writer();
        drive(&mut scene.ring, hung);
        drop(writer);
        at_rest(&mut scene, 0);
    }
}

#[test]
fn while_the_ring_waits_for_data_it_comes_back() {
    for choice in backends("read of a FIFO") {
        if choice == Choice::Threads {
            // preadv2(2) of a FIFO at an offset is ESPIPE there: nothing to wait for.
            continue;
        }
        let mut scene = Scene::new(choice);
        let (file, writer) = scene.fifo();
        let mut other = scene.reads(&file).swap_remove(0);
        assert!(poll_once(other.as_mut()).is_pending());
        let mut hung = pin!(read(&scene, &file));
        assert!(poll_once(hung.as_mut()).is_pending());
        for _ in 0..10 {
            turn(&mut scene.ring);
        }
        assert_eq!(scene.ring.in_flight(), 2, "nothing comes");
        drop(called_back(outcome(&mut scene.ring, hung.as_mut())));
        assert_eq!(scene.ring.in_flight(), 1, "the other was not asked");
        rustix::io::write(&writer, b"x").expect("a byte");
        drive(&mut scene.ring, other);
        drop((file, writer));
        at_rest(&mut scene, 0);
    }
}

#[test]
fn while_a_thread_is_inside_the_call_it_is_waited_for_and_completes() {
    for choice in backends("inside the call") {
        let mut scene = Scene::new(choice);
        let (handle, path) = (scene.ring.handle(), scene.path("fifo"));
        let opening = handle.clone();
        let open = async move { File::open(&opening, path).await };
        let mut open = pin!(handle.cancellable(open));
        assert!(poll_once(open.as_mut()).is_pending());
        // Opened here without waiting only while the other end is being opened.
        let writer = loop {
            turn(&mut scene.ring);
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
            match rustix::fs::open(scene.path("fifo"), flags, rustix::fs::Mode::empty()) {
                Ok(writer) => break writer,
                Err(error) => assert_eq!(error, rustix::io::Errno::NXIO),
            }
            std::thread::yield_now();
        };
        let Outcome::Completed(file) = outcome(&mut scene.ring, open.as_mut()) else {
            panic!("it was carried out");
        };
        assert_eq!(scene.descriptors(), 2);
        drop((file, writer));
        at_rest(&mut scene, 0);
    }
}

#[test]
fn when_the_kernel_has_answered_it_comes_too_late() {
    for choice in backends("answered") {
        for reaped in [false, true] {
            let mut scene = Scene::new(choice);
            let file = scene.file();
            let mut read = pin!(read(&scene, &file));
            assert!(poll_once(read.as_mut()).is_pending());
            wait_for_completion(&mut scene.ring);
            if reaped {
                scene.drain();
            }
            let buffer = carried_out(outcome(&mut scene.ring, read.as_mut()));
            assert_eq!(buffer.filled(), [7; 512]);
            drop(buffer);
            at_rest(&mut scene, 1);
        }
    }
}

#[test]
fn what_was_begun_and_answered_before_the_scope_saw_it_is_carried_out() {
    for choice in backends("begun outside") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        for done in [false, true] {
            let buffer = CountedBuf::new(512, &scene.alive);
            let Ok(begun) = file.try_read_at(buffer, 0) else {
                panic!("a credit is free");
            };
            if done {
                scene.drain();
            }
            let begun: Read = Box::pin(begun);
            let mut read = pin!(scene.ring.handle().cancellable(begun));
            let outcome = outcome_now(read.as_mut());
            drop(if done {
                carried_out(outcome)
            } else {
                called_back(outcome)
            });
        }
        at_rest(&mut scene, 1);
    }
}

#[test]
fn after_its_end_nothing_happens_to_whoever_has_its_slot() {
    for choice in backends("after the end") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut first = pin!(read(&scene, &file));
        let canceller = first.canceller();
        let (result, buffer) = drive(&mut scene.ring, first.as_mut());
        assert_eq!(result.expect("read"), 512);
        drop(buffer);
        let mut successor = pin!(read(&scene, &file));
        assert!(poll_once(successor.as_mut()).is_pending());
        canceller.cancel();
        assert!(canceller.is_cancelled() && !successor.canceller().is_cancelled());
        let (result, buffer) = drive(&mut scene.ring, successor.as_mut());
        assert_eq!(result.expect("read"), 512);
        drop(buffer);
        canceller.cancel();
        at_rest(&mut scene, 1);
    }
}

/// Where an operation is when it is called back.
const MOMENTS: [&str; 5] = ["unpolled", "waiting", "queued", "unreaped", "reaped"];

/// Brings `operation` to `moment`. What stands in its way is returned.
fn bring<F: Future + ?Sized>(
    scene: &mut Scene,
    mut operation: Pin<&mut F>,
    moment: &str,
) -> Vec<Operation> {
    let mut ahead = Vec::new();
    if moment == "waiting" {
        // Of two mounts, as far as can be known: each has a place, and both have a credit.
        for path in ["/proc/nothing", "/nothing"] {
            let handle = scene.ring.handle();
            ahead.push(Box::pin(async move {
                let dropped = File::open(&handle, path).await;
                assert!(dropped.is_err());
            }) as Operation);
        }
        ahead.iter_mut().for_each(|open| {
            let _ = poll_once(open.as_mut());
        });
    }
    if moment != "unpolled" {
        assert!(poll_once(operation.as_mut()).is_pending());
    }
    match moment {
        "unreaped" => wait_for_completion(&mut scene.ring),
        "reaped" => scene.drain(),
        _ => {}
    }
    ahead
}

#[test]
fn an_open_called_back_at_any_moment_leaves_a_file_or_nothing() {
    for choice in backends("open") {
        for moment in MOMENTS {
            for dropped in [false, true] {
                let mut scene = Scene::new(choice);
                let (handle, path) = (scene.ring.handle(), scene.path("data"));
                let opening = handle.clone();
                let open = async move { File::open(&opening, path).await };
                let mut open = Box::pin(handle.cancellable(open));
                let ahead = bring(&mut scene, open.as_mut(), moment);
                if dropped {
                    open.canceller().cancel();
                    drop(open);
                } else {
                    let done = moment == "unreaped" || moment == "reaped";
                    let outcome = outcome(&mut scene.ring, open.as_mut());
                    assert_eq!(outcome.is_cancelled(), !done, "{choice:?} {moment}");
                    let opened = outcome.into_inner();
                    assert_eq!(
                        (opened.is_ok(), scene.descriptors()),
                        (done, usize::from(done))
                    );
                }
                ahead
                    .into_iter()
                    .for_each(|open| drive(&mut scene.ring, open));
                at_rest(&mut scene, 0);
            }
        }
    }
}

#[test]
fn a_close_called_back_at_any_moment_closes_once() {
    for choice in backends("close") {
        for moment in MOMENTS {
            for dropped in [false, true] {
                let mut scene = Scene::new(choice);
                let file = scene.file();
                let close = scene.ring.handle().cancellable(file.close());
                let mut close = Box::pin(close);
                let ahead = bring(&mut scene, close.as_mut(), moment);
                if dropped {
                    close.canceller().cancel();
                    drop(close);
                } else {
                    let closed = outcome(&mut scene.ring, close.as_mut());
                    assert_eq!(closed.is_cancelled(), closed.into_inner().is_err());
                }
                // Were it closed twice, one of these would go with it.
                let strangers: Vec<_> = (0..8).map(|_| scene.fifo_writer()).collect();
                ahead
                    .into_iter()
                    .for_each(|open| drive(&mut scene.ring, open));
                scene.drain();
                assert_eq!(scene.descriptors(), strangers.len(), "{choice:?} {moment}");
            }
        }
    }
}

#[test]
fn a_read_dropped_while_it_is_called_back_frees_its_buffer_once() {
    for choice in backends("dropped meanwhile") {
        for moment in MOMENTS {
            for asked in [false, true] {
                let mut scene = Scene::new(choice);
                let file = scene.file();
                let mut read = Box::pin(read(&scene, &file));
                let ahead = bring(&mut scene, read.as_mut(), moment);
                if asked {
                    let ended = poll_once(pin!(read.as_mut().cancel()));
                    assert_eq!(
                        ended.is_pending(),
                        moment == "unreaped",
                        "{choice:?} {moment}"
                    );
                    drop(ended);
                } else {
                    read.canceller().cancel();
                }
                drop(read);
                ahead
                    .into_iter()
                    .for_each(|open| drive(&mut scene.ring, open));
                at_rest(&mut scene, 1);
            }
        }
    }
}

#[test]
fn asking_again_after_the_question_was_dropped_tells_the_same() {
    for choice in backends("asked twice") {
        let mut scene = Scene::new(choice);
        let file = scene.remote();
        let hung = scene.occupy_worker();
        let mut waiting = pin!(read(&scene, &file));
        assert!(poll_once(waiting.as_mut()).is_pending());
        turn(&mut scene.ring);
        let first = poll_once(pin!(waiting.as_mut().cancel()));
        // Pending, for the answer is there only when it is reaped.
        assert!(matches!(first, Poll::Pending));
        drop(called_back(outcome(&mut scene.ring, waiting.as_mut())));
        let writer = scene.fifo_writer();
        drive(&mut scene.ring, hung);
        drop(writer);
        at_rest(&mut scene, 0);
    }
}
