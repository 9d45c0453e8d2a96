//! The unmodified server in a world: a site on a simulated disk, clients on a simulated network.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ambidex::net::TcpListener;
use ambidex::{Engine, Handle, disk};
use ambidex_server::{Config, Limits, Server, Site, Stop};
use fastrand::Rng;

use super::answer::content;
use super::disk::{SimDisk, Stale};
use super::net::{Beyond, Network, SimNet};
use super::peer::Peer;
use super::plan::Plan;
use super::time::{Event, Time};
use crate::sim::disk::{Control, Faults, fake};

/// Who [`Event::Beyond`] calls, after the clients.
const DEVICE: u32 = 1000;
const HANG: u32 = 1001;
const RELEASE: u32 = 1002;
const CALM: u32 = 1003;
const STOP: u32 = 1004;
const LATE: u32 = 1005;

/// When faults stop; then everybody is answered, or told, within [`PATIENCE`].
const CALM_AFTER: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a device takes, at most.
const SERVICE_MAX: Duration = Duration::from_millis(20);
/// Turns that no schedule needs.
const TURNS_MAX: u64 = 100_000;

/// A world with a server in it.
pub(super) struct ServerWorld {
    plan: Plan,
    time: Rc<Time>,
    net: Rc<SimNet>,
    disk: Control,
    stale: Rc<Stale>,
    peers: RefCell<Vec<Peer>>,
    stop: Stop,
    stopping: Cell<bool>,
    hanging: Cell<bool>,
    /// The device works on something, and its next answer is planned.
    serving: Cell<bool>,
    rng: RefCell<Rng>,
    handle: RefCell<Option<Handle>>,
}

impl ServerWorld {
    /// A world of `plan`, and the engine in it.
    pub(super) fn new(plan: Plan) -> (Rc<ServerWorld>, Engine) {
        let time = Time::new();
        let net = SimNet::new(&time, plan.network, plan.seed ^ 1);
        net.bound_turns(TURNS_MAX);
        let (fake, control) = fake(plan.entries, plan.entries, plan.seed ^ 2);
        for (number, (path, size, cached)) in plan.files().enumerate() {
            control.file(path, content(number, 0).take(size).collect());
            if !cached {
                control.cold(path);
            }
        }
        control.file("site", Vec::new());
        control.file(".", Vec::new());
        control.disk(plan.place);
        control.pace();
        let stale = Rc::new(Stale::default());
        let kernel = SimDisk::new(fake, &time, &stale, plan.seed ^ 3);
        let engine = Engine::builder()
            .net_kernel(Rc::clone(&net) as Rc<dyn ambidex::net::Kernel>)
            .disk_kernel(Box::new(kernel))
            .clock(Rc::clone(&time) as Rc<dyn ambidex::clock::Clock>)
            .disk(disk::Options::default())
            .build()
            .expect("descriptors for an engine");
        let peers = plan.visits.iter().zip(0..);
        let peers = peers.map(|(visit, who)| Peer::new(who, visit)).collect();
        let world = Rc::new(ServerWorld {
            rng: RefCell::new(Rng::with_seed(plan.seed ^ 4)),
            plan,
            time,
            net,
            disk: control,
            stale,
            peers: RefCell::new(peers),
            stop: Stop::default(),
            stopping: Cell::new(false),
            hanging: Cell::new(false),
            serving: Cell::new(false),
            handle: RefCell::new(Some(engine.handle())),
        });
        let weak: Weak<ServerWorld> = Rc::downgrade(&world);
        world.net.extend(weak);
        (world, engine)
    }

    pub(super) fn net(&self) -> &Rc<SimNet> {
        &self.net
    }

    pub(super) fn time(&self) -> &Rc<Time> {
        &self.time
    }

    /// Runs the server until all clients have left, and ends the engine.
    pub(super) fn run(self: &Rc<Self>, mut engine: Engine) -> Result<(), String> {
        let stop = self.stop.clone();
        let world = Rc::clone(self);
        let served = engine.run(async |io: Handle| {
            let site = Site::open(&io, "site").await?;
            let listener = TcpListener::bind(io.net(), SimNet::address(80))?;
            world.open();
            let server = Server::new(site).config(world.config());
            server.serve(&io, listener, &stop).await
        });
        let handle = engine.handle();
        self.handle.borrow_mut().take();
        let served = served.and_then(|served| served);
        let report = served.and_then(|()| engine.drain(PATIENCE));
        if let Some(wrong) = self.net.wrong() {
            return Err(wrong);
        }
        let report = report.map_err(|error| format!("the engine ended: {error}"))?;
        self.check_end(report, &handle)
    }

    fn config(&self) -> Config {
        let seconds = Duration::from_secs;
        Config {
            limits: Limits {
                header_timeout: seconds(5),
                idle_timeout: seconds(5),
                write_timeout: seconds(4),
                disk_deadline: Some(seconds(5)),
                grace_period: seconds(5),
                connections_max: self.plan.connections_max,
                descriptors_max: Some(64),
                ..Limits::default()
            },
            ..Config::default()
        }
    }

    /// From now on there are clients and faults.
    fn open(&self) {
        self.disk.faults(self.plan.disk);
        self.stale.percent.set(self.plan.stale);
        for (visit, who) in self.plan.visits.iter().zip(0..) {
            self.time.plan(visit.at, Event::Beyond(who));
        }
        if let Some((begin, length)) = self.plan.hang {
            self.time.plan(begin, Event::Beyond(HANG));
            self.time.plan(begin + length, Event::Beyond(RELEASE));
        }
        if let Some(at) = self.plan.stop {
            self.time.plan(at, Event::Beyond(STOP));
        }
        self.time.plan(CALM_AFTER, Event::Beyond(CALM));
        self.time.plan(CALM_AFTER + PATIENCE, Event::Beyond(LATE));
        self.stop_if_over();
    }

    /// Nothing is left (G3, G8), and what was stale reached nobody (G2).
    fn check_end(&self, report: ambidex::Report, handle: &Handle) -> Result<(), String> {
        let left = [
            ("operations given up", report.operations_given_up),
            ("tasks cancelled", report.tasks_cancelled),
            ("sockets open", self.net.descriptors()),
            ("files open", self.disk.open()),
            ("entries at the disk", self.disk.busy()),
            ("operations in flight", handle.disk().in_flight()),
            ("operations waiting", handle.disk().waiting()),
        ];
        if let Some((what, count)) = left.iter().find(|(_, count)| *count > 0) {
            return Err(format!("at the end: {count} {what}"));
        }
        let told = (self.net.tally().stale, self.stale.told.get());
        let counters = handle.disk().counters();
        let seen = (handle.net().stale_events(), counters.stale);
        if told != seen {
            return Err(format!("stale events, completions: told {told:?}, counted {seen:?}"));
        }
        if counters.bugs > 0 {
            return Err(format!("{} errnos that only a bug explains", counters.bugs));
        }
        Ok(())
    }

    fn stop_if_over(&self) {
        if self.peers.borrow().iter().all(Peer::is_done) {
            self.stop();
        }
    }

    fn stop(&self) {
        self.stopping.set(true);
        self.stop.set();
    }

    fn visit(&self, who: usize) {
        let mut peers = self.peers.borrow_mut();
        let acted = peers[who].act(&self.net, &self.time, &self.plan, self.stopping.get());
        drop(peers);
        if let Err(what) = acted {
            self.net.fail(what);
        }
        self.stop_if_over();
    }

    fn finish_one(&self) {
        self.serving.set(false);
        if !self.hanging.get() && self.disk.finish_one() {
            self.disk.ring();
        }
    }

    /// Faults stop.
    fn calm(&self) {
        self.hanging.set(false);
        self.disk.faults(Faults::default());
        self.stale.percent.set(0);
        self.net.faults(Network {
            latency: self.plan.network.latency,
            capacity: self.plan.network.capacity,
            ..Network::quiet()
        });
    }

    fn hang(&self, hanging: bool) {
        self.hanging.set(hanging);
        let delay = if hanging { 100 } else { self.plan.disk.delay };
        self.disk.faults(Faults {
            delay,
            ..self.plan.disk
        });
    }
}

impl Beyond for ServerWorld {
    fn happen(&self, who: u32) {
        match who {
            DEVICE => self.finish_one(),
            HANG => self.hang(true),
            RELEASE => self.hang(false),
            CALM => self.calm(),
            STOP => self.stop(),
            LATE if self.peers.borrow().iter().all(Peer::is_done) => {}
            LATE if self.stopping.get() => {}
            LATE => self.net.fail("faults have stopped long ago, and a client still waits"),
            who => self.visit(who as usize),
        }
    }

    fn turn(&self) {
        if self.disk.busy() > 0 && !self.hanging.get() && !self.serving.replace(true) {
            let service = self.rng.borrow_mut().u64(..=SERVICE_MAX.as_nanos() as u64);
            let service = Duration::from_nanos(service);
            self.time.plan(service, Event::Beyond(DEVICE));
        }
        let Some(handle) = &*self.handle.borrow() else {
            return;
        };
        // Its credits are the queue's entries, and each connection is one task (G5).
        let connections = self.net.tally().open_max;
        if handle.disk().in_flight() > self.plan.entries || handle.tasks() > connections {
            self.net.fail("more in flight, or more tasks, than there may be");
        }
    }
}

