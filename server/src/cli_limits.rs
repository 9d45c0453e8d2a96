//! The limits, as options and files write them.

use std::time::Duration;

use ambidex_server::Limits;
use clap::Args;
use serde::Deserialize;

#[derive(Args, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// Seconds from the first byte of a request to the end of its header [default: 10]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AMBIDEX_HEADER_TIMEOUT",
        hide_env = true
    )]
    header_timeout: Option<Seconds>,
    /// Seconds that a connection may rest between requests [default: 60]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AMBIDEX_IDLE_TIMEOUT",
        hide_env = true
    )]
    idle_timeout: Option<Seconds>,
    /// Seconds that a client may take no byte of its answer [default: 30]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AMBIDEX_WRITE_TIMEOUT",
        hide_env = true
    )]
    write_timeout: Option<Seconds>,
    /// Bytes a second that a client must take of its answer, on average; 0 is no limit [default: 100]
    #[arg(long, value_name = "BYTES", env = "AMBIDEX_MIN_RATE", hide_env = true)]
    min_rate: Option<u64>,
    /// Seconds that a disk may take to open a file or to give some of it, then 503; 0 is no limit
    /// [default: 30]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AMBIDEX_DISK_DEADLINE",
        hide_env = true
    )]
    disk_deadline: Option<SecondsOrNone>,
    /// Connections at once [default: 16384]
    #[arg(
        long,
        value_name = "N",
        env = "AMBIDEX_MAX_CONNECTIONS",
        hide_env = true
    )]
    max_connections: Option<usize>,
    /// Connections at once from one address [default: no limit]
    #[arg(
        long,
        value_name = "N",
        env = "AMBIDEX_MAX_CONNECTIONS_PER_ADDRESS",
        hide_env = true
    )]
    max_connections_per_address: Option<usize>,
    /// Files that stay open between requests, for each worker; 0 opens anew for each [default: 1000]
    #[arg(
        long,
        value_name = "N",
        env = "AMBIDEX_OPEN_FILE_CACHE",
        hide_env = true
    )]
    open_file_cache: Option<usize>,
    /// Bytes of a request's header; more is 431 [default: 16384]
    #[arg(
        long,
        value_name = "BYTES",
        env = "AMBIDEX_MAX_HEADER_BYTES",
        hide_env = true
    )]
    max_header_bytes: Option<usize>,
    /// Header fields of a request; more is 431 [default: 100]
    #[arg(
        long,
        value_name = "N",
        env = "AMBIDEX_MAX_HEADER_FIELDS",
        hide_env = true
    )]
    max_header_fields: Option<usize>,
    /// Bytes of a request's target; more is 414 [default: 8192]
    #[arg(
        long,
        value_name = "BYTES",
        env = "AMBIDEX_MAX_TARGET_BYTES",
        hide_env = true
    )]
    max_target_bytes: Option<usize>,
}

/// A duration, written as a number of seconds above 0.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(try_from = "f64")]
pub(crate) struct Seconds(Duration);

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Seconds, &'static str> {
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() => Ok(Seconds(duration)),
            _ => Err("give a number of seconds above 0"),
        }
    }
}

impl std::str::FromStr for Seconds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Seconds, &'static str> {
        let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
        seconds.try_into()
    }
}

impl Seconds {
    pub(crate) fn duration(self) -> Duration {
        self.0
    }
}

/// As [`Seconds`], and 0 stands for no limit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(try_from = "f64")]
pub(crate) struct SecondsOrNone(Option<Duration>);

impl TryFrom<f64> for SecondsOrNone {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<SecondsOrNone, &'static str> {
        if seconds == 0.0 {
            return Ok(SecondsOrNone(None));
        }
        Seconds::try_from(seconds).map(|seconds| SecondsOrNone(Some(seconds.0)))
    }
}

impl std::str::FromStr for SecondsOrNone {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SecondsOrNone, &'static str> {
        let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
        seconds.try_into()
    }
}

impl LimitFlags {
    /// What is missing here is taken from `other`.
    pub(crate) fn or(self, other: LimitFlags) -> LimitFlags {
        LimitFlags {
            header_timeout: self.header_timeout.or(other.header_timeout),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            write_timeout: self.write_timeout.or(other.write_timeout),
            min_rate: self.min_rate.or(other.min_rate),
            disk_deadline: self.disk_deadline.or(other.disk_deadline),
            max_connections: self.max_connections.or(other.max_connections),
            max_connections_per_address: self
                .max_connections_per_address
                .or(other.max_connections_per_address),
            open_file_cache: self.open_file_cache.or(other.open_file_cache),
            max_header_bytes: self.max_header_bytes.or(other.max_header_bytes),
            max_header_fields: self.max_header_fields.or(other.max_header_fields),
            max_target_bytes: self.max_target_bytes.or(other.max_target_bytes),
        }
    }

    pub(crate) fn limits(self, grace_period: Option<Seconds>) -> Result<Limits, String> {
        let defaults = Limits::default();
        let time = |given: Option<Seconds>, default| given.map_or(default, Seconds::duration);
        for (name, given) in [
            ("max-connections", self.max_connections),
            (
                "max-connections-per-address",
                self.max_connections_per_address,
            ),
        ] {
            if given == Some(0) {
                return Err(format!("{name} 0 would answer nobody: give at least 1"));
            }
        }
        let small =
            |bytes: Option<usize>| bytes.is_some_and(|bytes| !(64..=1 << 20).contains(&bytes));
        if small(self.max_header_bytes) || small(self.max_target_bytes) {
            return Err("max-header-bytes and max-target-bytes go from 64 to 1048576".to_owned());
        }
        if self
            .max_header_fields
            .is_some_and(|fields| !(1..=1000).contains(&fields))
        {
            return Err("max-header-fields goes from 1 to 1000".to_owned());
        }
        Ok(Limits {
            header_timeout: time(self.header_timeout, defaults.header_timeout),
            idle_timeout: time(self.idle_timeout, defaults.idle_timeout),
            write_timeout: time(self.write_timeout, defaults.write_timeout),
            grace_period: time(grace_period, defaults.grace_period),
            disk_deadline: match self.disk_deadline {
                Some(given) => given.0,
                None => defaults.disk_deadline,
            },
            min_rate: match self.min_rate {
                Some(0) => None,
                given => given.or(defaults.min_rate),
            },
            connections_max: self.max_connections.unwrap_or(defaults.connections_max),
            connections_per_address_max: self
                .max_connections_per_address
                .or(defaults.connections_per_address_max),
            descriptors_max: defaults.descriptors_max,
            open_files_max: self.open_file_cache.unwrap_or(defaults.open_files_max),
            header_bytes_max: self.max_header_bytes.unwrap_or(defaults.header_bytes_max),
            fields_max: self.max_header_fields.unwrap_or(defaults.fields_max),
            target_bytes_max: self.max_target_bytes.unwrap_or(defaults.target_bytes_max),
        })
    }
}
