//! Header fields by path, `Cache-Control` among them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use super::fields::{self, is_name, is_reserved, is_value};
use super::{BadPolicy, Policy};

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// `Cache-Control` for some paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRule {
    /// Which: a glob.
    pub paths: String,
    /// The value of the field.
    pub value: String,
}

impl CacheRule {
    /// A rule for `paths`.
    pub fn new(paths: impl Into<String>, value: impl Into<String>) -> CacheRule {
        let (paths, value) = (paths.into(), value.into());
        CacheRule { paths, value }
    }
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has this value, and no other.
    Set(String),
    /// It has this value too.
    Add(String),
    /// It is not sent.
    Remove,
}

/// A field for some paths. Rules for every path (`**`) count for errors and redirects as well, but
/// for fields that describe a file (`Content-*`, `Cache-Control`, `ETag`...).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Which: a glob.
    pub paths: String,
    /// The name of the field.
    pub name: String,
    /// What becomes of it.
    pub change: Change,
}

impl HeaderRule {
    /// A rule for `paths`.
    pub fn new(paths: impl Into<String>, name: impl Into<String>, change: Change) -> HeaderRule {
        let (paths, name) = (paths.into(), name.into());
        HeaderRule {
            paths,
            name,
            change,
        }
    }

    fn check(&self) -> Result<(), BadPolicy> {
        let name = &self.name;
        if !is_name(name) {
            return bad(format!(
                "{name:?} is not the name of a header field: use letters, digits and '-'"
            ));
        }
        let varies = name.eq_ignore_ascii_case("vary") && !matches!(self.change, Change::Add(_));
        if is_reserved(name) || varies {
            return bad(format!(
                "the header field {name} is the server's own: remove the rule"
            ));
        }
        match &self.change {
            Change::Set(value) | Change::Add(value) => check_value(name, value),
            Change::Remove => Ok(()),
        }
    }
}

fn bad<T>(text: String) -> Result<T, BadPolicy> {
    Err(BadPolicy(text))
}

fn check_value(name: &str, value: &str) -> Result<(), BadPolicy> {
    if is_value(value) {
        return Ok(());
    }
    bad(format!(
        "the value {value:?} of {name} cannot be sent: use printable ASCII without line ends"
    ))
}

/// The globs of several rules; each pattern with the number of its rule.
struct Globs {
    set: GlobSet,
}

impl Globs {
    fn compile<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<Globs, BadPolicy> {
        let mut builder = GlobSetBuilder::new();
        for pattern in patterns {
            let anchored = match pattern.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if pattern.contains('/') || pattern == "**" => pattern.to_owned(),
                None => format!("**/{pattern}"),
            };
            let glob = GlobBuilder::new(&anchored).literal_separator(true).build();
            builder.add(glob.map_err(|error| {
                BadPolicy(format!(
                    "{pattern:?} is not a pattern of paths: {}",
                    error.kind()
                ))
            })?);
        }
        let set = builder.build();
        let set = set.map_err(|error| BadPolicy(format!("too many patterns of paths: {error}")))?;
        Ok(Globs { set })
    }

    /// The numbers of the rules for `path`, in order.
    fn matches(&self, path: &[u8]) -> Vec<usize> {
        self.set
            .matches_candidate(&Candidate::new(OsStr::from_bytes(path)))
    }
}

fn is_everything(pattern: &str) -> bool {
    matches!(pattern, "**" | "/**" | "*" | "**/*" | "/**/*")
}

/// Header rules, ready to be followed.
pub(super) struct Headers {
    /// Lines that go with every answer.
    constant: Vec<u8>,
    immutable: bool,
    cache: Option<Choices>,
    changes: Option<Changes>,
}

/// `Cache-Control` by path.
struct Choices {
    globs: Globs,
    values: Vec<String>,
    /// The first rule for every path, which needs no glob.
    everything: Option<usize>,
}

impl Choices {
    fn compile(rules: &[CacheRule]) -> Result<Option<Choices>, BadPolicy> {
        for rule in rules {
            check_value("Cache-Control", &rule.value)?;
        }
        if rules.is_empty() {
            return Ok(None);
        }
        let everything = rules.iter().position(|rule| is_everything(&rule.paths));
        let used = &rules[..everything.unwrap_or(rules.len())];
        // Those behind a rule for everything are never asked, but must still make sense.
        Globs::compile(rules.iter().map(|rule| rule.paths.as_str()))?;
        Ok(Some(Choices {
            globs: Globs::compile(used.iter().map(|rule| rule.paths.as_str()))?,
            values: rules.iter().map(|rule| rule.value.clone()).collect(),
            everything,
        }))
    }

    fn of(&self, path: &[u8]) -> Option<&str> {
        let first = match self.everything {
            Some(0) => None,
            _ => self.globs.matches(path).first().copied(),
        };
        let chosen = first.or(self.everything)?;
        self.values.get(chosen).map(String::as_str)
    }
}

/// Fields that not every answer has, or that the server has sent itself.
struct Changes {
    globs: Globs,
    rules: Vec<HeaderRule>,
}

impl Headers {
    pub(super) fn compile(policy: &Policy) -> Result<Headers, BadPolicy> {
        let mut constant: Vec<(&str, &str)> = Vec::new();
        if policy.nosniff {
            constant.push(("X-Content-Type-Options", "nosniff"));
        }
        let mut changes = Vec::new();
        for rule in &policy.headers {
            rule.check()?;
            let name = rule.name.as_str();
            let named = |field: &(&str, &str)| field.0.eq_ignore_ascii_case(name);
            let own = is_sent(name)
                || changes
                    .iter()
                    .any(|c: &HeaderRule| c.name.eq_ignore_ascii_case(name));
            match &rule.change {
                _ if own || !is_everything(&rule.paths) => changes.push(rule.clone()),
                Change::Remove => constant.retain(|field| !named(field)),
                Change::Add(value) => constant.push((name, value)),
                Change::Set(value) => {
                    constant.retain(|field| !named(field));
                    constant.push((name, value));
                }
            }
        }
        let mut lines = Vec::new();
        for (name, value) in constant {
            fields::add(&mut lines, name, value);
        }
        let globs = Globs::compile(changes.iter().map(|rule| rule.paths.as_str()))?;
        Ok(Headers {
            constant: lines,
            immutable: policy.immutable,
            cache: Choices::compile(&policy.cache)?,
            changes: (!changes.is_empty()).then_some(Changes {
                globs,
                rules: changes,
            }),
        })
    }

    /// The fields of an answer about the file `path`.
    pub(super) fn of_file(&self, head: &mut Vec<u8>, path: &[u8]) {
        head.extend_from_slice(&self.constant);
        if self.immutable && is_hashed(path) {
            fields::set(head, "Cache-Control", FOR_EVER);
        } else if let Some(value) = self.cache.as_ref().and_then(|cache| cache.of(path)) {
            fields::set(head, "Cache-Control", value);
        }
        if let Some(changes) = &self.changes {
            for number in changes.globs.matches(path) {
                apply(head, &changes.rules[number]);
            }
        }
    }

    /// The fields of any other answer.
    pub(super) fn of_other(&self, head: &mut Vec<u8>) {
        head.extend_from_slice(&self.constant);
        if let Some(changes) = &self.changes {
            let everywhere =
                |rule: &&HeaderRule| is_everything(&rule.paths) && !describes_file(&rule.name);
            for rule in changes.rules.iter().filter(everywhere) {
                apply(head, rule);
            }
        }
    }
}

fn apply(head: &mut Vec<u8>, rule: &HeaderRule) {
    match &rule.change {
        // 304 has no type to replace.
        Change::Set(_)
            if rule.name.eq_ignore_ascii_case("content-type") && !fields::has(head, &rule.name) => {
        }
        Change::Set(value) => fields::set(head, &rule.name, value),
        Change::Add(value) => fields::add(head, &rule.name, value),
        Change::Remove => fields::remove(head, &rule.name),
    }
}

/// Whether a field speaks of the file that was asked for: errors must not have it.
fn describes_file(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let about_file = [
        "accept-ranges",
        "cache-control",
        "etag",
        "expires",
        "last-modified",
        "vary",
    ];
    about_file.contains(&name.as_str())
        || (name.starts_with("content-") && !name.starts_with("content-security-policy"))
}

/// Whether the server itself may have sent the field before the rules are followed.
fn is_sent(name: &str) -> bool {
    describes_file(name)
        || ["server", "location", "allow", "retry-after"]
            .iter()
            .any(|sent| sent.eq_ignore_ascii_case(name))
}

/// Whether the last name of `path` has a hash before its extension.
fn is_hashed(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    // The first part is the name, the last the extension; a hash is between them.
    let mut parts = name
        .split(|byte| matches!(byte, b'.' | b'-'))
        .skip(1)
        .peekable();
    if !name.contains(&b'.') {
        return false;
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_some() && is_hash(part) {
            return true;
        }
    }
    false
}

fn is_hash(part: &[u8]) -> bool {
    let count = |kind: fn(&u8) -> bool| part.iter().filter(|byte| kind(byte)).count();
    let digits = count(u8::is_ascii_digit);
    let (lower, upper) = (count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    if part.len() < 8 || digits == 0 || digits + lower + upper != part.len() {
        return false;
    }
    // A date has no letters; a word with a number (Version2) has few that are out of place.
    let hex = count(u8::is_ascii_hexdigit) == part.len() && lower + upper > 0;
    let mixed = part[1..]
        .iter()
        .filter(|byte| !byte.is_ascii_lowercase())
        .count()
        >= 3;
    hex || (lower > 0 && upper > 0 && mixed)
}

#[cfg(test)]
mod tests;
