//! fork(2): a loop stays with the process that made it. The child is told so, and the parent does not notice.

use std::io;
use std::time::Duration;

use ambidex::disk::{Choice, File, Ring};
use ambidex::net::event::Timer;
use ambidex::net::{Events, Interest, Mode, Poller, Reactor, TcpStream, Token};
use ambidex::{Engine, Handle};
use ambidex_tests::loops::{pair, run_on};
use ambidex_tests::sim::{drive, poll_once};

use crate::raw::in_a_fork;
use crate::{alone, engine};

fn says_fork<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.to_string().contains("fork"))
}

/// A connection on which somebody waits, and a file.
async fn scene(io: &Handle) -> (TcpStream, TcpStream, File) {
    let (here, there) = pair(io).await;
    assert!(
        io.timeout(Duration::ZERO, here.read(&mut [0]))
            .await
            .is_err()
    );
    let file = File::open(io.disk(), "/proc/self/stat")
        .await
        .expect("open");
    (here, there, file)
}

async fn assert_all_is_well(io: Handle, (here, there, file): (TcpStream, TcpStream, File)) {
    let reading = io.spawn(async move { here.read(&mut [0; 8]).await });
    io.yield_now().await;
    there.write_all(b"abc").await.expect("write");
    assert_eq!(reading.await.expect("joined").expect("read"), 3);
    let (result, _) = file.read_at(Vec::with_capacity(8), 0).await;
    assert_eq!(result.expect("read"), 8);
    let timer = Timer::new(io.net()).expect("a timer");
    timer.once(Duration::ZERO).expect("set");
    assert_eq!(timer.tick().await.expect("tick"), 1);
}

#[test]
fn a_child_that_runs_its_parents_engine_is_refused_and_the_parent_goes_on() {
    let name = "fork::a_child_that_runs_its_parents_engine_is_refused_and_the_parent_goes_on";
    if !alone(name) {
        return;
    }
    let mut engine = engine(Choice::Threads);
    let scene = run_on(&mut engine, async |io| scene(&io).await);
    let code = in_a_fork(|| {
        let ran = engine.run(async |io| io.sleep(Duration::from_secs(1)).await);
        i32::from(!says_fork(ran))
    });
    assert_eq!(code, 0);
    run_on(&mut engine, async |io| assert_all_is_well(io, scene).await);
}

#[test]
fn a_child_that_drops_what_it_got_of_an_engine_takes_nothing_from_the_parent() {
    let name = "fork::a_child_that_drops_what_it_got_of_an_engine_takes_nothing_from_the_parent";
    if !alone(name) {
        return;
    }
    let mut kept = Some(engine(Choice::Threads));
    let mut scene = Some(run_on(kept.as_mut().expect("kept"), async |io| {
        scene(&io).await
    }));
    for engine_first in [true, false] {
        let code = in_a_fork(|| {
            if engine_first {
                drop(kept.take());
                drop(scene.take());
            } else {
                drop(scene.take());
                drop(kept.take());
            }
            0
        });
        assert_eq!(code, 0);
    }
    let (mut engine, scene) = (kept.expect("kept"), scene.expect("kept"));
    run_on(&mut engine, async |io| assert_all_is_well(io, scene).await);
}

#[test]
fn a_child_makes_an_engine_of_its_own_and_a_grandchild_too() {
    if !alone("fork::a_child_makes_an_engine_of_its_own_and_a_grandchild_too") {
        return;
    }
    let works = || {
        let mut engine = Engine::new().expect("an engine");
        run_on(&mut engine, async |io| {
            let scene = scene(&io).await;
            assert_all_is_well(io, scene).await;
        });
    };
    works();
    let code = in_a_fork(|| {
        works();
        in_a_fork(|| {
            works();
            0
        })
    });
    assert_eq!(code, 0);
}

#[test]
fn an_epoll_set_in_a_child_neither_changes_nor_waits() {
    if !alone("fork::an_epoll_set_in_a_child_neither_changes_nor_waits") {
        return;
    }
    let poller = Poller::new().expect("a set");
    let mut reactor = Reactor::new().expect("a reactor");
    let (reader, _writer) = io::pipe().expect("a pipe");
    poller
        .register(&reader, Token(1), Interest::READABLE, Mode::Level)
        .expect("registered");
    let code = in_a_fork(|| {
        let mut events = Events::with_capacity(1);
        let refused = [
            says_fork(poller.deregister(&reader)),
            says_fork(poller.modify(&reader, Token(2), Interest::WRITABLE, Mode::Edge)),
            says_fork(poller.wait(&mut events, None)),
            says_fork(reactor.turn(None)),
        ];
        i32::from(refused != [true; 4])
    });
    assert_eq!(code, 0);
    poller.deregister(&reader).expect("still registered");
    reactor.turn(Some(Duration::ZERO)).expect("it turns");
}

#[test]
fn threads_in_a_child_are_none_and_a_ring_on_them_says_so() {
    if !alone("fork::threads_in_a_child_are_none_and_a_ring_on_them_says_so") {
        return;
    }
    let options = ambidex::disk::Options {
        choice: Choice::Threads,
        ..Default::default()
    };
    let mut ring = Ring::new(&options).expect("a ring");
    let handle = ring.handle();
    // So that there was a thread before, which the child's copy remembers.
    let file = drive(&mut ring, File::open(&handle, "/proc/self/stat")).expect("open");
    let code = in_a_fork(|| {
        let mut read = Box::pin(file.read_at(Vec::with_capacity(8), 0));
        let pending = poll_once(read.as_mut()).is_pending();
        let refused = says_fork(ring.submit());
        drop((read, file.clone()));
        i32::from(!pending || !refused || ring.shut_down() > 1)
    });
    assert_eq!(code, 0);
    let (result, _) = drive(&mut ring, file.read_at(Vec::with_capacity(8), 0));
    assert_eq!(result.expect("read"), 8);
}
