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
    /// As `Content-Encoding` names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Zstd => "zstd",
            Encoding::Brotli => "br",
            Encoding::Gzip => "gzip",
        }
    }
}
