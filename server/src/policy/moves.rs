//! Paths that are answered by other paths: redirects for the client to see, rewrites without it.

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::BadPolicy;
use super::fields::is_value;
use crate::http::target::Target;

/// What must not stand in a path as it is; a percent sign there would be taken for an escape.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// What must not stand in a query that was sent to us; escapes in it stay.
const IN_QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\');

/// A path that is answered with another address.
///
/// `from` is an exact path, or has `*` (anything but a slash) and `**` (anything) in it; what they
/// stood for goes into `to` as `$1`, `$2`... A query goes along unless `to` has one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The path, from the root and decoded; a directory ends with a slash.
    pub from: String,
    /// A path of this server, or an address that begins with `http://` or `https://`.
    pub to: String,
    /// 301, 302, 307 or 308.
    pub status: u16,
}

impl Redirect {
    /// Sends who asks for `from` to `to`.
    pub fn new(from: impl Into<String>, to: impl Into<String>, status: u16) -> Redirect {
        let (from, to) = (from.into(), to.into());
        Redirect { from, to, status }
    }
}

/// A path that is answered by another path of the same site, as with [`Redirect`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The path that is asked for.
    pub from: String,
    /// The path that answers.
    pub to: String,
}

impl Rewrite {
    /// Answers who asks for `from` with `to`.
    pub fn new(from: impl Into<String>, to: impl Into<String>) -> Rewrite {
        let (from, to) = (from.into(), to.into());
        Rewrite { from, to }
    }
}

/// Redirects and rewrites, ready to be followed.
pub(crate) struct Moves {
    redirects: Vec<(Move, u16)>,
    rewrites: Vec<Move>,
}

impl Moves {
    pub(super) fn compile(
        redirects: &[Redirect],
        rewrites: &[Rewrite],
    ) -> Result<Moves, BadPolicy> {
        let redirect = |rule: &Redirect| {
            if !matches!(rule.status, 301 | 302 | 307 | 308) {
                let text = format!(
                    "{} does not redirect {}: use 301, 302, 307 or 308",
                    rule.status, rule.from
                );
                return Err(BadPolicy(text));
            }
            Ok((Move::compile(&rule.from, &rule.to, true)?, rule.status))
        };
        let rewrite = |rule: &Rewrite| Move::compile(&rule.from, &rule.to, false);
        Ok(Moves {
            redirects: redirects.iter().map(redirect).collect::<Result<_, _>>()?,
            rewrites: rewrites.iter().map(rewrite).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.redirects.is_empty() && self.rewrites.is_empty()
    }

    /// Status and `Location` for who asks for `target`.
    pub(crate) fn redirect(&self, target: &Target<'_>) -> Option<(u16, String)> {
        let path = path_of(target);
        let mut answers = self
            .redirects
            .iter()
            .map(|(rule, status)| (rule.apply(&path, target.query), *status));
        answers.find_map(|(location, status)| Some((status, location?)))
    }

    /// The target in the place of `target`.
    pub(crate) fn rewrite(&self, target: &Target<'_>) -> Option<String> {
        let path = path_of(target);
        self.rewrites
            .iter()
            .find_map(|rule| rule.apply(&path, target.query))
    }
}

/// The path as rules see it: from the root, decoded, a directory with its slash.
pub(crate) fn path_of(target: &Target<'_>) -> Vec<u8> {
    let mut path = vec![b'/'];
    path.extend_from_slice(&target.path);
    if target.directory && !target.path.is_empty() {
        path.push(b'/');
    }
    path
}

struct Move {
    from: From,
    to: Vec<Piece>,
    /// Scheme and host; `None` for a path of this server.
    remote: bool,
    own_query: bool,
}

enum From {
    Exact(Vec<u8>),
    /// A regular expression made from a glob: its time grows with the path and no faster.
    Glob(Regex),
}

enum Piece {
    Text(String),
    Capture(usize),
}

impl Move {
    fn compile(from: &str, to: &str, may_leave: bool) -> Result<Move, BadPolicy> {
        let wrong = |text: &str| {
            Err(BadPolicy(format!(
                "the rule from {from:?} to {to:?}: {text}"
            )))
        };
        if !from.starts_with('/') {
            return wrong("'from' must begin with '/'");
        }
        let remote = to.starts_with("http://") || to.starts_with("https://");
        let local = to.starts_with('/') && !to.starts_with("//");
        if !(local || (remote && may_leave)) {
            return wrong(if may_leave {
                "'to' must begin with one '/', 'http://' or 'https://'"
            } else {
                "'to' must begin with one '/'"
            });
        }
        if !is_value(to) || to.contains([' ', '\t', '\\']) {
            return wrong("'to' must be printable ASCII without blanks: escape the rest as in %20");
        }
        let (glob, captures) = compile_glob(from)?;
        let Some(pieces) = pieces(to, captures) else {
            return wrong("'to' has a '$' without the number of a '*' in 'from'");
        };
        // A capture must not choose the host.
        if remote
            && pieces.len() > 1
            && !matches!(&pieces[0], Piece::Text(text) if text.splitn(4, '/').count() == 4)
        {
            return wrong("the host must be followed by '/' before the first '$'");
        }
        Ok(Move {
            from: glob,
            own_query: to.contains('?'),
            to: pieces,
            remote,
        })
    }

    fn apply(&self, path: &[u8], query: &str) -> Option<String> {
        let captures = match &self.from {
            From::Exact(from) if from == path => None,
            From::Exact(_) => return None,
            From::Glob(regex) => Some(regex.captures(path)?),
        };
        let mut made = self.fill(captures.as_ref());
        if !self.remote {
            // A capture that begins with a slash must not make `//host` of a path.
            let doubled = made.len() - made.trim_start_matches('/').len();
            made.drain(..doubled.saturating_sub(1));
        }
        if !self.own_query {
            made.extend(percent_encode(query.as_bytes(), IN_QUERY));
        }
        Some(made)
    }

    fn fill(&self, captures: Option<&Captures<'_>>) -> String {
        let mut made = String::new();
        for piece in &self.to {
            match piece {
                Piece::Text(text) => made.push_str(text),
                Piece::Capture(number) => {
                    let capture = captures.and_then(|captures| captures.get(*number));
                    let bytes = capture.map_or(&b""[..], |capture| capture.as_bytes());
                    made.extend(percent_encode(bytes, IN_PATH));
                }
            }
        }
        made
    }
}

/// The pattern, and how many captures it has.
fn compile_glob(from: &str) -> Result<(From, usize), BadPolicy> {
    if !from.contains('*') {
        return Ok((From::Exact(from.as_bytes().to_vec()), 0));
    }
    let mut pattern = String::from("^");
    let (mut rest, mut captures) = (from, 0);
    while let Some(at) = rest.find('*') {
        pattern.push_str(&regex::escape(&rest[..at]));
        rest = &rest[at + 1..];
        captures += 1;
        match rest.strip_prefix('*') {
            Some(after) => {
                pattern.push_str("(.*)");
                rest = after;
            }
            None => pattern.push_str("([^/]*)"),
        }
    }
    pattern.push_str(&regex::escape(rest));
    pattern.push('$');
    let regex = RegexBuilder::new(&pattern)
        .unicode(false)
        .dot_matches_new_line(true)
        .build();
    let regex =
        regex.map_err(|_| BadPolicy(format!("{from:?} is too long for a pattern: shorten it")))?;
    Ok((From::Glob(regex), captures))
}

fn pieces(to: &str, captures: usize) -> Option<Vec<Piece>> {
    let mut parts = to.split('$');
    let mut pieces = vec![Piece::Text(parts.next()?.to_owned())];
    for part in parts {
        let number = usize::try_from(part.chars().next()?.to_digit(10)?).ok()?;
        if number == 0 || number > captures {
            return None;
        }
        pieces.push(Piece::Capture(number));
        pieces.push(Piece::Text(part[1..].to_owned()));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target::parse;

    fn location(from: &str, to: &str, target: &str) -> Option<String> {
        let moves = Moves::compile(&[Redirect::new(from, to, 301)], &[]).unwrap();
        moves
            .redirect(&parse(target).unwrap())
            .map(|(_, location)| location)
    }

    #[test]
    fn captures_go_where_they_are_named() {
        for (from, to, target, expected) in [
            ("/old", "/new", "/old", Some("/new")),
            ("/old", "/new", "/old?a=%20b", Some("/new?a=%20b")),
            ("/old", "/new?c", "/old?a", Some("/new?c")),
            ("/old", "/new", "/old/", None),
            ("/old", "/new", "/older", None),
            ("/o%20d", "/new", "/o%20d", None),
            ("/o d", "/new", "/o%20d", Some("/new")),
            ("/b/*", "/p/$1", "/b/x", Some("/p/x")),
            ("/b/*", "/p/$1", "/b/x/y", None),
            ("/b/**", "/p/$1", "/b/x/y/", Some("/p/x/y/")),
            ("/*/to/*", "/$2/$1", "/a/to/b", Some("/b/a")),
            (
                "/b/*",
                "https://new.example/$1",
                "/b/x%0d%0aY: z",
                Some("https://new.example/x%0D%0AY:%20z"),
            ),
            ("/b/*", "/p/$1", "/b/%ff%25", Some("/p/%FF%25")),
            // Nothing of these may become the name of a host.
            ("/old**", "$1", "/old", None),
            ("/old**", "/$1", "/old/evil.example", Some("/evil.example")),
            (
                "/old**",
                "/$1",
                "/old%5cevil.example",
                Some("/%5Cevil.example"),
            ),
        ] {
            if to == "$1" {
                assert!(Moves::compile(&[Redirect::new(from, to, 301)], &[]).is_err());
                continue;
            }
            assert_eq!(
                location(from, to, target).as_deref(),
                expected,
                "{from} {to} {target}"
            );
        }
    }

    #[test]
    fn rules_that_could_leave_are_refused() {
        for (from, to) in [
            ("old", "/new"),
            ("/old", "new"),
            ("/old", "//evil.example"),
            ("/old", "/a b"),
            ("/old", "/a\r\nX: y"),
            ("/old", "/\\evil.example"),
            ("/old", "/$1"),
            ("/*", "/$2"),
            ("/*", "/$"),
            ("/*", "/$x"),
            ("/*", "https://$1/"),
            ("/*", "https://host$1"),
            ("/old", "javascript:alert(1)"),
            ("/old", "https://host"),
        ] {
            let redirect = Moves::compile(&[Redirect::new(from, to, 301)], &[]);
            // Without a capture, a bare host is as good as one with a slash.
            assert_eq!(redirect.is_err(), to != "https://host", "{from} {to}");
        }
        assert!(Moves::compile(&[Redirect::new("/a", "/b", 200)], &[]).is_err());
        assert!(Moves::compile(&[], &[Rewrite::new("/a", "https://host/")]).is_err());
    }

    #[test]
    fn the_first_rule_that_matches_answers() {
        let redirects = [
            Redirect::new("/a/*", "/1/$1", 307),
            Redirect::new("/a/**", "/2/$1", 308),
        ];
        let rewrites = [Rewrite::new("/x/", "/y/"), Rewrite::new("/x/*", "/z/$1?q")];
        let moves = Moves::compile(&redirects, &rewrites).expect("good rules");
        let target = |text| parse(text).expect("a target");
        let to = |status, location: &str| Some((status, location.to_owned()));
        assert_eq!(moves.redirect(&target("/a/b")), to(307, "/1/b"));
        assert_eq!(moves.redirect(&target("/a/b/c")), to(308, "/2/b/c"));
        assert_eq!(moves.redirect(&target("/x")), None);
        assert_eq!(moves.rewrite(&target("/x/?r")).as_deref(), Some("/y/?r"));
        assert_eq!(moves.rewrite(&target("/x/b?r")).as_deref(), Some("/z/b?q"));
        assert_eq!(moves.rewrite(&target("/a/b")), None);
        assert!(!moves.is_empty());
        assert!(
            !Moves::compile(&redirects, &[])
                .expect("good rules")
                .is_empty()
        );
        assert!(
            !Moves::compile(&[], &rewrites)
                .expect("good rules")
                .is_empty()
        );
        assert!(Moves::compile(&[], &[]).expect("no rules").is_empty());
    }

    #[test]
    fn rules_see_paths_from_the_root_and_directories_with_a_slash() {
        for (target, path) in [("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a%20b", "/a b")] {
            assert_eq!(path_of(&parse(target).expect("a target")), path.as_bytes());
        }
    }

    #[test]
    fn a_path_that_is_made_begins_with_one_slash_and_an_address_is_left_alone() {
        assert_eq!(location("/**", "/$1", "/a").as_deref(), Some("/a"));
        assert_eq!(location("/a**", "/$1/b", "/a").as_deref(), Some("/b"));
        let far = location("/a**", "https://h//$1", "/a/b");
        assert_eq!(far.as_deref(), Some("https://h///b"));
        let queried = location("/a", "/b", "/a?c=\u{e9}\"");
        assert_eq!(queried.as_deref(), Some("/b?c=%C3%A9%22"));
        for status in [301, 302, 307, 308] {
            assert!(Moves::compile(&[Redirect::new("/a", "/b", status)], &[]).is_ok());
        }
    }
}
