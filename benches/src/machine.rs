//! What this machine lets a process have: processors and descriptors.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Error;

/// Descriptors that a program has beside its connections.
const OTHERS: u64 = 64;

/// The processors that this thread may run on.
#[must_use]
pub fn processors() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| set.is_set(*cpu))
        .collect()
}

/// From now on this thread and those that it makes run on processor `cpu` only.
///
/// # Errors
/// [`Error::Start`] if there is no such processor for us.
pub fn run_on(cpu: usize) -> Result<(), Error> {
    let mut set = CpuSet::new();
    if cpu < CpuSet::MAX_CPU {
        set.set(cpu);
    }
    sched_setaffinity(None, &set)
        .map_err(|error| Error::Start(format!("cannot run on processor {cpu}: {error}")))
}

/// Does `work` on these processors, then goes back to where this thread was. Threads and processes that
/// `work` starts stay there. None is anywhere.
///
/// # Errors
/// [`Error::Start`] if one of them is not for us.
pub fn while_on<T>(cpus: &[usize], work: impl FnOnce() -> T) -> Result<T, Error> {
    let cannot = |error: rustix::io::Errno| {
        Error::Start(format!("cannot run on processors {cpus:?}: {error}"))
    };
    if cpus.is_empty() {
        return Ok(work());
    }
    let before = sched_getaffinity(None).map_err(cannot)?;
    let mut set = CpuSet::new();
    for cpu in cpus.iter().filter(|cpu| **cpu < CpuSet::MAX_CPU) {
        set.set(*cpu);
    }
    sched_setaffinity(None, &set).map_err(cannot)?;
    let done = work();
    sched_setaffinity(None, &before).map_err(cannot)?;
    Ok(done)
}

/// Raises the limit of open descriptors so that `number` connections fit.
///
/// # Errors
/// [`Error::Start`] if the hard limit is below that.
pub fn allow_descriptors(number: u64) -> Result<(), Error> {
    let needed = number.saturating_add(OTHERS);
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = raise(&limit, needed);
    raised.map_err(|_| {
        let most = limit.maximum.unwrap_or(u64::MAX);
        Error::Start(format!(
            "{number} descriptors at once: the limit is {most} (ulimit -Hn), and {OTHERS} are ours"
        ))
    })
}

/// Raises the limit of open descriptors as far as it goes.
pub fn allow_most_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if let Some(most) = limit.maximum {
        // What cannot be raised stays: a server copes.
        let _ = raise(&limit, most);
    }
}

fn raise(limit: &Rlimit, to: u64) -> io::Result<()> {
    if limit.maximum.is_some_and(|most| most < to) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let raised = Rlimit {
        current: Some(to),
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_went_elsewhere_comes_back() {
        let before = processors();
        let last = before.last().copied().into_iter().collect::<Vec<_>>();
        assert_eq!(while_on(&last, processors).ok(), Some(last));
        assert_eq!(processors(), before);
        assert_eq!(while_on(&[], processors).ok().as_ref(), Some(&before));
        let told = while_on(&[CpuSet::MAX_CPU], || ()).unwrap_err().to_string();
        assert!(told.contains("cannot run on processors"), "{told}");
        assert_eq!(processors(), before);
    }
}
