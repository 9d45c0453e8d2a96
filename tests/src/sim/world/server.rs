//! The unmodified server in a world: a site on a simulated disk, clients on a simulated network.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use ambidex::net::TcpListener;
use ambidex::{Engine, Handle};
use ambidex_server::{Config, Files, Limits, Listing, Server, Site, Stop};

use super::judge::{KEPT, KINDS};
use super::machine::{CHANGE, Machine, PATIENCE};
use super::net::{Beyond, SimNet};
use super::peer::{Peer, Scene};
use super::plan::Plan;
use super::time::Event;

/// Whom [`Event::Beyond`] calls to stop the server.
const STOP: u32 = 2000;

/// A world with a server in it.
pub(super) struct ServerWorld {
    pub(super) machine: Machine,
    peers: RefCell<Vec<Peer>>,
    stop: Stop,
    stopping: Cell<bool>,
    handle: RefCell<Option<Handle>>,
}

impl ServerWorld {
    /// A world of `plan`, and the engine in it.
    pub(super) fn new(plan: Plan) -> (Rc<ServerWorld>, Engine) {
        let (machine, engine) = Machine::new(plan);
        let peers = machine.plan.visits.iter().zip(0..);
        let peer = |(visit, who)| Peer::new(who, visit, &machine.site.borrow());
        let peers = peers.map(peer).collect();
        let world = Rc::new(ServerWorld {
            machine,
            peers: RefCell::new(peers),
            stop: Stop::default(),
            stopping: Cell::new(false),
            handle: RefCell::new(Some(engine.handle())),
        });
        let weak: Weak<ServerWorld> = Rc::downgrade(&world);
        world.machine.net.extend(weak);
        (world, engine)
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
        let report = report.map_err(|error| format!("the server ended: {error}"));
        self.machine.end(report, &handle)
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
                connections_max: self.machine.plan.connections_max,
                descriptors_max: Some(64),
                open_files_max: self.machine.plan.open_files_max,
                ..Limits::default()
            },
            files: Files {
                listing: Listing::Json,
                ..Files::default()
            },
            ..Config::default()
        }
    }

    /// From now on there are clients and faults.
    fn open(&self) {
        let Machine { plan, time, .. } = &self.machine;
        self.machine.begin();
        for (visit, who) in plan.visits.iter().zip(0..) {
            time.plan(visit.at, Event::Beyond(who));
        }
        for (change, number) in plan.changes.iter().zip(0..) {
            time.plan(change.at, Event::Beyond(CHANGE + number));
        }
        if let Some(at) = plan.stop {
            time.plan(at, Event::Beyond(STOP));
        }
        self.stop_if_over();
    }

    /// How many answers of each of [`KINDS`] were judged.
    pub(super) fn seen(&self) -> [u64; KINDS.len()] {
        let mut sum = [0; KINDS.len()];
        for peer in self.peers.borrow().iter() {
            let seen = peer.seen();
            sum.iter_mut().zip(seen).for_each(|(sum, one)| *sum += one);
        }
        // Each of the others was read, at least once.
        sum[KEPT] = sum[KEPT].saturating_sub(self.machine.reads());
        sum
    }

    fn is_over(&self) -> bool {
        self.peers.borrow().iter().all(Peer::is_done)
    }

    fn stop_if_over(&self) {
        if self.is_over() {
            self.stop();
        }
    }

    fn stop(&self) {
        self.stopping.set(true);
        self.stop.set();
    }

    fn visit(&self, who: usize) {
        let machine = &self.machine;
        let scene = Scene {
            net: &machine.net,
            time: &machine.time,
            plan: &machine.plan,
            site: &machine.site.borrow(),
            stopping: self.stopping.get(),
        };
        let acted = self.peers.borrow_mut()[who].act(scene);
        if let Err(what) = acted {
            machine.net.fail(what);
        }
        self.stop_if_over();
    }
}

impl Beyond for ServerWorld {
    fn happen(&self, who: u32) {
        let peers = self.peers.borrow().len();
        match who {
            STOP => self.stop(),
            who if (who as usize) < peers => self.visit(who as usize),
            who => (self.machine).happen(who, || self.is_over() || self.stopping.get()),
        }
    }

    fn turn(&self) {
        self.machine.turn();
        let Some(handle) = &*self.handle.borrow() else {
            return;
        };
        // Its credits are the queue's entries, and each connection is one task (G5).
        let connections = self.machine.net.tally().open_max;
        let in_flight = handle.disk().in_flight();
        if in_flight > self.machine.plan.entries || handle.tasks() > connections {
            let what = "more in flight, or more tasks, than there may be";
            self.machine.net.fail(what);
        }
    }
}
