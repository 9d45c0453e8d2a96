//! What is said about files beside their bytes: header fields, CORS, redirects.
//!
//! A [`Policy`] is what the user wrote. It is compiled once, at the start, into [`Rules`]: what goes
//! with every answer is then a few bytes to copy, and what nobody asked for costs nothing.

mod cors;
pub(crate) mod fields;
mod headers;
mod moves;

use std::fmt;
use std::rc::Rc;

pub use cors::Cors;
pub use headers::{CacheRule, Change, HeaderRule};
pub use moves::{Redirect, Rewrite};

use crate::hook::After;
use crate::http::head::Head;
use crate::http::request::Request;
use cors::CorsRules;
use headers::Headers;
use moves::Moves;
pub(crate) use moves::path_of;

/// What is said about files beside their bytes.
///
/// Patterns of paths are globs over the path as it is served, decoded: `*` is anything but a slash,
/// `**` anything at all, and `?`, `[ab]`, `{a,b}` as in a shell. A pattern that begins with a slash
/// counts from the root; one without any slash (`*.css`) is for names in every directory.
///
/// ```
/// use ambidex_server::{CacheRule, Change, HeaderRule, Policy, Redirect};
/// let policy = Policy {
///     cache: vec![CacheRule::new("*.html", "no-cache"), CacheRule::new("**", "max-age=3600")],
///     headers: vec![HeaderRule::new("/docs/**", "X-Robots-Tag", Change::Set("noindex".into()))],
///     redirects: vec![Redirect::new("/blog/*", "/posts/$1", 301)],
///     immutable: true,
///     ..Policy::default()
/// };
/// policy.check()?;
/// # Ok::<(), ambidex_server::BadPolicy>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    /// `Cache-Control` of files: the first rule that matches. Errors and redirects get none.
    pub cache: Vec<CacheRule>,
    /// Whether names with a hash in them (`app.3f9a1c2b.js`, `index-DfG3k2a1.css`) may be kept for
    /// ever: `public, max-age=31536000, immutable`, before any rule of `cache`. A hash is a part
    /// between `.` or `-` and the extension, of 8 or more hexadecimal digits with both letters and
    /// numbers among them, or of 8 or more letters and digits that are mixed well.
    pub immutable: bool,
    /// Header fields to set, add or remove, in order.
    pub headers: Vec<HeaderRule>,
    /// Who may read answers from scripts of other origins; nobody if there is none.
    pub cors: Option<Cors>,
    /// Whether `X-Content-Type-Options: nosniff` goes with each answer. It does by default.
    pub nosniff: bool,
    /// Paths that are answered with another address; the first that matches.
    pub redirects: Vec<Redirect>,
    /// Paths that are answered by another path; the first that matches, once, after redirects.
    pub rewrites: Vec<Rewrite>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            cache: Vec::new(),
            immutable: false,
            headers: Vec::new(),
            cors: None,
            nosniff: true,
            redirects: Vec::new(),
            rewrites: Vec::new(),
        }
    }
}

/// A rule that cannot be followed: one line that says which, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPolicy(pub(crate) String);

impl fmt::Display for BadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPolicy {}

impl From<BadPolicy> for std::io::Error {
    fn from(bad: BadPolicy) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, bad)
    }
}

impl Policy {
    /// Looks whether all rules make sense: globs, names and values of fields, targets.
    ///
    /// # Errors
    /// [`BadPolicy`] names the first that does not.
    ///
    /// ```
    /// use ambidex_server::{CacheRule, Policy};
    /// let cache = vec![CacheRule::new("*.css", "max-age=1\r\nSet-Cookie: a=b")];
    /// assert!(Policy { cache, ..Policy::default() }.check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), BadPolicy> {
        self.compile().map(|_| ())
    }

    pub(crate) fn compile(&self) -> Result<Rules, BadPolicy> {
        Ok(Rules {
            headers: Headers::compile(self)?,
            cors: self.cors.as_ref().map(CorsRules::compile).transpose()?,
            moves: Moves::compile(&self.redirects, &self.rewrites)?,
            after: Vec::new(),
        })
    }
}

/// A policy, ready to be followed.
pub(crate) struct Rules {
    headers: Headers,
    cors: Option<CorsRules>,
    pub(crate) moves: Moves,
    /// The program's own last word on each head.
    pub(crate) after: Vec<Rc<dyn After>>,
}

impl Rules {
    /// Adds the fields that go with an answer about the file `path` (relative, decoded).
    pub(crate) fn decorate(&self, mut head: Head, request: &Request<'_>, path: &[u8]) -> Head {
        let bytes = head.edit();
        self.headers.of_file(bytes, path);
        self.common(bytes, request);
        head
    }

    /// Adds the fields that go with any other answer: errors, redirects, answers of programs.
    pub(crate) fn accompany(&self, mut head: Head, request: &Request<'_>) -> Head {
        let bytes = head.edit();
        self.headers.of_other(bytes);
        self.common(bytes, request);
        head
    }

    fn common(&self, bytes: &mut Vec<u8>, request: &Request<'_>) {
        if let Some(cors) = &self.cors {
            cors.allow(bytes, request);
        }
        for hook in &self.after {
            hook.call(request, bytes);
        }
    }

    /// The fields of the answer to a preflight; `None` if `request` is none, or nobody answers those.
    pub(crate) fn preflight(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        self.cors.as_ref()?.preflight(request)
    }

    /// Whether what goes with an answer depends on more of a request than its path.
    pub(crate) fn looks_at_requests(&self) -> bool {
        self.cors.is_some() || !self.after.is_empty()
    }

    /// Whether a request must be looked at before its file is.
    pub(crate) fn detours(&self) -> bool {
        self.cors.is_some() || !self.moves.is_empty()
    }
}
