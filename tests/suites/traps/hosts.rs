//! Hosts that deny io_uring or memory, and what other programs and other threads get of a loop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::RawFd;
use std::path::Path;
use std::process::Command;
use std::thread;

use ambidex::disk::{Backend, Choice, File, OpenOptions, Options, Pool};
use ambidex::net::event::{Changes, Child, Signals, Timer, UserEvent, Watch};
use ambidex::net::{TcpListener, UdpSocket, UnixDatagram, UnixSeqpacket, UnixStream};
use ambidex::{Engine, Handle};
use ambidex_tests::alone::alone;
use ambidex_tests::loops::{ANY_PORT, builder, pair, pattern, run_on};
use ambidex_tests::server::{Server, each_backend};
use ambidex_tests::sim::{backends, skip};
use ambidex_tests::tree::Tree;
use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::{DISK, directory, times};

/// Runs `work` on a thread for which `calls` answer `errno`, if their rules match.
fn denied(
    calls: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
    work: impl FnOnce() + Send + 'static,
) {
    let arch = std::env::consts::ARCH.try_into().expect("a known machine");
    let deny = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, deny, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    let confined = thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("seccomp");
        work();
    });
    confined.join().expect("what ran confined");
}

/// Reads a file and a socket.
async fn assert_works(io: Handle, path: &Path) {
    let file = File::open(io.disk(), path).await.expect("open");
    let (result, buffer) = file.read_at(Vec::with_capacity(8192), 0).await;
    assert_eq!(buffer, pattern(8192)[..result.expect("read")]);
    assert_eq!(buffer.len(), 8192);
    let (here, there) = pair(&io).await;
    here.write_all(b"ping").await.expect("write");
    assert_eq!(there.read(&mut [0; 8]).await.expect("read"), 4);
}

/// Docker and Kubernetes deny io_uring so; an old kernel lacks it so.
#[test]
fn seccomp_eperm_falls_back() {
    for denial in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        for call in [
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_register,
            libc::SYS_io_uring_enter,
        ] {
            let calls = BTreeMap::from([(call, Vec::new())]);
            denied(calls, denial, move || {
                let (_own, path) = directory(DISK, 8192);
                let told = builder(Choice::Uring).build().map(drop);
                let told = told.expect_err("who insists is told").to_string();
                assert!(
                    told.contains(&format!("os error {denial}")),
                    "{call}: {told}"
                );
                let mut engine = builder(Choice::Auto).build().expect("an engine");
                run_on(&mut engine, async |io| {
                    assert_eq!(io.capabilities().backend, Backend::Threads, "{call}");
                    assert!(!io.capabilities().downgrades.is_empty(), "and says why");
                    assert_works(io, &path).await;
                });
            });
        }
    }
}

/// `ENOMEM` for rings beyond what may be locked: a smaller one will do.
#[test]
fn enomem_memlock_falls_back() {
    if !backends("enomem_memlock_falls_back").contains(&Choice::Uring) {
        return;
    }
    for (room, backend) in [(64, Backend::Uring), (0, Backend::Threads)] {
        let beyond =
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Gt, room).expect("it");
        let rule = SeccompRule::new(vec![beyond]).expect("a rule");
        let calls = BTreeMap::from([(libc::SYS_io_uring_setup, vec![rule])]);
        denied(calls, libc::ENOMEM, move || {
            let (_own, path) = directory(DISK, 8192);
            let mut engine = Engine::new().expect("an engine");
            run_on(&mut engine, async |io| {
                let got = io.capabilities();
                assert_eq!(got.backend, backend);
                assert!(got.sq_entries <= 64 || room == 0, "{got:?}");
                assert!(!got.downgrades.is_empty(), "and says why");
                assert_works(io, &path).await;
            });
        });
    }
}

/// Since Linux 5.12 the limit counts registered memory only, which reads do without.
#[test]
fn without_memory_to_lock_nothing_is_registered_and_reads_are_the_same() {
    let name = "hosts::without_memory_to_lock_nothing_is_registered_and_reads_are_the_same";
    if !alone(name) {
        return;
    }
    let mut rights = capabilities(None).expect("what this thread may");
    rights.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, rights).expect("less than before");
    let none = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Memlock)
    };
    setrlimit(Resource::Memlock, none).expect("a limit");
    let (_own, path) = directory(DISK, 64 * 4096);
    for choice in backends(name) {
        let mut engine = builder(choice).build().expect("an engine");
        run_on(&mut engine, async |io| {
            let file = OpenOptions::new().direct().open(io.disk(), &path).await;
            let (file, pool) = (file.expect("open"), Pool::new(64, 4096));
            let registered = io.disk().register(&pool);
            assert!(registered.is_err() || choice == Choice::Threads);
            join_all((0..64).map(async |at| {
                let (result, buffer) = file.read_at(pool.take().await, at * 4096).await;
                assert_eq!(result.expect("read"), 4096);
                assert_eq!(
                    buffer[0],
                    (at * 4096 % 251) as u8,
                    "what `pattern` has there"
                );
            }))
            .await;
        });
    }
}

/// The open descriptors of this process, each with its flags of open(2) and its name.
fn descriptors() -> BTreeMap<RawFd, (u32, String)> {
    let entries = fs::read_dir("/proc/self/fdinfo").expect("/proc");
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let look = |fd: RawFd| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = u32::from_str_radix(flags.trim(), 8).ok()?;
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
        Some((fd, (flags, link.to_string_lossy().into_owned())))
    };
    numbers.filter_map(look).collect()
}

/// What another program that this one starts now has open beyond its standard streams and its own directory.
fn inherited() -> Vec<String> {
    let list = "for fd in /proc/$$/fd/*; do readlink $fd; done";
    let output = Command::new("sh").args(["-c", list]).output();
    let told = String::from_utf8(output.expect("sh").stdout).expect("names");
    let ours = told.lines().filter(|link| {
        link.contains("anon_inode") || link.contains("socket:") || link.contains(DISK)
    });
    ours.map(str::to_owned).collect()
}

/// One of everything that has a descriptor, in use.
async fn assert_nothing_is_inherited(io: Handle, before: &BTreeSet<RawFd>) {
    let (own, path) = directory(DISK, 8192);
    let net = io.net();
    let listener = TcpListener::bind(net, ANY_PORT).expect("bind");
    let streams = pair(&io).await;
    let udp = UdpSocket::bind(net, ANY_PORT).expect("bind");
    let unix = UnixStream::pair(net).expect("a pair");
    let datagrams = UnixDatagram::pair(net).expect("a pair");
    let packets = UnixSeqpacket::pair(net).expect("a pair");
    let (timer, user) = (Timer::new(net), UserEvent::new(net));
    let (timer, user) = (timer.expect("a timer"), user.expect("an event"));
    let signals = Signals::new(net, &[libc::SIGWINCH]).expect("signals");
    let watch = Watch::new(net).expect("a watch");
    watch
        .add(own.path(), Changes::CREATED)
        .expect("it is watched");
    let sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
    let child = Child::adopt(net, sleeper).expect("a child");
    let file = File::open(io.disk(), &path).await.expect("open");
    let clone = file.try_clone().expect("a clone");
    let created = OpenOptions::new().write().create();
    let created = created.open(io.disk(), own.path().join("new")).await;
    let directories = OpenOptions::new().directory();
    let dir = directories.open(io.disk(), own.path()).await;
    let dir = dir.expect("open");
    let at = OpenOptions::new()
        .open_at(&dir, "data")
        .await
        .expect("open");
    let entries = dir.read_dir().await.expect("entries");

    let all = descriptors();
    let ours = all.iter().filter(|(fd, _)| !before.contains(fd));
    let (mut count, mut leaks) = (0, Vec::new());
    for (fd, (flags, link)) in ours {
        count += 1;
        if flags & libc::O_CLOEXEC as u32 == 0 {
            leaks.push((fd, link));
        }
    }
    assert!(leaks.is_empty(), "without close-on-exec: {leaks:?}");
    assert!(count > 20, "all are there: {all:?}");
    assert_eq!(inherited(), [""; 0]);

    let read = file.read_at(Vec::with_capacity(8), 0).await;
    assert_eq!(read.0.expect("the ring goes on"), 8);
    child.kill(libc::SIGKILL).expect("kill");
    child.wait().await.expect("its end");
    drop((listener, streams, udp, unix, datagrams, packets));
    drop((timer, user, signals, watch, clone, created, at, entries));
}

#[test]
fn no_descriptor_of_a_loop_reaches_another_program() {
    let name = "hosts::no_descriptor_of_a_loop_reaches_another_program";
    if !alone(name) {
        return;
    }
    for choice in backends(name) {
        let before = descriptors().into_keys().collect();
        let mut engine = builder(choice).build().expect("an engine");
        run_on(&mut engine, async |io| {
            assert_nothing_is_inherited(io, &before).await;
        });
    }
}

/// Threads of this process, the kernel's workers for it among them.
fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("/proc").count()
}

/// On these each read takes a worker, cached or not.
#[test]
fn ten_thousand_reads_that_take_workers_take_no_more_than_allowed() {
    let name = "hosts::ten_thousand_reads_that_take_workers_take_no_more_than_allowed";
    const WORKERS: u32 = 8;
    if !alone(name) {
        return;
    }
    let overlay = match Overlay::new() {
        Ok(overlay) => Some(overlay),
        Err(error) => {
            skip(&format!("{name} on overlayfs"), &error.to_string());
            None
        }
    };
    let overlaid = overlay.as_ref().map(|overlay| overlay.merged());
    let places = [Some("/dev/shm".to_owned()), overlaid];
    for place in places.into_iter().flatten() {
        let (_own, path) = directory(&place, 64 * 4096);
        for choice in backends(name) {
            let options = Options {
                choice,
                workers_max: WORKERS,
                ..Options::default()
            };
            let mut engine = Engine::builder().disk(options).build().expect("an engine");
            let before = threads();
            let most = run_on(&mut engine, async |io| {
                let file = OpenOptions::new().punt().open(io.disk(), &path).await;
                let file = file.expect("open");
                let (mut most, batch) = (0, 1_000);
                for _ in 0..times(2, 10) {
                    join_all((0..batch).map(async |at| {
                        let (result, _) =
                            file.read_at(Vec::with_capacity(64), at % 64 * 4096).await;
                        assert_eq!(result.expect("read"), 64);
                    }))
                    .await;
                    most = most.max(threads());
                }
                most
            });
            // Local and remote files have workers apart.
            let allowed = before + 2 * WORKERS as usize;
            assert!(most <= allowed, "{choice:?} in {place}: {most} > {allowed}");
        }
    }
}

/// An overlayfs of two directories in memory, while it lives.
struct Overlay {
    own: tempfile::TempDir,
}

impl Overlay {
    fn new() -> rustix::io::Result<Overlay> {
        let own = tempfile::TempDir::new_in("/dev/shm").expect("a directory");
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(own.path().join(name)).expect("a directory");
        }
        let root = own.path().display();
        let options = format!("lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work");
        let options = std::ffi::CString::new(options).expect("a plain name");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount(
            "overlay",
            own.path().join("merged"),
            "overlay",
            flags,
            &*options,
        )?;
        Ok(Overlay { own })
    }

    fn merged(&self) -> String {
        let merged = self.own.path().join("merged");
        merged.to_str().expect("a plain name").to_owned()
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        let _ = rustix::mount::unmount(self.own.path().join("merged"), flags);
    }
}

/// sendfile(2) has no flag against SIGPIPE; sends have one.
#[test]
fn the_server_ignores_sigpipe() {
    const SIGPIPE: u64 = 1 << (libc::SIGPIPE - 1);
    let tree = Tree::new();
    tree.file("page", "page");
    each_backend(tree.path(), |server: &Server| {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("/proc");
        let ignored = status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:\t"));
        let ignored = u64::from_str_radix(ignored.expect("a mask"), 16).expect("a mask");
        assert_ne!(ignored & SIGPIPE, 0);
    });
}
