//! Which form of a file a client gets: `Accept-Encoding` and `Accept`. RFC 9110, 12.5.

use std::fmt;
use std::str::FromStr;

/// A compression in which a file may lie beside itself.
///
/// ```
/// use ambidex_server::Encoding;
/// assert_eq!("br".parse(), Ok(Encoding::Brotli));
/// assert_eq!(Encoding::Zstd.to_string(), "zstd");
/// assert!("lzma".parse::<Encoding>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `name.zst`, RFC 8878.
    Zstd,
    /// `name.br`, RFC 7932.
    Brotli,
    /// `name.gz`, RFC 1952.
    Gzip,
}

/// None of the encodings there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownEncoding {
    given: String,
}

impl fmt::Display for UnknownEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = &self.given;
        write!(f, "{given:?} is no encoding: choose from zst, br and gz")
    }
}

impl std::error::Error for UnknownEncoding {}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    /// Takes the extension of the file as well as the name in HTTP.
    fn from_str(text: &str) -> Result<Encoding, UnknownEncoding> {
        match text {
            "zst" | "zstd" => Ok(Encoding::Zstd),
            "br" | "brotli" => Ok(Encoding::Brotli),
            "gz" | "gzip" => Ok(Encoding::Gzip),
            _ => Err(UnknownEncoding {
                given: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Encoding {
    /// All of them, the best first.
    pub const ALL: [Encoding; 3] = [Encoding::Zstd, Encoding::Brotli, Encoding::Gzip];

    /// As `Content-Encoding` names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }

    /// What is appended to the name of a file.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Encoding::Zstd => ".zst",
            Encoding::Brotli => ".br",
            Encoding::Gzip => ".gz",
        }
    }
}

/// A weight in thousandths.
type Weight = u16;

/// Elements of a list with their weights; those that make no sense are left out.
fn weighted(list: &str) -> impl Iterator<Item = (&str, Weight)> {
    list.split(',').filter_map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?;
        let mut weight = Some(1000);
        for parameter in parts {
            if let Some((key, value)) = parameter.split_once('=')
                && key.trim_end().eq_ignore_ascii_case("q")
            {
                weight = thousandths(value.trim_start());
            }
        }
        Some((name, weight?))
    })
}

/// RFC 9110, 12.4.2: `0`, `0.5`, `1.000`.
fn thousandths(text: &str) -> Option<Weight> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<3}").parse::<Weight>().ok()?;
    match (whole, fraction) {
        ("0", _) => Some(fraction),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// What a client takes, in the order to try it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Preference {
    /// The first `count` of these.
    order: [Encoding; 3],
    count: usize,
    /// Whether the file as it is will do, after those.
    pub(crate) identity: bool,
}

impl Preference {
    /// Reads an `Accept-Encoding`. `offered` is what the server would send, the best first: that
    /// decides between encodings that the client likes equally. What the client likes less than
    /// the file as it is comes not into question, unless the file as it is does not either.
    pub(crate) fn new(accepted: Option<&str>, offered: &[Encoding]) -> Preference {
        let accepted = accepted.unwrap_or("");
        let mut any = None;
        let mut plain = None;
        let mut named = [None; 3];
        for (name, weight) in weighted(accepted) {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            match name {
                "*" => any = Some(weight),
                _ if is("identity") => plain = Some(weight),
                _ if is("zstd") => named[0] = Some(weight),
                _ if is("br") => named[1] = Some(weight),
                _ if is("gzip") || is("x-gzip") => named[2] = Some(weight),
                _ => {}
            }
        }
        // Not mentioned, it is acceptable all the same, and the last choice.
        let identity = plain.or(any.filter(|weight| *weight == 0)) != Some(0);
        let least = plain.unwrap_or(0).max(1);
        let weight = |encoding: Encoding| named[encoding as usize].or(any).unwrap_or(0);
        let mut preference = Preference {
            order: Encoding::ALL,
            count: 0,
            identity,
        };
        let mut candidates: Vec<Encoding> = Vec::with_capacity(Encoding::ALL.len());
        for encoding in offered {
            if weight(*encoding) >= least && !candidates.contains(encoding) {
                candidates.push(*encoding);
            }
        }
        // A stable sort: equals keep the order of the server.
        candidates.sort_by_key(|encoding| std::cmp::Reverse(weight(*encoding)));
        preference.count = candidates.len();
        preference.order[..candidates.len()].copy_from_slice(&candidates);
        preference
    }

    /// The encodings to try.
    pub(crate) fn encodings(&self) -> &[Encoding] {
        &self.order[..self.count]
    }
}

/// Whether the client rather has JSON than HTML: it names it, and likes it better.
pub(crate) fn prefers_json(accept: Option<&str>) -> bool {
    let weight = |kind: &str| {
        let named = weighted(accept.unwrap_or(""));
        let mut same = named.filter(|(name, _)| name.eq_ignore_ascii_case(kind));
        same.next().map_or(0, |(_, weight)| weight)
    };
    weight("application/json") > weight("text/html")
}

/// Whether the client asks for a page: what browsers do when a person goes somewhere.
pub(crate) fn names_html(accept: Option<&str>) -> bool {
    weighted(accept.unwrap_or(""))
        .any(|(name, weight)| weight > 0 && name.eq_ignore_ascii_case("text/html"))
}

/// Whether the client takes anything.
pub(crate) fn takes_anything(accept: Option<&str>) -> bool {
    let Some(accept) = accept else { return true };
    weighted(accept).any(|(name, weight)| weight > 0 && name == "*/*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Brotli, Gzip, Zstd};

    #[test]
    fn weights_decide_and_then_the_order_of_the_server() {
        for (accepted, expected, identity) in [
            (None, &[][..], true),
            (Some(""), &[], true),
            (Some("gzip"), &[Gzip], true),
            (Some("GZIP"), &[Gzip], true),
            (Some("x-gzip"), &[Gzip], true),
            (Some("gzip, br, zstd"), &[Zstd, Brotli, Gzip], true),
            (
                Some("gzip;q=1.0, br;q=0.5, zstd; q=0.7"),
                &[Gzip, Zstd, Brotli],
                true,
            ),
            (Some("gzip;q=0"), &[], true),
            (Some("gzip;q=0.000, *"), &[Zstd, Brotli], true),
            (Some("*"), &[Zstd, Brotli, Gzip], true),
            (Some("*;q=0"), &[], false),
            (Some("br, *;q=0"), &[Brotli], false),
            (Some("identity, *;q=0"), &[], true),
            (Some("identity;q=0"), &[], false),
            (Some("identity;q=0, gzip;q=0.1"), &[Gzip], false),
            (Some("identity, gzip;q=0.5"), &[], true),
            (Some("identity;q=0.5, gzip;q=0.5, br;q=0.4"), &[Gzip], true),
            (Some("deflate, compress"), &[], true),
            (Some("gzip;q=2, br;q=x, zstd;q=0.1234"), &[], true),
            (Some(",,;q=1, gzip ;Q=0.1"), &[Gzip], true),
        ] {
            let preference = Preference::new(accepted, &Encoding::ALL);
            assert_eq!(preference.encodings(), expected, "{accepted:?}");
            assert_eq!(preference.identity, identity, "{accepted:?}");
        }
        let mine = Preference::new(Some("gzip, br, zstd"), &[Gzip, Brotli, Gzip]);
        assert_eq!(mine.encodings(), [Gzip, Brotli]);
    }

    #[test]
    fn json_is_for_those_who_name_it() {
        for (accept, json) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json"), true),
            (Some("application/json, text/html"), false),
            (Some("application/json, text/html;q=0.9"), true),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), false),
            (Some("application/json;q=0"), false),
        ] {
            assert_eq!(prefers_json(accept), json, "{accept:?}");
        }
    }

    #[test]
    fn a_page_is_asked_for_by_name() {
        assert!(names_html(Some(
            "text/html,application/xml;q=0.9,*/*;q=0.8"
        )));
        assert!(!names_html(Some("*/*")) && !names_html(None));
        assert!(!names_html(Some("text/html;q=0")));
        assert!(takes_anything(None) && takes_anything(Some("image/png, */*;q=0.5")));
        assert!(!takes_anything(Some("application/json")));
    }

    #[test]
    fn encodings_have_a_name_and_a_suffix() {
        for (encoding, name, suffix) in [
            (Zstd, "zstd", ".zst"),
            (Brotli, "br", ".br"),
            (Gzip, "gzip", ".gz"),
        ] {
            assert_eq!((encoding.name(), encoding.suffix()), (name, suffix));
            assert_eq!(
                (encoding.to_string().as_str(), name.parse()),
                (name, Ok(encoding))
            );
            assert_eq!(suffix[1..].parse(), Ok(encoding));
        }
        assert_eq!("brotli".parse(), Ok(Brotli));
        let error = "lzma".parse::<Encoding>().expect_err("none of them");
        assert!(error.to_string().contains("\"lzma\""), "{error}");
    }

    #[test]
    fn who_takes_nothing_does_not_take_anything() {
        assert!(!takes_anything(Some("*/*;q=0")) && !takes_anything(Some("")));
        assert!(!names_html(Some("text/plain")));
    }
}
