//! The options of `ambidex serve`.

use std::path::PathBuf;

use ambidex_server::listen::Address;
use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Deserialize;

use crate::cli_limits::{LimitFlags, Seconds};
use crate::file_site::{Form, HeaderKeys, LinkRule, Packed};

/// What `ambidex serve` is told.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The directory to serve. Nothing leads out of it
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) process: Process,
    #[command(flatten)]
    pub(crate) listen: Listen,
    #[command(flatten)]
    pub(crate) site: Site,
    #[command(flatten)]
    pub(crate) answers: Answers,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Start and stop")]
pub(crate) struct Process {
    /// Read settings from a TOML file; options and environment come before it
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "AMBIDEX_CONFIG",
        hide_env = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Only say whether the settings make sense: exit status 0 or 2
    #[arg(long)]
    pub(crate) check: bool,
    /// Threads, each with an engine of its own [default: one for each processor]
    #[arg(long, value_name = "N", env = "AMBIDEX_WORKERS", hide_env = true)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Seconds for answers in flight after a signal to stop [default: 10]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "AMBIDEX_GRACE_PERIOD",
        hide_env = true
    )]
    pub(crate) grace_period: Option<Seconds>,
    /// How files are read: auto, uring (or an error) or threads [env: AMBIDEX_DISK; default: auto]
    #[arg(long, value_name = "ENGINE", hide_possible_values = true)]
    pub(crate) disk_engine: Option<Engine>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Listening")]
pub(crate) struct Listen {
    /// Port to listen on; 0 takes a free one [default: 8080]
    #[arg(
        short,
        long,
        value_name = "PORT",
        env = "AMBIDEX_PORT",
        hide_env = true
    )]
    pub(crate) port: Option<u16>,
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
    pub(crate) bind: Vec<String>,
    /// Address and port in one: 127.0.0.1:8080, [::1]:8080; may be repeated
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    #[arg(env = "AMBIDEX_LISTEN", hide_env = true)]
    pub(crate) listen: Vec<Address>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Files")]
pub(crate) struct Site {
    /// The directory to serve, as DIR
    #[arg(short = 'd', long, visible_alias = "directory", value_name = "DIR")]
    #[arg(env = "AMBIDEX_ROOT", hide_env = true)]
    pub(crate) root: Option<PathBuf>,
    /// What answers for a directory: the first that is there [default: index.html]
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = "AMBIDEX_INDEX",
        hide_env = true
    )]
    pub(crate) index: Option<Vec<String>>,
    /// Answer with this page what is not found, for an application that routes in the browser
    #[arg(long, value_name = "PAGE", num_args = 0..=1, require_equals = true)]
    #[arg(
        default_missing_value = "index.html",
        env = "AMBIDEX_SPA",
        hide_env = true
    )]
    pub(crate) spa: Option<String>,
    /// The page that goes with 404
    #[arg(long, value_name = "PAGE", env = "AMBIDEX_PAGE404", hide_env = true)]
    pub(crate) page404: Option<String>,
    /// The page that goes with 500 and above
    #[arg(long, value_name = "PAGE", env = "AMBIDEX_PAGE50X", hide_env = true)]
    pub(crate) page50x: Option<String>,
    /// Serve names that begin with a dot
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_HIDDEN", hide_env = true)]
    pub(crate) hidden: Option<bool>,
    /// Symbolic links to follow: inside (those that stay in the directory), all, none [default: inside]
    #[arg(
        long,
        value_name = "WHICH",
        env = "AMBIDEX_SYMLINKS",
        hide_env = true,
        hide_possible_values = true
    )]
    pub(crate) symlinks: Option<LinkRule>,
    /// Do not serve what is mounted below the directory
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_SAME_MOUNT", hide_env = true)]
    pub(crate) same_mount: Option<bool>,
    /// List directories that have no index: html, json or both
    #[arg(long, visible_alias = "browse", value_name = "FORMS", num_args = 0..=1, require_equals = true)]
    #[arg(
        default_missing_value = "html,json",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    #[arg(env = "AMBIDEX_DIRECTORY_LISTING", hide_env = true)]
    pub(crate) directory_listing: Option<Vec<Form>>,
    /// Send FILE.zst, FILE.br or FILE.gz for FILE to those who take it [default with it: zst,br,gz]
    #[arg(long, value_name = "KINDS", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "zst,br,gz", value_delimiter = ',')]
    #[arg(env = "AMBIDEX_PRECOMPRESSED", hide_env = true)]
    pub(crate) precompressed: Option<Vec<Packed>>,
    /// Answer /about with about.html
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_CLEAN_URLS", hide_env = true)]
    pub(crate) clean_urls: Option<bool>,
    /// Send large files out of the page cache, for files that are never written to in place
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_SENDFILE", hide_env = true)]
    pub(crate) sendfile: Option<bool>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Answers")]
pub(crate) struct Answers {
    /// A header field for each answer; may be repeated, in the environment one a line
    #[arg(
        long,
        value_name = "NAME: VALUE",
        value_delimiter = '\n',
        env = "AMBIDEX_HEADER",
        hide_env = true
    )]
    pub(crate) header: Vec<HeaderKeys>,
    /// Cache-Control of files that no rule of the configuration file names
    #[arg(
        long,
        value_name = "VALUE",
        env = "AMBIDEX_CACHE_CONTROL",
        hide_env = true
    )]
    pub(crate) cache_control: Option<String>,
    /// Let names with a hash in them (app.3f9a1c2b.js) be kept for ever
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    #[arg(default_missing_value = "true", value_parser = BoolishValueParser::new())]
    #[arg(env = "AMBIDEX_IMMUTABLE", hide_env = true)]
    pub(crate) immutable: Option<bool>,
    /// Let scripts of other origins read answers: of these, or of all (*)
    #[arg(long, value_name = "ORIGINS", num_args = 0..=1, require_equals = true)]
    #[arg(
        default_missing_value = "*",
        value_delimiter = ',',
        env = "AMBIDEX_CORS",
        hide_env = true
    )]
    pub(crate) cors: Option<Vec<String>>,
}

/// How files are read.
#[derive(Clone, Copy, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Engine {
    Auto,
    Uring,
    Threads,
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
