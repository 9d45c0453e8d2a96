//! The book's pages with code in them: it is compiled and run with the documentation tests.

#[doc = include_str!("../../docs/src/cancelling.md")]
pub mod cancelling {}
#[doc = include_str!("../../docs/src/chains.md")]
pub mod chains {}
#[doc = include_str!("../../docs/src/two-faces.md")]
pub mod two_faces {}
#[doc = include_str!("../../docs/src/workers.md")]
pub mod workers {}
