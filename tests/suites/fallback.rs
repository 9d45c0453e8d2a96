//! G9 and G6: system calls that are denied, missing or fail now and then, through `strace -e inject`.
//! The server says what it does without, and answers every request all the same.

use std::path::PathBuf;

use ambidex_tests::client::{self, Client};
use ambidex_tests::rig::skipped;
use ambidex_tests::rig::strace;
use ambidex_tests::server::{Backend, Builder, Server, backends};
use ambidex_tests::tree::{Tree, content};
use tempfile::TempDir;

/// A document root, and a place for the trace that proves the faults happened.
struct Stage {
    tree: Tree,
    folder: TempDir,
}

impl Stage {
    /// `None` where this machine cannot run it.
    fn new(name: &str) -> Option<Self> {
        if let Some(reason) = strace::missing() {
            skipped(name, &reason);
            return None;
        }
        let tree = Tree::new();
        tree.file("page", content(1, 1000))
            .file("deep/er/page", content(2, 100_000))
            .file("dir/index.html", content(3, 500));
        let folder = tempfile::tempdir().expect("a temporary directory");
        Some(Self { tree, folder })
    }

    fn trace(&self) -> PathBuf {
        self.folder.path().join("trace")
    }

    /// The command under which `call` fails as `how` says, in the words of `strace -e inject`.
    fn wrapper(&self, call: &str, how: &str) -> Vec<String> {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{how}"));
        strace::wrapper(&self.trace(), &["-e", &trace, "-e", &inject])
    }

    /// A server for which `call` fails as `how` says.
    fn builder(&self, call: &str, how: &str) -> Builder {
        Server::builder(self.tree.path()).wrapper(&self.wrapper(call, how))
    }

    /// Ends the server and checks that it met the fault at all.
    fn finish(&self, mut server: Server) {
        server.assert_sound();
        assert_eq!(server.terminate().code(), Some(0), "{}", server.stderr());
        let calls = strace::read(&self.trace()).expect("strace writes");
        let met = calls.iter().any(strace::Call::injected);
        assert!(met, "the server never made the call that was to fail");
    }

    /// Fetches all pages `rounds` times, on one connection and on new ones.
    fn fetch(&self, server: &Server, rounds: usize) {
        let pages = [
            ("/page", content(1, 1000)),
            ("/deep/er/page", content(2, 100_000)),
            ("/dir/", content(3, 500)),
        ];
        let mut kept = Client::connect(server.addr());
        for round in 0..rounds {
            for (path, expected) in &pages {
                let response = kept.get(path);
                assert_eq!(response.status, 200, "{path} in round {round}");
                assert!(response.body == *expected, "{path} in round {round}");
            }
            let (path, expected) = &pages[round % pages.len()];
            let response = client::get(server.addr(), path);
            assert!(response.body == *expected, "{path} on a new connection");
        }
    }
}

/// Lines on standard error that say the disk is read by threads.
fn confessions(stderr: &str) -> usize {
    stderr
        .lines()
        .filter(|line| line.to_lowercase().contains("thread"))
        .count()
}

fn serves_on_threads_without(name: &str, call: &str) {
    let Some(stage) = Stage::new(name) else {
        return;
    };
    for errno in ["EPERM", "ENOSYS", "ENOMEM"] {
        let how = format!("error={errno}");
        let server = stage.builder(call, &how).workers(2).start();
        stage.fetch(&server, 5);
        let stderr = server.stderr();
        assert_eq!(confessions(&stderr), 1, "{call} {errno}: {stderr:?}");
        stage.finish(server);
    }
}

#[test]
fn serves_on_threads_without_a_ring() {
    serves_on_threads_without("serves_on_threads_without_a_ring", "io_uring_setup");
}

#[test]
fn serves_on_threads_without_registration() {
    serves_on_threads_without(
        "serves_on_threads_without_registration",
        "io_uring_register",
    );
}

#[test]
fn refuses_when_told_to_use_the_ring() {
    let Some(stage) = Stage::new("refuses_when_told_to_use_the_ring") else {
        return;
    };
    for errno in ["EPERM", "ENOSYS", "ENOMEM"] {
        // A server that does start must go too, and it would outlive a strace that is killed.
        let mut wrapper = ["timeout", "-s", "KILL", "20"].map(str::to_owned).to_vec();
        wrapper.extend(stage.wrapper("io_uring_setup", &format!("error={errno}")));
        let builder = Server::builder(stage.tree.path()).wrapper(&wrapper);
        let output = builder.backend(Backend::Uring).spawn_failing();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errno}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{errno}: {stderr}");
        assert!(output.stdout.is_empty(), "{errno}: it said it listens");
    }
}

#[test]
fn interrupted_sleep() {
    let Some(stage) = Stage::new("interrupted_sleep") else {
        return;
    };
    for backend in backends() {
        let builder = stage.builder("epoll_pwait2", "error=EINTR:when=1+2");
        let server = builder.backend(backend).start();
        stage.fetch(&server, 75);
        stage.finish(server);
    }
}

/// A kernel before 5.11, or a sandbox from before it, has no `epoll_pwait2`.
#[test]
fn sleep_with_nanoseconds_missing() {
    let Some(stage) = Stage::new("sleep_with_nanoseconds_missing") else {
        return;
    };
    for (backend, errno) in backends()
        .into_iter()
        .zip(["ENOSYS", "EPERM"].iter().cycle())
    {
        let builder = stage.builder("epoll_pwait2", &format!("error={errno}"));
        let server = builder.backend(backend).start();
        stage.fetch(&server, 10);
        stage.finish(server);
    }
}

#[test]
fn failing_submission() {
    let Some(stage) = Stage::new("failing_submission") else {
        return;
    };
    if !backends().contains(&Backend::Uring) {
        return skipped("failing_submission", "no io_uring");
    }
    for errno in ["EINTR", "EAGAIN", "EBUSY"] {
        let builder = stage.builder("io_uring_enter", &format!("error={errno}:when=3+5"));
        let server = builder.backend(Backend::Uring).start();
        stage.fetch(&server, 75);
        stage.finish(server);
    }
}

#[test]
fn failing_accept() {
    let Some(stage) = Stage::new("failing_accept") else {
        return;
    };
    for backend in backends() {
        for errno in ["EMFILE", "ENFILE", "ECONNABORTED", "EINTR"] {
            let builder = stage.builder("accept4", &format!("error={errno}:when=2+3"));
            let server = builder.backend(backend).start();
            stage.fetch(&server, 20);
            stage.finish(server);
        }
    }
}

/// Old kernels have no `openat2` and old sandboxes deny it; the walk that replaces it follows no link.
#[test]
fn openat2_denied() {
    let Some(stage) = Stage::new("openat2_denied") else {
        return;
    };
    let outside = Tree::new();
    outside.file("secret", "secret");
    let tree = &stage.tree;
    tree.symlink(outside.path().join("secret"), "link-out")
        .symlink(outside.path(), "link-dir")
        .symlink("page", "link-in")
        .symlink("deep", "link-deep");
    for errno in ["ENOSYS", "EPERM"] {
        let builder = stage.builder("openat2", &format!("error={errno}"));
        let server = builder.backend(Backend::Threads).start();
        stage.fetch(&server, 5);
        let refused = [
            "/link-out",
            "/link-dir/secret",
            "/link-in",
            "/link-deep/er/page",
            "/../page",
            "/deep/../../page",
            "/deep/..%2f..%2fpage",
            "/%2e%2e/page",
            "//etc/hostname",
        ];
        for path in refused {
            let response = client::get(server.addr(), path);
            let status = response.status;
            let body = String::from_utf8_lossy(&response.body).into_owned();
            assert!(
                (400..500).contains(&status),
                "{errno} {path}: {status} {body}"
            );
        }
        stage.finish(server);
    }
}
