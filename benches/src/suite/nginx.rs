//! nginx at its best: its configuration, and its processes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ambidex::clock::{Clock, Real};
use rustix::process::{Pid, Resource, Signal, geteuid, getrlimit, kill_process};

use crate::Error;
use crate::interrupt::Interrupt;
use crate::parse::Url;
use crate::usage;

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(10);
/// Descriptors that it has beside its connections.
const OTHERS: u64 = 512;

/// What is tried of it: the best counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    /// `sendfile on`.
    pub(super) sendfile: bool,
    /// `aio threads`.
    pub(super) aio: bool,
}

/// Where files are in memory.
pub(super) const HOT: [Setup; 2] = [
    Setup {
        sendfile: true,
        aio: false,
    },
    Setup {
        sendfile: false,
        aio: false,
    },
];

impl Setup {
    pub(super) fn name(self) -> String {
        let sendfile = if self.sendfile {
            "nginx sendfile"
        } else {
            "nginx"
        };
        let aio = if self.aio { " aio" } else { "" };
        format!("{sendfile}{aio}")
    }

    /// Its configuration, for files in `root` and itself in `own`.
    fn configuration(self, own: &Path, root: &Path, address: SocketAddr) -> String {
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
        // Others than root have no choice, and are told so if they write it.
        let user = if geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let sendfile = if self.sendfile { "on" } else { "off" };
        let aio = if self.aio { "aio threads;" } else { "" };
        let own = own.display();
        format!(
            "worker_processes 1;
daemon off;
{user}
pid {own}/nginx.pid;
worker_rlimit_nofile {most};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    sendfile {sendfile};
    {aio}
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
    open_file_cache max=20000 inactive=3600s;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen {address} backlog=4096;
        root \"{root}\";
    }}
}}
",
            connections = most.saturating_sub(OTHERS).clamp(64, 1 << 20),
            root = root.display(),
        )
    }
}

/// Its master and its worker. Dropping it ends both.
#[derive(Debug)]
pub(super) struct Nginx {
    child: Child,
    pids: Vec<u32>,
    url: Url,
}

impl Nginx {
    /// Starts `program` in its directory `own`, to serve `root`, and waits until it answers.
    pub(super) fn start(
        program: &Path,
        own: &Path,
        root: &Path,
        setup: Setup,
        interrupt: &Interrupt,
    ) -> Result<Nginx, Error> {
        let wrong = |why: String| Error::Start(format!("{}: {why}", program.display()));
        let address = free_address().map_err(|error| wrong(error.to_string()))?;
        let (file, log) = (own.join("nginx.conf"), own.join("error.log"));
        let written = fs::write(&file, setup.configuration(own, root, address));
        written.map_err(|error| wrong(error.to_string()))?;
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(own)
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(&log);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // Ctrl-C is for the measuring.
        let child = command.process_group(0).spawn();
        let child = child.map_err(|error| wrong(error.to_string()))?;
        let url = format!("http://{address}/").parse().map_err(wrong)?;
        // From here on it is ended on every way out.
        let mut nginx = Nginx {
            child,
            pids: Vec::new(),
            url,
        };
        let listening = nginx.wait_until_it_answers(address, interrupt);
        listening.map_err(|why| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            wrong(format!(
                "{why}; {}",
                log.lines().last().unwrap_or("it said nothing")
            ))
        })?;
        Ok(nginx)
    }

    /// Its worker is there, and the port is taken.
    fn wait_until_it_answers(
        &mut self,
        address: SocketAddr,
        interrupt: &Interrupt,
    ) -> Result<(), String> {
        let deadline = Real.now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(format!("it ended: {status}")),
                Err(error) => return Err(error.to_string()),
            }
            let workers = usage::children(self.child.id()).unwrap_or_default();
            if !workers.is_empty() && TcpStream::connect(address).is_ok() {
                self.pids = workers;
                self.pids.push(self.child.id());
                return Ok(());
            }
            if interrupt.is_set() || Real.now() > deadline {
                return Err("it does not listen".to_owned());
            }
            interrupt.rest(GLANCE);
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn pids(&self) -> &[u32] {
        &self.pids
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself. Its worker ends with it.
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// One that nobody listens on just now.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
