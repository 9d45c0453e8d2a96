//! The `ambidex` binary as a black box: built once a process, started per test, killed on drop.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use std::{fs, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long anything may take before a test calls it hung. A liveness guard, never a measurement.
pub const HANG_GUARD: Duration = Duration::from_secs(30);

/// Which hand of the server reads the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring completions.
    Uring,
    /// The bounded thread pool.
    Threads,
}

impl Backend {
    /// The value of `AMBIDEX_DISK` that chooses this backend.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Threads => "threads",
        }
    }
}

/// The backends this machine can run: threads always, the ring where the probe says so.
pub fn backends() -> Vec<Backend> {
    static URING: OnceLock<bool> = OnceLock::new();
    let uring = *URING.get_or_init(|| {
        let output = run(&["probe", "--json"]);
        let probe: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("`ambidex probe --json` prints JSON");
        let uring = probe["backend"] == "uring";
        if !uring {
            eprintln!("SKIPPED every test on the uring backend: the probe says {probe}");
        }
        uring
    });
    if uring {
        vec![Backend::Threads, Backend::Uring]
    } else {
        vec![Backend::Threads]
    }
}

/// Runs `test` against a fresh one-worker server of `root` on each backend.
pub fn each_backend(root: &Path, test: impl Fn(&Server)) {
    for backend in backends() {
        let server = Server::start(root, backend);
        test(&server);
        server.assert_sound();
    }
}

/// As [`each_backend`], with a server of these options.
pub fn each_backend_with(root: &Path, args: &[&str], test: impl Fn(&Server)) {
    for backend in backends() {
        let server = Server::builder(root).backend(backend).args(args).start();
        test(&server);
        server.assert_sound();
    }
}

/// Path of the server's executable, built on first use in the profile this test was built in.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built(&["--bin", "ambidex"], "ambidex"))
}

/// Builds what these arguments of `cargo build` choose, in the profile this test was built in, and tells where the
/// program or the library of the target `name` is.
///
/// # Panics
/// When it does not build.
pub fn built(target: &[&str], name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .arg("build")
        // As the tests were: with other features every dependency would be built again.
        .arg("--workspace")
        .args(target)
        .args([
            "--message-format=json-render-diagnostics",
            "--manifest-path",
        ])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .args(["--profile", &profile()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{name} does not build");
    String::from_utf8(output.stdout)
        .expect("cargo's messages are UTF-8")
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| {
            // A library of Rust's own may have the program's name.
            let is_ours = message["target"]["kind"][0] != "lib";
            let file = message["filenames"][0].as_str().filter(|_| is_ours);
            message["executable"].as_str().or(file).map(PathBuf::from)
        })
        .and_then(|path| path.canonicalize().ok())
        .expect("cargo names what it built")
}

/// The profile of this test: cargo builds it as `PROFILE/deps/NAME`.
fn profile() -> String {
    let own = std::env::current_exe().expect("a test has a path");
    let folder = own.ancestors().nth(2).and_then(Path::file_name);
    match folder.and_then(OsStr::to_str).expect("a profile's folder") {
        "debug" => "dev".to_owned(),
        name => name.to_owned(),
    }
}

/// Runs `ambidex` with `args` to its end, with no `AMBIDEX_DISK` in its environment.
///
/// # Panics
/// When it has not ended within [`HANG_GUARD`].
pub fn run(args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(args).env_remove("AMBIDEX_DISK");
    finish(&mut command)
}

/// Runs `command` to its end and returns what it said.
///
/// # Panics
/// When it has not ended within [`HANG_GUARD`].
pub fn finish(command: &mut Command) -> Output {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    if !ends_within_guard(&child) {
        // Ending a child that may have ended by itself meanwhile cannot fail in a way that matters.
        let _ = child.kill();
        let output = child.wait_with_output().expect("output is readable");
        panic!("{command:?} was still running after {HANG_GUARD:?}: {output:?}");
    }
    child.wait_with_output().expect("output is readable")
}

fn ends_within_guard(child: &Child) -> bool {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("child is unreaped");
    let guard = Timespec::try_from(HANG_GUARD).expect("guard fits");
    let ready = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&guard));
    ready.expect("poll of a pidfd") == 1
}

/// Polls until `condition` holds.
///
/// # Panics
/// When it does not hold within [`HANG_GUARD`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..HANG_GUARD.as_millis() / PAUSE.as_millis() {
        if condition() {
            return;
        }
        thread::sleep(PAUSE);
    }
    panic!("not within {HANG_GUARD:?}: {what}");
}

/// What a server is to be started with.
#[derive(Debug)]
pub struct Builder {
    root: PathBuf,
    rootless: bool,
    backend: Option<Backend>,
    listen: String,
    workers: usize,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    limits: Vec<String>,
}

impl Builder {
    /// Chooses the disk backend; without it the server chooses.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Listens here and not on a free loopback port.
    pub fn listen(mut self, address: impl ToString) -> Self {
        self.listen = address.to_string();
        self
    }

    /// Gives no directory on the command line: a configuration file does.
    pub fn rootless(mut self) -> Self {
        self.rootless = true;
        self
    }

    /// Number of workers, 1 unless told.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Adds an argument after those of the harness.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments after those of the harness.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable of the server.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs the server under this command, such as `strace -f -o FILE`.
    pub fn wrapper<S: AsRef<OsStr>>(mut self, wrapper: &[S]) -> Self {
        self.wrapper = wrapper
            .iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self
    }

    /// Limits the server's file descriptors.
    pub fn nofile(self, limit: u64) -> Self {
        self.ulimit(&format!("-n {limit}"))
    }

    /// Limits the server with `ulimit ARGS`, as `-l 0`: the shell's units.
    pub fn ulimit(mut self, args: &str) -> Self {
        self.limits.push(format!("ulimit {args} && "));
        self
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        if !self.limits.is_empty() {
            // A shell, because setting a limit between fork and exec ourselves needs unsafe code.
            words.extend(["sh".into(), "-c".into()]);
            words.push(format!("{}exec \"$@\"", self.limits.concat()).into());
            words.push("sh".into());
        }
        words.push(binary().into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("serve");
        if !self.rootless {
            command.arg(&self.root);
        }
        command.args([
            "--listen",
            &self.listen,
            "--workers",
            &self.workers.to_string(),
        ]);
        command.args(&self.args).env_remove("AMBIDEX_DISK");
        if let Some(backend) = self.backend {
            command.env("AMBIDEX_DISK", backend.name());
        }
        command.envs(self.envs.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Starts the server and waits until it says where it listens.
    ///
    /// # Panics
    /// When it ends first, stays silent past [`HANG_GUARD`], or says something else.
    pub fn start(self) -> Server {
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let stdout = Log::collect(child.stdout.take().expect("piped"));
        let stderr = Log::collect(child.stderr.take().expect("piped"));
        let mut server = Server {
            pid: child.id(),
            child,
            addr: SocketAddr::from(([0, 0, 0, 0], 0)),
            backend: self.backend,
            stdout,
            stderr,
            status: None,
        };
        let line = server.stdout.next_line();
        let line = line.unwrap_or_else(|| panic!("{command:?} does not say where it listens"));
        server.addr = line
            .strip_prefix("listening on http://")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("not an address to listen on: {line:?}"));
        if !self.wrapper.is_empty() {
            server.pid = descendant(server.pid).expect("the wrapper runs the server");
        }
        server
    }

    /// Runs a server that is expected not to start.
    ///
    /// # Panics
    /// When it is still running after [`HANG_GUARD`].
    pub fn spawn_failing(self) -> Output {
        finish(&mut self.command())
    }
}

/// The process below `ancestor` that runs our binary.
fn descendant(ancestor: u32) -> Option<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary()))
        .find(|&pid| {
            std::iter::successors(Some(pid), |&pid| parent(pid)).any(|pid| pid == ancestor)
        })
}

fn parent(pid: u32) -> Option<u32> {
    stat_fields(pid)?.get(1)?.parse().ok()
}

/// The fields of `/proc/PID/stat` from the state on: the name before it may hold spaces.
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// What the server has written on one of its outputs.
#[derive(Debug)]
struct Log {
    text: Arc<Mutex<String>>,
    /// Each line as it comes; disconnected at end of file. Locked so that threads share a server.
    lines: Mutex<Receiver<String>>,
}

impl Log {
    fn collect(output: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::channel();
        let collected = Arc::clone(&text);
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let mut text = collected.lock().expect("no holder panics");
                text.push_str(&line);
                text.push('\n');
                drop(text);
                // A test that ended no longer listens.
                let _ = sender.send(line);
            }
        });
        let lines = Mutex::new(lines);
        Self { text, lines }
    }

    /// The next line, or nothing at end of file or past the hang guard.
    fn next_line(&self) -> Option<String> {
        let lines = self.lines.lock().expect("no holder panics");
        lines.recv_timeout(HANG_GUARD).ok()
    }

    fn text(&self) -> String {
        self.text.lock().expect("no holder panics").clone()
    }

    /// Waits for end of file, so that [`Log::text`] is complete.
    fn finish(&self) {
        while self.next_line().is_some() {}
    }
}

/// A running server, killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: u32,
    addr: SocketAddr,
    backend: Option<Backend>,
    stdout: Log,
    stderr: Log,
    status: Option<ExitStatus>,
}

impl Server {
    /// Starts `ambidex serve ROOT` with one worker on a free loopback port.
    pub fn start(root: &Path, backend: Backend) -> Self {
        Self::builder(root).backend(backend).start()
    }

    /// A server of `root`, to be configured before it starts.
    pub fn builder(root: &Path) -> Builder {
        Builder {
            root: root.to_owned(),
            rootless: false,
            backend: None,
            listen: "127.0.0.1:0".to_owned(),
            workers: 1,
            args: Vec::new(),
            envs: Vec::new(),
            wrapper: Vec::new(),
            limits: Vec::new(),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Process id of the server itself, under a wrapper too.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has written on standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written on standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends a signal to the server itself.
    ///
    /// # Panics
    /// When it was already waited for: its id may belong to a stranger by now.
    pub fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "the server has ended");
        kill_process(raw_pid(self.pid), signal).expect("the server is there to signal");
    }

    /// Waits for the end; both outputs are complete afterwards.
    ///
    /// # Panics
    /// When it has not ended within [`HANG_GUARD`].
    pub fn wait(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        assert!(ends_within_guard(&self.child), "the server does not end");
        let status = self.child.wait().expect("our own child");
        self.status = Some(status);
        self.stdout.finish();
        self.stderr.finish();
        status
    }

    /// Number of its open file descriptors.
    pub fn open_fds(&self) -> usize {
        self.count("fd")
    }

    /// Number of its threads, the kernel's I/O workers included.
    pub fn threads(&self) -> usize {
        self.count("task")
    }

    fn count(&self, folder: &str) -> usize {
        let path = format!("/proc/{}/{folder}", self.pid);
        fs::read_dir(path).expect("the server is running").count()
    }

    /// Seconds of processor time it has used.
    pub fn cpu_seconds(&self) -> f64 {
        let fields = stat_fields(self.pid).expect("the server is running");
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number of ticks");
        // utime and stime are fields 14 and 15 of proc_pid_stat(5); the state is field 3.
        (ticks(11) + ticks(12)) / rustix::param::clock_ticks_per_second() as f64
    }

    /// Checks that no thread of the server has panicked.
    ///
    /// # Panics
    /// When one has.
    pub fn assert_sound(&self) {
        let stderr = self.stderr();
        assert!(
            !stderr.contains("panicked"),
            "the server panicked: {stderr}"
        );
    }
}

fn raw_pid(pid: u32) -> Pid {
    let pid = i32::try_from(pid).expect("a process id");
    Pid::from_raw(pid).expect("a process id is not zero")
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let backend = self.backend.map_or("auto", Backend::name);
            eprintln!("server on backend {backend} said: {}", self.stderr());
        }
        if self.status.is_none() {
            // The server before its wrapper: strace, killed first, would leave it running. Either
            // may be gone already.
            let _ = kill_process(raw_pid(self.pid), Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
