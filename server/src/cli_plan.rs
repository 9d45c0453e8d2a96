//! Options, environment and file, put together.

use std::path::PathBuf;
use std::thread;

use ambidex::disk::Choice;
use ambidex_server::Config;
use ambidex_server::listen::{self, Address};
use ambidex_server::workers::{HostOptions, Options};

use crate::cli::{Answers, Engine, Listen, Serve, Site};
use crate::file_config::{self, FileConfig, HostKeys, SiteKeys};
use crate::file_site::CorsKeys;

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
    pub(crate) fn plan(mut self) -> Result<Plan, String> {
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
        let root = one_root(self.dir, self.site.root.take())?;
        let flags = site_keys(root, self.site, self.answers);
        // A host inherits what it does not say, but for the directory.
        let mut inherited = flags.clone().or(file.site_keys());
        let root = inherited.root.take();
        let named = hosts
            .into_iter()
            .map(|host| host_options(host, &flags, &inherited));
        let named = named.collect::<Result<Vec<_>, _>>()?;
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

/// A host by name: what it says itself is between the command line and the top level.
fn host_options(
    host: HostKeys,
    flags: &SiteKeys,
    inherited: &SiteKeys,
) -> Result<HostOptions, String> {
    let (names, own) = host.names()?;
    let flags = SiteKeys {
        root: None,
        ..flags.clone()
    };
    let mut keys = flags.or(own).or(inherited.clone());
    let root = keys.root.take().ok_or_else(|| {
        let names = names.join(" ");
        format!("the host {names:?} has no root: add root = \"DIR\"")
    })?;
    let (files, policy) = keys.settings()?;
    Ok(HostOptions {
        names,
        root,
        files,
        policy,
    })
}

/// The directory of the command line, before that of the environment.
fn one_root(dir: Option<PathBuf>, root: Option<PathBuf>) -> Result<Option<PathBuf>, String> {
    let of_environment =
        root.is_some() && std::env::var_os("AMBIDEX_ROOT") == root.clone().map(Into::into);
    if dir.is_some() && root.is_some() && !of_environment {
        return Err("DIR and --root are the same setting: give one of them".to_owned());
    }
    Ok(dir.or(root))
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
        sendfile: site.sendfile,
        cache_control: answers.cache_control,
        immutable: answers.immutable,
        cors: answers.cors.map(CorsKeys::of),
        last_headers: answers.header,
        ..SiteKeys::default()
    }
}
