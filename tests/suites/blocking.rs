//! Work on other threads, awaited in the loop.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;

use ambidex::{Engine, JoinError};

#[test]
fn no_more_are_at_work_than_there_are_threads() {
    let mut engine = Engine::builder().cpu_threads(2).build().unwrap();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    engine
        .run(async |io| {
            let tasks: Vec<_> = (0..200)
                .map(|number| {
                    let (io, now, most) = (io.clone(), Arc::clone(&now), Arc::clone(&most));
                    io.clone().spawn(async move {
                        let work = move || {
                            let here = now.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(here, Ordering::SeqCst);
                            std::thread::yield_now();
                            now.fetch_sub(1, Ordering::SeqCst);
                            number * 2
                        };
                        io.spawn_blocking(work).await.unwrap()
                    })
                })
                .collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.unwrap(), number * 2);
            }
        })
        .unwrap();
    assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
}

#[test]
fn a_panic_at_work_is_carried_to_who_waits_for_it() {
    let mut engine = Engine::new().unwrap();
    engine
        .run(async |io| {
            let ended = io.spawn_blocking(|| panic!("on purpose")).await;
            let Err(JoinError::Panicked(panic)) = ended else {
                panic!("{ended:?}");
            };
            let text = panic.into_inner().downcast::<&str>().unwrap();
            assert_eq!(*text, "on purpose");
            assert_eq!(io.spawn_blocking(|| 1).await.unwrap(), 1);
        })
        .unwrap();
}

#[test]
fn work_given_up_while_it_waits_is_never_begun_and_gives_way() {
    let mut engine = Engine::builder().cpu_threads(1).build().unwrap();
    engine
        .run(async |io| {
            let (release, held) = mpsc::channel::<()>();
            let first = io.spawn({
                let io = io.clone();
                async move {
                    io.spawn_blocking(move || held.recv().is_ok())
                        .await
                        .unwrap()
                }
            });
            io.yield_now().await;
            {
                let mut second = pin!(io.spawn_blocking(|| unreachable!("it was given up")));
                let polled = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx))).await;
                let polled: Poll<Result<(), JoinError>> = polled;
                assert!(polled.is_pending());
            }
            let third = io.spawn({
                let io = io.clone();
                async move { io.spawn_blocking(|| 3).await.unwrap() }
            });
            io.yield_now().await;
            release.send(()).unwrap();
            assert!(first.await.unwrap());
            assert_eq!(third.await.unwrap(), 3);
        })
        .unwrap();
}
