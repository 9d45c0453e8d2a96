//! The gates of remote mounts: each has at most so many operations in flight.

use std::task::Waker;

use super::state::State;
use crate::gate::Gate;
use crate::operation::Admission;
use crate::policy::Lane;

impl State {
    pub(super) fn gate(&mut self, lane: Lane) -> &mut Gate {
        let index = match self.lanes.iter().position(|(known, _)| *known == lane) {
            Some(index) => index,
            None => {
                let max = self.remote_max;
                let busy = |gate: &Gate| gate.free() < max || gate.waiting() > 0;
                self.lanes.retain(|(_, gate)| busy(gate));
                self.lanes.push((lane, Gate::new(max)));
                self.lanes.len() - 1
            }
        };
        &mut self.lanes[index].1
    }

    pub(super) fn leave_lane(&mut self, lane: Option<Lane>, wake: &mut impl Extend<Waker>) {
        if let Some(lane) = lane {
            self.gate(lane).give_back(wake);
        }
        self.turn_came = !self.put_off.is_empty();
    }

    /// First a place of the mount, then a credit; true if both are held. Whoever waits for the
    /// mount holds no credit meanwhile.
    pub(super) fn pass_lane(
        &mut self,
        a: &mut Admission,
        waker: &Waker,
        wake: &mut impl Extend<Waker>,
    ) -> bool {
        if let Some(lane) = a.lane
            && !a.lane_held
        {
            a.lane_held = self.gate(lane).take(&mut a.lane_ticket, waker, wake);
            return a.lane_held;
        }
        true
    }
}
