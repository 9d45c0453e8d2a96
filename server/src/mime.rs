//! Content types, by the extension of a name.

use std::collections::HashMap;
use std::fmt;

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
}
