//! Echo servers on every engine, a client, and both ends measured.
//!
//! [`baselines`] are the ways of the operating system; `hybrid` is this project's
//! engine, its task face; the others are loops that people would use instead. All pass the same tests of
//! behaviour (`benches/tests/echo.rs`) before any of them is measured.

pub mod client;
#[cfg(feature = "peers")]
mod compio;
mod hybrid;
#[cfg(feature = "peers")]
mod mio;
#[cfg(feature = "peers")]
mod monoio;
pub mod net;
mod race;
#[cfg(feature = "peers")]
mod tokio;
mod uring;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
#[cfg(feature = "peers")]
use std::time::Duration;

use clap::ValueEnum;

use crate::baselines::{self, Counters, Serve, Service, Stop, Stopper};

/// Connections that wait to be accepted. The kernel's own limit, `somaxconn`, is lower or equal.
const BACKLOG: i32 = 4096;
/// How long who cannot accept for want of descriptors waits, as [`ambidex::Handle::accept`] does.
#[cfg(feature = "peers")]
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Who echoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum EchoEngine {
    /// A thread for each connection
    Threads,
    /// select(2)
    Select,
    /// poll(2)
    Poll,
    /// epoll(7), level-triggered
    EpollLevel,
    /// epoll(7), edge-triggered
    EpollEdge,
    /// epoll(7), oneshot
    EpollOneshot,
    /// This project's engine
    Hybrid,
    /// A bare io_uring
    Uring,
    /// mio: epoll(7), edge-triggered
    #[cfg(feature = "peers")]
    Mio,
    /// tokio, on one thread
    #[cfg(feature = "peers")]
    Tokio,
    /// monoio, on io_uring
    #[cfg(feature = "peers")]
    Monoio,
    /// compio, on io_uring
    #[cfg(feature = "peers")]
    Compio,
}

impl EchoEngine {
    /// All of them.
    #[must_use]
    pub fn all() -> &'static [EchoEngine] {
        EchoEngine::value_variants()
    }

    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Its server.
    #[must_use]
    pub fn serve(self) -> Serve {
        match self {
            EchoEngine::Threads => baselines::threads::serve,
            EchoEngine::Select => baselines::select::serve,
            EchoEngine::Poll => baselines::poll::serve,
            EchoEngine::EpollLevel => baselines::epoll_level::serve,
            EchoEngine::EpollEdge => baselines::epoll_edge::serve,
            EchoEngine::EpollOneshot => baselines::epoll_oneshot::serve,
            EchoEngine::Hybrid => hybrid::serve,
            EchoEngine::Uring => uring::serve,
            #[cfg(feature = "peers")]
            EchoEngine::Mio => mio::serve,
            #[cfg(feature = "peers")]
            EchoEngine::Tokio => tokio::serve,
            #[cfg(feature = "peers")]
            EchoEngine::Monoio => monoio::serve,
            #[cfg(feature = "peers")]
            EchoEngine::Compio => compio::serve,
        }
    }

    /// Whether it counts its system calls.
    #[must_use]
    pub fn counts_calls(self) -> bool {
        self.scans() || matches!(self, EchoEngine::Hybrid | EchoEngine::Uring)
    }

    /// Whether it is one of the [baselines], which count what they look at too.
    #[must_use]
    pub fn scans(self) -> bool {
        use EchoEngine::{EpollEdge, EpollLevel, EpollOneshot, Poll, Select, Threads};
        matches!(
            self,
            Threads | Select | Poll | EpollLevel | EpollEdge | EpollOneshot
        )
    }
}

impl fmt::Display for EchoEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

/// Listens on `address`, with room for many that come at once; port 0 asks for a free one.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A server on a thread of its own.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it does.
    pub counters: Arc<Counters>,
    stopper: Stopper,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Starts `engine` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Those of [`listen`] and of making a thread. What the server itself meets is told by
    /// [`Running::stop`].
    pub fn start(engine: EchoEngine, upper: bool) -> io::Result<Running> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let (stopper, stop) = Stop::new()?;
        let counters = Arc::new(Counters::default());
        let service = Service {
            listener,
            upper,
            verbose: false,
            stop,
            counters: Arc::clone(&counters),
        };
        let serve = engine.serve();
        let thread = thread::Builder::new().spawn(move || serve(service))?;
        Ok(Running {
            address,
            counters,
            stopper,
            thread,
        })
    }

    /// Ends the server and all its connections.
    ///
    /// # Errors
    /// What ended it before, if something did.
    ///
    /// # Panics
    /// If the server has panicked.
    pub fn stop(self) -> io::Result<()> {
        self.stopper.stop();
        self.thread.join().expect("a server does not panic")
    }
}
