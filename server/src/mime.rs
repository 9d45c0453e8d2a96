//! Content types, by the extension of a name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// What is sent where nothing is known.
const UNKNOWN: &str = "application/octet-stream";

/// Extensions that get a type of their own, before the built-in table.
///
/// ```
/// use ambidex_server::Types;
/// let mut types = Types::default();
/// types.insert("Foo", "application/x-foo")?;
/// // Names without an extension, such as LICENSE.
/// types.insert("", "text/plain; charset=utf-8")?;
/// assert!(types.insert("bar", "two\r\nlines").is_err());
/// # Ok::<(), ambidex_server::BadType>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// By the extension in lower case, without its dot.
    own: HashMap<String, String>,
}

/// Not a media type: it would not be understood, or break the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadType {
    given: String,
}

impl fmt::Display for BadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = &self.given;
        write!(f, "{given:?} is no media type: write it as in text/html")
    }
}

impl std::error::Error for BadType {}

impl Types {
    /// Gives names that end in `extension` this type. Case does not matter, nor does a dot before
    /// it; the empty extension stands for names without one. A text type gets no charset that it
    /// does not name here.
    ///
    /// # Errors
    /// [`BadType`] for what is no media type.
    pub fn insert(&mut self, extension: &str, kind: &str) -> Result<(), BadType> {
        let (top, sub) = kind.split_once('/').unwrap_or((kind, ""));
        let token = |text: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
            !text.is_empty() && text.bytes().all(known)
        };
        let subtype = sub.split(';').next().unwrap_or("").trim_end();
        let printable = kind.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !token(top) || !token(subtype) || !printable {
            return Err(BadType {
                given: kind.to_owned(),
            });
        }
        let extension = extension.trim_start_matches('.').to_ascii_lowercase();
        self.own.insert(extension, kind.to_owned());
        Ok(())
    }

    /// The type of what is named `path`.
    pub(crate) fn of(&self, path: &[u8]) -> Cow<'static, str> {
        let extension = extension(path);
        if !self.own.is_empty()
            && let Some(own) = self.own.get(&extension.to_ascii_lowercase())
        {
            return Cow::Owned(own.clone());
        }
        built_in(extension)
    }
}

/// What follows the last dot of the last name; empty if there is none, or it is not UTF-8.
pub(crate) fn extension(path: &[u8]) -> &str {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    let dot = name.iter().rposition(|byte| *byte == b'.');
    // A name that begins with its only dot, .profile, has no extension.
    let bytes = dot
        .filter(|at| *at > 0)
        .map_or(&b""[..], |at| &name[at + 1..]);
    std::str::from_utf8(bytes).unwrap_or("")
}

fn built_in(extension: &str) -> Cow<'static, str> {
    // Where the table of the crate is behind what browsers and the registry of media types say.
    const NEWER: [(&str, &str); 6] = [
        ("map", "application/json"),
        ("mjs", "text/javascript"),
        ("tgz", "application/gzip"),
        ("ts", "video/mp2t"),
        ("woff2", "font/woff2"),
        ("zst", "application/zstd"),
    ];
    let newer = NEWER
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension));
    let kind = match newer {
        Some((_, kind)) => Some(*kind),
        None => mime_guess::from_ext(extension).first_raw(),
    };
    with_charset(kind.unwrap_or(UNKNOWN))
}

/// Text says in which charset it is; all is expected to be UTF-8.
fn with_charset(kind: &'static str) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        // The usual ones without an allocation.
        "text/html" => "text/html; charset=utf-8",
        "text/css" => "text/css; charset=utf-8",
        "text/plain" => "text/plain; charset=utf-8",
        "text/javascript" => "text/javascript; charset=utf-8",
        "application/json" => "application/json; charset=utf-8",
        "image/svg+xml" => "image/svg+xml; charset=utf-8",
        "application/xml" => "application/xml; charset=utf-8",
        _ if kind.starts_with("text/") || kind.ends_with("+xml") => {
            return Cow::Owned(format!("{kind}; charset=utf-8"));
        }
        _ => kind,
    })
}

/// Whether a smaller form of this may exist: not what is compressed by its nature.
pub(crate) fn compressible(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or(kind).trim_end();
    match essence.split_once('/') {
        Some(("image", sub)) => matches!(sub, "svg+xml" | "bmp" | "x-icon" | "x-ms-bmp"),
        Some(("audio" | "video", _)) => false,
        Some(("font", sub)) => !matches!(sub, "woff" | "woff2"),
        _ => !matches!(
            essence,
            "application/gzip"
                | "application/zip"
                | "application/zstd"
                | "application/x-7z-compressed"
                | "application/x-bzip"
                | "application/x-bzip2"
                | "application/x-xz"
                | "application/x-rar-compressed"
                | "application/vnd.rar"
                | "application/java-archive"
                | "application/epub+zip"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_that_of_the_extension() {
        let types = Types::default();
        for (path, expected) in [
            ("a.html", "text/html; charset=utf-8"),
            ("a.HTM", "text/html; charset=utf-8"),
            ("a.b/c", UNKNOWN),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.xml", "text/xml; charset=utf-8"),
            ("a.atom", "application/atom+xml; charset=utf-8"),
            ("a.wasm", "application/wasm"),
            ("a.tar.gz", "application/gzip"),
            ("a.zst", "application/zstd"),
            ("a.br", UNKNOWN),
            ("a.png", "image/png"),
            ("a.woff2", "font/woff2"),
            ("a.", UNKNOWN),
            (".css", UNKNOWN),
            ("", UNKNOWN),
        ] {
            assert_eq!(types.of(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(types.of(b"a.\xff"), UNKNOWN);
    }

    #[test]
    fn own_types_come_first() {
        let mut types = Types::default();
        types.insert(".HTML", "application/xhtml+xml").unwrap();
        types.insert("", "text/plain; charset=utf-8").unwrap();
        assert_eq!(types.of(b"a.Html"), "application/xhtml+xml");
        assert_eq!(types.of(b"LICENSE"), "text/plain; charset=utf-8");
        assert_eq!(types.of(b"a.css"), "text/css; charset=utf-8");
        for bad in [
            "",
            "text",
            "text/",
            "/x",
            "a/b\r\nX: y",
            "a b/c",
            "a/b c",
            "a/ü",
        ] {
            assert!(types.insert("x", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_compressed_already_is_known_by_its_type() {
        for (path, expected) in [
            ("a.html", true),
            ("a.json", true),
            ("a.svg", true),
            ("a.wasm", true),
            ("a.ttf", true),
            ("a.unheard-of", true),
            ("a.png", false),
            ("a.mp4", false),
            ("a.woff2", false),
            ("a.gz", false),
            ("a.zip", false),
        ] {
            let kind = Types::default().of(path.as_bytes());
            assert_eq!(compressible(&kind), expected, "{path}");
        }
    }

    #[test]
    fn the_usual_types_cost_no_allocation() {
        for path in [
            "a.html", "a.css", "a.txt", "a.js", "a.json", "a.svg", "a.png",
        ] {
            let kind = Types::default().of(path.as_bytes());
            assert!(matches!(kind, Cow::Borrowed(_)), "{path}: {kind}");
        }
    }

    #[test]
    fn text_says_its_charset_and_what_is_no_type_is_named() {
        assert_eq!(
            with_charset("application/xml"),
            "application/xml; charset=utf-8"
        );
        assert_eq!(with_charset("text/x-a"), "text/x-a; charset=utf-8");
        assert_eq!(
            with_charset("model/x-a+xml"),
            "model/x-a+xml; charset=utf-8"
        );
        assert_eq!(with_charset("model/x-a"), "model/x-a");
        let error = Types::default()
            .insert("a", "text")
            .expect_err("half a type");
        assert!(error.to_string().contains("\"text\""), "{error}");
    }
}
