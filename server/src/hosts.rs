//! Virtual hosts: which site answers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use crate::files::Files;
use crate::hook::Before;
use crate::http::request::Request;
use crate::policy::{BadPolicy, Rules};
use crate::route::Route;
use crate::site::Site;

/// A site and how it is served.
pub(crate) struct Host {
    pub(crate) site: Site,
    pub(crate) files: Files,
    pub(crate) policy: Rules,
}

/// The hosts of a server, and what it does before it asks them.
#[derive(Default)]
pub(crate) struct Hosts {
    /// Who answers for all other names; if nobody does, they get 421.
    pub(crate) default: Option<Rc<Host>>,
    /// By name in lower case.
    exact: HashMap<String, Rc<Host>>,
    /// By what follows the `*`, `.example.org`, the longest first.
    wild: Vec<(String, Rc<Host>)>,
    pub(crate) before: Vec<Box<dyn Before>>,
    pub(crate) routes: Vec<Route>,
}

impl Hosts {
    /// Answers for `name` with `host`.
    pub(crate) fn add(&mut self, name: &str, host: Rc<Host>) -> Result<(), BadPolicy> {
        check_name(name)?;
        let name = name.to_ascii_lowercase();
        let known = match name.strip_prefix('*') {
            Some(suffix) => {
                let known = self.wild.iter().any(|(other, _)| other == suffix);
                self.wild.push((suffix.to_owned(), host));
                self.wild
                    .sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
                known
            }
            None => self.exact.insert(name.clone(), host).is_some(),
        };
        if known {
            return Err(BadPolicy(format!(
                "two hosts have the name {name:?}: remove one"
            )));
        }
        Ok(())
    }

    /// Whether there are programs that may take methods which no file knows.
    pub(crate) fn takes_methods(&self) -> bool {
        !self.routes.is_empty() || !self.before.is_empty()
    }

    /// The host that answers `request`.
    pub(crate) fn select(&self, request: &Request<'_>) -> Option<Rc<Host>> {
        if !self.exact.is_empty() || !self.wild.is_empty() {
            let name = authority(request).map(name_of);
            let named = name.and_then(|name| self.named(&name));
            if named.is_some() {
                return named.cloned();
            }
        }
        self.default.clone()
    }

    fn named(&self, name: &str) -> Option<&Rc<Host>> {
        let wild = || {
            let mut wild = self.wild.iter();
            wild.find(|(suffix, _)| name.len() > suffix.len() && name.ends_with(suffix.as_str()))
        };
        self.exact
            .get(name)
            .or_else(|| wild().map(|(_, host)| host))
    }
}

/// Whether `name` may be the name of a host: `example.org`, `*.example.org`, an address.
///
/// # Errors
/// [`BadPolicy`] says what is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), BadPolicy> {
    let plain = name.strip_prefix("*.").unwrap_or(name);
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let address = plain.starts_with('[') && plain.ends_with(']');
    if !plain.is_empty() && !plain.ends_with('.') && (plain.bytes().all(known) || address) {
        return Ok(());
    }
    let advice = "write example.org or *.example.org, without a port";
    Err(BadPolicy(format!(
        "{name:?} is not the name of a host: {advice}"
    )))
}

/// Host and port that were asked for: in an absolute target, else in the field. RFC 9112, 3.2.2.
pub(crate) fn authority<'a>(request: &Request<'a>) -> Option<&'a str> {
    let target = request.target;
    if let Some(scheme) = target.get(..7)
        && scheme.eq_ignore_ascii_case("http://")
    {
        let rest = &target[7..];
        return Some(&rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())]);
    }
    request.field("host")
}

/// The name alone, in lower case: without port, and without the dot of the root.
fn name_of(authority: &str) -> Cow<'_, str> {
    let end = match authority.starts_with('[') {
        true => authority.find(']').map(|at| at + 1),
        false => authority.find(':'),
    };
    let name = &authority[..end.unwrap_or(authority.len())];
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_port_no_case_and_no_last_dot() {
        for (authority, name) in [
            ("example.org", "example.org"),
            ("Example.ORG:8080", "example.org"),
            ("example.org.", "example.org"),
            ("example.org.:80", "example.org"),
            ("[::1]:8080", "[::1]"),
            ("[::1", "[::1"),
            ("", ""),
            (":80", ""),
        ] {
            assert_eq!(name_of(authority), name, "{authority}");
        }
    }

    #[test]
    fn names_of_hosts_are_checked() {
        for (name, good) in [
            ("example.org", true),
            ("*.example.org", true),
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("", false),
            ("*", false),
            ("*.", false),
            ("a.*.org", false),
            ("example.org:80", false),
            ("example.org.", false),
            ("http://example.org", false),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name}");
        }
    }
}
