//! What a process asked of the kernel: `strace` to a file, and the file as data.
//!
//! Also the way to make system calls fail: `-e inject=...`. The kernel's own io_uring workers are not
//! traced, so what the ring does by itself is invisible here, which is what some tests are about.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often, and how far apart, a process is looked at before it is called restless: a minute.
const LOOKS: u32 = 3_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Why `strace` cannot be used here, or `None` when it can.
pub fn missing() -> Option<String> {
    // -e inject needs a tracer that can write registers; a refusal by seccomp or Yama shows here too.
    let mut probe = Command::new("strace");
    probe.args(["-f", "-o", "/dev/null", "true"]);
    match probe.stdout(Stdio::null()).stderr(Stdio::piped()).output() {
        Err(error) => Some(format!("strace: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The words that run a command under `strace` with its output in `file` and paths shown beside file
/// numbers: put them before the command. `extra` are further options, such as `-e inject=...`.
pub fn wrapper(file: &Path, extra: &[&str]) -> Vec<String> {
    let mut words = vec!["strace".to_owned(), "-f".to_owned(), "-y".to_owned()];
    words.extend(extra.iter().map(|word| (*word).to_owned()));
    words.push("-o".to_owned());
    words.push(file.display().to_string());
    words.push("--".to_owned());
    words
}

/// A tracer attached to a running process.
pub struct Tracer {
    child: Child,
    pid: u32,
    file: PathBuf,
}

impl Tracer {
    /// Attaches to `pid` and all its threads, with output in `file`, and returns once it traces. What
    /// `strace` itself says is in a file beside it that ends in `.said`.
    ///
    /// # Errors
    ///
    /// That of starting `strace`, or `Other` with its own words when it gives up.
    pub fn attach(pid: u32, file: &Path, extra: &[&str]) -> io::Result<Self> {
        let said = file.with_extension("said");
        let child = Command::new("strace")
            .args(["-f", "-y"])
            .args(extra)
            .arg("-o")
            .arg(file)
            .args(["-p", &pid.to_string()])
            .stderr(File::create(&said)?)
            .spawn()?;
        let mut tracer = Self {
            child,
            pid,
            file: file.to_owned(),
        };
        // A thread has a tracer (PTRACE_SEIZE) before its calls are seen, which they are from
        // PTRACE_INTERRUPT on: strace says this word after both, of all threads.
        while !fs::read_to_string(&said)?.contains(" attached") {
            if let Some(status) = tracer.child.try_wait()? {
                let words = fs::read_to_string(&said)?;
                let words = words.trim();
                return Err(io::Error::other(format!(
                    "strace -p {pid}: {status}: {words}"
                )));
            }
            std::thread::yield_now();
        }
        Ok(tracer)
    }

    /// Detaches once the process has nothing to do, and gives the calls seen.
    ///
    /// Not before: `strace` makes a call fail by naming another when it begins and writing the error when
    /// it returns, and a thread that is let go in between is told `ENOSYS`.
    ///
    /// # Errors
    ///
    /// `TimedOut` when the process does not come to rest, else that of stopping `strace` or reading its
    /// file.
    pub fn finish(mut self) -> io::Result<Vec<Call>> {
        self.wait_for_rest()?;
        self.detach()?;
        read(&self.file)
    }

    /// Waits until every thread sleeps and has slept all through the last look.
    fn wait_for_rest(&self) -> io::Result<()> {
        let mut before = None;
        for _ in 0..LOOKS {
            let now = switches_if_asleep(self.pid)?;
            if now.is_some() && now == before {
                return Ok(());
            }
            before = now;
            std::thread::sleep(BETWEEN_LOOKS);
        }
        let what = format!("process {} is still busy", self.pid);
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }

    fn detach(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            let pid = Pid::from_child(&self.child);
            kill_process(pid, Signal::INT)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            eprintln!("stopping strace: {error}");
        }
    }
}

/// How often the threads of `pid` were switched, or `None` when one of them does not sleep.
fn switches_if_asleep(pid: u32) -> io::Result<Option<u64>> {
    let mut switches = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        for line in status.lines() {
            let (name, value) = line.split_once(":\t").unwrap_or_default();
            match name {
                "State" if !value.starts_with('S') => return Ok(None),
                "voluntary_ctxt_switches" => switches += value.parse::<u64>().unwrap_or_default(),
                _ => {}
            }
        }
    }
    Ok(Some(switches))
}

/// One system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// Its name.
    pub name: String,
    /// The text between the parentheses.
    pub args: String,
    /// The text after the equals sign: a number, an error's name, a file number with its path.
    pub result: String,
}

impl Call {
    /// The `n`th argument, counted from 0, as `strace` writes it.
    pub fn arg(&self, n: usize) -> &str {
        let mut depth = 0_i32;
        let mut quoted = false;
        let mut escaped = false;
        let mut rest = self.args.split(|c: char| {
            let outside = depth == 0 && !quoted;
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '(' | '[' | '{' | '<' if !quoted => depth += 1,
                // `=>` is no bracket, but `strace` writes it only inside of one.
                ')' | ']' | '}' | '>' if !quoted => depth -= 1,
                _ => {}
            }
            c == ',' && outside
        });
        rest.nth(n).unwrap_or_default().trim()
    }

    /// The `n`th argument as a number; a path after it (`-y`) is left out.
    pub fn number(&self, n: usize) -> Option<i64> {
        leading_number(self.arg(n))
    }

    /// The result as a number; -1 for an error.
    pub fn returned(&self) -> Option<i64> {
        leading_number(&self.result)
    }

    /// Whether `strace` made this call fail.
    pub fn injected(&self) -> bool {
        self.result.ends_with("(INJECTED)")
    }
}

fn leading_number(text: &str) -> Option<i64> {
    let end = text
        .char_indices()
        .find(|&(at, c)| !(c.is_ascii_digit() || (at == 0 && c == '-')))
        .map_or(text.len(), |(at, _)| at);
    text[..end].parse().ok()
}

/// The calls in an output file of `strace -f -o`, in the order they returned. Calls that have not
/// returned, signals and exits are left out.
///
/// # Errors
///
/// That of reading the file.
pub fn read(file: &Path) -> io::Result<Vec<Call>> {
    Ok(parse(&String::from_utf8_lossy(&fs::read(file)?)))
}

/// The calls in a text that `strace -f -o` wrote; see [`read`].
pub fn parse(text: &str) -> Vec<Call> {
    let mut begun: HashMap<u32, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let Ok(thread) = thread.parse() else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(head) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, head.to_owned());
        } else if let Some(tail) = rest.strip_prefix("<... ") {
            let tail = tail.split_once(" resumed>").map(|(_, tail)| tail);
            if let (Some(head), Some(tail)) = (begun.remove(&thread), tail) {
                calls.extend(call(thread, &format!("{head}{tail}")));
            }
        } else {
            calls.extend(call(thread, rest));
        }
    }
    calls
}

fn call(thread: u32, text: &str) -> Option<Call> {
    let (head, result) = text.rsplit_once(" = ")?;
    let (name, args) = head.trim_end().strip_suffix(')')?.split_once('(')?;
    Some(Call {
        thread,
        name: name.to_owned(),
        args: args.to_owned(),
        result: result.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"7 eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK) = 5<anon_inode:[eventfd]>
7 epoll_ctl(4<anon_inode:[eventpoll]>, EPOLL_CTL_ADD, 5<anon_inode:[eventfd]>, {events=EPOLLIN|EPOLLET, data={u32=1, u64=1}}) = 0
7 epoll_pwait2(4<anon_inode:[eventpoll]>,  <unfinished ...>
8 write(1<pipe:[9]>, "a, \"b) = c", 10) = 10
7 --- SIGSTOP {si_signo=SIGSTOP, si_code=SI_USER} ---
7 <... epoll_pwait2 resumed>[{events=EPOLLIN, data={u32=3, u64=3}}], 64, NULL, NULL, 8) = 1
8 io_uring_setup(8, 0x7ffd) = -1 EPERM (Operation not permitted) (INJECTED)
8 +++ exited with 0 +++
"#;

    #[test]
    fn who_is_not_there_is_not_attached_to_in_the_words_of_strace() {
        if let Some(reason) = missing() {
            return crate::rig::skipped("not attached", &reason);
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        // Beyond the largest process number of Linux.
        let tracer = Tracer::attach(1 << 23, &folder.path().join("trace"), &[]);
        let error = tracer.err().expect("there is no such process");
        assert!(error.to_string().contains("No such process"), "{error}");
    }

    #[test]
    fn calls_are_parsed() {
        let calls = parse(TEXT);
        let names: Vec<_> = calls.iter().map(|call| call.name.as_str()).collect();
        let expected = [
            "eventfd2",
            "epoll_ctl",
            "write",
            "epoll_pwait2",
            "io_uring_setup",
        ];
        assert_eq!(names, expected);
        assert_eq!(calls[0].returned(), Some(5));
        assert_eq!(calls[1].arg(1), "EPOLL_CTL_ADD");
        assert_eq!(calls[1].number(2), Some(5));
        assert!(calls[1].arg(3).contains("EPOLLET"));
        assert_eq!(calls[2].arg(1), r#""a, \"b) = c""#);
        assert_eq!(calls[2].number(2), Some(10));
        assert_eq!((calls[3].thread, calls[3].returned()), (7, Some(1)));
        assert!(calls[4].injected());
        assert_eq!(calls[4].returned(), Some(-1));
    }
}
