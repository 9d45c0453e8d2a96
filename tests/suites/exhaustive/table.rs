//! A few operations on the operations table, with the model next to it, in whatever order a choice says.

use std::rc::Rc;

use super::loans::{Loans, Move, Stage};
use super::oracle::Oracle;

/// What a walk may consist of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) operations: usize,
    pub(crate) credits: usize,
    pub(crate) drops: usize,
    /// Times that the kernel answers what asks for another try.
    pub(crate) retries: usize,
    /// Times that a future which nobody has woken is polled, after its beginning.
    pub(crate) polls: usize,
}

/// Walks as `oracle` says until nothing is left to happen, and tells how many steps that took.
pub(crate) fn walk(oracle: &Rc<Oracle>, limits: Limits) -> u64 {
    let mut left = limits;
    let (mut loans, mut moves, mut steps) = (Loans::new(limits.credits), Vec::new(), 0);
    loop {
        list_moves(&loans, &left, &mut moves);
        if moves.is_empty() {
            break;
        }
        let next = moves[oracle.choose(moves.len())];
        match next {
            Move::Begin | Move::BeginPolled => left.operations -= 1,
            Move::Drop(_) => left.drops -= 1,
            Move::Requeue(_) => left.retries -= 1,
            Move::Poll(id) => left.polls -= usize::from(is_early(&loans, id)),
            Move::Launch(_) | Move::Complete(_) => {}
        }
        loans.make(next);
        loans.check();
        steps += 1;
    }
    loans.check_end();
    steps
}

/// Whether a poll of `id` has nothing to find.
fn is_early(loans: &Loans, id: usize) -> bool {
    let mut live = loans.live();
    live.any(|(one, stage, _)| one == id && matches!(stage, Stage::Queued(_) | Stage::InFlight(_)))
}

/// What can happen now. Drops come only on top of what goes on by itself: a future that nobody will wake is not saved by
/// being dropped.
fn list_moves(loans: &Loans, left: &Limits, moves: &mut Vec<Move>) {
    moves.clear();
    if left.operations > 0 {
        moves.extend([Move::Begin, Move::BeginPolled]);
    }
    for (id, stage, awake) in loans.live() {
        match stage {
            Stage::Queued(_) => moves.push(Move::Launch(id)),
            Stage::InFlight(_) | Stage::Abandoned(_) => moves.push(Move::Complete(id)),
            Stage::Waiting | Stage::Done(..) | Stage::Over => {}
        }
        let pollable = match stage {
            Stage::Waiting | Stage::Done(..) => awake,
            Stage::Queued(_) | Stage::InFlight(_) => left.polls > 0,
            Stage::Abandoned(_) | Stage::Over => false,
        };
        if pollable {
            moves.push(Move::Poll(id));
        }
        if left.retries > 0 && matches!(stage, Stage::InFlight(_)) {
            moves.push(Move::Requeue(id));
        }
    }
    if left.drops == 0 || moves.is_empty() {
        return;
    }
    let wanted = loans
        .live()
        .filter(|one| !matches!(one.1, Stage::Abandoned(_)));
    moves.extend(wanted.map(|(id, ..)| Move::Drop(id)));
}
