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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Parsed, parse};

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn cors(origins: &[&str]) -> Cors {
        Cors {
            origins: list(origins),
            headers: list(&["X-A", "Range"]),
            expose: list(&["ETag", "Age"]),
            max_age: Duration::from_secs(5),
        }
    }

    /// What `rules` say to a request of `method` with `fields`: any answer, and to a preflight.
    fn said(rules: &CorsRules, method: &str, fields: &str) -> (String, Option<String>) {
        let head = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let Parsed::Complete(request, _) = parse(head.as_bytes()) else {
            panic!("{head}");
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
        let mut allowed = Vec::new();
        rules.allow(&mut allowed, &request);
        (text(allowed), rules.preflight(&request).map(text))
    }

    const PREFLIGHT: &str = "Origin: https://a\r\nAccess-Control-Request-Method: GET\r\n";

    #[test]
    fn only_what_is_asked_for_before_is_a_preflight() {
        let rules = CorsRules::compile(&cors(&["*"])).expect("good rules");
        for (method, fields, expected) in [
            ("OPTIONS", PREFLIGHT, true),
            ("GET", PREFLIGHT, false),
            ("OPTIONS", "Origin: https://a\r\n", false),
            ("OPTIONS", "Access-Control-Request-Method: GET\r\n", false),
        ] {
            let (_, preflight) = said(&rules, method, fields);
            assert_eq!(preflight.is_some(), expected, "{method} {fields}");
        }
    }

    #[test]
    fn everybody_is_let_in_by_a_star() {
        let rules = CorsRules::compile(&cors(&["https://b", "*"])).expect("good rules");
        let wanted = format!("{PREFLIGHT}Access-Control-Request-Headers: x-a, X-B,range, b@d\r\n");
        let (allowed, preflight) = said(&rules, "OPTIONS", &wanted);
        assert_eq!(
            allowed,
            "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: ETag, Age\r\n"
        );
        assert_eq!(
            preflight.as_deref(),
            Some(
                "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: GET, HEAD\r\n\
                 Access-Control-Allow-Headers: x-a, range\r\nAccess-Control-Max-Age: 5\r\n\
                 Vary: Access-Control-Request-Headers\r\n"
            )
        );
        let (_, preflight) = said(&rules, "OPTIONS", PREFLIGHT);
        assert!(!preflight.expect("one").contains("Allow-Headers"));
    }

    #[test]
    fn a_stranger_is_told_nothing_but_what_it_depends_on() {
        let rules = CorsRules::compile(&cors(&["https://A:1"])).expect("good rules");
        let (allowed, _) = said(&rules, "GET", "Origin: https://a:1\r\n");
        assert_eq!(
            allowed,
            "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a:1\r\n\
             Access-Control-Expose-Headers: ETag, Age\r\n"
        );
        for fields in ["", "Origin: https://b\r\n", "Origin: https://a:1 x\r\n"] {
            let (allowed, _) = said(&rules, "GET", fields);
            assert_eq!(allowed, "Vary: Origin\r\n", "{fields}");
        }
        let (_, preflight) = said(&rules, "OPTIONS", PREFLIGHT);
        assert_eq!(
            preflight.as_deref(),
            Some("Vary: Origin, Access-Control-Request-Headers\r\n")
        );
    }

    #[test]
    fn fields_of_any_name_are_let_in_by_a_star_and_no_list_exposes_none() {
        let any = Cors {
            headers: list(&["*"]),
            expose: Vec::new(),
            ..cors(&["*"])
        };
        let rules = CorsRules::compile(&any).expect("good rules");
        let wanted = format!("{PREFLIGHT}Access-Control-Request-Headers: x-b, b@d, x-c\r\n");
        let (allowed, preflight) = said(&rules, "OPTIONS", &wanted);
        assert_eq!(allowed, "Access-Control-Allow-Origin: *\r\n");
        assert!(
            preflight
                .expect("one")
                .contains("Access-Control-Allow-Headers: x-b, x-c\r\n")
        );
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for origin in [
            "",
            "https://",
            "a.example",
            "https://a/",
            "https://a?b",
            "https://u@a",
            "https://*.a",
            "https://a b",
            "https://\u{e9}",
        ] {
            let error = CorsRules::compile(&cors(&[origin])).err().expect(origin);
            assert!(
                error.to_string().contains(&format!("{origin:?}")),
                "{error}"
            );
        }
        let bad = Cors {
            expose: list(&["a b"]),
            ..cors(&["*"])
        };
        assert!(CorsRules::compile(&bad).is_err());
    }
}
