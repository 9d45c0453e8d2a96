//! Byte ranges. RFC 9110, 14.

use std::ops::Range;

/// What a Range field asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no range, one that is not understood, or several.
    Whole,
    /// A part: 206.
    Part(Range<u64>),
    /// Nothing of it: 416.
    Unsatisfiable,
}

/// Reads a Range field for a representation of `size` bytes.
///
/// ```
/// use ambidex_server::http::range::{Selection, select};
/// assert_eq!(select("bytes=0-99", 50), Selection::Part(0..50));
/// assert_eq!(select("bytes=-10", 50), Selection::Part(40..50));
/// assert_eq!(select("bytes=50-", 50), Selection::Unsatisfiable);
/// assert_eq!(select("lines=1-2", 50), Selection::Whole);
/// ```
#[must_use]
pub fn select(field: &str, size: u64) -> Selection {
    let Some((unit, set)) = field.split_once('=') else {
        return Selection::Whole;
    };
    let Some((first, last)) = set.split_once('-') else {
        return Selection::Whole;
    };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    match (number(first), number(last)) {
        (Bound::Absent, Bound::Number(0)) => Selection::Unsatisfiable,
        (Bound::Absent, Bound::Number(_)) if size == 0 => Selection::Unsatisfiable,
        (Bound::Absent, Bound::Number(length)) => Selection::Part(size - length.min(size)..size),
        (Bound::Number(first), Bound::Number(last)) if last < first => Selection::Whole,
        (Bound::Number(first), _) if first >= size => Selection::Unsatisfiable,
        (Bound::Number(first), Bound::Absent) => Selection::Part(first..size),
        (Bound::Number(first), Bound::Number(last)) => {
            Selection::Part(first..last.saturating_add(1).min(size))
        }
        _ => Selection::Whole,
    }
}

enum Bound {
    Absent,
    /// Too large a number is as good as the largest.
    Number(u64),
    Nonsense,
}

fn number(text: &str) -> Bound {
    if text.is_empty() {
        Bound::Absent
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Bound::Number(text.parse().unwrap_or(u64::MAX))
    } else {
        Bound::Nonsense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_select_what_the_rfc_says() {
        use Selection::{Part, Unsatisfiable, Whole};
        for (field, size, expected) in [
            ("bytes=0-0", 10, Part(0..1)),
            ("bytes=9-", 10, Part(9..10)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=-5", 0, Unsatisfiable),
            ("bytes=-99", 10, Part(0..10)),
            ("bytes=2-1", 10, Whole),
            ("bytes=0-99999999999999999999", 10, Part(0..10)),
            ("bytes=99999999999999999999-", 10, Unsatisfiable),
            ("bytes=0-1,3-4", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes", 10, Whole),
            ("Bytes=1-2", 10, Part(1..3)),
            ("bytes = 1-2", 10, Whole),
        ] {
            assert_eq!(select(field, size), expected, "{field} of {size}");
        }
    }
}
