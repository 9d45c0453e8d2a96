//! A server that is started to be measured, and stopped after it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::parse::Url;

/// What the server says before its address.
pub const GREETING: &str = "listening on ";

/// A process that serves a directory. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Kept open: who writes to a closed pipe is killed.
    _output: BufReader<ChildStdout>,
    url: Url,
}

impl Server {
    /// `PROGRAM serve ROOT --workers WORKERS --listen 127.0.0.1:0` with `disk` in `AMBIDEX_DISK`.
    #[must_use]
    pub fn command(program: &Path, root: &Path, workers: usize, disk: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("serve").arg(root);
        command.args(["--workers", &workers.to_string()]);
        command.args(["--listen", "127.0.0.1:0"]);
        command.env("AMBIDEX_DISK", disk);
        command
    }

    /// Runs [`command`](Server::command) with one worker, and waits until it says where it listens.
    ///
    /// # Errors
    /// [`Error::Start`] if it does not start.
    pub fn start(program: &Path, root: &Path, disk: &str) -> Result<Server, Error> {
        Server::run(Server::command(program, root, 1, disk))
    }

    /// Runs `command`, one like [`command`](Server::command), and waits until it says where it listens.
    ///
    /// # Errors
    /// [`Error::Start`] if it does not start.
    pub fn run(mut command: Command) -> Result<Server, Error> {
        let program = command.get_program().to_owned();
        let wrong = |why: String| Error::Start(format!("{} serve: {why}", program.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // Ctrl-C is for the measuring; the server is told at the end.
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| wrong(error.to_string()))?;
        let output = child.stdout.take().expect("it was piped");
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let read = output.read_line(&mut line).map(|_| line.trim());
        let url = read
            .ok()
            .and_then(|line| line.strip_prefix(GREETING)?.parse().ok());
        // From here on it is ended on every way out.
        let url = url.ok_or_else(|| {
            let _ = child.kill();
            let status = child
                .wait()
                .map_or("?".to_owned(), |status| status.to_string());
            wrong(format!(
                "it did not say \"{GREETING}ADDRESS\" but {line:?}, and ended: {status}"
            ))
        })?;
        Ok(Server {
            child,
            _output: output,
            url,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}
