//! The options of `ambidex serve`, and how they, the environment and a file become one whole.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use ambidex::disk::Choice;
use ambidex_server::listen::{self, Address};
use ambidex_server::workers::{HostOptions, Options};
use ambidex_server::{Config, Limits};
use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Deserialize;

use crate::file_config::{self, FileConfig, SiteKeys};
use crate::file_site::{CorsKeys, Form, HeaderKeys, LinkRule, Packed};

/// Where options end and files begin.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The directory to serve. Nothing leads out of it
    #[arg(value_name = "DIR", conflicts_with = "root")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    process: Process,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    site: Site,
    #[command(flatten)]
    answers: Answers,
    #[command(flatten)]
    limits: LimitFlags,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Start and stop")]
struct Process {
    /// Read settings from a TOML file; options and environment come before it
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "AMBIDEX_CONFIG",
        hide_env = true
    )]
    config: Option<PathBuf>,
    /// Only say whether the settings make sense: exit status 0 or 2
    #[arg(long)]
    check: bool,
    /// Threads, each with an engine of its own [default: one for each processor]
    #[arg(long, value_name = "N", env = "AMBIDEX_WORKERS", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Seconds for answers in flight after a signal to stop [default: 10]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AMBIDEX_GRACE_PERIOD",
        hide_env = true
    )]
    grace_period: Option<Seconds>,
    /// How files are read: auto, uring (or an error) or threads [env: AMBIDEX_DISK; default: auto]
    #[arg(long, value_name = "ENGINE")]
    disk_engine: Option<Engine>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Listening")]
struct Listen {
    /// Port to listen on; 0 takes a free one [default: 8080]
    #[arg(
        short,
        long,
        value_name = "PORT",
        env = "AMBIDEX_PORT",
        hide_env = true
    )]
    port: Option<u16>,
    /// Address to listen on: 127.0.0.1, ::1, 0.0.0.0 for all, unix:/PATH, fd:N; may be repeated
    /// [default: 127.0.0.1]
    #[arg(
        short,
        long,
        visible_alias = "host",
        value_name = "ADDR",
        value_delimiter = ','
    )]
    #[arg(env = "AMBIDEX_BIND", hide_env = true)]
    bind: Vec<String>,
    /// Address and port in one: 127.0.0.1:8080, [::1]:8080; may be repeated
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    #[arg(env = "AMBIDEX_LISTEN", hide_env = true)]
    listen: Vec<Address>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Files")]
struct Site {
    /// The directory to serve, as DIR
    #[arg(short = 'd', long, visible_alias = "directory", value_name = "DIR")]
    #[arg(env = "AMBIDEX_ROOT", hide_env = true)]
    root: Option<PathBuf>,
    /// What answers for a directory: the first that is there [default: index.html]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "AMBIDEX_INDEX",
        hide_env = true
    )]
    index: Option<Vec<String>>,
    /// Answer with this page what is not found, for an application that routes in the browser
    #[arg(long, value_name = "PAGE", num_args = 0..=1, require_equals = true)]
    #[arg(
        default_missing_value = "index.html",
        env = "AMBIDEX_SPA",
        hide_env = true
    )]
    spa: Option<String>,
    /// The page that goes with 404
    #[arg(long, value_name = "PAGE", env = "AMBIDEX_PAGE404", hide_env = true)]
    page404: Option<String>,
    /// The page that goes with 500 and above
    #[arg(long, value_name = "PAGE", env = "AMBIDEX_PAGE50X", hide_env = true)]
    page50x: Option<String>,
    /// Serve names that begin with a dot
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_HIDDEN", hide_env = true)]
    hidden: Option<bool>,
    /// Symbolic links to follow: inside (those that stay in the directory), all, none [default: inside]
    #[arg(
        long,
        value_name = "WHICH",
        env = "AMBIDEX_SYMLINKS",
        hide_env = true,
        hide_possible_values = true
    )]
    symlinks: Option<LinkRule>,
    /// Do not serve what is mounted below the directory
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_SAME_MOUNT", hide_env = true)]
    same_mount: Option<bool>,
    /// List directories that have no index: html, json or both
    #[arg(long, visible_alias = "browse", value_name = "FORMS", num_args = 0..=1, require_equals = true)]
    #[arg(
        default_missing_value = "html,json",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    #[arg(env = "AMBIDEX_DIRECTORY_LISTING", hide_env = true)]
    directory_listing: Option<Vec<Form>>,
    /// Send FILE.zst, FILE.br or FILE.gz for FILE to those who take it [default with it: zst,br,gz]
    #[arg(long, value_name = "KINDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "zst,br,gz", value_delimiter = ',')]
    #[arg(env = "AMBIDEX_PRECOMPRESSED", hide_env = true)]
    precompressed: Option<Vec<Packed>>,
    /// Answer /about with about.html
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_CLEAN_URLS", hide_env = true)]
    clean_urls: Option<bool>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Answers")]
struct Answers {
    /// A header field for each answer; may be repeated, in the environment one a line
    #[arg(
        long,
        value_name = "NAME: VALUE",
        value_delimiter = '\n',
        env = "AMBIDEX_HEADER",
        hide_env = true
    )]
    header: Vec<HeaderKeys>,
    /// Cache-Control of files that no rule of the configuration file names
    #[arg(
        long,
        value_name = "VALUE",
        env = "AMBIDEX_CACHE_CONTROL",
        hide_env = true
    )]
    cache_control: Option<String>,
    /// Let names with a hash in them (app.3f9a1c2b.js) be kept for ever
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_IMMUTABLE", hide_env = true)]
    immutable: Option<bool>,
    /// Let scripts of other origins read answers: of these, or of all (*)
    #[arg(long, value_name = "ORIGINS", num_args = 0..=1, require_equals = true)]
    #[arg(
        default_missing_value = "*",
        value_delimiter = ',',
        env = "AMBIDEX_CORS",
        hide_env = true
    )]
    cors: Option<Vec<String>>,
}

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
    /// Bytes a second that a client must take of its answer
    #[arg(long, value_name = "BYTES", env = "AMBIDEX_MIN_RATE", hide_env = true)]
    min_rate: Option<u64>,
    /// Seconds that a disk may take to find a file; then 503
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AMBIDEX_DISK_DEADLINE",
        hide_env = true
    )]
    disk_deadline: Option<Seconds>,
    /// Connections at once, of each worker
    #[arg(
        long,
        value_name = "N",
        env = "AMBIDEX_MAX_CONNECTIONS",
        hide_env = true
    )]
    max_connections: Option<usize>,
    /// Connections at once from one address, of each worker
    #[arg(
        long,
        value_name = "N",
        env = "AMBIDEX_MAX_CONNECTIONS_PER_ADDRESS",
        hide_env = true
    )]
    max_connections_per_address: Option<usize>,
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

/// How files are read.
#[derive(Clone, Copy, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Auto,
    Uring,
    Threads,
}

impl LimitFlags {
    /// What is missing here is taken from `other`.
    fn or(self, other: LimitFlags) -> LimitFlags {
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
            max_header_bytes: self.max_header_bytes.or(other.max_header_bytes),
            max_header_fields: self.max_header_fields.or(other.max_header_fields),
            max_target_bytes: self.max_target_bytes.or(other.max_target_bytes),
        }
    }

    fn limits(self, grace_period: Option<Seconds>) -> Result<Limits, String> {
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
            disk_deadline: self
                .disk_deadline
                .map(Seconds::duration)
                .or(defaults.disk_deadline),
            min_rate: self.min_rate.or(defaults.min_rate),
            connections_max: self.max_connections.or(defaults.connections_max),
            connections_per_address_max: self
                .max_connections_per_address
                .or(defaults.connections_per_address_max),
            header_bytes_max: self.max_header_bytes.unwrap_or(defaults.header_bytes_max),
            fields_max: self.max_header_fields.unwrap_or(defaults.fields_max),
            target_bytes_max: self.max_target_bytes.unwrap_or(defaults.target_bytes_max),
        })
    }
}

impl Listen {
    /// Where to listen. Addresses of the command line take the place of those of the file.
    fn addresses(self, file: &mut FileConfig) -> Result<Vec<Address>, String> {
        let given = !self.bind.is_empty() || !self.listen.is_empty();
        let port = self.port.or(file.port);
        let (binds, mut listens) = if given {
            (self.bind, self.listen)
        } else {
            (file.bind.take().unwrap_or_default(), file.addresses()?)
        };
        for bind in &binds {
            let address = Address::with_port(bind, port.unwrap_or(8080));
            listens.push(address.map_err(|advice| format!("cannot listen on {bind:?}: {advice}"))?);
        }
        if listens.is_empty() && port.is_none() {
            listens = listen::passed();
        }
        if listens.is_empty() {
            listens.push(Address::Tcp(([127, 0, 0, 1], port.unwrap_or(8080)).into()));
        }
        Ok(listens)
    }
}

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) options: Options,
    /// Only look.
    pub(crate) check: bool,
}

impl Serve {
    /// Options before environment, environment before the file.
    ///
    /// # Errors
    /// One line that says what to do.
    pub(crate) fn plan(self) -> Result<Plan, String> {
        let mut file = match &self.process.config {
            Some(path) => file_config::read(path)?,
            None => FileConfig::default(),
        };
        let limits = self.limits.or(file.limits.take().unwrap_or_default());
        let grace_period = self.process.grace_period.or(file.grace_period);
        let limits = limits.limits(grace_period)?;
        let disk = disk_choice(self.process.disk_engine, file.disk_engine)?;
        let workers = self.process.workers.or(file.workers).map_or_else(
            || thread::available_parallelism().map_or(1, Into::into),
            usize::from,
        );
        if workers == 0 {
            return Err("workers = 0 would answer nobody: give at least 1".to_owned());
        }
        let listen = self.listen.addresses(&mut file)?;
        let hosts = file.host.take().unwrap_or_default();
        let flags = site_keys(self.dir.or(self.site.root.clone()), self.site, self.answers);
        // A host inherits what it does not say, but for the directory.
        let mut inherited = flags.clone().or(file.site_keys());
        let root = inherited.root.take();
        let mut named = Vec::new();
        for host in hosts {
            let (names, own) = host.names()?;
            let mut own = SiteKeys {
                root: None,
                ..flags.clone()
            }
            .or(own)
            .or(inherited.clone());
            let root = own.root.take();
            let missing = || {
                format!(
                    "the host {:?} has no root: add root = \"DIR\"",
                    names.join(" ")
                )
            };
            let root = root.ok_or_else(missing)?;
            let (files, policy) = own.settings()?;
            named.push(HostOptions {
                names,
                root,
                files,
                policy,
            });
        }
        if root.is_none() && named.is_empty() {
            let advice = "give it as in 'ambidex serve DIR', or as root in the file of --config";
            return Err(format!("no directory to serve: {advice}"));
        }
        let (files, policy) = inherited.settings()?;
        let config = Config {
            limits,
            files,
            policy,
        };
        Ok(Plan {
            check: self.process.check,
            options: Options {
                root,
                hosts: named,
                listen,
                workers,
                config,
                disk,
            },
        })
    }
}

fn disk_choice(flag: Option<Engine>, file: Option<Engine>) -> Result<Choice, String> {
    if flag.is_none() && std::env::var_os("AMBIDEX_DISK").is_some() {
        return Choice::from_environment().map_err(|error| error.to_string());
    }
    Ok(match flag.or(file) {
        None | Some(Engine::Auto) => Choice::Auto,
        Some(Engine::Uring) => Choice::Uring,
        Some(Engine::Threads) => Choice::Threads,
    })
}

fn site_keys(root: Option<PathBuf>, site: Site, answers: Answers) -> SiteKeys {
    SiteKeys {
        root,
        index: site.index,
        spa: site.spa,
        page404: site.page404,
        page50x: site.page50x,
        hidden: site.hidden,
        symlinks: site.symlinks,
        same_mount: site.same_mount,
        directory_listing: site.directory_listing,
        precompressed: site.precompressed,
        clean_urls: site.clean_urls,
        cache_control: answers.cache_control,
        immutable: answers.immutable,
        cors: answers.cors.map(CorsKeys::of),
        last_headers: answers.header,
        ..SiteKeys::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// The command as clap sees it.
    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        serve: Serve,
    }

    #[test]
    fn every_option_can_be_given_in_the_environment() {
        let command = Alone::command();
        for arg in command.get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            // --check is for people; AMBIDEX_DISK is older than --disk-engine.
            if matches!(long, "check" | "disk-engine" | "help") {
                continue;
            }
            let name = format!("AMBIDEX_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env(), Some(name.as_ref()), "--{long}");
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Alone::command().debug_assert();
    }
}
