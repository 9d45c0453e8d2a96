//! Out of descriptors: whatever is made then is refused by its errno, leaves nothing behind, and is made later.

use std::fs;
use std::future::{Future, poll_fn};
use std::io;
use std::iter;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::time::Duration;

use ambidex::disk::policy::Place;
use ambidex::disk::{Choice, File, OpenOptions, Options, Ring};
use ambidex::net::event::{Timer, UserEvent};
use ambidex::net::{
    Poller, Reactor, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixSeqpacket, UnixStream,
};
use ambidex::{Engine, Handle};
use ambidex_tests::loops::{ANY_PORT, run_on};
use ambidex_tests::rig::processes::FewProcesses;
use ambidex_tests::rig::skipped;
use ambidex_tests::sim::{backends, drive, turn_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{DISK, alone, engines};

/// Lets this process open `more` descriptors; all that it may when dropped.
struct Limit(Rlimit);

impl Limit {
    fn to(more: u64) -> Limit {
        let whole = getrlimit(Resource::Nofile);
        // The kernel gives out the lowest number that is free, and none beyond the limit.
        let free = fs::File::open("/dev/null").expect("null").as_raw_fd() as u64;
        let limit = Rlimit {
            current: Some(free + more),
            ..whole
        };
        setrlimit(Resource::Nofile, limit).expect("a limit");
        Limit(whole)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).expect("the limit before");
    }
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Makes one of each kind and drops it; in the same order each time.
async fn makings(
    io: &Handle,
    dir: &File,
    peer: &TcpListener,
) -> Vec<(&'static str, io::Result<()>)> {
    let net = io.net();
    let address = peer.local_addr().expect("bound");
    let options = OpenOptions::new();
    vec![
        ("listener", TcpListener::bind(net, ANY_PORT).map(drop)),
        ("stream", TcpStream::connect(net, address).await.map(drop)),
        ("udp", UdpSocket::bind(net, ANY_PORT).map(drop)),
        ("unix", UnixStream::pair(net).map(drop)),
        ("datagram", UnixDatagram::pair(net).map(drop)),
        ("seqpacket", UnixSeqpacket::pair(net).map(drop)),
        ("timer", Timer::new(net).map(drop)),
        ("user event", UserEvent::new(net).map(drop)),
        (
            "open",
            File::open(io.disk(), "/proc/self/stat").await.map(drop),
        ),
        ("open at", options.open_at(dir, "data").await.map(drop)),
        ("clone", dir.try_clone().map(drop)),
        ("read_dir", dir.read_dir().await.map(drop)),
        ("reactor", Reactor::new().map(drop)),
        ("poller", Poller::new().map(drop)),
    ]
}

#[test]
fn without_descriptors_nothing_is_made_and_the_engine_goes_on() {
    let name = "shortage::without_descriptors_nothing_is_made_and_the_engine_goes_on";
    if !alone(name) {
        return;
    }
    for (choice, mut engine) in engines("without descriptors") {
        let own = tempfile::tempdir_in(DISK).expect("a directory");
        fs::write(own.path().join("data"), b"content").expect("a file");
        run_on(&mut engine, async |io| {
            let options = OpenOptions::new().directory();
            let dir = options.open(io.disk(), own.path()).await.expect("open");
            let peer = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
            // Whatever is made once for the process is made now.
            makings(&io, &dir, &peer).await;
            settle(&io).await;
            let before = (open_descriptors(), io.net().sources());
            let refused = {
                let _limit = Limit::to(0);
                makings(&io, &dir, &peer).await
            };
            for (name, made) in refused {
                let error = made.expect_err(name);
                assert_eq!(
                    error.raw_os_error(),
                    Some(libc::EMFILE),
                    "{choice:?}, {name}"
                );
            }
            settle(&io).await;
            assert_eq!((open_descriptors(), io.net().sources()), before);
            for (name, made) in makings(&io, &dir, &peer).await {
                made.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        });
    }
}

/// Waits until what was dropped is closed.
async fn settle(io: &Handle) {
    io.yield_now().await;
    while io.disk().in_flight() > 0 {
        io.yield_now().await;
    }
}

#[test]
fn an_engine_that_gets_some_of_its_descriptors_keeps_none() {
    if !alone("shortage::an_engine_that_gets_some_of_its_descriptors_keeps_none") {
        return;
    }
    for choice in backends("some of its descriptors") {
        let build = || {
            let options = Options {
                choice,
                ..Options::default()
            };
            Engine::builder().disk(options).build()
        };
        drop(build().expect("an engine"));
        let before = open_descriptors();
        let mut refused = 0;
        for more in 0..16 {
            let limit = Limit::to(more);
            let built = build();
            drop(limit);
            match built {
                Ok(mut engine) => {
                    run_on(&mut engine, async |io| io.sleep(Duration::ZERO).await);
                }
                Err(error) => {
                    refused += 1;
                    let text = error.to_string();
                    let named = error.raw_os_error() == Some(libc::EMFILE);
                    assert!(named || text.contains("descriptors"), "{choice:?}: {text}");
                }
            }
            assert_eq!(open_descriptors(), before, "{choice:?} with {more}");
        }
        assert!((1..16).contains(&refused), "{choice:?}: {refused}");
    }
}

#[test]
fn a_mount_first_seen_with_the_last_descriptor_is_judged_again() {
    if !alone("shortage::a_mount_first_seen_with_the_last_descriptor_is_judged_again") {
        return;
    }
    let own = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let path = own.path().join("data");
    fs::write(&path, b"content").expect("a file");
    for choice in backends("the last descriptor") {
        let options = Options {
            choice,
            ..Options::default()
        };
        let mut ring = Ring::new(&options).expect("a ring");
        let handle = ring.handle();
        // A thread that starts opens files of its own; from now on it is there.
        drop(drive(&mut ring, File::open(&handle, "/proc/self/stat")).expect("open"));
        turn_until(&mut ring, "the close", |ring| !ring.is_busy());
        let limit = Limit::to(8);
        let mut full: Vec<_> = iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        full.pop();
        let opened = drive(&mut ring, File::open(&handle, &path));
        let last = opened.expect("room for one");
        fs::File::open("/dev/null").expect_err("it was the last");
        drop((limit, full));
        let later = drive(&mut ring, File::open(&handle, &path)).expect("open");
        assert_eq!(later.place(), Place::Memory, "{choice:?}");
        assert!(last.place().punt(), "{choice:?}: nothing was known of it");
    }
}

#[test]
fn accepting_without_descriptors_says_so_and_loses_no_connection() {
    if !alone("shortage::accepting_without_descriptors_says_so_and_loses_no_connection") {
        return;
    }
    let mut engine = crate::engine(Choice::Threads);
    run_on(&mut engine, async |io| {
        let listener = TcpListener::bind(io.net(), ANY_PORT).expect("bind");
        let address = listener.local_addr().expect("bound");
        let client = TcpStream::connect(io.net(), address)
            .await
            .expect("connect");
        let refused = {
            let _limit = Limit::to(0);
            listener.accept().await
        };
        let error = refused.expect_err("no descriptor");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        let (server, _) = listener.accept().await.expect("it has waited");
        server.write_all(b"x").await.expect("write");
        assert_eq!(client.read(&mut [0; 4]).await.expect("read"), 1);
    });
}

/// io_uring answers ECANCELED, unasked, to what it has not begun when it cannot make a thread for it. Nobody
/// has cancelled anything: the work waits until a thread can be had.
#[test]
fn work_that_the_ring_can_have_no_thread_for_is_done_by_another() {
    const NAME: &str = "shortage::work_that_the_ring_can_have_no_thread_for_is_done_by_another";
    if !backends(NAME).contains(&Choice::Uring) || !alone(NAME) {
        return;
    }
    let group = match FewProcesses::new() {
        Ok(group) => group,
        Err(error) => return skipped(NAME, &error.to_string()),
    };
    group.attach(std::process::id()).expect("a group");
    let mut ring = Ring::new(&Options {
        choice: Choice::Uring,
        ..Options::default()
    })
    .expect("a ring");
    let handle = ring.handle();
    // Not opened by the ring, which would then have a thread.
    let file = tempfile::tempfile_in(DISK).expect("a file");
    let retries = || handle.counters().operation_retries;
    let mut sync = |is_lifted: bool| {
        let fd = file.try_clone().expect("a descriptor");
        let file = File::from_fd(&handle, fd.into()).expect("a file");
        group.freeze().expect("a limit");
        let (before, mut tries) = (retries(), 0);
        let mut sync = pin!(file.sync_all());
        let synced = drive(
            &mut ring,
            poll_fn(|cx| {
                tries += u32::from(is_lifted && retries() > before);
                if tries == 10 {
                    group.thaw().expect("no limit");
                }
                sync.as_mut().poll(cx)
            }),
        );
        synced.expect("nobody has cancelled it");
        group.thaw().expect("no limit");
    };
    // First no thread can be had at all; then one of our own is there.
    sync(true);
    sync(false);
    let refused = group.refused().expect("a counter");
    assert!(refused > 0, "no thread was wanted");
    assert!(retries() > 0, "it was never given up");
}
