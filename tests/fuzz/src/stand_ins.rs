//! Stand-ins for what the command line fills and the policy calls, without the server behind them.

/// As `server/src/hook.rs` has it.
pub mod hook {
    use crate::http::request::Request;

    /// Nobody has such a hook here.
    pub trait After {
        /// Has the last word on a head.
        fn call(&self, request: &Request<'_>, head: &mut Vec<u8>);
    }
}

/// As `server/src/workers.rs` has them.
pub mod workers {
    use std::path::PathBuf;

    use ambidex::disk::Choice;

    use crate::listen::Address;
    use crate::{Config, Files, Policy};

    /// What a plan comes to.
    #[derive(Clone, Debug)]
    pub struct Options {
        /// The directory of the default site.
        pub root: Option<PathBuf>,
        /// Further sites.
        pub hosts: Vec<HostOptions>,
        /// Where to listen.
        pub listen: Vec<Address>,
        /// Threads.
        pub workers: usize,
        /// Limits, files and policy.
        pub config: Config,
        /// The backend for files.
        pub disk: Choice,
    }

    /// A site by name.
    #[derive(Clone, Debug)]
    pub struct HostOptions {
        /// Its names.
        pub names: Vec<String>,
        /// Its directory.
        pub root: PathBuf,
        /// Which files.
        pub files: Files,
        /// What is said about them.
        pub policy: Policy,
    }
}
