//! The server inside the test's own process, through its library: for options as values. What only
//! a process has (flags, signals, descriptors) is tested with [`crate::server`].

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ambidex::disk::Choice;
use ambidex_server::listen::Address;
use ambidex_server::workers::{self, Error, Options};
use ambidex_server::{Config, Files, Limits, Stop};

use crate::client::{Client, Response};
use crate::server::{Backend, HANG_GUARD, backends};

/// A server of one worker on a free loopback port; stopped when dropped.
#[derive(Debug)]
pub struct Hosted {
    addr: SocketAddr,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// Runs `test` against a fresh server of `root`, with these files, on each backend, and checks that
/// the worker lives and serves afterwards.
///
/// # Panics
/// When a worker failed or hangs.
pub fn each_backend(root: &Path, files: &Files, test: impl Fn(&Hosted)) {
    for backend in backends() {
        let server = Hosted::start(root, backend, files.clone());
        test(&server);
        server.assert_sound();
    }
}

impl Hosted {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(root: &Path, backend: Backend, files: Files) -> Hosted {
        let limits = Limits {
            grace_period: Duration::from_secs(1),
            ..Limits::default()
        };
        let config = Config {
            limits,
            files,
            ..Config::default()
        };
        let options = Options {
            root: Some(root.to_owned()),
            listen: vec![Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))],
            hosts: Vec::new(),
            workers: 1,
            config,
            disk: match backend {
                Backend::Uring => Choice::Uring,
                Backend::Threads => Choice::Threads,
            },
        };
        let stop = Stop::default();
        let (sender, receiver) = mpsc::channel();
        let order = stop.clone();
        let thread = thread::spawn(move || {
            workers::run(&options, &order, |started| {
                if let Some(Address::Tcp(address)) = started.addresses.first() {
                    let _ = sender.send(*address);
                }
            })
        });
        let addr = receiver.recv_timeout(HANG_GUARD).expect("it starts");
        Hosted {
            addr,
            stop,
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A connection to it.
    pub fn client(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Fetches `path` with these header fields, on a connection of its own.
    pub fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.client().request("GET", path, fields)
    }

    /// Fetches `path` on a connection of its own.
    pub fn get(&self, path: &str) -> Response {
        self.get_with(path, &[])
    }

    /// Asserts that the worker still answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn assert_sound(&self) {
        let status = self.get("/no-such-thing-as-this.txt").status;
        assert_eq!(status, 404, "the worker does not answer as before");
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.stop.set();
        let ended = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            let ended = ended.expect("there once").expect("no thread panics");
            ended.expect("the server ends in order");
        }
    }
}
