//! Who may come in: connections in all and by address, for all workers of a server together, and
//! what each worker may make of the process's descriptors.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::Limits;

/// Descriptors that a worker's engine, listener and site take.
const WORKER_DESCRIPTORS: usize = 10;
/// A file that is served, and another form of it that is looked for.
const FILE_DESCRIPTORS: usize = 2;
/// What connections leave to files, at least: this, or an eighth of all.
const FILE_RESERVE_MIN: usize = 8;

/// Lets the process have as many descriptors as it may: the soft limit is there for programs that
/// use select(2).
pub(crate) fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = maximum;
    // Refused, it stays as it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum });
}

/// Counts the connections of all workers of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    shared: Arc<Shared>,
    /// Descriptors of each worker, for connections and files.
    descriptors: usize,
}

#[derive(Debug, Default)]
struct Shared {
    connections: AtomicUsize,
    /// Only used where addresses are limited.
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are too many.
    All,
    /// There are too many of this address.
    Address,
}

/// A connection that was let in; dropping it lets the next in.
#[derive(Debug)]
pub(crate) struct Entry {
    shared: Arc<Shared>,
    /// If addresses are counted. In a box: they seldom are, and each idle connection pays for what it has.
    address: Option<Box<IpAddr>>,
}

impl Shared {
    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Descriptors that the process may still have, but for those that so many workers need themselves.
fn unused_descriptors(workers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let open = fs::read_dir("/proc/self/fd").map_or(16, Iterator::count);
    limit.saturating_sub(open + workers * WORKER_DESCRIPTORS)
}

impl Admission {
    /// For a server of so many workers that may have so many descriptors; else as many as are left
    /// to a process that has opened what else it needs.
    pub(crate) fn new(workers: usize, descriptors_max: Option<usize>) -> Admission {
        let workers = workers.max(1);
        let descriptors = descriptors_max.unwrap_or_else(|| unused_descriptors(workers));
        Admission {
            shared: Arc::default(),
            descriptors: descriptors / workers,
        }
    }

    /// The descriptors of one worker.
    pub(crate) fn descriptors(&self) -> Descriptors {
        Descriptors::new(self.descriptors)
    }

    /// Lets a connection from `address` in; a local one has none.
    ///
    /// # Errors
    /// The limit that is reached.
    pub(crate) fn enter(&self, address: Option<IpAddr>, limits: &Limits) -> Result<Entry, Full> {
        let shared = Arc::clone(&self.shared);
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= limits.connections_max {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::All);
        }
        let mut entry = Entry {
            shared,
            address: None,
        };
        if let (Some(max), Some(address)) = (limits.connections_per_address_max, address) {
            let address = client(address);
            let mut addresses = self.shared.addresses();
            let count = addresses.entry(address).or_default();
            if *count >= max {
                drop(addresses);
                return Err(Full::Address);
            }
            *count += 1;
            entry.address = Some(Box::new(address));
        }
        Ok(entry)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = &self.address else {
            return;
        };
        let mut addresses = self.shared.addresses();
        if let Some(count) = addresses.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(address);
            }
        }
    }
}

/// Who an address stands for: a client of IPv6 has a /64 for itself.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// The descriptors of one worker: connections leave some to files, and files wait in order.
pub(crate) struct Descriptors {
    total: usize,
    reserve: usize,
    connections: Cell<usize>,
    files: Cell<usize>,
    /// Files that stay open for the next request.
    open: Cell<usize>,
    /// Waits to accept.
    acceptor: Cell<Option<Waker>>,
    /// Wait to open, in order. `None`: woken, its poll is on its way.
    queue: RefCell<VecDeque<(u64, Option<Waker>)>>,
    next: Cell<u64>,
}

impl Descriptors {
    fn new(total: usize) -> Descriptors {
        // With next to none, one after the other still is served.
        let total = total.max(2 * FILE_RESERVE_MIN);
        Descriptors {
            total,
            reserve: FILE_RESERVE_MIN.max(total / 8),
            connections: Cell::default(),
            files: Cell::default(),
            open: Cell::default(),
            acceptor: Cell::default(),
            queue: RefCell::default(),
            next: Cell::default(),
        }
    }

    fn of_files(&self) -> usize {
        self.files.get() * FILE_DESCRIPTORS + self.open.get()
    }

    /// What connections leave to files, at least.
    pub(crate) fn reserve(&self) -> usize {
        self.reserve
    }

    /// Whether files have more than what is reserved for them.
    pub(crate) fn files_exceed(&self) -> bool {
        self.of_files() > self.reserve
    }

    /// So many files stay open for the next request.
    pub(crate) fn stay_open(&self, files: usize) {
        if self.open.replace(files) > files {
            self.freed();
        }
    }

    /// Whether one more connection leaves the files enough.
    pub(crate) fn have_room(&self) -> bool {
        let files = self.of_files().max(self.reserve);
        self.connections.get() + 1 + files <= self.total
    }

    /// Whether files wait for descriptors.
    pub(crate) fn are_short(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Waits for a word that there may be room.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn change(&self) {
        let mut told = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut told, true) {
                return Poll::Ready(());
            }
            self.acceptor.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// There may be room, or somebody who can make it.
    pub(crate) fn tell(&self) {
        if let Some(waker) = self.acceptor.take() {
            waker.wake();
        }
    }

    pub(crate) fn connected(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    pub(crate) fn disconnected(&self) {
        self.connections.set(self.connections.get() - 1);
        self.freed();
    }

    /// Takes a place to open a file, if there is one and nobody waits.
    pub(crate) fn try_file(&self) -> Option<FilePlace<'_>> {
        if self.are_short() || self.free() == 0 {
            return None;
        }
        self.files.set(self.files.get() + 1);
        Some(FilePlace { descriptors: self })
    }

    /// Takes a place to open a file, waiting in order while there is none.
    ///
    /// # Cancel safety
    /// Safe: dropping it gives up the place in the queue.
    pub(crate) async fn file(&self) -> FilePlace<'_> {
        let mut waiting = Waiting {
            descriptors: self,
            ticket: None,
        };
        poll_fn(|cx| waiting.poll(cx)).await
    }

    /// Files that may be opened now.
    fn free(&self) -> usize {
        let used = self.connections.get() + self.of_files();
        self.total.saturating_sub(used) / FILE_DESCRIPTORS
    }

    fn freed(&self) {
        self.tell();
        let mut queue = self.queue.borrow_mut();
        let next = queue.iter_mut().take(self.free());
        let wakers: Vec<Waker> = next.filter_map(|waiter| waiter.1.take()).collect();
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }
}

struct Waiting<'a> {
    descriptors: &'a Descriptors,
    ticket: Option<u64>,
}

impl<'a> Waiting<'a> {
    fn at(&self, queue: &VecDeque<(u64, Option<Waker>)>) -> Option<usize> {
        let ticket = self.ticket?;
        queue.binary_search_by_key(&ticket, |waiter| waiter.0).ok()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FilePlace<'a>> {
        let descriptors = self.descriptors;
        let mut queue = descriptors.queue.borrow_mut();
        let known = self.at(&queue);
        if known.unwrap_or(queue.len()) < descriptors.free() {
            if let Some(index) = known {
                queue.remove(index);
            }
            self.ticket = None;
            drop(queue);
            descriptors.files.set(descriptors.files.get() + 1);
            return Poll::Ready(FilePlace { descriptors });
        }
        let waker = Some(cx.waker().clone());
        match known {
            Some(index) => queue[index].1 = waker,
            None => {
                let ticket = descriptors.next.get();
                descriptors.next.set(ticket + 1);
                queue.push_back((ticket, waker));
                self.ticket = Some(ticket);
            }
        }
        drop(queue);
        // The acceptor ends connections that rest.
        descriptors.tell();
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queue = self.descriptors.queue.borrow_mut();
        if let Some(index) = self.at(&queue) {
            queue.remove(index);
            drop(queue);
            self.descriptors.freed();
        }
    }
}

/// A file may be open; dropping it lets the next be opened.
pub(crate) struct FilePlace<'a> {
    descriptors: &'a Descriptors,
}

impl Drop for FilePlace<'_> {
    fn drop(&mut self) {
        let files = &self.descriptors.files;
        files.set(files.get() - 1);
        self.descriptors.freed();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};

    use super::*;

    fn admission() -> Admission {
        Admission {
            shared: Arc::default(),
            descriptors: 100,
        }
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let admission = admission();
        let limits = Limits {
            connections_max: 3,
            connections_per_address_max: Some(2),
            ..Limits::default()
        };
        let enter = |address: &str| admission.enter(address.parse().ok(), &limits);
        let first = enter("127.0.0.1").unwrap();
        let mapped = enter("::ffff:127.0.0.1").unwrap();
        assert_eq!(enter("127.0.0.1").unwrap_err(), Full::Address);
        let other = enter("127.0.0.2").unwrap();
        assert_eq!(enter("127.0.0.3").unwrap_err(), Full::All);
        drop((first, mapped));
        let one = enter("2001:db8::1").unwrap();
        let same = enter("2001:db8::2:0:0:1").unwrap();
        drop(other);
        assert_eq!(enter("2001:db8::3").unwrap_err(), Full::Address);
        drop((one, same));
        assert!(admission.shared.addresses().is_empty());
        assert_eq!(admission.shared.connections.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn connections_leave_descriptors_to_files() {
        let descriptors = Descriptors::new(32);
        let mut connections = 0;
        while descriptors.have_room() {
            descriptors.connected();
            connections += 1;
        }
        assert_eq!(connections, 24);
        assert_eq!(descriptors.free(), FILE_RESERVE_MIN / FILE_DESCRIPTORS);
    }

    #[test]
    fn what_stays_open_counts_as_files() {
        let descriptors = Descriptors::new(32);
        (0..22).for_each(|_| descriptors.connected());
        assert_eq!(descriptors.free(), 5);
        descriptors.stay_open(4);
        assert_eq!(descriptors.free(), 3);
        // Within the reserve it takes nothing from connections; beyond, they wait.
        assert!(!descriptors.files_exceed() && descriptors.have_room());
        let _files: Vec<_> = (0..3).map_while(|_| descriptors.try_file()).collect();
        assert!(descriptors.files_exceed() && !descriptors.have_room());
        descriptors.stay_open(0);
        assert!(!descriptors.files_exceed() && descriptors.have_room());
    }

    #[test]
    fn files_wait_in_order_and_who_gives_up_leaves_no_hole() {
        let descriptors = Descriptors::new(16);
        (0..12).for_each(|_| descriptors.connected());
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = |file: Pin<&mut dyn Future<Output = _>>| match file.poll(&mut context) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        };
        let first: FilePlace<'_> = poll(pin!(descriptors.file())).unwrap();
        let _second = poll(pin!(descriptors.file())).unwrap();
        let mut third = Box::pin(descriptors.file());
        let mut fourth = Box::pin(descriptors.file());
        assert!(poll(third.as_mut()).is_none() && poll(fourth.as_mut()).is_none());
        assert!(descriptors.are_short());
        drop(first);
        assert!(poll(fourth.as_mut()).is_none(), "nobody overtakes");
        drop(third);
        assert!(poll(fourth.as_mut()).is_some());
        assert!(!descriptors.are_short());
    }
}
