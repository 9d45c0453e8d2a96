//! A future dropped at each moment of its life, on the real kernel and both backends: before submission, queued, in
//! the kernel, completed but not reaped, reaped but not polled, and while the ring ends.
//!
//! Each moment is tried with a buffer that counts how many of it are alive and has fences around it, with a buffer of
//! a pool, and with an open whose descriptor would be an orphan (G1, G2, G3).

#[path = "moments/scene.rs"]
mod scene;

use std::fs;
use std::io::{ErrorKind, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;
use std::task::Context;

use ambidex::disk::Choice;
use ambidex_tests::sim::disk::CountedBuf;
use ambidex_tests::sim::{Bell, Patience, backends, drive, poll_once, turn, wait_for_completion};
use scene::{Operation, Scene, poll_all};

#[test]
fn dropped_before_the_first_poll_nothing_has_happened() {
    for choice in backends("unpolled") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let before = scene.ring.counters();
        drop(scene.reads(&file));
        drop(scene.open("data"));
        assert_eq!(scene.lent(), (0, 0));
        turn(&mut scene.ring);
        assert_eq!(scene.ring.counters(), before);
    }
}

#[test]
fn dropped_while_it_waits_for_a_credit_it_leaves_the_queue_and_frees_its_buffer() {
    for choice in backends("waiting for a credit") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut ahead: Vec<Operation> = Vec::new();
        for _ in 0..2 {
            let file = file.clone();
            ahead.push(Box::pin(async move {
                file.read_at(Vec::with_capacity(64), 0)
                    .await
                    .0
                    .expect("read");
            }));
        }
        poll_all(&mut ahead);
        let mut behind = scene.reads(&file);
        behind.push(scene.open("data"));
        poll_all(&mut behind);
        assert_eq!(
            scene.ring.handle().waiting(),
            3 - 1 + 1,
            "all wait for a credit"
        );
        drop(behind);
        assert_eq!((scene.lent(), scene.ring.handle().waiting()), ((0, 0), 0));
        for operation in ahead {
            drive(&mut scene.ring, operation);
        }
        assert_eq!(scene.descriptors(), 1, "the file itself");
    }
}

#[test]
fn dropped_while_it_waits_for_its_mount_it_frees_its_buffer_and_lets_others_pass() {
    for choice in backends("waiting for a mount") {
        let mut scene = Scene::new(choice);
        let file = scene.remote();
        let first = file.clone();
        let mut ahead: Operation = Box::pin(async move {
            first
                .read_at(Vec::with_capacity(64), 0)
                .await
                .0
                .expect("read");
        });
        assert!(poll_once(ahead.as_mut()).is_pending());
        let mut behind = scene.reads(&file);
        poll_all(&mut behind);
        assert_eq!(
            (scene.ring.handle().waiting(), scene.ring.in_flight()),
            (2, 1)
        );
        let last = behind.pop().expect("the one with the pool buffer");
        drop(behind);
        assert_eq!(scene.lent(), (0, 1));
        drop(ahead);
        drive(&mut scene.ring, last);
        assert_eq!((scene.lent(), scene.ring.handle().waiting()), ((0, 0), 0));
    }
}

#[test]
fn dropped_while_queued_it_is_never_submitted_and_frees_its_buffer_at_once() {
    for choice in backends("queued") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let before = scene.ring.counters().submitted;
        let mut reads = scene.reads(&file);
        poll_all(&mut reads);
        assert_eq!((scene.lent(), scene.ring.in_flight()), ((1, 1), 2));
        drop(reads);
        assert_eq!((scene.lent(), scene.ring.in_flight()), ((0, 0), 0));
        let mut open = scene.open("data");
        assert!(poll_once(open.as_mut()).is_pending());
        drop(open);
        turn(&mut scene.ring);
        assert_eq!(scene.ring.counters().submitted, before);
        assert_eq!(scene.descriptors(), 1, "the file itself");
    }
}

#[test]
fn dropped_while_a_worker_has_it_the_buffer_stays_lent_until_the_completion() {
    for choice in backends("at a worker") {
        for which in [0, 1] {
            let mut scene = Scene::new(choice);
            let file = scene.remote();
            let hung = scene.occupy_worker();
            let mut read = scene.reads(&file).swap_remove(which);
            let lent = scene.lent();
            assert!(poll_once(read.as_mut()).is_pending());
            for _ in 0..10 {
                turn(&mut scene.ring);
            }
            assert_eq!(scene.ring.in_flight(), 2, "it waits for the worker");
            drop(read);
            assert_eq!(
                (scene.lent(), scene.ring.in_flight()),
                (lent, 2),
                "freed while lent"
            );
            drop(hung);
            let writer = scene.fifo_writer();
            scene.drain();
            assert_eq!(scene.lent(), (0, 0));
            drop(writer);
            assert_eq!(scene.descriptors(), 0, "the open that hung was an orphan");
        }
    }
}

#[test]
fn dropped_while_the_ring_waits_for_data_the_buffer_stays_lent_until_it_comes() {
    for choice in backends("read of a FIFO") {
        if choice == Choice::Threads {
            // preadv2(2) of a FIFO at an offset is ESPIPE there: nothing to wait for.
            continue;
        }
        let mut scene = Scene::new(choice);
        let (file, mut writer) = scene.fifo();
        let mut reads = scene.reads(&file);
        poll_all(&mut reads);
        for _ in 0..10 {
            turn(&mut scene.ring);
        }
        drop(reads);
        assert_eq!(
            (scene.lent(), scene.ring.in_flight()),
            ((1, 1), 2),
            "freed while lent"
        );
        let patience = Patience::new();
        while scene.ring.in_flight() > 0 {
            writer.write_all(b"x").expect("a byte");
            turn(&mut scene.ring);
            patience.check("the reads");
        }
        assert_eq!((scene.lent(), scene.ring.counters().orphans), ((0, 0), 2));
    }
}

#[test]
fn an_open_dropped_while_it_hangs_closes_what_it_opens_in_the_end() {
    for choice in backends("open that hangs") {
        let mut scene = Scene::new(choice);
        let hung = scene.occupy_worker();
        drop(hung);
        assert_eq!(scene.ring.in_flight(), 1, "it cannot be taken back");
        let writer = scene.fifo_writer();
        scene.drain();
        drop(writer);
        assert_eq!(
            (scene.descriptors(), scene.ring.counters().orphans),
            (0, 2),
            "an open and its close"
        );
    }
}

#[test]
fn dropped_with_its_completion_unreaped_it_is_cleaned_up_when_that_is_reaped() {
    for choice in backends("unreaped") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut reads = scene.reads(&file);
        poll_all(&mut reads);
        wait_for_completion(&mut scene.ring);
        drop(reads);
        assert_eq!(
            (scene.lent(), scene.ring.in_flight()),
            ((1, 1), 2),
            "freed while lent"
        );
        scene.drain();
        assert_eq!((scene.lent(), scene.ring.counters().orphans), ((0, 0), 2));

        let mut open = scene.open("data");
        assert!(poll_once(open.as_mut()).is_pending());
        wait_for_completion(&mut scene.ring);
        assert_eq!(scene.descriptors(), 2, "the kernel has opened it");
        drop(open);
        scene.drain();
        assert_eq!(scene.descriptors(), 1, "a late open is closed");
    }
}

#[test]
fn dropped_when_reaped_but_not_polled_it_is_cleaned_up_at_once() {
    for choice in backends("unpolled result") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut reads = scene.reads(&file);
        poll_all(&mut reads);
        scene.drain();
        assert_eq!(scene.lent(), (1, 1));
        drop(reads);
        assert_eq!((scene.lent(), scene.ring.counters().orphans), ((0, 0), 0));

        let mut open = scene.open("data");
        assert!(poll_once(open.as_mut()).is_pending());
        scene.drain();
        assert_eq!(scene.descriptors(), 2);
        drop(open);
        scene.drain();
        assert_eq!(scene.descriptors(), 1, "a late open is closed");
    }
}

#[test]
fn a_close_dropped_at_any_moment_closes_once() {
    for choice in backends("close") {
        for moment in 0..5 {
            let mut scene = Scene::new(choice);
            let file = scene.file();
            let mut close: Operation = Box::pin(async move { file.close().await.expect("close") });
            if moment > 0 {
                assert!(poll_once(close.as_mut()).is_pending());
            }
            match moment {
                2 => wait_for_completion(&mut scene.ring),
                3 => scene.drain(),
                4 => drive(&mut scene.ring, close.as_mut()),
                _ => {}
            }
            drop(close);
            // Were it closed twice, one of these would go with it.
            let strangers: Vec<_> = (0..8).map(|_| scene.fifo_writer()).collect();
            scene.drain();
            assert_eq!(scene.descriptors(), strangers.len(), "moment {moment}");
        }
    }
}

#[test]
fn what_is_in_the_kernel_when_the_ring_ends_stays_lent_for_ever() {
    for choice in backends("in the kernel at the end") {
        let mut scene = Scene::new(choice);
        let file = scene.remote();
        let hung = scene.occupy_worker();
        let mut read = scene.reads(&file).swap_remove(0);
        assert!(poll_once(read.as_mut()).is_pending());
        turn(&mut scene.ring);
        assert_eq!(scene.ring.shut_down(), 2);
        assert_eq!(scene.ring.shut_down(), 0, "given up once");
        assert!(poll_once(read.as_mut()).is_pending(), "it never resolves");
        drop((read, hung));
        assert_eq!(scene.lent(), (1, 0), "freed while lent");
        drop(file);
        let writer = scene.fifo_writer();
        let alive = Rc::clone(&scene.alive);
        drop((writer, scene));
        assert_eq!(alive.get(), 1);
    }
}

#[test]
fn what_hung_when_the_ring_ended_leaves_no_descriptor_when_it_goes_on() {
    let mut options = fs::OpenOptions::new();
    options.write(true).custom_flags(libc::O_NONBLOCK);
    for choice in backends("hung at the end") {
        let (patience, mut yields) = (Patience::new(), 1);
        let mut writer = loop {
            let mut scene = Scene::new(choice);
            drop(scene.occupy_worker());
            (0..yields).for_each(|_| std::thread::yield_now());
            assert_eq!(scene.ring.shut_down(), 1);
            match options.open(scene.path("fifo")) {
                Ok(writer) => break writer,
                // No worker had come to it yet: give it more time before the end.
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENXIO)),
            }
            yields *= 2;
            patience.check("a worker that opens the FIFO");
        };
        // While the other end is open or being opened, this succeeds or finds the pipe full.
        while writer.write(b"x").map_err(|error| error.kind()) != Err(ErrorKind::BrokenPipe) {
            std::thread::yield_now();
            patience.check(&format!("{choice:?}: the late open to be closed"));
        }
    }
}

#[test]
fn what_the_kernel_has_answered_when_the_ring_ends_is_not_leaked() {
    for choice in backends("answered at the end") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut reads = scene.reads(&file);
        poll_all(&mut reads);
        wait_for_completion(&mut scene.ring);
        drop(reads);
        assert_eq!(
            scene.ring.shut_down(),
            0,
            "nothing is in the kernel any more"
        );
        assert_eq!(scene.lent(), (0, 0));

        let mut scene = Scene::new(choice);
        let mut open = scene.open("data");
        assert!(poll_once(open.as_mut()).is_pending());
        wait_for_completion(&mut scene.ring);
        drop(open);
        scene.ring.shut_down();
        assert_eq!(scene.descriptors(), 0, "a late open is closed");
    }
}

#[test]
fn what_was_queued_reaped_or_waiting_when_the_ring_ends_is_freed() {
    for choice in backends("not in the kernel at the end") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut queued = scene.reads(&file);
        poll_all(&mut queued);
        let mut waiting = scene.open("data");
        let bell = Bell::new();
        let waker = bell.waker();
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        scene.ring.shut_down();
        assert!(bell.has_rung(), "whoever waits is told");
        assert!(poll_once(waiting.as_mut()).is_ready(), "and gets an error");
        drop(queued);
        assert_eq!(scene.lent(), (0, 0));
        drop(file);
        assert_eq!(scene.descriptors(), 0);

        let mut scene = Scene::new(choice);
        let mut reaped = scene.open("data");
        assert!(poll_once(reaped.as_mut()).is_pending());
        scene.drain();
        assert_eq!(scene.descriptors(), 1);
        // Files and their futures hold a handle each: it must not keep the descriptor of an orphan open.
        let handle = scene.ring.handle();
        scene.ring.shut_down();
        drop(reaped);
        assert_eq!(scene.descriptors(), 0);
        drop(handle);
    }
}

#[test]
fn a_future_forgotten_after_it_was_admitted_is_only_a_leak() {
    for choice in backends("forgotten") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        mem::forget(scene.reads(&file));
        for _ in 0..3 {
            let mut reads: Vec<Operation> = Vec::new();
            for _ in 0..2 {
                let (file, buffer) = (file.clone(), CountedBuf::new(64, &scene.alive));
                reads.push(Box::pin(async move {
                    file.read_at(buffer, 0).await.0.expect("read");
                }));
            }
            poll_all(&mut reads);
            // Queued, or answered and never looked at: either way the credit comes back.
            mem::forget(reads);
            scene.drain();
        }
        assert_eq!(scene.ring.in_flight(), 0);
        let (result, _) = drive(&mut scene.ring, file.read_at(Vec::with_capacity(64), 0));
        assert_eq!(result.expect("read"), 64);
    }
}

#[test]
fn a_future_forgotten_while_it_waits_holds_up_nobody_else() {
    for choice in backends("forgotten in the queue") {
        let mut scene = Scene::new(choice);
        let file = scene.file();
        let mut ahead = scene.reads(&file);
        poll_all(&mut ahead);
        let mut forgotten = scene.open("data");
        assert!(poll_once(forgotten.as_mut()).is_pending());
        mem::forget(forgotten);
        for operation in ahead {
            drive(&mut scene.ring, operation);
        }
        let mut behind: Operation = Box::pin(async move {
            file.read_at(Vec::with_capacity(64), 0)
                .await
                .0
                .expect("read");
        });
        // Cached, so it ends within a few turns or never.
        let ended = (0..1000).any(|_| {
            turn(&mut scene.ring);
            std::thread::yield_now();
            poll_once(behind.as_mut()).is_ready()
        });
        assert!(
            ended,
            "{choice:?}: one forgotten future stands before all others"
        );
    }
}
