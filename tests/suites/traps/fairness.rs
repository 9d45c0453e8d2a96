//! That nobody starves, nothing spins, and time is told as it is.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use ambidex::disk::File;
use ambidex_tests::loops::{builder, engines, pair, run, run_on};
use ambidex_tests::sim::clock::Turned;
use ambidex_tests::sim::{backends, poll_once};

use crate::{DISK, directory};

/// Cached reads end at once, and whoever always has one more could keep the loop to itself.
#[test]
fn cached_reads_without_end_leave_turns_to_sockets() {
    let (_own, path) = directory(DISK, 65_536);
    for mut engine in engines("cached reads without end") {
        run_on(&mut engine, async |io| {
            let file = File::open(io.disk(), &path).await.expect("open");
            let (over, reads) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
            let readers: Vec<_> = (0..1_000)
                .map(|at| {
                    let (file, over, reads) = (file.clone(), over.clone(), reads.clone());
                    io.spawn(async move {
                        let mut buffer = Vec::with_capacity(64);
                        while !over.get() {
                            buffer.clear();
                            let (result, back) = file.read_at(buffer, at * 64).await;
                            assert_eq!(result.expect("read"), 64);
                            reads.set(reads.get() + 1);
                            buffer = back;
                        }
                    })
                })
                .collect();
            let (here, there) = pair(&io).await;
            let echo = io.spawn(async move {
                let mut buffer = [0; 8];
                while there.read(&mut buffer).await.expect("read") > 0 {
                    there.write_all(&buffer[..4]).await.expect("write");
                }
            });
            for _ in 0..20 {
                here.write_all(b"ping").await.expect("write");
                assert_eq!(here.read(&mut [0; 8]).await.expect("read"), 4);
            }
            over.set(true);
            drop(here);
            echo.await.expect("the echo");
            for reader in readers {
                reader.await.expect("a reader");
            }
            assert!(reads.get() >= 1_000, "they read meanwhile");
        });
    }
}

/// A pause below a millisecond, rounded down to none, would be waited for in a busy loop.
#[test]
fn timers_of_a_tenth_of_a_millisecond_do_not_spin() {
    const TIMERS: u64 = 200;
    run(async |io| {
        let before = io.metrics();
        for _ in 0..TIMERS {
            let deadline = io.now() + Duration::from_micros(100);
            io.sleep_until(deadline).await;
            assert!(io.now() >= deadline, "no timer is early");
        }
        let after = io.metrics();
        // One that sleeps, and one that finds the time just not over.
        let turns = after.turns - before.turns;
        assert!(turns <= 3 * TIMERS, "{turns} turns for {TIMERS} timers");
    });
}

/// A moment remembered from the beginning of a turn is long past after a callback that took its time.
#[test]
fn after_a_long_turn_time_is_told_and_pauses_are_counted_from_now() {
    const LONG: Duration = Duration::from_millis(50);
    const PAUSE: Duration = Duration::from_millis(10);
    for choice in backends("a long turn") {
        let clock = Turned::new();
        let engine = builder(choice).clock(clock.clone()).build();
        run_on(&mut engine.expect("an engine"), async |io| {
            let start = io.now();
            clock.turn(LONG);
            assert_eq!(io.now() - start, LONG);
            let mut pause = pin!(io.sleep(PAUSE));
            assert!(poll_once(pause.as_mut()).is_pending());
            for _ in 0..10 {
                io.yield_now().await;
                assert!(poll_once(pause.as_mut()).is_pending(), "not yet");
            }
            clock.turn(PAUSE);
            pause.await;
            assert_eq!(io.now() - start, LONG + PAUSE);
        });
    }
}
