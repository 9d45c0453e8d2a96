//! A static file server on the Ambidex engine: a cold disk read never delays a hot socket, and a
//! hot read never pays for a thread.
//!
//! A [`Site`] is a directory that nothing leads out of. [`Server`] answers HTTP/1.1 from it on one
//! engine, beside whatever else the program does there, with hooks and routes of the program's own;
//! [`serve`] is the same without those, and [`workers::run`] serves on several threads, each with an
//! engine of its own.
//!
//! ```no_run
//! use ambidex::{Engine, net::TcpListener};
//! use ambidex_server::{Config, Site, Stop, serve};
//!
//! let mut engine = Engine::new()?;
//! engine.run(async |io| {
//!     let site = Site::open(&io, "public").await?;
//!     let listener = TcpListener::bind(io.net(), "127.0.0.1:8080".parse().unwrap())?;
//!     serve(&io, listener, site, Config::default(), &Stop::default()).await
//! })??;
//! # Ok::<(), std::io::Error>(())
//! ```

mod admission;
mod body;
mod config;
mod connection;
mod deliver;
mod drain;
mod encoding;
mod error_page;
mod files;
mod hook;
mod hosts;
pub mod http;
mod limits;
pub mod listen;
mod listing;
mod locate;
mod mime;
mod open_files;
mod policy;
pub mod probe;
mod rate;
mod ready;
mod respond;
mod route;
mod serve;
mod server;
mod shed;
mod site;
mod stop;
mod work;
pub mod workers;

pub use config::Config;
pub use encoding::{Encoding, UnknownEncoding};
pub use files::{Files, Listing, Symlinks};
pub use hook::{Answer, Incoming, Outgoing};
pub use limits::Limits;
pub use listen::Listener;
pub use mime::{BadType, Types};
pub use policy::{BadPolicy, CacheRule, Change, Cors, HeaderRule, Policy, Redirect, Rewrite};
pub use route::{Body, Reply};
pub use serve::serve;
pub use server::Server;
pub use site::Site;
pub use stop::Stop;
