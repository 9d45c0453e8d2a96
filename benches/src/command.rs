//! Commands that are not about servers.

pub(crate) mod disk;
pub(crate) mod probe;
