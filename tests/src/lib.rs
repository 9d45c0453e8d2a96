//! What the suites share: the server as a black box, a strict HTTP client, document trees and
//! fault rigs.

pub mod alone;
pub mod bench;
#[cfg(doctest)]
pub mod book;
pub mod client;
pub mod hosted;
pub mod loops;
pub mod pages;
pub mod rig;
pub mod server;
pub mod sim;
pub mod tree;
