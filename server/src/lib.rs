//! A static file server on the Ambidex engine: a cold disk read never delays a hot socket, and a
//! hot read never pays for a thread.
//!
//! A [`Site`] is a directory that nothing leads out of. [`serve`] answers HTTP/1.1 from it on one
//! engine; [`workers::run`] does so on several threads, each with an engine of its own.
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
mod files;
mod hosts;
pub mod http;
mod limits;
mod locate;
mod policy;
pub mod probe;
mod rate;
mod respond;
mod serve;
mod shed;
mod site;
mod stop;
mod work;
pub mod workers;

pub use config::Config;
pub use files::Files;
pub use limits::Limits;
pub use policy::Policy;
pub use serve::serve;
pub use site::Site;
pub use stop::Stop;
