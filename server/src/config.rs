//! How a site is served.

use crate::files::Files;
use crate::limits::Limits;
use crate::policy::Policy;

/// How a site is served.
///
/// ```
/// use ambidex_server::{Config, Limits};
/// use std::time::Duration;
/// let limits = Limits { idle_timeout: Duration::from_secs(300), ..Limits::default() };
/// let patient = Config { limits, ..Config::default() };
/// ```
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Limits and time-outs.
    pub limits: Limits,
    /// Which files, and under which names.
    pub files: Files,
    /// What is said about them.
    pub policy: Policy,
}
