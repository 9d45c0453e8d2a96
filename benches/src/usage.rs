//! What processes have used, from /proc; proc_pid_stat(5), proc_pid_io(5).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

/// Processor time of process `pid`, in user and kernel mode, all its threads (also those that have
/// ended, also io_uring's workers). To about 10 ms.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn processor_time(pid: u32) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks_of(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Bytes that process `pid` has had read from disks, the page cache not counted.
///
/// # Errors
/// `NotFound` if there is no such process, `PermissionDenied` if it is another user's.
pub fn disk_read_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    let count = count.and_then(|count| count.trim().parse().ok());
    count.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Bytes of memory that process `pid` occupies: `VmRSS`.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kibibytes = number_of(&status, "VmRSS:").ok_or(io::ErrorKind::InvalidData)?;
    Ok(kibibytes * 1024)
}

/// Times that each thread of process `pid` has given up its processor to wait.
///
/// # Errors
/// `NotFound` if there is no such process.
pub fn waits_by_thread(pid: u32) -> io::Result<HashMap<u32, u64>> {
    let mut waits = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        // A thread may end meanwhile.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let thread = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let count = number_of(&status, "voluntary_ctxt_switches:");
        waits.extend(thread.zip(count));
    }
    Ok(waits)
}

/// The processes that process `pid` has started and that live.
///
/// # Errors
/// `NotFound` if there is no such process, or the kernel does not say.
pub fn children(pid: u32) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let pids = text.split_ascii_whitespace().map(str::parse);
    pids.collect::<Result<_, _>>()
        .map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The number after `name` at the start of a line of /proc/PID/status.
fn number_of(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// utime + stime: the 14th and 15th field. The 2nd, a name in parentheses, may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Reads the counters of a server's processes and of this one.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    pids: Vec<u32>,
}

/// Counters at one moment, or what they grew by between two.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time of the server, if it was told which that is and it lives.
    pub server: Option<Duration>,
    /// Bytes read from disks by the server, if that may be known.
    pub server_disk_bytes: Option<u64>,
    /// Processor time of this process.
    pub client: Duration,
}

impl Meter {
    /// For a server made of these processes; none is an unknown server.
    #[must_use]
    pub fn new(pids: &[u32]) -> Meter {
        Meter {
            pids: pids.to_vec(),
        }
    }

    /// The counters now. What cannot be read is left out.
    #[must_use]
    pub fn sample(&self) -> Usage {
        let known = !self.pids.is_empty();
        let times = self.pids.iter().map(|pid| processor_time(*pid).ok());
        let bytes = self.pids.iter().map(|pid| disk_read_bytes(*pid).ok());
        Usage {
            server: times.sum::<Option<Duration>>().filter(|_| known),
            server_disk_bytes: bytes.sum::<Option<u64>>().filter(|_| known),
            client: processor_time(std::process::id()).unwrap_or_default(),
        }
    }
}

impl Usage {
    /// What was used between `earlier` and this.
    #[must_use]
    pub fn since(&self, earlier: &Usage) -> Usage {
        let server = self.server.zip(earlier.server);
        let bytes = self.server_disk_bytes.zip(earlier.server_disk_bytes);
        Usage {
            server: server.map(|(now, then)| now.saturating_sub(then)),
            server_disk_bytes: bytes.map(|(now, then)| now.saturating_sub(then)),
            client: self.client.saturating_sub(earlier.client),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 250 17 0 0 20 0 1 0 99";
        assert_eq!(ticks_of(stat), Some(267));
        assert_eq!(ticks_of("7 (x) S 1"), None);
        assert_eq!(ticks_of(""), None);
    }

    #[test]
    fn this_process_can_be_measured() {
        let meter = Meter::new(&[std::process::id()]);
        let earlier = meter.sample();
        assert!(earlier.server.is_some());
        let used = meter.sample().since(&earlier);
        assert!(
            used.server
                .is_some_and(|time| time < Duration::from_secs(60))
        );
    }

    #[test]
    fn memory_threads_and_children_of_this_process_are_known() {
        let me = std::process::id();
        assert!(resident_bytes(me).unwrap() > 100_000);
        assert!(waits_by_thread(me).unwrap().contains_key(&me));
        let mut child = std::process::Command::new("cat");
        let child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        // Of this thread: tests run beside each other.
        let list = fs::read_to_string(format!("/proc/{me}/task/{thread}/children")).unwrap();
        assert!(list.split(' ').any(|pid| pid == child.id().to_string()));
        assert!(children(u32::MAX).is_err());
        let mut child = child;
        drop(child.stdin.take());
        child.wait().unwrap();
        let status = "VmRSS:\t  120 kB\nvoluntary_ctxt_switches:\t7\n";
        assert_eq!(number_of(status, "VmRSS:"), Some(120));
        assert_eq!(number_of(status, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(number_of(status, "Threads:"), None);
    }

    #[test]
    fn an_unknown_server_is_not_one_that_uses_nothing() {
        assert_eq!(Meter::new(&[]).sample().server, None);
        // No process has this number: pid_max is 2^22.
        assert_eq!(Meter::new(&[u32::MAX]).sample().server, None);
    }
}
