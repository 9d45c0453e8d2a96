//! Commands that are not about servers.

pub(crate) mod disk;
pub(crate) mod echo;
pub(crate) mod net;
pub(crate) mod probe;
pub(crate) mod scale;
