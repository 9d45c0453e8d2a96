//! pidfd: how children end, and that nothing of them stays.

use std::os::unix::process::{ExitStatusExt, parent_id};
use std::path::Path;
use std::pin::pin;
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use ambidex::Handle;
use ambidex::net::event::Child;
use ambidex_tests::sim::net::FakeNet;
use ambidex_tests::sim::poll_once;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{cat, engine_on, run, run_on, turns};

fn shell(script: &str) -> std::process::Child {
    let mut command = Command::new("sh");
    command.args(["-c", script]).spawn().expect("sh")
}

async fn ended(io: &Handle, script: &str) -> ExitStatus {
    let child = Child::adopt(io.net(), shell(script)).expect("a child");
    child.wait().await.expect("its status")
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until `pid` has ended, and does not take its status.
fn wait_for_end(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process");
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => drop(poll(&mut [PollFd::new(&process, PollFlags::IN)], None).expect("poll")),
        // Another test has collected it.
        Err(error) => assert_eq!(error, Errno::SRCH),
    }
}

#[test]
fn a_child_that_exits_tells_its_code() {
    run(async |io| {
        for code in [0, 1, 7, 127, 255] {
            let status = ended(&io, &format!("exit {code}")).await;
            assert_eq!((status.code(), status.signal()), (Some(code), None));
            assert_eq!(status.success(), code == 0);
        }
    });
}

#[test]
fn a_child_that_is_killed_tells_the_signal() {
    run(async |io| {
        for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1] {
            let status = ended(&io, &format!("kill -{signal} $$")).await;
            assert_eq!((status.code(), status.signal()), (None, Some(signal)));
        }
        for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGRTMIN()] {
            let child = Child::adopt(io.net(), cat()).expect("a child");
            assert_eq!(child.try_wait().expect("it runs"), None);
            child.kill(0).expect("it is there");
            child.kill(signal).expect("kill");
            let status = child.wait().await.expect("its status");
            assert_eq!((status.code(), status.signal()), (None, Some(signal)));
        }
    });
}

#[test]
fn the_status_is_that_of_the_standard_library_bit_by_bit() {
    run(async |io| {
        // SIGABRT dumps core where that is allowed, and the status says whether it did.
        for script in ["exit 3", "kill -9 $$", "ulimit -c 0; kill -ABRT $$"] {
            let expected = shell(script).wait().expect("wait");
            assert_eq!(ended(&io, script).await, expected, "{script}");
        }
    });
}

#[test]
fn a_child_that_has_ended_already_is_told_at_once_and_leaves_no_zombie() {
    run(async |io| {
        let child = shell("exit 5");
        let pid = child.id();
        wait_for_end(pid);
        let child = Child::adopt(io.net(), child).expect("a child");
        assert!(exists(pid), "a zombie until it is waited for");
        match poll_once(pin!(child.wait())) {
            Poll::Ready(status) => assert_eq!(status.expect("its status").code(), Some(5)),
            Poll::Pending => panic!("it has ended"),
        }
        assert!(!exists(pid), "a zombie after it was waited for");
    });
}

#[test]
fn the_status_stays_and_reaches_every_task_that_waits() {
    run(async |io| {
        let mut process = cat();
        let stdin = process.stdin.take();
        let child = Rc::new(Child::adopt(io.net(), process).expect("a child"));
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let child = Rc::clone(&child);
                io.spawn(async move { child.wait().await.expect("its status") })
            })
            .collect();
        turns(&io).await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        drop(stdin);
        for task in tasks {
            assert!(task.await.expect("a task").success());
        }
        assert!(child.wait().await.expect("again").success());
        let error = child.kill(libc::SIGTERM).expect_err("it is gone");
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    });
}

#[test]
fn a_wait_dropped_in_time_loses_no_status() {
    run(async |io| {
        let child = Child::adopt(io.net(), shell("exit 9")).expect("a child");
        let status = loop {
            if let Poll::Ready(status) = poll_once(pin!(child.wait())) {
                break status.expect("its status");
            }
            io.yield_now().await;
        };
        assert_eq!(status.code(), Some(9));
    });
}

#[test]
fn a_stranger_cannot_be_waited_for() {
    run(async |io| {
        let parent = Child::from_pid(io.net(), parent_id()).expect("it exists");
        let error = parent.wait().await.expect_err("it is no child");
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
        let error = parent.try_wait().expect_err("still none");
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
    });
}

#[test]
fn a_number_that_is_no_process_is_refused() {
    run(async |io| {
        for (pid, errno) in [
            (0, libc::EINVAL),
            (i32::MAX as u32, libc::ESRCH),
            (u32::MAX, libc::EINVAL),
        ] {
            let error = Child::from_pid(io.net(), pid).expect_err("none");
            assert_eq!(error.raw_os_error(), Some(errno), "{pid}");
        }
        assert_eq!(io.net().sources(), 0);
    });
}

#[test]
fn a_child_dropped_while_it_runs_lives_on_and_is_collected_by_the_next_on_any_thread() {
    // The thread that drops it ends before the child does.
    let dropping = thread::spawn(|| {
        let mut process = cat();
        let (pid, stdin) = (process.id(), process.stdin.take());
        run(async |io| drop(Child::adopt(io.net(), process).expect("a child")));
        (pid, stdin)
    });
    let (pid, stdin) = dropping.join().unwrap();
    assert!(exists(pid), "it was not killed");
    drop(stdin);
    wait_for_end(pid);
    run(async |io| {
        let _next = Child::from_pid(io.net(), std::process::id()).expect("a process");
        assert!(!exists(pid), "it is a zombie");
    });
}

#[test]
fn a_kernel_without_pidfds_says_so_and_gives_the_child_back() {
    let net = Rc::new(FakeNet::default());
    run_on(&mut engine_on(&net), async |io| {
        net.script_creations([libc::ENOSYS]);
        let refused = Child::adopt(io.net(), shell("exit 4")).expect_err("refused");
        assert_eq!(refused.error.raw_os_error(), Some(libc::ENOSYS));
        assert!(
            refused
                .to_string()
                .contains(&refused.child.id().to_string())
        );
        let mut child = refused.child;
        assert_eq!(child.wait().expect("still ours").code(), Some(4));
    });
}
