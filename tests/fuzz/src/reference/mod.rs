//! Slow, obvious readings of the RFCs, written without a look at how the product does it. Where the
//! product is free to choose, its choice is named here as a rule.

pub mod chunked;
pub mod condition;
pub mod date;
pub mod encoding;
pub mod host;
pub mod range;
pub mod request;
pub mod target;

/// RFC 9110, 5.6.2: what tokens are made of.
#[must_use]
pub fn is_token(text: &[u8]) -> bool {
    let delimiters = b"\"(),/:;<=>?@[\\]{}";
    let good = |byte: &u8| (0x21..=0x7e).contains(byte) && !delimiters.contains(byte);
    !text.is_empty() && text.iter().all(good)
}

/// RFC 9110, 5.5: what the value of a field is made of, white space included.
#[must_use]
pub fn is_value(text: &[u8]) -> bool {
    let good = |byte: &u8| matches!(byte, b'\t' | b' ' | 0x21..=0x7e | 0x80..=0xff);
    text.iter().all(good)
}

/// RFC 9110, 5.6.3: takes optional white space off both ends.
#[must_use]
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The elements of a list as written, empty ones included. No list that is read here has quotes.
#[must_use]
pub fn elements(list: &[u8]) -> Vec<&[u8]> {
    list.split(|byte| *byte == b',').map(trim).collect()
}

/// The first place of `needle`.
#[must_use]
pub fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    (0..text.len()).find(|at| text[*at..].starts_with(needle))
}
