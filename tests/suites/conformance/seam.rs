//! later
use super::judge::Record;
pub(crate) fn run(_: &mut Record) {}
