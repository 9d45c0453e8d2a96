//! Where a server listens: TCP, Unix sockets, descriptors that were passed to it.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ambidex::Handle;
use ambidex::net::socket2::SockRef;
use ambidex::net::{
    Direction, Interest, Kernel, Linux, ListenOptions, Mode, Source, TcpListener, TcpStream,
};
use listenfd::ListenFd;

/// How long to wait for descriptors or memory: the connections stay in the kernel's queue.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// The first descriptor that is passed; sd_listen_fds(3).
const PASSED_FIRST: usize = 3;
/// More than anybody passes.
const PASSED_MAX: usize = 1024;

/// Where to listen.
///
/// ```
/// use ambidex_server::listen::Address;
/// for text in ["127.0.0.1:8080", "[::1]:8080", "unix:/run/ambidex.sock", "fd:3"] {
///     assert_eq!(text.parse::<Address>()?.to_string(), text);
/// }
/// assert!("example.org:80".parse::<Address>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The number of a descriptor that systemd or another supervisor passed (`LISTEN_FDS`).
    Passed(usize),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Passed(number) => write!(f, "fd:{number}"),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(special) = special(text) {
            return special;
        }
        text.parse().map(Address::Tcp).map_err(|_| {
            "write ADDR:PORT with a number for ADDR (127.0.0.1:8080, [::1]:8080), unix:/PATH or fd:N".to_owned()
        })
    }
}

impl Address {
    /// Reads an address without a port, such as `127.0.0.1`, `::1`, `unix:/run/a.sock`, `fd:3`.
    ///
    /// # Errors
    /// What can be written instead.
    pub fn with_port(text: &str, port: u16) -> Result<Address, String> {
        if let Some(special) = special(text) {
            return special;
        }
        let plain = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let address: IpAddr = match (plain.unwrap_or(text), plain.is_some()) {
            ("localhost", false) => [127, 0, 0, 1].into(),
            (text, _) => text.parse().map_err(|_| {
                "write an address as a number (127.0.0.1, ::1, 0.0.0.0 for all), unix:/PATH or fd:N".to_owned()
            })?,
        };
        Ok(Address::Tcp(SocketAddr::new(address, port)))
    }
}

fn special(text: &str) -> Option<Result<Address, String>> {
    if let Some(path) = text.strip_prefix("unix:") {
        let good = !path.is_empty() && !path.contains('\0');
        let address = Address::Unix(PathBuf::from(path));
        return Some(
            good.then_some(address)
                .ok_or_else(|| "write unix: and a path".to_owned()),
        );
    }
    let number = text
        .strip_prefix("fd:")?
        .parse()
        .ok()
        .filter(|number| *number >= PASSED_FIRST);
    let advice = "write fd: and a number from 3 on, as LISTEN_FDS counts them";
    Some(number.map(Address::Passed).ok_or_else(|| advice.to_owned()))
}

/// A listening socket on an engine, TCP or Unix.
#[derive(Debug)]
pub struct Listener {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    /// Any stream socket, of which other engines may have duplicates.
    Shared(Source),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener {
            kind: Kind::Tcp(listener),
        }
    }
}

impl Listener {
    /// Takes over a listening socket made elsewhere, TCP or Unix, of which other engines may have
    /// duplicates: a connection wakes one of them that sleeps.
    ///
    /// # Errors
    /// Those of fcntl(2) and epoll_ctl(2).
    pub fn shared(io: &Handle, fd: impl Into<OwnedFd>) -> io::Result<Listener> {
        let fd = fd.into();
        SockRef::from(&fd).set_nonblocking(true)?;
        let source = Source::with(io.net(), fd, Interest::READABLE, Mode::Exclusive)?;
        Ok(Listener {
            kind: Kind::Shared(source),
        })
    }

    /// Waits for the next connection, through shortages. Its peer has an address unless it is local.
    ///
    /// # Errors
    /// Those that end the listener.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn accept(&self, io: &Handle) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let source = match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, peer) = io.accept(listener).await?;
                return Ok((stream, Some(peer)));
            }
            Kind::Shared(source) => source,
        };
        loop {
            match source
                .io(Direction::Read, |kernel, fd| kernel.accept(fd))
                .await
            {
                Ok((fd, peer)) => {
                    let peer = peer.as_socket();
                    let stream = std::net::TcpStream::from(fd);
                    if peer.is_some() {
                        // Who made the socket need not have set it, and inheriting it is not certain.
                        let _ = stream.set_nodelay(true);
                    }
                    // Nothing that the server does with a stream is different for a Unix socket.
                    return Ok((TcpStream::from_std(io.net(), stream)?, peer));
                }
                Err(error) => match error.raw_os_error() {
                    // The connection died in the queue; accept(2), "Error handling".
                    Some(
                        libc::ECONNABORTED
                        | libc::EPROTO
                        | libc::EPERM
                        | libc::ENETDOWN
                        | libc::EHOSTUNREACH,
                    ) => {
                        io.yield_now().await;
                    }
                    Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                        io.sleep(EXHAUSTED_PAUSE).await;
                    }
                    _ => return Err(error),
                },
            }
        }
    }
}

/// A socket that all workers will listen on, before they do.
pub(crate) struct Bound {
    sockets: Vec<OwnedFd>,
    /// Whether it is one socket for all workers.
    shared: bool,
    address: Address,
    /// Of a Unix socket: its file, removed in the end.
    _file: Option<SocketFile>,
}

impl Bound {
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Takes the sockets for so many workers, and whether the workers share one. None stays behind: a
    /// port is free as soon as the last worker has stopped accepting.
    pub(crate) fn take_sockets(&mut self, workers: usize) -> io::Result<(Vec<OwnedFd>, bool)> {
        let mut sockets = std::mem::take(&mut self.sockets);
        if !self.shared {
            return Ok((sockets, false));
        }
        let first = sockets.pop().ok_or(ErrorKind::NotFound)?;
        for _ in 1..workers {
            sockets.push(first.try_clone()?);
        }
        sockets.push(first);
        Ok((sockets, true))
    }
}

/// Listens on all of `addresses`.
///
/// # Errors
/// One line that names the address and says what to do.
pub(crate) fn bind_all(addresses: &[Address], workers: usize) -> Result<Vec<Bound>, String> {
    let mut passed = ListenFd::from_env();
    let bind = |address: &Address| {
        let bound = match address {
            Address::Tcp(address) => tcp(*address, workers),
            Address::Unix(path) => unix(path),
            Address::Passed(number) => take_passed(&mut passed, *number),
        };
        bound.map_err(|error| format!("cannot listen on {address}: {}", advise(&error)))
    };
    addresses.iter().map(bind).collect()
}

/// The addresses of what a supervisor has passed, if it has.
#[must_use]
pub fn passed() -> Vec<Address> {
    // Looked at here and taken in `bind_all`: taking forgets the environment.
    let number = |name| std::env::var(name).ok()?.parse::<usize>().ok();
    let ours = std::env::var_os("LISTEN_PID").is_none()
        || number("LISTEN_PID") == usize::try_from(std::process::id()).ok();
    let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
    let end = PASSED_FIRST.saturating_add(count.min(PASSED_MAX));
    (PASSED_FIRST..end).map(Address::Passed).collect()
}

/// Binds one socket for each worker.
fn tcp(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let linux = Linux::default();
    let alone = ListenOptions {
        nodelay: true,
        ..ListenOptions::default()
    };
    let first = std::net::TcpListener::from(linux.listen(address, &alone)?);
    let address = first.local_addr()?;
    let sockets = if workers <= 1 {
        vec![first.into()]
    } else {
        // SO_REUSEPORT would share the port with another server of this user in silence. Having had
        // it alone a moment ago shows that nobody was there.
        drop(first);
        let shared = ListenOptions {
            reuse_port: true,
            ..alone
        };
        let sockets = (0..workers).map(|_| linux.listen(address, &shared));
        sockets.collect::<io::Result<_>>()?
    };
    Ok(Bound {
        sockets,
        shared: false,
        address: Address::Tcp(address),
        _file: None,
    })
}

fn unix(path: &Path) -> io::Result<Bound> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let metadata = fs::symlink_metadata(path)?;
    Ok(Bound {
        sockets: vec![listener.into()],
        shared: true,
        address: Address::Unix(path.to_owned()),
        _file: Some(SocketFile {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        }),
    })
}

/// Removes the socket file that an earlier server left behind, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        let text = "a file is there that is no socket: remove it or choose another path";
        return Err(io::Error::other(text));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::Error::other(
            "another server listens there: stop it or choose another path",
        )),
    }
}

fn take_passed(passed: &mut ListenFd, number: usize) -> io::Result<Bound> {
    let missing = || {
        let text = "no such descriptor was passed: LISTEN_FDS and LISTEN_PID say which are";
        io::Error::other(text)
    };
    let wrong = || io::Error::other("it is no listening TCP or Unix socket: check the supervisor");
    let index = number - PASSED_FIRST;
    if index >= passed.len() {
        return Err(missing());
    }
    // Which of the two it is, is checked there; whoever gets the wrong one may ask again.
    let socket: OwnedFd = match passed.take_tcp_listener(index) {
        Ok(listener) => listener.ok_or_else(missing)?.into(),
        Err(_) => match passed.take_unix_listener(index) {
            Ok(listener) => listener.ok_or_else(missing)?.into(),
            Err(_) => return Err(wrong()),
        },
    };
    let address = SockRef::from(&socket).local_addr()?;
    let address = match (address.as_socket(), address.as_pathname()) {
        (Some(address), _) => Address::Tcp(address),
        (None, Some(path)) => Address::Unix(path.to_owned()),
        (None, None) => Address::Passed(number),
    };
    // Without a file of ours: whoever made the socket removes it.
    Ok(Bound {
        sockets: vec![socket],
        shared: true,
        address,
        _file: None,
    })
}

/// The file of a Unix socket, removed when dropped unless it has become another's.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = fs::symlink_metadata(&self.path).map(|now| (now.dev(), now.ino()));
        if now.is_ok_and(|now| now == self.identity) {
            // Nobody is left to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// An errno with what to do about it.
fn advise(error: &io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => {
            "the port is taken: choose another with --port or --listen ADDR:PORT"
        }
        ErrorKind::AddrNotAvailable => "this machine has no such address: see `ip addr`",
        ErrorKind::PermissionDenied => {
            "permission denied: choose a port above 1023, or another path or user"
        }
        ErrorKind::NotFound => "there is no such directory: make it or choose another path",
        ErrorKind::InvalidInput => "the path is too long for a socket: choose a shorter one",
        _ => return error.to_string(),
    };
    advice.to_owned()
}
