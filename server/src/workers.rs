//! Several workers: one engine a thread, one listening socket each, spread by the kernel.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use ambidex::disk::{Backend, Capabilities, Choice};
use ambidex::net::{Kernel, Linux, ListenOptions, TcpListener};
use ambidex::{Engine, disk};

use crate::admission::{Admission, raise_descriptors};
use crate::config::Config;
use crate::serve::serve_admitted;
use crate::site::Site;
use crate::stop::Stop;

/// How long a stopped engine waits for a disk before it gives up what is in flight.
const DISK_PATIENCE: Duration = Duration::from_millis(500);

/// What to serve, where, and with how many threads.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory to serve.
    pub root: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads, at least one.
    pub workers: usize,
    /// Limits and time-outs.
    pub config: Config,
    /// The backend for files.
    pub disk: Choice,
}

/// Why serving did not start or ended: one line that says what is wrong and what to do.
#[derive(Debug)]
pub enum Error {
    /// What was asked for cannot be done.
    Start(String),
    /// It had started, and then failed.
    Run(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Start(text) | Error::Run(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// What became of starting serving, as told to `ready`.
#[derive(Debug)]
pub struct Started<'a> {
    /// The address it listens on.
    pub address: SocketAddr,
    /// What the workers' rings obtained.
    pub capabilities: &'a Capabilities,
}

/// Serves until `stop` is set. `ready` is called once all workers accept.
///
/// # Errors
/// [`Error::Start`] if the directory, the address or the backend cannot be had; [`Error::Run`] if a
/// worker failed later.
///
/// # Blocking
/// Until it is stopped.
pub fn run(options: &Options, stop: &Stop, ready: impl FnOnce(Started<'_>)) -> Result<(), Error> {
    let (listeners, address) = listen(options).map_err(|error| {
        Error::Start(format!(
            "cannot listen on {}: {}",
            options.listen,
            advise(&error)
        ))
    })?;
    raise_descriptors();
    let admission = Admission::new(listeners.len());
    let (sender, receiver) = mpsc::channel();
    for (number, listener) in listeners.into_iter().enumerate() {
        let worker = Worker {
            options: options.clone(),
            stop: stop.clone(),
            admission: admission.clone(),
            news: sender.clone(),
        };
        let thread = thread::Builder::new().name(format!("worker-{number}"));
        let spawned = thread.spawn(move || worker.live(listener));
        if let Err(error) = spawned {
            stop.set();
            return Err(Error::Start(format!(
                "cannot start worker {number}: {error}"
            )));
        }
    }
    drop(sender);
    follow(&receiver, options.workers.max(1), stop, |capabilities| {
        ready(Started {
            address,
            capabilities,
        });
    })
}

/// Waits for the workers' news until the last has ended. Their threads are not joined: one that
/// the kernel keeps inside a hung filesystem could not end, and the process should.
fn follow(
    news: &Receiver<News>,
    workers: usize,
    stop: &Stop,
    ready: impl FnOnce(&Capabilities),
) -> Result<(), Error> {
    let (mut ready, mut accepting, mut ended) = (Some(ready), 0, 0);
    let mut outcome = Ok(());
    while ended < workers {
        let Ok(news) = news.recv() else { break };
        match news {
            News::Accepting(capabilities) => {
                accepting += 1;
                if accepting == workers
                    && let Some(ready) = ready.take()
                {
                    ready(&capabilities);
                }
            }
            News::Ended(result) => {
                ended += 1;
                if result.is_err() {
                    // One worker less would serve, but nobody would know: end as a whole.
                    stop.set();
                    outcome = outcome.and(result);
                }
            }
        }
    }
    outcome
}

enum News {
    Accepting(Capabilities),
    Ended(Result<(), Error>),
}

struct Worker {
    options: Options,
    stop: Stop,
    admission: Admission,
    news: Sender<News>,
}

impl Worker {
    fn live(self, listener: OwnedFd) {
        let run = AssertUnwindSafe(|| self.run(listener));
        let panicked = |_| Err(Error::Run("a worker panicked".to_owned()));
        let outcome = catch_unwind(run).unwrap_or_else(panicked);
        // Nobody is left to tell if the receiver is gone.
        let _ = self.news.send(News::Ended(outcome));
    }

    fn run(&self, listener: OwnedFd) -> Result<(), Error> {
        let failed = |error: io::Error| Error::Run(format!("a worker failed: {error}"));
        let mut engine = self
            .engine()
            .map_err(|error| Error::Start(error.to_string()))?;
        let served = engine.run(async |io| {
            let root = &self.options.root;
            let site = Site::open(&io, root).await.map_err(|error| {
                Error::Start(format!(
                    "cannot serve {}: {}",
                    root.display(),
                    advise(&error)
                ))
            })?;
            let listener = TcpListener::from_std(io.net(), listener.into()).map_err(failed)?;
            let _ = self
                .news
                .send(News::Accepting(io.disk().capabilities().clone()));
            let config = self.options.config.clone();
            let admission = self.admission.clone();
            serve_admitted(&io, listener, site, config, &self.stop, admission)
                .await
                .map_err(failed)
        });
        engine.shut_down(DISK_PATIENCE);
        served.map_err(failed)?
    }

    fn engine(&self) -> io::Result<Engine> {
        let disk = disk::Options {
            choice: self.options.disk,
            ..disk::Options::default()
        };
        Engine::builder().disk(disk).build()
    }
}

/// Binds one socket for each worker.
fn listen(options: &Options) -> io::Result<(Vec<OwnedFd>, SocketAddr)> {
    let linux = Linux::default();
    let alone = ListenOptions {
        nodelay: true,
        ..ListenOptions::default()
    };
    let first = linux.listen(options.listen, &alone)?;
    let first = std::net::TcpListener::from(first);
    let address = first.local_addr()?;
    if options.workers <= 1 {
        return Ok((vec![first.into()], address));
    }
    // SO_REUSEPORT would share the port with another server of this user in silence. Having had it
    // alone a moment ago shows that nobody was there.
    drop(first);
    let shared = ListenOptions {
        reuse_port: true,
        ..alone
    };
    let sockets = (0..options.workers).map(|_| linux.listen(address, &shared));
    Ok((sockets.collect::<io::Result<_>>()?, address))
}

/// An errno with what to do about it.
fn advise(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "the port is taken: choose another with --listen ADDR:PORT",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: see `ip addr`",
        io::ErrorKind::NotFound => "no such directory: check the path",
        io::ErrorKind::NotADirectory => "not a directory: give the directory that holds it",
        io::ErrorKind::PermissionDenied => "permission denied: change the permissions or the user",
        _ => return error.to_string(),
    };
    advice.to_owned()
}

/// One line about the backend, if it is not the one that users expect.
#[must_use]
pub fn remark(capabilities: &Capabilities, choice: Choice) -> Option<String> {
    if capabilities.backend == Backend::Uring || choice == Choice::Threads {
        return None;
    }
    let why = capabilities.downgrades.join("; ");
    Some(format!("serving files on threads: {why}"))
}
