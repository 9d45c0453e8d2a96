//! Mistakes and misfortunes at the end: patience without end, forks, destructors that panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::Duration;

use ambidex::Engine;
use ambidex::disk::{File, OpenOptions, Options, Pool, Ring};
use ambidex_tests::loops::run_on;
use ambidex_tests::sim::disk::fake;
use ambidex_tests::sim::{backends, drive, poll_once, turn};
use bytes::Bytes;

use crate::raw::in_a_fork;
use crate::{alone, engine};

#[test]
fn patience_without_end_is_patience() {
    let engine = Engine::new().expect("an engine");
    let ended = catch_unwind(AssertUnwindSafe(|| engine.shut_down(Duration::MAX)));
    assert_eq!(ended.expect("no panic").operations_given_up, 0);
}

#[test]
fn a_child_that_runs_or_drops_its_parents_ring_is_refused() {
    if !alone("endings::a_child_that_runs_or_drops_its_parents_ring_is_refused") {
        return;
    }
    for choice in backends("fork on a ring") {
        let mut kept = Some(engine(choice));
        let code = in_a_fork(|| {
            let engine = kept.as_mut().expect("kept");
            let ran = engine.run(async |io| io.sleep(Duration::from_secs(1)).await);
            i32::from(!ran.is_err_and(|error| error.to_string().contains("fork")))
        });
        assert_eq!(code, 0, "{choice:?}, run");
        let code = in_a_fork(|| {
            drop(kept.take());
            0
        });
        assert_eq!(code, 0, "{choice:?}, dropped");
        let mut engine = kept.expect("kept");
        run_on(&mut engine, async |io| {
            File::open(io.disk(), "/proc/self/stat")
                .await
                .expect("the parent goes on");
        });
    }
}

#[test]
fn a_pool_whose_size_overflows_when_rounded_up_is_refused() {
    for size in [usize::MAX, usize::MAX - 4095, isize::MAX as usize] {
        assert!(
            catch_unwind(|| drop(Pool::new(1, size))).is_err(),
            "{size:#x}"
        );
    }
}

#[test]
fn a_sleep_that_outlives_its_engine_ends_or_is_woken() {
    let own = Engine::new().expect("an engine");
    let io = own.handle();
    drop(own);
    let mut other = Engine::new().expect("another");
    run_on(&mut other, async |outer| {
        // The same span, begun later, by a loop that turns: by its end the other one is over too.
        let mut sleep = pin!(io.sleep(Duration::from_millis(1)));
        let bell = ambidex_tests::sim::Bell::new();
        let waker = bell.waker();
        let mut cx = std::task::Context::from_waker(&waker);
        let first = Future::poll(sleep.as_mut(), &mut cx);
        outer.sleep(Duration::from_millis(1)).await;
        assert!(first.is_ready() || bell.has_rung(), "it sleeps for ever");
    });
}

struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"boom"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

#[test]
fn a_buffer_whose_destructor_panics_costs_no_other_operation_its_descriptor() {
    let (kernel, control) = fake(4, 4, 7);
    control.file("data", b"content".to_vec());
    let mut ring = Ring::with_kernel(Box::new(kernel), &Options::default());
    let handle = ring.handle();
    let options = OpenOptions::new().write();
    let file = drive(&mut ring, options.open(&handle, "data")).expect("open");
    let before = control.descriptors();
    control.hang(true);
    {
        let mut write = Box::pin(file.write_at(Bytes::from_owner(Bomb), 0));
        let mut open = Box::pin(options.open(&handle, "data"));
        assert!(poll_once(write.as_mut()).is_pending());
        assert!(poll_once(open.as_mut()).is_pending());
        ring.submit().expect("submit");
    }
    control.hang(false);
    while control.finish_one() {}
    let reaped = catch_unwind(AssertUnwindSafe(|| ring.reap(64).expect("reap")));
    let _ = reaped;
    for _ in 0..3 {
        turn(&mut ring);
        while control.finish_one() {}
    }
    assert_eq!(control.descriptors(), before, "a descriptor is left");
}
