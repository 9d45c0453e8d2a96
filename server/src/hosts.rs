//! Virtual hosts: which site answers.

use std::rc::Rc;

use crate::files::Files;
use crate::http::request::Request;
use crate::policy::Policy;
use crate::site::Site;

/// A site and how it is served.
pub(crate) struct Host {
    pub(crate) site: Site,
    pub(crate) files: Files,
    pub(crate) policy: Policy,
}

/// The hosts of a server.
pub(crate) struct Hosts {
    default: Rc<Host>,
}

impl Hosts {
    pub(crate) fn new(default: Host) -> Hosts {
        Hosts {
            default: Rc::new(default),
        }
    }

    /// The host that answers `request`.
    pub(crate) fn select(&self, _request: &Request<'_>) -> Rc<Host> {
        Rc::clone(&self.default)
    }
}
