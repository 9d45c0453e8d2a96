//! Timers, signals, children, file watches and calls of other threads, in the same loop as everything else: each
//! arrives, none is lost by a wait that was dropped, and what cannot be is told as it is (G2, G4, G6, G8).

#[path = "events/child.rs"]
mod child;
#[path = "events/interval.rs"]
mod interval;
#[path = "events/signal.rs"]
mod signal;
#[path = "events/timer.rs"]
mod timer;
#[path = "events/user.rs"]
mod user;
#[path = "events/watch.rs"]
mod watch;

use std::pin::pin;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ambidex::net::event::{Changes, Child, Signals, Timer, UserEvent, Watch};
use ambidex::{Engine, Handle};
use ambidex_tests::sim::net::FakeNet;
use ambidex_tests::sim::{HANG, poll_once};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Long enough for what is due at once; only ever waited for to see that nothing comes.
const NOTHING: Duration = Duration::from_millis(5);

fn run<T>(main: impl AsyncFnOnce(Handle) -> T) -> T {
    let mut engine = Engine::new().expect("an engine");
    run_on(&mut engine, main)
}

/// Runs `main`, but not for ever.
fn run_on<T>(engine: &mut Engine, main: impl AsyncFnOnce(Handle) -> T) -> T {
    let done = engine.run(async |io| {
        let limit = io.clone();
        limit.timeout(HANG, main(io)).await
    });
    done.expect("the loop").expect("it hangs")
}

fn engine_on(net: &Rc<FakeNet>) -> Engine {
    Engine::builder()
        .net_kernel(net.clone())
        .build()
        .expect("an engine")
}

/// A child that runs until its standard input is closed.
fn cat() -> std::process::Child {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.spawn().expect("cat")
}

/// Has the loop look at the kernel a few times.
async fn turns(io: &Handle) {
    for _ in 0..3 {
        io.yield_now().await;
    }
}

/// Each kind of source, with a way to wait for it and a way to make it happen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Timer,
    Signal,
    Child,
    Watch,
    User,
}

const KINDS: [Kind; 5] = [
    Kind::Timer,
    Kind::Signal,
    Kind::Child,
    Kind::Watch,
    Kind::User,
];

/// Makes a source, polls it `polls[0]` times, lets its event happen, polls `polls[1]` times after as many turns of the
/// loop, and drops it. Each poll is of a wait of its own, dropped at once.
async fn drop_at(io: &Handle, kind: Kind, polls: [usize; 2]) {
    macro_rules! act {
        ($source:expr, $wait:ident, $happen:expr) => {{
            let source = $source;
            for _ in 0..polls[0] {
                assert!(poll_once(pin!(source.$wait())).is_pending(), "{kind:?}");
            }
            $happen(&source);
            for _ in 0..polls[1] {
                turns(io).await;
                let _ = poll_once(pin!(source.$wait()));
            }
        }};
    }
    match kind {
        Kind::Timer => act!(
            Timer::new(io.net()).expect("a timer"),
            tick,
            |timer: &Timer| timer.once(Duration::ZERO).expect("set")
        ),
        // Blocked in this thread only: that none is sent to the process is the point of `signal.rs`.
        Kind::Signal => act!(
            Signals::new(io.net(), &[libc::SIGWINCH]).expect("signals"),
            recv,
            |_: &Signals| ()
        ),
        Kind::Child => act!(
            Child::adopt(io.net(), cat()).expect("a child"),
            wait,
            |child: &Child| child.kill(libc::SIGKILL).expect("kill")
        ),
        Kind::Watch => {
            let directory = tempfile::tempdir().expect("a directory");
            let watch = Watch::new(io.net()).expect("a watch");
            watch.add(directory.path(), Changes::ALL).expect("watched");
            act!(watch, next, |_: &Watch| {
                std::fs::write(directory.path().join("new"), "x").expect("write");
            });
        }
        Kind::User => act!(
            UserEvent::new(io.net()).expect("an event"),
            notified,
            |event: &UserEvent| event.notifier().notify()
        ),
    }
}

#[test]
fn every_source_may_be_dropped_at_any_moment() {
    run(async |io| {
        for kind in KINDS {
            for before in 0..3 {
                for after in 0..3 {
                    drop_at(&io, kind, [before, after]).await;
                    assert_eq!(io.net().sources(), 0, "{kind:?}");
                }
            }
        }
        // The loop still hears of others.
        let timer = Timer::new(io.net()).expect("a timer");
        timer.once(Duration::ZERO).expect("set");
        assert_eq!(timer.tick().await.expect("tick"), 1);
    });
}

/// Makes a source of `kind` and drops it.
fn make(io: &Handle, kind: Kind) -> std::io::Result<()> {
    match kind {
        Kind::Timer => Timer::new(io.net()).map(drop),
        Kind::Signal => Signals::new(io.net(), &[libc::SIGWINCH]).map(drop),
        Kind::Child => Child::from_pid(io.net(), std::process::id()).map(drop),
        Kind::Watch => Watch::new(io.net()).map(drop),
        Kind::User => UserEvent::new(io.net()).map(drop),
    }
}

#[test]
fn without_descriptors_no_source_is_made_and_the_error_says_so() {
    let net = Rc::new(FakeNet::default());
    run_on(&mut engine_on(&net), async |io| {
        for kind in KINDS {
            for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSYS] {
                net.script_creations([errno]);
                let error = make(&io, kind).expect_err("refused");
                assert_eq!(error.raw_os_error(), Some(errno), "{kind:?}");
                assert_eq!(io.net().sources(), 0);
                make(&io, kind).expect("the shortage is over");
            }
        }
    });
}

#[test]
fn at_the_limit_of_descriptors_every_source_says_so_and_the_loop_goes_on() {
    let name = "at_the_limit_of_descriptors_every_source_says_so_and_the_loop_goes_on";
    if !signal::alone(name, &[libc::SIGWINCH]) {
        return;
    }
    run(async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        let limit = getrlimit(Resource::Nofile);
        let none = Rlimit {
            current: Some(0),
            ..limit
        };
        setrlimit(Resource::Nofile, none).expect("setrlimit");
        let refused = KINDS.map(|kind| make(&io, kind));
        timer.once(Duration::from_millis(1)).expect("set");
        let tick = timer.tick().await;
        setrlimit(Resource::Nofile, limit).expect("setrlimit");
        assert_eq!(tick.expect("tick"), 1);
        for (kind, refused) in KINDS.into_iter().zip(refused) {
            let error = refused.expect_err("refused");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{kind:?}");
            make(&io, kind).expect("there is room again");
        }
        assert_eq!(io.net().sources(), 1);
    });
}

#[test]
fn a_read_that_is_interrupted_is_read_again() {
    let net = Rc::new(FakeNet::default());
    run_on(&mut engine_on(&net), async |io| {
        let timer = Timer::new(io.net()).expect("a timer");
        timer.once(Duration::ZERO).expect("set");
        net.script_looks([libc::EINTR; 3]);
        assert_eq!(timer.tick().await.expect("tick"), 1);
        net.script_looks([libc::EINTR; 3]);
        let child = Child::adopt(io.net(), cat()).expect("a child");
        child.kill(libc::SIGKILL).expect("kill");
        child.wait().await.expect("ended");
    });
}

#[test]
fn two_engines_of_one_thread_hear_each_of_their_own() {
    let (mut one, mut two) = (Engine::new().expect("one"), Engine::new().expect("two"));
    let events = [&one, &two].map(|engine| UserEvent::new(engine.handle().net()).expect("event"));
    let timers = [&one, &two].map(|engine| Timer::new(engine.handle().net()).expect("timer"));
    let watches = [&one, &two].map(|engine| Watch::new(engine.handle().net()).expect("watch"));
    let directory = tempfile::tempdir().expect("a directory");
    for watch in &watches {
        watch.add(directory.path(), Changes::CREATED).expect("add");
    }
    std::fs::write(directory.path().join("new"), "x").expect("write");
    for number in 0..2 {
        events[number].notifier().notify();
        timers[number].once(Duration::ZERO).expect("set");
    }
    events[1].notifier().notify();
    for (number, engine) in [(1, &mut two), (0, &mut one)] {
        run_on(engine, async |_| {
            let count = events[number].notified().await.expect("notified");
            assert_eq!(count, 1 + number as u64);
            assert_eq!(timers[number].tick().await.expect("tick"), 1);
            assert_eq!(watches[number].next().await.expect("event").name, b"new");
        });
    }
}

#[test]
fn events_may_outlive_the_engine_they_were_made_on() {
    let engine = Engine::new().expect("an engine");
    let event = UserEvent::new(engine.handle().net()).expect("an event");
    let timer = Timer::new(engine.handle().net()).expect("a timer");
    drop(engine);
    event.notifier().notify();
    timer.once(Duration::ZERO).expect("set");
    // Pending would be for ever.
    let late = poll_once(pin!(timer.tick()));
    assert!(matches!(late, std::task::Poll::Ready(Err(_))));
    drop((event, timer));
}
