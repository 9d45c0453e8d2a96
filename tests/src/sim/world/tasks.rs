//! Unmodified tasks in a world: they read, wait, give up, connect and spawn, each by its own random script.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ambidex::disk::{File, OpenOptions, Outcome};
use ambidex::net::{TcpListener, TcpStream};
use ambidex::{Engine, Handle, Remote};
use fastrand::Rng;

use super::machine::{Machine, PATIENCE};
use super::net::{Beyond, SimNet};
use super::plan::{FILES, Plan, Visit};
use super::site::content;
use super::time::Event;
use crate::sim::disk::CountedBuf;

/// Whom [`Event::Beyond`] calls to send a task from outside the engine.
const SEND: u32 = 2000;
/// No task waits longer for an answer of another.
const ANSWER_MAX: Duration = Duration::from_secs(50);

/// A world with tasks in it.
pub(super) struct TaskWorld {
    pub(super) machine: Machine,
    remote: Remote,
    /// Tasks sent from outside, and those that have run.
    sent: Cell<u32>,
    arrived: Arc<AtomicU32>,
    /// Buffers that live.
    alive: Rc<Cell<usize>>,
    over: Cell<bool>,
}

impl TaskWorld {
    /// A world of `plan`, and the engine in it.
    pub(super) fn new(plan: Plan) -> (Rc<TaskWorld>, Engine) {
        let (machine, engine) = Machine::new(plan);
        let world = Rc::new(TaskWorld {
            machine,
            remote: engine.handle().remote(),
            sent: Cell::default(),
            arrived: Arc::default(),
            alive: Rc::default(),
            over: Cell::default(),
        });
        let weak: Weak<TaskWorld> = Rc::downgrade(&world);
        world.machine.net.extend(weak);
        (world, engine)
    }

    /// Runs the tasks to their end, and ends the engine.
    pub(super) fn run(self: &Rc<Self>, mut engine: Engine) -> Result<(), String> {
        let world = Rc::clone(self);
        let ran = engine.run(async |io: Handle| world.main(io).await);
        let handle = engine.handle();
        let ran = ran.and_then(|ran| ran);
        let report = ran.and_then(|()| engine.drain(PATIENCE));
        let report = report.map_err(|error| format!("the engine ended: {error}"));
        self.machine.end(report, &handle)?;
        let (sent, arrived) = (self.sent.get(), self.arrived.load(Ordering::SeqCst));
        if sent != arrived || self.alive.get() > 0 {
            let alive = self.alive.get();
            return Err(format!(
                "{sent} tasks sent, {arrived} ran, {alive} buffers live"
            ));
        }
        Ok(())
    }

    async fn main(self: Rc<Self>, io: Handle) -> std::io::Result<()> {
        let site = OpenOptions::new().directory();
        let site = site.open(io.disk(), "site").await?;
        let listener = TcpListener::bind(io.net(), SimNet::address(80))?;
        let echoing = io.spawn(echo(io.clone(), listener));
        self.machine.begin();
        let visits = self.machine.plan.visits.clone();
        let start = |visit: &Visit| {
            self.machine.time.plan(visit.at, Event::Beyond(SEND));
            let script = Script {
                world: Rc::clone(&self),
                io: io.clone(),
                site: site.clone(),
                rng: Rng::with_seed(visit.seed),
            };
            io.spawn(script.run(visit.clone()))
        };
        let tasks: Vec<_> = visits.iter().map(start).collect();
        for task in tasks {
            if task.await.is_err() {
                self.machine.net.fail("a task has panicked");
            }
        }
        // Whoever was to be sent has been by now, or was planned too late for this.
        io.sleep(Duration::from_secs(1)).await;
        self.over.set(true);
        echoing.abort();
        Ok(())
    }
}

impl Beyond for TaskWorld {
    fn happen(&self, who: u32) {
        if who != SEND {
            return self.machine.happen(who, || self.over.get());
        }
        let arrived = Arc::clone(&self.arrived);
        let sent = self.remote.spawn(move |io: Handle| async move {
            io.yield_now().await;
            arrived.fetch_add(1, Ordering::SeqCst);
        });
        self.sent.set(self.sent.get() + u32::from(sent.is_ok()));
    }

    fn turn(&self) {
        self.machine.turn();
    }
}

/// Sends back whatever comes.
async fn echo(io: Handle, listener: TcpListener) {
    let serve = async |stream: TcpStream| {
        let mut buffer = [0; 300];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    while let Ok((stream, _)) = io.accept(&listener).await {
        io.spawn(serve(stream)).detach();
    }
}

/// One task.
struct Script {
    world: Rc<TaskWorld>,
    io: Handle,
    site: File,
    rng: Rng,
}

impl Script {
    async fn run(mut self, visit: Visit) {
        for request in visit.requests.iter().chain(&visit.requests) {
            let file = request.file.min(FILES.len() - 1);
            match self.rng.u32(..8) {
                0 => {
                    let moment = self.moment();
                    self.io.sleep(moment).await;
                }
                1 | 2 => self.read(file).await,
                3 => {
                    // The read is dropped at some moment, or not.
                    let (io, moment) = (self.io.clone(), self.moment());
                    let _ = io.timeout(moment, self.read(file)).await;
                }
                4 => self.call_back(file).await,
                5 => self.connect().await,
                6 => self.spawn().await,
                _ => self.io.yield_now().await,
            }
        }
    }

    fn moment(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(..20_000))
    }

    fn fail(&self, what: String) {
        self.world.machine.net.fail(what);
    }

    fn check(&self, file: usize, at: u64, buffer: &CountedBuf, asked: usize) {
        let (path, size, _) = FILES[file];
        let here = buffer.filled();
        let right = content(file, 0)[..size]
            .get(at as usize..)
            .unwrap_or_default();
        let most = size.saturating_sub(at as usize).min(asked);
        if here.len() > most || !right.starts_with(here) {
            self.fail(format!("wrong bytes of {path} at {at}"));
        }
        if here.is_empty() && most > 0 {
            self.fail(format!("{path} ends at {at}"));
        }
    }

    /// An error that the plan does not explain (G6).
    fn judge(&self, error: &std::io::Error) {
        let disk = &self.world.machine.plan.disk;
        let explained = match error.raw_os_error() {
            Some(libc::EIO) => disk.io_error > 0,
            Some(libc::EAGAIN | libc::EINTR) => disk.again > 0,
            _ => false,
        };
        if !explained {
            self.fail(format!("a file answers {error}"));
        }
    }

    async fn read(&mut self, file: usize) {
        let opened = OpenOptions::new().open_at(&self.site, FILES[file].0).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return self.judge(&error),
        };
        let (at, asked) = (self.rng.u64(..3000), self.rng.usize(1..3000));
        let buffer = CountedBuf::new(asked, &self.world.alive);
        let (result, buffer) = opened.read_at(buffer, at).await;
        match result {
            Ok(_) => self.check(file, at, &buffer, asked),
            Err(error) => self.judge(&error),
        }
    }

    /// A read that is called back at some moment, or not: its buffer returns.
    async fn call_back(&mut self, file: usize) {
        let opened = OpenOptions::new().open_at(&self.site, FILES[file].0).await;
        let Ok(opened) = opened else { return };
        let asked = self.rng.usize(1..3000);
        let buffer = CountedBuf::new(asked, &self.world.alive);
        let moment = self.moment();
        match self.io.deadline(moment, opened.read_at(buffer, 0)).await {
            Outcome::Completed((Ok(_), buffer)) => self.check(file, 0, &buffer, asked),
            Outcome::Completed((Err(error), _)) => self.judge(&error),
            Outcome::Cancelled(_) => {}
        }
    }

    /// Whatever is sent comes back, unless the network is at fault.
    async fn connect(&mut self) {
        let io = self.io.clone();
        let size = self.rng.usize(1..4000);
        let text: Vec<u8> = (0..size).map(|_| self.rng.u8(..)).collect();
        let talk = async {
            let stream = TcpStream::connect(io.net(), SimNet::address(80)).await?;
            let mut back = Vec::new();
            let mut buffer = [0; 500];
            for piece in text.chunks(1000) {
                stream.write_all(piece).await?;
                let end = back.len() + piece.len();
                while back.len() < end {
                    match stream.read(&mut buffer).await? {
                        0 => return Ok(false),
                        count => back.extend_from_slice(&buffer[..count]),
                    }
                }
            }
            Ok::<bool, std::io::Error>(back == text)
        };
        let network = &self.world.machine.plan.network;
        let excused = network.abort > 0 || network.refuse_watch > 0;
        match io.timeout(ANSWER_MAX, talk).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) if excused => {}
            other => self.fail(format!("an echo of {size} bytes: {other:?}")),
        }
    }

    async fn spawn(&mut self) {
        let (io, moment) = (self.io.clone(), self.moment());
        let own = io.clone();
        let task = io.spawn(async move { own.sleep(moment).await });
        match self.rng.u32(..3) {
            0 => task.abort(),
            1 => task.detach(),
            _ => {
                if task.await.is_err() {
                    self.fail("a task that sleeps has ended badly".to_owned());
                }
            }
        }
    }
}
