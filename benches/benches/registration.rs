//! What it costs to begin and to stop watching a descriptor.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ambidex::disk::{Choice, EpollChange, Options, Ring};
use ambidex::net::{Interest, Mode, Poller, Reactor, Source, Token};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// epoll_ctl(2) and epoll(7), by their numbers.
const EPOLL_CTL_MOD: i32 = 3;
const EPOLLIN: u32 = 1;
const EPOLLONESHOT: u32 = 1 << 30;

/// Others in the epoll set: it is a tree, so they count a little.
const CROWD: [u64; 2] = [0, 1000];

/// Few enough descriptors at a time for any limit.
const BATCH: BatchSize = BatchSize::NumIterations(64);

fn pair() -> (UnixStream, UnixStream) {
    let (here, there) = UnixStream::pair().expect("descriptors");
    here.set_nonblocking(true).expect("a socket");
    (here, there)
}

/// The two system calls alone.
fn poller(criterion: &mut Criterion) {
    for crowd in CROWD {
        let poller = Poller::new().expect("an epoll set");
        let register = |fd: &UnixStream, token| {
            let registered = poller.register(fd, Token(token), Interest::READABLE, Mode::Edge);
            registered.expect("room for one more");
        };
        let others: Vec<UnixStream> = (0..crowd).map(|_| pair().0).collect();
        for (other, token) in others.iter().zip(1..) {
            register(other, token);
        }
        let (here, _there) = pair();
        let name = format!("poller/register+deregister, {crowd} others");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| {
                register(&here, 0);
                poller.deregister(&here).expect("it is registered");
            });
        });
    }
}

/// With the reactor's table. Dropping a source closes its descriptor too, which takes it out of
/// the set; making the descriptor is not counted, and the last line says what closing costs.
fn source(criterion: &mut Criterion) {
    let reactor = Reactor::new().expect("a reactor");
    let handle = reactor.handle();
    let (here, _there) = pair();
    let duplicate = || -> OwnedFd { here.as_fd().try_clone_to_owned().expect("a descriptor") };
    criterion.bench_function("source/new+drop", |bencher| {
        bencher.iter_batched(
            duplicate,
            |fd| drop(Source::new(&handle, fd).expect("a descriptor that can be watched")),
            BATCH,
        );
    });
    criterion.bench_function("source/close alone", |bencher| {
        bencher.iter_batched(duplicate, drop, BATCH);
    });
}

/// A hundred changes of interest: one call each, or all of them in one submission of a ring, with
/// an answer for each.
fn changes(criterion: &mut Criterion) {
    let poller = Poller::new().expect("an epoll set");
    let pairs: Vec<_> = (0..100).map(|_| pair()).collect();
    for (fd, _) in &pairs {
        let registered = poller.register(fd, Token(0), Interest::READABLE, Mode::Oneshot);
        registered.expect("room for one more");
    }
    criterion.bench_function("100 changes/one by one", |bencher| {
        bencher.iter(|| {
            for (fd, _) in &pairs {
                let changed = poller.modify(fd, Token(0), Interest::READABLE, Mode::Oneshot);
                changed.expect("it is registered");
            }
        });
    });
    let options = Options {
        choice: Choice::Uring,
        ..Options::default()
    };
    let Ok(mut ring) = Ring::new(&options) else {
        eprintln!("SKIPPED 100 changes through a ring: no io_uring");
        return;
    };
    criterion.bench_function("100 changes/one submission", |bencher| {
        bencher.iter(|| {
            for (id, (fd, _)) in (0..).zip(&pairs) {
                let change = EpollChange {
                    epoll: poller.as_fd(),
                    operation: EPOLL_CTL_MOD,
                    fd: fd.as_raw_fd(),
                    events: EPOLLIN | EPOLLONESHOT,
                    data: 0,
                };
                assert!(ring.begin_change(id, &change));
            }
            ring.submit().expect("a submission");
            ring.reap(100).expect("answers");
            let mut answers = 0;
            while let Some((_, answer)) = ring.take_changed() {
                answer.expect("it is registered");
                answers += 1;
            }
            assert_eq!(answers, 100);
        });
    });
}

criterion_group!(benches, poller, source, changes);
criterion_main!(benches);
