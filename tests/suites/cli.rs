//! What the command says and how it ends: errors of its caller, help, probe and signals.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use ambidex_tests::client::{Client, get};
use ambidex_tests::server::{Backend, Server, backends, binary, eventually, finish, run};
use ambidex_tests::tree::{Tree, content};
use rustix::process::Signal;

/// More than socket buffers on both sides hold.
const LARGE: usize = 64 << 20;

fn tree() -> Tree {
    let tree = Tree::new();
    tree.file("a", "alpha").file("index.html", "index");
    tree
}

/// Asserts exit status 2 and one line on standard error that names `culprit`.
fn assert_user_error(output: &Output, culprit: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(
        stderr.trim_end().lines().count(),
        1,
        "not one line: {stderr}"
    );
    assert!(
        stderr.ends_with('\n') && stderr.contains(culprit),
        "no {culprit:?} in {stderr:?}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_directory_that_cannot_be_served_is_named_in_one_line() {
    let tree = tree();
    let missing = tree.path().join("missing");
    assert_user_error(
        &Server::builder(&missing).spawn_failing(),
        missing.to_str().expect("UTF-8"),
    );
    let file = tree.path().join("a");
    assert_user_error(
        &Server::builder(&file).spawn_failing(),
        file.to_str().expect("UTF-8"),
    );
    assert_user_error(&run(&["serve", ""]), "");
    assert_user_error(&run(&["serve"]), "DIR");
}

#[test]
fn a_directory_without_permission_is_named_in_one_line() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED a_directory_without_permission: dropping privileges needs root");
        return;
    }
    let tree = tree();
    fs::set_permissions(tree.path(), Permissions::from_mode(0o755)).expect("own directory");
    // A copy, because a build directory is seldom open to everybody.
    let copy = tree.path().join("ambidex");
    fs::copy(binary(), &copy).expect("room for a copy");
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).expect("own file");
    let closed = tree.path().join("closed");
    fs::create_dir(&closed).expect("a new directory");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).expect("own directory");
    let mut command = Command::new(copy);
    command
        .arg("serve")
        .arg(&closed)
        .args(["--listen", "127.0.0.1:0"])
        .uid(65534)
        .gid(65534);
    assert_user_error(&finish(&mut command), closed.to_str().expect("UTF-8"));
}

#[test]
fn a_link_to_a_directory_can_be_served() {
    let tree = tree();
    let link = Tree::new();
    symlink(tree.path(), link.path().join("link")).expect("a new link");
    let server = Server::builder(&link.path().join("link")).start();
    assert_eq!(get(server.addr(), "/a").body, b"alpha");
}

#[test]
fn a_busy_port_is_named_in_one_line_whoever_holds_it() {
    let tree = tree();
    let stranger = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let stranger = stranger.local_addr().expect("bound");
    // Our own servers share ports between their workers, and must not with each other.
    let single = Server::builder(tree.path()).workers(1).start();
    let double = Server::builder(tree.path()).workers(2).start();
    for addr in [stranger, single.addr(), double.addr()] {
        for workers in [1, 2] {
            let second = Server::builder(tree.path()).workers(workers).listen(addr);
            assert_user_error(&second.spawn_failing(), &addr.port().to_string());
        }
    }
    assert_eq!(get(single.addr(), "/a").status, 200);
    assert_eq!(get(double.addr(), "/a").status, 200);
}

#[test]
fn a_bad_argument_is_named_in_one_line() {
    let tree = tree();
    let root = tree.path().to_str().expect("UTF-8");
    let cases: [(&[&str], &str); 11] = [
        (&["serve", root, "--bad-flag"], "--bad-flag"),
        (&["serve", root, "--listen", "nonsense"], "nonsense"),
        (&["serve", root, "--listen", "127.0.0.1:70000"], "70000"),
        (&["serve", root, "--workers", "0"], "workers"),
        (&["serve", root, "--workers", "many"], "many"),
        (&["serve", root, "--header-timeout", "soon"], "soon"),
        (&["serve", root, "--idle-timeout", "-1"], "-1"),
        (&["serve", root, "--grace-period"], "--grace-period"),
        (&["serve", root, "stray"], "stray"),
        (&["frobnicate"], "frobnicate"),
        (&["probe", "--bad-flag"], "--bad-flag"),
    ];
    for (args, culprit) in cases {
        assert_user_error(&run(args), culprit);
    }
}

#[test]
fn a_mistake_that_can_be_guessed_is_answered_with_what_was_meant() {
    let tree = tree();
    let root = tree.path().to_str().expect("UTF-8");
    let serve = format!("'ambidex serve {root}'");
    let cases: [(&[&str], &str); 4] = [
        (&[root], &serve),
        (
            &["serve", root, "--directory-listing", "html"],
            "--directory-listing=html",
        ),
        (&["serve", root, "--hidden", "false"], "--hidden=false"),
        (&["serve", root, "--prot", "80"], "--port"),
    ];
    for (args, meant) in cases {
        assert_user_error(&run(args), meant);
    }
    let stray = run(&["serve", root, "--check", "stray"]);
    assert_user_error(&stray, "stray");
    let said = String::from_utf8_lossy(&stray.stderr).into_owned();
    assert!(!said.contains("--check=stray"), "{said}");
    let strange = OsStr::from_bytes(b"\xff");
    let output = Command::new(binary())
        .args([
            OsStr::new("serve"),
            strange,
            OsStr::new("--hidden"),
            OsStr::new("no"),
        ])
        .output();
    assert_user_error(&output.expect("it runs"), "--hidden=no");
    let server = Server::builder(tree.path()).env("AMBIDEX_INDEX", "a");
    let wrong = server.env("AMBIDEX_HIDDEN", "perhaps").spawn_failing();
    assert_user_error(&wrong, "AMBIDEX_HIDDEN");
}

#[test]
fn a_misspelt_variable_is_named_at_the_start_and_nobody_elses() {
    let tree = tree();
    let server = Server::builder(tree.path()).env("AMBIDEX_HIDEN", "1");
    let mut server = server.env("AMBIDEX_SERVICE_HOST", "10.0.0.1").start();
    assert!(server.terminate().success());
    let said = server.stderr();
    assert!(
        said.contains("AMBIDEX_HIDEN") && said.contains("did you mean AMBIDEX_HIDDEN?"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn an_address_that_is_not_ours_is_named_in_one_line() {
    let tree = tree();
    // TEST-NET-1: documentation only, no machine has it.
    let server = Server::builder(tree.path()).listen("192.0.2.1:8080");
    assert_user_error(&server.spawn_failing(), "192.0.2.1");
}

#[test]
fn a_bad_backend_name_is_named_in_one_line() {
    let tree = tree();
    for value in ["fast", "uring,threads", "1"] {
        let output = Server::builder(tree.path())
            .env("AMBIDEX_DISK", value)
            .spawn_failing();
        assert_user_error(&output, "AMBIDEX_DISK");
    }
}

#[test]
fn help_and_version_are_answers_not_errors() {
    for args in [&["--help"][..], &["-h"], &["help"]] {
        let output = run(args);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert!(text.contains("serve") && text.contains("probe"), "{text}");
    }
    let help = run(&["serve", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    for flag in [
        "--listen",
        "--workers",
        "--header-timeout",
        "--idle-timeout",
        "--grace-period",
    ] {
        assert!(
            help.status.success() && text.contains(flag),
            "{flag} is not in {text}"
        );
    }
    let version = run(&["--version"]);
    let text = String::from_utf8_lossy(&version.stdout);
    assert_eq!(
        text.trim_end(),
        format!("ambidex {}", env!("CARGO_PKG_VERSION"))
    );
    assert!(version.status.success() && version.stderr.is_empty());
}

#[test]
fn probe_reports_for_people_and_for_programs() {
    let output = run(&["probe"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("io_uring"),
        "{output:?}"
    );

    let output = run(&["probe", "--json"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let probe: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let probe = probe.as_object().expect("an object");
    for key in ["backend", "io_uring", "kernel", "nofile", "memlock"] {
        assert!(probe.contains_key(key), "no {key} in {probe:?}");
    }
    let backend = probe["backend"].as_str().expect("a name");
    assert!(["uring", "threads"].contains(&backend), "{backend}");
}

#[test]
fn the_only_line_on_standard_output_is_the_address() {
    let tree = tree();
    for backend in backends() {
        let mut server = Server::builder(tree.path())
            .backend(backend)
            .workers(2)
            .start();
        assert_eq!(get(server.addr(), "/a").body, b"alpha");
        assert!(server.terminate().success());
        assert_eq!(
            server.stdout(),
            format!("listening on http://{}\n", server.addr())
        );
        assert_eq!(server.stderr(), "");
    }
}

#[test]
fn what_is_missing_in_the_directory_is_said_at_the_start() {
    let tree = Tree::new();
    tree.file("a", "alpha");
    let pages = [
        "--page404",
        "gone.html",
        "--page50x",
        "/a",
        "--spa=app.html",
    ];
    let server = Server::builder(tree.path()).args(pages);
    let mut server = server.start();
    assert_eq!(get(server.addr(), "/none").status, 404);
    assert!(server.terminate().success());
    let said = server.stderr();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].contains("gone.html") && lines[1].contains("app.html"),
        "{said}"
    );
    assert!(lines[2].contains("--directory-listing"), "{said}");
}

/// Waits until nobody answers at `addr` any more.
fn wait_until_refused(addr: SocketAddr) {
    eventually("new connections are refused", || {
        let Ok(mut client) = Client::try_connect(addr) else {
            return true;
        };
        client.send_refusable(b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        client.try_read_response(false).is_err()
    });
}

#[test]
fn a_signal_ends_an_idle_server_with_status_zero() {
    let tree = tree();
    for backend in backends() {
        for signal in [Signal::TERM, Signal::INT] {
            for workers in [1, 2] {
                let server = Server::builder(tree.path())
                    .backend(backend)
                    .workers(workers);
                let mut server = server.start();
                server.signal(signal);
                assert_eq!(
                    server.wait().code(),
                    Some(0),
                    "{signal:?} with {workers} workers"
                );
                assert_eq!(server.stderr(), "");
            }
        }
    }
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let tree = tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        // Waiting for any of these would outlast the hang guard.
        let long = [
            "--grace-period",
            "600",
            "--idle-timeout",
            "600",
            "--header-timeout",
            "600",
        ];
        let mut server = server.args(long).start();
        let mut used = Client::connect(server.addr());
        let mut fresh = Client::connect(server.addr());
        assert_eq!(used.get("/a").body, b"alpha");
        assert_eq!(server.terminate().code(), Some(0));
        used.expect_closed();
        fresh.expect_closed();
    }
}

fn large_tree() -> Tree {
    let tree = tree();
    tree.file("large", content(9, LARGE));
    tree
}

fn start_large(server: &Server) -> Client {
    let mut client = Client::connect(server.addr());
    client.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n");
    let head = client.read_head().expect("a response");
    assert_eq!((head.status, head.content_length()), (200, LARGE as u64));
    client
}

#[test]
fn a_response_in_flight_is_finished_and_nothing_after_it() {
    let tree = large_tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let mut server = server
            .args(["--grace-period", "600", "--idle-timeout", "600"])
            .start();
        let mut client = start_large(&server);
        let mut idle = Client::connect(server.addr());
        assert_eq!(idle.get("/a").body, b"alpha");
        server.signal(Signal::TERM);
        idle.expect_closed();
        wait_until_refused(server.addr());
        client.send_refusable(b"GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
        let mut body = vec![0; LARGE];
        client.read_exact(&mut body).expect("the whole response");
        assert!(body == content(9, LARGE), "the body is not the file");
        client.expect_closed();
        assert_eq!(server.wait().code(), Some(0));
        server.assert_sound();
    }
}

#[test]
fn a_client_that_never_reads_is_left_behind_after_the_grace_period() {
    let tree = large_tree();
    for backend in backends() {
        let server = Server::builder(tree.path()).backend(backend);
        let mut server = server
            .args(["--grace-period", "1", "--idle-timeout", "600"])
            .start();
        let _stalled = start_large(&server);
        assert_eq!(server.terminate().code(), Some(0));
        server.assert_sound();
    }
}

#[test]
fn the_environment_chooses_the_backend() {
    let tree = tree();
    for value in ["auto", "threads"]
        .into_iter()
        .chain(backends().into_iter().map(Backend::name))
    {
        let server = Server::builder(tree.path())
            .env("AMBIDEX_DISK", value)
            .start();
        assert_eq!(get(server.addr(), "/a").body, b"alpha", "{value}");
        let ring = fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("it is running");
        let ring = ring.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let ring = ring
            .filter(|target| target.ends_with("anon_inode:[io_uring]"))
            .count();
        match value {
            "threads" => assert_eq!(ring, 0),
            "uring" => assert_eq!(ring, 1),
            _ => {}
        }
    }
}
