//! Two engines in one thread, and the things of one awaited in the other. They wait for their own engine, and go on as
//! soon as it does: the documentation of both crates says so.

use std::cell::RefCell;
use std::fs;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use ambidex::disk::{File, OpenOptions};
use ambidex::net::event::Timer;
use ambidex::{Engine, Handle};
use ambidex_tests::loops::{pair, run_on};
use ambidex_tests::sim::poll_once;

use crate::{DISK, engine, engines};

type Work = Pin<Box<dyn Future<Output = ()>>>;

/// Something of each kind that takes its engine to end.
async fn works(io: &Handle) -> Vec<(&'static str, Work)> {
    let file = tempfile::NamedTempFile::new_in(DISK).expect("a file");
    fs::write(file.path(), b"content").expect("content");
    let options = OpenOptions::new().write();
    let opened = options.open(io.disk(), file.path()).await.expect("open");
    let (here, there) = pair(io).await;
    let timer = Timer::new(io.net()).expect("a timer");
    let (joined, sleeping, own) = (io.spawn(async { 7 }), io.clone(), io.clone());
    vec![
        (
            "a write",
            Box::pin(async move {
                let (result, _) = opened.write_at(b"CON".to_vec(), 0).await;
                assert_eq!(result.expect("write"), 3);
                opened.sync_all().await.expect("sync");
                assert_eq!(fs::read(file.path()).expect("content"), b"CONtent");
            }),
        ),
        (
            "an open",
            Box::pin(async move {
                File::open(own.disk(), "/proc/self/stat")
                    .await
                    .expect("open");
            }),
        ),
        (
            "a read of a socket",
            Box::pin(async move {
                there.write_all(b"x").await.expect("write");
                assert!(there.try_read(&mut [0]).is_none());
                assert_eq!(here.read(&mut [0; 4]).await.expect("read"), 1);
            }),
        ),
        (
            "a timer",
            Box::pin(async move {
                timer.once(Duration::ZERO).expect("set");
                assert_eq!(timer.tick().await.expect("tick"), 1);
            }),
        ),
        (
            "a task",
            Box::pin(async move { assert_eq!(joined.await.expect("joined"), 7) }),
        ),
        (
            "a sleep",
            Box::pin(async move { sleeping.sleep(Duration::from_millis(1)).await }),
        ),
    ]
}

#[test]
fn what_is_awaited_in_another_engine_ends_once_its_own_turns() {
    for (choice, mut outer) in engines("awaited in another engine") {
        let mut inner = engine(choice);
        let works = run_on(&mut inner, async |io| works(&io).await);
        for (name, work) in works {
            run_on(&mut outer, async |io| {
                let task = io.spawn(work);
                for _ in 0..3 {
                    io.yield_now().await;
                }
                // In the other engine nothing turns it; from within a task of the first it is turned by hand.
                while !task.is_finished() {
                    inner.turn_without_sleep().expect("the loop");
                    io.yield_now().await;
                }
                task.await.expect(name);
            });
        }
    }
}

#[test]
fn while_only_a_stranger_turns_an_operation_waits_and_can_be_given_up() {
    for (choice, mut outer) in engines("given up in another engine") {
        let own = tempfile::tempdir_in(DISK).expect("a directory");
        fs::write(own.path().join("data"), b"content").expect("content");
        let mut inner = engine(choice);
        let file = run_on(&mut inner, async |io| {
            File::open(io.disk(), own.path().join("data"))
                .await
                .expect("open")
        });
        run_on(&mut outer, async |io| {
            let read = file.read_at(Vec::with_capacity(8), 0);
            io.timeout(Duration::ZERO, read)
                .await
                .expect_err("nobody turns its ring");
        });
        // The engine that was left alone has lost nothing.
        let length = run_on(&mut inner, async |_| {
            file.read_at(Vec::with_capacity(8), 0).await.0
        });
        assert_eq!(length.expect("read"), 7);
        assert_eq!(inner.handle().disk().in_flight(), 0);
    }
}

#[test]
fn names_and_transfers_of_two_engines_are_refused_on_either() {
    for (choice, mut outer) in engines("two engines in one operation") {
        let mut inner = engine(choice);
        let open = async |io: Handle| File::open(io.disk(), "/proc/self/stat").await;
        let (mine, yours) = (run_on(&mut outer, open), run_on(&mut inner, open));
        let (mine, yours) = (mine.expect("open"), yours.expect("open"));
        run_on(&mut outer, async |_| {
            for (from, to) in [(&mine, &yours), (&yours, &mine)] {
                let copied = from.copy_range(0, to, 0, 1).await;
                assert_eq!(copied.expect_err("refused").kind(), ErrorKind::InvalidInput);
                let renamed = from.at("a").rename_to(to.at("b"), Default::default()).await;
                assert_eq!(
                    renamed.expect_err("refused").kind(),
                    ErrorKind::InvalidInput
                );
            }
        });
    }
}

#[test]
fn an_engine_runs_inside_another_inside_another() {
    let mut engines: Vec<_> = (0..8).map(|_| Engine::new().expect("an engine")).collect();
    let order = Rc::new(RefCell::new(Vec::new()));
    fn deeper(engines: &mut [Engine], order: &Rc<RefCell<Vec<usize>>>) {
        let Some((engine, rest)) = engines.split_first_mut() else {
            return;
        };
        let left = rest.len();
        let ran = engine.run(async |io| {
            let task = io.spawn(async { 1 });
            deeper(rest, order);
            assert_eq!(task.await.expect("joined"), 1);
            order.borrow_mut().push(left);
        });
        ran.expect("the loop");
    }
    deeper(&mut engines, &order);
    assert!(order.borrow().is_sorted(), "the innermost ends first");
}

#[test]
fn an_engine_may_end_inside_a_task_of_another_whatever_it_still_does() {
    for (choice, mut outer) in engines("ended inside another") {
        let mut inner = engine(choice);
        let works = run_on(&mut inner, async |io| works(&io).await);
        run_on(&mut outer, async |_| {
            let mut works = works;
            for (_, work) in &mut works {
                assert!(poll_once(work.as_mut()).is_pending());
            }
            drop(inner);
            // Whatever they answer now, dropping them is harmless.
            drop(works);
        });
    }
}
