//! Several workers: one engine a thread, one listening socket each, spread by the kernel.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use ambidex::disk::{Backend, Capabilities, Choice};
use ambidex::net::TcpListener;
use ambidex::{Engine, Handle, disk};

use crate::admission::{Admission, raise_descriptors};
use crate::config::Config;
use crate::files::{Files, Listing};
use crate::hosts;
use crate::listen::{self, Address, Bound, Listener};
use crate::policy::{BadPolicy, Policy};
use crate::server::Server;
use crate::site::Site;
use crate::stop::Stop;

/// How long a stopped engine waits for a disk before it gives up what is in flight.
const DISK_PATIENCE: Duration = Duration::from_millis(500);

/// What to serve, where, and with how many threads.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory to serve to whoever asks for none of `hosts`; without one they get 421.
    pub root: Option<PathBuf>,
    /// Further sites, by name.
    pub hosts: Vec<HostOptions>,
    /// The addresses to listen on.
    pub listen: Vec<Address>,
    /// Threads, at least one.
    pub workers: usize,
    /// Limits and time-outs.
    pub config: Config,
    /// The backend for files.
    pub disk: Choice,
}

/// A site that is chosen by the name that clients ask for.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// `example.org`, `*.example.org`; any case, any port.
    pub names: Vec<String>,
    /// The directory to serve.
    pub root: PathBuf,
    /// Which files, and under which names.
    pub files: Files,
    /// What is said about them.
    pub policy: Policy,
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
    /// The addresses it listens on, with the ports that it got.
    pub addresses: &'a [Address],
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
    check(options)?;
    let workers = options.workers.max(1);
    let mut bound = listen::bind_all(&options.listen, workers).map_err(Error::Start)?;
    let addresses: Vec<Address> = bound.iter().map(|one| one.address().clone()).collect();
    let sockets = deal(&mut bound, workers)
        .map_err(|error| Error::Start(format!("cannot share a socket: {error}")))?;
    raise_descriptors();
    let limits = &options.config.limits;
    let admission = Admission::new(workers, limits.descriptors_max);
    let (sender, receiver) = mpsc::channel();
    for (number, sockets) in sockets.into_iter().enumerate() {
        let worker = Worker {
            options: options.clone(),
            stop: stop.clone(),
            admission: admission.clone(),
            news: sender.clone(),
        };
        let thread = thread::Builder::new().name(format!("worker-{number}"));
        let spawned = thread.spawn(move || worker.live(sockets));
        if let Err(error) = spawned {
            stop.set();
            return Err(Error::Start(format!(
                "cannot start worker {number}: {error}"
            )));
        }
    }
    drop(sender);
    let outcome = follow(&receiver, workers, stop, |capabilities| {
        ready(Started {
            addresses: &addresses,
            capabilities,
        });
    });
    // Files of Unix sockets go when nobody listens any more.
    drop(bound);
    outcome
}

/// The sockets of each worker, and whether others have them too.
type Sockets = Vec<(OwnedFd, bool)>;

fn deal(bound: &mut [Bound], workers: usize) -> io::Result<Vec<Sockets>> {
    let mut dealt: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
    for bound in bound {
        let (sockets, shared) = bound.take_sockets(workers)?;
        for (hand, socket) in dealt.iter_mut().zip(sockets) {
            hand.push((socket, shared));
        }
    }
    Ok(dealt)
}

/// Looks whether `options` can be followed: policies, names, directories. It neither listens nor
/// starts anything.
///
/// # Errors
/// [`Error::Start`] names the first that cannot.
pub fn check(options: &Options) -> Result<(), Error> {
    let start = |error: BadPolicy| Error::Start(error.to_string());
    options.config.policy.check().map_err(start)?;
    let mut names = HashSet::new();
    for host in &options.hosts {
        host.policy.check().map_err(start)?;
        for name in &host.names {
            hosts::check_name(name).map_err(start)?;
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(Error::Start(format!(
                    "two hosts have the name {name:?}: remove one"
                )));
            }
        }
    }
    if options.root.is_none() && options.hosts.is_empty() {
        return Err(Error::Start(
            "nothing to serve: give a directory".to_owned(),
        ));
    }
    for root in options
        .root
        .iter()
        .chain(options.hosts.iter().map(|host| &host.root))
    {
        if root.as_os_str().is_empty() {
            return Err(unservable(root, &io::ErrorKind::NotFound.into()));
        }
        // Finding something in a directory takes a permission that opening it does not.
        std::fs::metadata(root.join(".")).map_err(|error| unservable(root, &error))?;
    }
    Ok(())
}

fn unservable(root: &Path, error: &io::Error) -> Error {
    Error::Start(format!(
        "cannot serve {}: {}",
        root.display(),
        advise(error)
    ))
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
    fn live(self, sockets: Sockets) {
        let run = AssertUnwindSafe(|| self.run(sockets));
        let panicked = |_| Err(Error::Run("a worker panicked".to_owned()));
        let outcome = catch_unwind(run).unwrap_or_else(panicked);
        // Nobody is left to tell if the receiver is gone.
        let _ = self.news.send(News::Ended(outcome));
    }

    fn run(&self, sockets: Sockets) -> Result<(), Error> {
        let failed = |error: io::Error| Error::Run(format!("a worker failed: {error}"));
        let mut engine = self
            .engine()
            .map_err(|error| Error::Start(error.to_string()))?;
        let served = engine.run(async |io| {
            let server = self.server(&io).await?;
            let listener = |(fd, shared): (OwnedFd, bool)| match shared {
                true => Listener::shared(&io, fd),
                false => TcpListener::from_std(io.net(), fd.into()).map(Listener::from),
            };
            let listeners = sockets.into_iter().map(listener);
            let listeners = listeners.collect::<io::Result<_>>().map_err(failed)?;
            let prepared = server.prepare().await;
            let prepared = prepared.map_err(|error| Error::Start(error.to_string()))?;
            // Whoever hears of it may take what the server has read away.
            let capabilities = io.disk().capabilities().clone();
            let _ = self.news.send(News::Accepting(capabilities));
            prepared
                .serve(&io, listeners, &self.stop, self.admission.clone())
                .await
                .map_err(failed)
        });
        engine.shut_down(DISK_PATIENCE);
        served.map_err(failed)?
    }

    async fn server(&self, io: &Handle) -> Result<Server, Error> {
        let open = async |root: &Path| {
            let site = Site::open(io, root).await;
            site.map_err(|error| unservable(root, &error))
        };
        let mut server = match &self.options.root {
            Some(root) => Server::new(open(root).await?),
            None => Server::of_hosts(),
        };
        for host in &self.options.hosts {
            let site = open(&host.root).await?;
            for name in &host.names {
                let (files, policy) = (host.files.clone(), host.policy.clone());
                server = server.host_with(name, site.clone(), files, policy);
            }
        }
        Ok(server.config(self.options.config.clone()))
    }

    fn engine(&self) -> io::Result<Engine> {
        let disk = disk::Options {
            choice: self.options.disk,
            ..disk::Options::default()
        };
        Engine::builder().disk(disk).build()
    }
}

/// An errno with what to do about it.
fn advise(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "no such directory: check the path",
        io::ErrorKind::NotADirectory => "not a directory: give the directory that holds it",
        io::ErrorKind::PermissionDenied => "permission denied: change the permissions or the user",
        _ => return error.to_string(),
    };
    advice.to_owned()
}

/// What is missing in the directories that `options` name, and what that means: one line each.
/// Nothing of it keeps a server from starting.
///
/// # Blocking
/// Asks the filesystems.
#[must_use]
pub fn remarks(options: &Options) -> Vec<String> {
    let own = options
        .root
        .iter()
        .map(|root| (root, &options.config.files));
    let named = options.hosts.iter().map(|host| (&host.root, &host.files));
    let mut remarks = Vec::new();
    for (root, files) in own.chain(named) {
        let is_file = |name: &str| root.join(name.trim_start_matches('/')).is_file();
        let pages = [
            (&files.page_404, "errors will be plain text"),
            (&files.page_50x, "errors will be plain text"),
            (&files.fallback, "what is not found will be 404"),
        ];
        for (page, meaning) in pages {
            if let Some(page) = page.as_deref().filter(|page| !is_file(page)) {
                remarks.push(format!("no file {page} in {}: {meaning}", root.display()));
            }
        }
        if files.listing == Listing::Off && !files.index.iter().any(|name| is_file(name)) {
            let names = files.index.join(", ");
            remarks.push(format!(
                "no {names} in {}, so / is 404; --directory-listing lists what is there",
                root.display()
            ));
        }
    }
    remarks
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
