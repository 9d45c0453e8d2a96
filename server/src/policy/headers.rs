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
mod tests {
    use super::*;

    #[test]
    fn hashes_are_told_from_words_and_dates() {
        for (path, hashed) in [
            ("app.3f9a1c2b.js", true),
            ("a/b/app.3f9a1c2b4d5e6f70.css", true),
            ("index-DfG3k2a1.js", true),
            ("chunk.aB3dE5gH.js.map", true),
            ("app.js", false),
            ("app.min.js", false),
            ("report.20240101.pdf", false),
            ("report-2024-01-01.pdf", false),
            ("app.bundle12.js", false),
            ("MyFile-Version2.txt", false),
            ("3f9a1c2b.js", false),
            ("app.3f9a1c2b", false),
            ("app-3f9a1c2b", false),
            ("app.3f9a1c2.js", false),
            ("deadbeefs.cafebabe.js", false),
            ("3f9a1c2b.d/app.js", false),
            ("", false),
        ] {
            assert_eq!(is_hashed(path.as_bytes()), hashed, "{path}");
        }
    }

    #[test]
    fn the_first_pattern_that_matches_decides() {
        let rules = [
            ("*.css", "css"),
            ("/a/*.txt", "a"),
            ("b/**", "b"),
            ("**", "rest"),
            ("*.js", "never"),
        ];
        let rules = rules.map(|(paths, value)| CacheRule::new(paths, value));
        let choices = Choices::compile(&rules).unwrap().unwrap();
        for (path, value) in [
            ("x.css", "css"),
            ("b/c/x.css", "css"),
            ("a/x.txt", "a"),
            ("a/b/x.txt", "rest"),
            ("b/c/x.txt", "b"),
            ("x.js", "rest"),
        ] {
            assert_eq!(choices.of(path.as_bytes()), Some(value), "{path}");
        }
    }

    #[test]
    fn rules_that_cannot_be_followed_are_named() {
        for (name, change, culprit) in [
            ("X A", Change::Remove, "X A"),
            ("Content-Length", Change::Set("1".into()), "Content-Length"),
            ("transfer-encoding", Change::Remove, "transfer-encoding"),
            ("Vary", Change::Remove, "Vary"),
            ("X-A", Change::Set("a\r\nSet-Cookie: b".into()), "X-A"),
        ] {
            let error = HeaderRule::new("**", name, change).check().unwrap_err();
            assert!(error.to_string().contains(culprit), "{error}");
        }
        let error = Globs::compile(["a["].into_iter()).err().unwrap();
        assert!(error.to_string().contains("a["), "{error}");
    }

    fn rule(paths: &str, name: &str, change: Change) -> HeaderRule {
        HeaderRule::new(paths, name, change)
    }

    /// What is said of a file, and of anything else, behind `sent`.
    fn said(policy: &Policy, sent: &str, path: &str) -> (String, String) {
        let headers = Headers::compile(policy).expect("good rules");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
        let (mut file, mut other) = (sent.as_bytes().to_vec(), sent.as_bytes().to_vec());
        headers.of_file(&mut file, path.as_bytes());
        headers.of_other(&mut other);
        (text(file), text(other))
    }

    #[test]
    fn later_rules_for_everything_take_the_place_of_earlier_ones() {
        let set = |value: &str| Change::Set(value.to_owned());
        let add = |value: &str| Change::Add(value.to_owned());
        let policy = Policy {
            headers: vec![
                rule("**", "X-A", set("1")),
                rule("/**", "X-B", add("2")),
                rule("*", "x-b", add("3")),
                rule("**/*", "x-a", set("4")),
                rule("**", "X-C", set("5")),
                rule("/**/*", "X-C", Change::Remove),
                rule("**", "X-Content-Type-Options", Change::Remove),
            ],
            ..Policy::default()
        };
        let lines = "X-B: 2\r\nx-b: 3\r\nx-a: 4\r\n".to_owned();
        assert_eq!(said(&policy, "", "a/b"), (lines.clone(), lines));
        let (file, other) = said(&Policy::default(), "", "a");
        assert_eq!(file, "X-Content-Type-Options: nosniff\r\n");
        assert_eq!(file, other);
    }

    #[test]
    fn rules_of_some_paths_and_of_sent_fields_are_followed_in_order() {
        let set = |value: &str| Change::Set(value.to_owned());
        let policy = Policy {
            nosniff: false,
            headers: vec![
                rule("/a/*", "X-A", set("1")),
                rule("**", "X-A", set("2")),
                rule("/a/b", "X-A", Change::Add("3".to_owned())),
                rule("**", "Server", Change::Remove),
                rule("**", "ETag", Change::Remove),
                rule("**", "Content-Type", set("a/b")),
                rule("**", "Content-Security-Policy", set("x")),
            ],
            ..Policy::default()
        };
        let sent = "Server: s\r\nETag: e\r\n";
        let (file, other) = said(&policy, sent, "a/b");
        assert_eq!(file, "Content-Security-Policy: x\r\nX-A: 2\r\nX-A: 3\r\n");
        // What describes a file is not for errors.
        assert_eq!(other, "ETag: e\r\nContent-Security-Policy: x\r\nX-A: 2\r\n");
        let (file, other) = said(&policy, "Content-Type: t\r\n", "c");
        assert!(file.ends_with("Content-Type: a/b\r\n"), "{file}");
        assert!(other.starts_with("Content-Type: t\r\n"), "{other}");
    }

    #[test]
    fn caches_are_told_of_files_only_and_hashes_come_first() {
        let policy = |immutable| Policy {
            nosniff: false,
            immutable,
            cache: vec![
                CacheRule::new("*.js", "short"),
                CacheRule::new("/a", "none"),
            ],
            ..Policy::default()
        };
        let cached = |value: &str| format!("Cache-Control: {value}\r\n");
        for (immutable, path, expected) in [
            (true, "app.3f9a1c2b.js", cached(FOR_EVER)),
            (true, "app.js", cached("short")),
            (false, "app.3f9a1c2b.js", cached("short")),
            (false, "a", cached("none")),
            (false, "b/a", String::new()),
        ] {
            let (file, other) = said(&policy(immutable), "", path);
            assert_eq!((file, other), (expected, String::new()), "{path}");
        }
    }

    #[test]
    fn a_rule_for_everything_ends_the_list_and_what_follows_must_make_sense() {
        let choices = |rules: &[(&str, &str)]| {
            let rules: Vec<_> = rules
                .iter()
                .map(|rule| CacheRule::new(rule.0, rule.1))
                .collect();
            Choices::compile(&rules).map(|choices| choices.expect("rules"))
        };
        let everything = choices(&[("**", "all"), ("*.js", "never")]).expect("good rules");
        assert_eq!(everything.of(b"a.js"), Some("all"));
        let last = choices(&[("*.js", "js"), ("/**", "all")]).expect("good rules");
        assert_eq!((last.of(b"a.js"), last.of(b"a")), (Some("js"), Some("all")));
        assert!(choices(&[("**", "all"), ("a[", "never")]).is_err());
        assert!(choices(&[("a", "\r\n")]).is_err());
        assert!(Choices::compile(&[]).expect("no rules").is_none());
    }

    #[test]
    fn values_and_vary_are_checked() {
        for (name, change, good) in [
            ("Vary", Change::Add("X-A".into()), true),
            ("vary", Change::Set("X-A".into()), false),
            ("X-A", Change::Add("a\nb".into()), false),
            ("X-A", Change::Remove, true),
            ("X-A", Change::Set("a".into()), true),
        ] {
            assert_eq!(rule("**", name, change).check().is_ok(), good, "{name}");
        }
    }
}
