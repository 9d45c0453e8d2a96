//! What every world has: a network, a disk with its device, faults that stop, and what must hold at the end.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ambidex::{Engine, Handle, Report};
use fastrand::Rng;

use super::disk::{SimDisk, Stale};
use super::faults::Network;
use super::net::SimNet;
use super::plan::Plan;
use super::site::Site;
use super::time::{Event, Time};
use crate::sim::disk::{Control, Faults, fake};

/// Whom [`Event::Beyond`] calls, after those who use the world.
const DEVICE: u32 = 1000;
const HANG: u32 = 1001;
const RELEASE: u32 = 1002;
const CALM: u32 = 1003;
const LATE: u32 = 1004;
/// And those after: changes of files, in order.
pub(super) const CHANGE: u32 = 3000;

/// When faults stop; then everybody is answered, or told, within [`PATIENCE`].
const CALM_AFTER: Duration = Duration::from_secs(10);
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How long a device takes, at most.
const SERVICE_MAX: Duration = Duration::from_millis(20);
/// Turns that no schedule needs.
const TURNS_MAX: u64 = 100_000;

/// The parts of a world that are not its users.
pub(super) struct Machine {
    pub(super) plan: Plan,
    pub(super) time: Rc<Time>,
    pub(super) net: Rc<SimNet>,
    pub(super) site: RefCell<Site>,
    disk: Control,
    stale: Rc<Stale>,
    hanging: Cell<bool>,
    /// The device works on something, and its next answer is planned.
    serving: Cell<bool>,
    rng: RefCell<Rng>,
}

impl Machine {
    /// A machine as `plan` has it, and an engine on it. No fault strikes before [`Machine::begin`].
    pub(super) fn new(plan: Plan) -> (Machine, Engine) {
        let time = Time::new();
        let net = SimNet::new(&time, plan.quiet(), plan.seed ^ 1);
        net.bound_turns(TURNS_MAX);
        let (fake, control) = fake(plan.entries, plan.entries, plan.seed ^ 2);
        let site = RefCell::new(Site::new(&control, &plan));
        control.disk(plan.place);
        control.pace();
        let stale = Rc::new(Stale::default());
        let kernel = SimDisk::new(fake, &time, &stale, plan.seed ^ 3);
        let engine = Engine::builder()
            .net_kernel(Rc::clone(&net) as Rc<dyn ambidex::net::Kernel>)
            .disk_kernel(Box::new(kernel))
            .clock(Rc::clone(&time) as Rc<dyn ambidex::clock::Clock>)
            // Not asked of this machine: that takes longer than a turn.
            .cpu_threads(1)
            .build()
            .expect("descriptors for an engine");
        let machine = Machine {
            rng: RefCell::new(Rng::with_seed(plan.seed ^ 4)),
            plan,
            time,
            net,
            site,
            disk: control,
            stale,
            hanging: Cell::new(false),
            serving: Cell::new(false),
        };
        (machine, engine)
    }

    /// From now on there are faults.
    pub(super) fn begin(&self) {
        self.net.faults(self.plan.network);
        self.disk.faults(self.plan.disk);
        self.stale.percent.set(self.plan.stale);
        if let Some((begin, length)) = self.plan.hang {
            self.time.plan(begin, Event::Beyond(HANG));
            self.time.plan(begin + length, Event::Beyond(RELEASE));
        }
        self.time.plan(CALM_AFTER, Event::Beyond(CALM));
        self.time.plan(CALM_AFTER + PATIENCE, Event::Beyond(LATE));
    }

    /// What happens to the machine itself; `over` tells whether its users have left.
    pub(super) fn happen(&self, who: u32, over: impl FnOnce() -> bool) {
        match who {
            DEVICE => self.finish_one(),
            HANG => self.hang(true),
            RELEASE => self.hang(false),
            CALM => self.calm(),
            LATE if !over() => {
                let what = "faults have stopped long ago, and somebody still waits";
                self.net.fail(what);
            }
            who if who >= CHANGE => {
                let change = &self.plan.changes[(who - CHANGE) as usize];
                let now = self.time.elapsed();
                self.site.borrow_mut().change(&self.disk, change, now);
            }
            _ => {}
        }
    }

    /// Reads of files that succeeded.
    pub(super) fn reads(&self) -> u64 {
        self.disk.seen().reads
    }

    /// A device that has work gets on with it.
    pub(super) fn turn(&self) {
        if self.disk.busy() > 0 && !self.hanging.get() && !self.serving.replace(true) {
            let service = self.rng.borrow_mut().u64(..=SERVICE_MAX.as_nanos() as u64);
            let service = Duration::from_nanos(service);
            self.time.plan(service, Event::Beyond(DEVICE));
        }
    }

    fn finish_one(&self) {
        self.serving.set(false);
        if !self.hanging.get() && self.disk.finish_one() {
            self.disk.ring();
        }
    }

    fn calm(&self) {
        self.hanging.set(false);
        self.disk.hang(false);
        self.disk.faults(Faults::default());
        self.stale.percent.set(0);
        self.net.faults(self.plan.quiet());
        self.turn();
    }

    fn hang(&self, hanging: bool) {
        self.hanging.set(hanging);
        self.disk.hang(hanging);
        self.turn();
    }

    /// The end: what was found wrong before, or is now. Nothing is left (G3, G8), and what was stale reached nobody (G2).
    pub(super) fn end(
        &self,
        report: Result<Report, String>,
        handle: &Handle,
    ) -> Result<(), String> {
        if let Some(wrong) = self.net.wrong() {
            return Err(wrong);
        }
        let report = report?;
        let left = [
            ("operations given up", report.operations_given_up),
            ("tasks cancelled", report.tasks_cancelled),
            ("sockets open", self.net.descriptors()),
            ("files open", self.disk.held()),
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
            return Err(format!(
                "stale events, completions: told {told:?}, counted {seen:?}"
            ));
        }
        if counters.bugs > 0 {
            return Err(format!("{} errnos that only a bug explains", counters.bugs));
        }
        Ok(())
    }
}

impl Plan {
    /// Its network without faults.
    fn quiet(&self) -> Network {
        Network {
            latency: self.network.latency,
            capacity: self.network.capacity,
            ..Network::quiet()
        }
    }
}
