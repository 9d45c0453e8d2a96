//! Cross-origin resource sharing: the protocol of the Fetch standard, for reading only.

use std::time::Duration;

use super::BadPolicy;
use super::fields::{self, is_name};
use crate::http::request::Request;

/// Who may read answers from scripts of other origins. Credentials are never allowed.
///
/// ```
/// use ambidex_server::Cors;
/// let mut cors = Cors::default();
/// cors.origins = vec!["https://app.example".to_owned()];
/// ```
#[derive(Clone, Debug)]
pub struct Cors {
    /// Origins as browsers send them, `https://host` or `https://host:port`; `*` is all.
    pub origins: Vec<String>,
    /// Header fields that a request may have; `*` is all.
    pub headers: Vec<String>,
    /// Header fields that scripts may read beside the usual ones.
    pub expose: Vec<String>,
    /// How long browsers may remember the answer to a preflight.
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Cors {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Cors {
            origins: list(&["*"]),
            headers: list(&[
                "Accept",
                "Cache-Control",
                "Content-Type",
                "If-Match",
                "If-Modified-Since",
                "If-None-Match",
                "If-Range",
                "If-Unmodified-Since",
                "Pragma",
                "Range",
            ]),
            expose: list(&["Accept-Ranges", "Content-Encoding", "Content-Range", "ETag"]),
            max_age: Duration::from_secs(3600),
        }
    }
}

/// A [`Cors`], ready to be followed.
pub(super) struct CorsRules {
    /// `None`: any.
    origins: Option<Vec<String>>,
    /// In lower case; `None`: any.
    headers: Option<Vec<String>>,
    expose: String,
    max_age: String,
}

impl CorsRules {
    pub(super) fn compile(cors: &Cors) -> Result<CorsRules, BadPolicy> {
        for origin in cors.origins.iter().filter(|origin| *origin != "*") {
            let host = origin.split_once("://").map(|(_, host)| host);
            let good = host.is_some_and(|host| {
                !host.is_empty() && !host.contains(['/', '?', '#', '*', ' ', '@'])
            });
            if !(good && fields::is_value(origin)) {
                let advice = "write https://host, with :port if it has one, and no path";
                return Err(BadPolicy(format!("{origin:?} is not an origin: {advice}")));
            }
        }
        let named = cors.headers.iter().chain(&cors.expose);
        if let Some(bad) = named.into_iter().find(|name| !is_name(name)) {
            return Err(BadPolicy(format!(
                "{bad:?} is not the name of a header field: see cors"
            )));
        }
        let any = |list: &[String]| list.iter().any(|one| one == "*");
        let lower = |list: &[String]| list.iter().map(|one| one.to_ascii_lowercase()).collect();
        Ok(CorsRules {
            origins: (!any(&cors.origins)).then(|| lower(&cors.origins)),
            headers: (!any(&cors.headers)).then(|| lower(&cors.headers)),
            expose: cors.expose.join(", "),
            max_age: cors.max_age.as_secs().to_string(),
        })
    }

    /// Adds what lets a browser show the answer to a script.
    pub(super) fn allow(&self, head: &mut Vec<u8>, request: &Request<'_>) {
        if self.origin(head, request) && !self.expose.is_empty() {
            fields::add(head, "Access-Control-Expose-Headers", &self.expose);
        }
    }

    /// Says which origin is let in: whether that of `request` is.
    fn origin(&self, head: &mut Vec<u8>, request: &Request<'_>) -> bool {
        let Some(origins) = &self.origins else {
            fields::add(head, "Access-Control-Allow-Origin", "*");
            return true;
        };
        // Also without an Origin: a cache must not give this answer to those who send one.
        fields::vary(head, "Origin");
        let origin = request
            .field("origin")
            .filter(|origin| fields::is_value(origin));
        let Some(origin) = origin.filter(|origin| {
            origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(origin))
        }) else {
            return false;
        };
        fields::add(head, "Access-Control-Allow-Origin", origin);
        true
    }

    /// The fields that answer a preflight; `None` if `request` is none.
    pub(super) fn preflight(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        if !request.head.trim_ascii_start().starts_with(b"OPTIONS ") {
            return None;
        }
        request.field("origin")?;
        request.field("access-control-request-method")?;
        let mut lines = Vec::new();
        if self.origin(&mut lines, request) {
            fields::add(&mut lines, "Access-Control-Allow-Methods", "GET, HEAD");
            let wanted = request
                .field("access-control-request-headers")
                .unwrap_or("");
            let allowed: Vec<&str> = wanted
                .split(',')
                .map(str::trim)
                .filter(|name| self.takes(name))
                .collect();
            if !allowed.is_empty() {
                fields::add(
                    &mut lines,
                    "Access-Control-Allow-Headers",
                    &allowed.join(", "),
                );
            }
            fields::add(&mut lines, "Access-Control-Max-Age", &self.max_age);
        }
        fields::vary(&mut lines, "Access-Control-Request-Headers");
        Some(lines)
    }

    fn takes(&self, name: &str) -> bool {
        let known =
            |headers: &Vec<String>| headers.iter().any(|known| known.eq_ignore_ascii_case(name));
        is_name(name) && self.headers.as_ref().is_none_or(known)
    }
}
