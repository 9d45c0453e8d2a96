//! A server, put together.

use std::io;
use std::rc::Rc;

use ambidex::Handle;

use crate::admission::Admission;
use crate::config::Config;
use crate::files::Files;
use crate::hook::{After, Answer, Incoming, Outgoing};
use crate::hosts::{Host, Hosts};
use crate::http::request::Request;
use crate::limits::Limits;
use crate::listen::Listener;
use crate::policy::Policy;
use crate::route::{Reply, Route};
use crate::serve;
use crate::site::Site;
use crate::stop::Stop;

/// A server inside a program of one's own: a site, or several by name, with the program's hooks and
/// routes. Each engine has its own.
///
/// A request goes through preflights of CORS, [`Server::before`], [`Server::route`], redirects and
/// rewrites of the policy, and then to the files.
///
/// ```no_run
/// use ambidex::{Engine, net::TcpListener};
/// use ambidex_server::{Answer, Server, Site, Stop};
///
/// let mut engine = Engine::new()?;
/// engine.run(async |io| {
///     let server = Server::new(Site::open(&io, "public").await?)
///         .host("docs.example", Site::open(&io, "docs").await?)
///         .before(async |request| match request.field("authorization") {
///             Some("Bearer secret") => None,
///             _ => Some(Answer::new(401).field("WWW-Authenticate", "Bearer")),
///         })
///         .route("/hello", async |_, reply| reply.send(Answer::new(200).body("hello")).await)
///         .after(|_, answer| answer.remove("Server"));
///     let listener = TcpListener::bind(io.net(), "127.0.0.1:8080".parse().unwrap())?;
///     server.serve(&io, listener, &Stop::default()).await
/// })??;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct Server {
    config: Config,
    default: Option<Site>,
    named: Vec<Named>,
    routes: Hosts,
    after: Vec<Rc<dyn After>>,
}

struct Named {
    name: String,
    site: Site,
    /// `None`: as the default host.
    own: Option<(Files, Policy)>,
}

impl Server {
    /// A server of `site`, which answers for every name that no other host has.
    #[must_use]
    pub fn new(site: Site) -> Server {
        Server {
            default: Some(site),
            ..Server::default()
        }
    }

    /// A server that answers 421 to whoever asks for none of its hosts.
    #[must_use]
    pub fn of_hosts() -> Server {
        Server::default()
    }

    /// Sets limits, and how the default host and those without settings of their own serve.
    #[must_use]
    pub fn config(mut self, config: Config) -> Server {
        self.config = config;
        self
    }

    /// Answers for `name` (`example.org`, `*.example.org`; any case, any port) with `site`.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>, site: Site) -> Server {
        let (name, own) = (name.into(), None);
        self.named.push(Named { name, site, own });
        self
    }

    /// As [`Server::host`], with settings of its own.
    #[must_use]
    pub fn host_with(
        mut self,
        name: impl Into<String>,
        site: Site,
        files: Files,
        policy: Policy,
    ) -> Server {
        let (name, own) = (name.into(), Some((files, policy)));
        self.named.push(Named { name, site, own });
        self
    }

    /// Asks `hook` about each request before anything is looked for; its answer, if it gives one, is
    /// sent. Hooks are asked in order until one answers.
    #[must_use]
    pub fn before(
        mut self,
        hook: impl AsyncFn(&Incoming<'_>) -> Option<Answer> + 'static,
    ) -> Server {
        self.routes.before.push(Box::new(hook));
        self
    }

    /// Shows each head to `hook` when it is almost complete: of files, errors and answers of the
    /// program. Requests that cannot be understood get their 400 without it.
    #[must_use]
    pub fn after(mut self, hook: impl Fn(&Request<'_>, &mut Outgoing<'_>) + 'static) -> Server {
        self.after.push(Rc::new(hook));
        self
    }

    /// Answers `path` (decoded, from the root) with `handler`, on all hosts and whatever the
    /// method; with a `*` at the end, all that begins so. The first route that matches counts.
    #[must_use]
    pub fn route(
        mut self,
        path: &str,
        handler: impl AsyncFn(&Incoming<'_>, Reply<'_>) -> io::Result<()> + 'static,
    ) -> Server {
        self.routes.routes.push(Route::new(path, handler));
        self
    }

    /// Serves on `listener` until `stop` is set: then it stops accepting, closes idle connections, lets
    /// answers in flight finish within [`Limits::grace_period`](crate::Limits::grace_period), and
    /// returns.
    ///
    /// # Errors
    /// `InvalidInput` for a policy or a name of a host that makes no sense; those that end the
    /// listener.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; connections go on.
    pub async fn serve(
        self,
        io: &Handle,
        listener: impl Into<Listener>,
        stop: &Stop,
    ) -> io::Result<()> {
        self.serve_all(io, vec![listener.into()], stop).await
    }

    /// As [`Server::serve`], on several listeners.
    ///
    /// # Errors
    /// Those of [`Server::serve`].
    ///
    /// # Cancel safety
    /// As [`Server::serve`].
    pub async fn serve_all(
        self,
        io: &Handle,
        listeners: Vec<Listener>,
        stop: &Stop,
    ) -> io::Result<()> {
        let prepared = self.prepare().await?;
        let admission = Admission::new(1, prepared.limits.descriptors_max);
        prepared.serve(io, listeners, stop, admission).await
    }

    /// Reads what must be at hand before the first request.
    pub(crate) async fn prepare(self) -> io::Result<Prepared> {
        let limits = self.config.limits.clone();
        let hosts = self.hosts().await?;
        Ok(Prepared { limits, hosts })
    }

    async fn hosts(self) -> io::Result<Hosts> {
        let mut hosts = self.routes;
        let Config { files, policy, .. } = self.config;
        let after = self.after;
        let host = async |site: Site, files: Files, policy: &Policy| -> io::Result<Rc<Host>> {
            site.prepare(&files).await;
            let mut policy = policy.compile()?;
            policy.after.clone_from(&after);
            Ok(Rc::new(Host {
                site,
                files,
                policy,
            }))
        };
        if let Some(site) = self.default {
            hosts.default = Some(host(site, files.clone(), &policy).await?);
        }
        for named in self.named {
            let host = match named.own {
                Some((files, policy)) => host(named.site, files, &policy).await?,
                None => host(named.site, files.clone(), &policy).await?,
            };
            hosts.add(&named.name, host)?;
        }
        Ok(hosts)
    }
}

/// A server that has read what it needs before the first request.
pub(crate) struct Prepared {
    limits: Limits,
    hosts: Hosts,
}

impl Prepared {
    /// As [`Server::serve_all`], on one of several workers that count connections together.
    pub(crate) async fn serve(
        self,
        io: &Handle,
        listeners: Vec<Listener>,
        stop: &Stop,
        admission: Admission,
    ) -> io::Result<()> {
        serve::run(io, listeners, self.hosts, self.limits, stop, admission).await
    }
}
