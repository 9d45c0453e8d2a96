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
            Move::Begin => left.operations -= 1,
            Move::Drop(_) => left.drops -= 1,
            Move::Requeue(_) => left.retries -= 1,
            Move::Launch(_) | Move::Complete(_) | Move::Poll(_) => {}
        }
        loans.make(next);
        loans.check();
        steps += 1;
    }
    loans.check_end();
    steps
}

/// What can happen now. Drops come only on top of what goes on by itself: a future that nobody will wake is not saved by
/// being dropped.
fn list_moves(loans: &Loans, left: &Limits, moves: &mut Vec<Move>) {
    moves.clear();
    if left.operations > 0 {
        moves.push(Move::Begin);
    }
    for (id, stage, awake) in loans.live() {
        match stage {
            Stage::Queued(_) => moves.push(Move::Launch(id)),
            Stage::InFlight(_) | Stage::Abandoned(_) => moves.push(Move::Complete(id)),
            Stage::Waiting | Stage::Done(..) | Stage::Over => {}
        }
        if awake && !matches!(stage, Stage::Abandoned(_)) {
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
