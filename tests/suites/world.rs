//! The whole engine, and the server on it, in simulated worlds: both kernels and the clock are driven by one seed.

#[path = "world/kept.rs"]
mod kept;
#[path = "world/schedules.rs"]
mod schedules;
