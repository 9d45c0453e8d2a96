//! Byte ranges. RFC 9110, 14.

use std::ops::Range;

/// Most ranges of one request; for more, all is sent (RFC 9110, 14.2, lets us). It bounds what the
/// heads of the parts add to the bytes of the file.
pub const RANGES_MAX: usize = 64;

/// What a Range field asks of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it: no range, one that is not understood, or more than there is to send.
    Whole,
    /// A part: 206.
    Part(Range<u64>),
    /// Several parts that do not touch, in the order asked for: 206, multipart/byteranges.
    Parts(Vec<Range<u64>>),
    /// Nothing of it: 416.
    Unsatisfiable,
}

/// Reads a Range field for a representation of `size` bytes.
///
/// Parts that overlap or touch become one. Never more bytes are selected than there are: a set that
/// adds up to more, or names more than [`RANGES_MAX`], selects all.
///
/// ```
/// use ambidex_server::http::range::{Selection, select};
/// assert_eq!(select("bytes=0-99", 50), Selection::Part(0..50));
/// assert_eq!(select("bytes=-10", 50), Selection::Part(40..50));
/// assert_eq!(select("bytes=0-1,40-", 50), Selection::Parts(vec![0..2, 40..50]));
/// assert_eq!(select("bytes=50-", 50), Selection::Unsatisfiable);
/// assert_eq!(select("lines=1-2", 50), Selection::Whole);
/// ```
#[must_use]
pub fn select(field: &str, size: u64) -> Selection {
    let set = match field.split_once('=') {
        Some((unit, set)) if unit.eq_ignore_ascii_case("bytes") => set,
        _ => return Selection::Whole,
    };
    // Most ask for one.
    if !set.contains(',') {
        return match one(set, size) {
            One::Part(part) => Selection::Part(part),
            One::Unsatisfiable => Selection::Unsatisfiable,
            One::Invalid => Selection::Whole,
        };
    }
    several(set, size)
}

fn several(set: &str, size: u64) -> Selection {
    let mut parts: Vec<Range<u64>> = Vec::new();
    let (mut named, mut total) = (0_usize, 0_u64);
    // Empty elements of a list are to be passed over: RFC 9110, 5.6.1.2.
    let elements = set.split(',').map(|spec| spec.trim_matches([' ', '\t']));
    for spec in elements.filter(|spec| !spec.is_empty()) {
        named += 1;
        match one(spec, size) {
            One::Invalid => return Selection::Whole,
            One::Unsatisfiable => {}
            One::Part(part) => {
                total = total.saturating_add(part.end - part.start);
                merge(&mut parts, part);
            }
        }
        if named > RANGES_MAX || total > size {
            return Selection::Whole;
        }
    }
    match (named, parts.len()) {
        (0, _) => Selection::Whole,
        (_, 0) => Selection::Unsatisfiable,
        (_, 1) => Selection::Part(parts.swap_remove(0)),
        _ => Selection::Parts(parts),
    }
}

/// Adds `part`, in place of those that it touches.
fn merge(parts: &mut Vec<Range<u64>>, part: Range<u64>) {
    let touches =
        |other: &Range<u64>, part: &Range<u64>| other.start <= part.end && part.start <= other.end;
    let (mut part, mut place) = (part, parts.len());
    while let Some(at) = parts.iter().position(|other| touches(other, &part)) {
        let other = parts.remove(at);
        part = part.start.min(other.start)..part.end.max(other.end);
        // Where the first of them stood.
        place = at.min(place);
    }
    parts.insert(place.min(parts.len()), part);
}

enum One {
    Part(Range<u64>),
    Unsatisfiable,
    Invalid,
}

fn one(spec: &str, size: u64) -> One {
    let Some((first, last)) = spec.split_once('-') else {
        return One::Invalid;
    };
    match (number(first), number(last)) {
        (Bound::Absent, Bound::Number(0)) => One::Unsatisfiable,
        // RFC 9110 calls a suffix of nothing satisfiable, but Content-Range cannot express it.
        (Bound::Absent, Bound::Number(_)) if size == 0 => One::Unsatisfiable,
        (Bound::Absent, Bound::Number(length)) => One::Part(size - length.min(size)..size),
        (Bound::Number(first), Bound::Number(last)) if last < first => One::Invalid,
        (Bound::Number(first), Bound::Absent | Bound::Number(_)) if first >= size => {
            One::Unsatisfiable
        }
        (Bound::Number(first), Bound::Absent) => One::Part(first..size),
        (Bound::Number(first), Bound::Number(last)) => {
            One::Part(first..last.saturating_add(1).min(size))
        }
        _ => One::Invalid,
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
            (
                "bytes=18446744073709551615-18446744073709551615",
                10,
                Unsatisfiable,
            ),
            ("bytes=99-abc", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=,", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes", 10, Whole),
            ("lines=1-2", 10, Whole),
            ("Bytes=1-2", 10, Part(1..3)),
            ("bytes = 1-2", 10, Whole),
        ] {
            assert_eq!(select(field, size), expected, "{field} of {size}");
        }
    }

    #[test]
    fn several_ranges_are_merged_bounded_and_kept_in_order() {
        use Selection::{Part, Parts, Unsatisfiable, Whole};
        for (field, size, expected) in [
            ("bytes=0-1,4-5", 10, Parts(vec![0..2, 4..6])),
            ("bytes=8-,0-1", 10, Parts(vec![8..10, 0..2])),
            ("bytes=0-1 ,\t4-5,", 10, Parts(vec![0..2, 4..6])),
            ("bytes=,,0-1", 10, Part(0..2)),
            ("bytes=0-1,2-3", 10, Part(0..4)),
            ("bytes=0-3,2-5", 10, Part(0..6)),
            ("bytes=0-0,9-9,4-4", 10, Parts(vec![0..1, 9..10, 4..5])),
            ("bytes=4-4,0-0,1-3", 10, Part(0..5)),
            ("bytes=6-7,0-1,2-3", 10, Parts(vec![6..8, 0..4])),
            ("bytes=0-1,10-", 10, Part(0..2)),
            ("bytes=10-,-0", 10, Unsatisfiable),
            ("bytes=0-1,5-4", 10, Whole),
            ("bytes=0-1,x", 10, Whole),
            ("bytes=0-,0-", 10, Whole),
            ("bytes=0-5,4-9", 10, Whole),
            ("bytes=0-4,5-9", 10, Part(0..10)),
            (
                "bytes=0-18446744073709551615,1-18446744073709551615",
                i64::MAX as u64,
                Whole,
            ),
        ] {
            assert_eq!(select(field, size), expected, "{field} of {size}");
        }
        let many = |count: u64| {
            let specs = (0..count).map(|at| format!("{}-{}", at * 2, at * 2));
            format!("bytes={}", specs.collect::<Vec<_>>().join(","))
        };
        let Parts(parts) = select(&many(RANGES_MAX as u64), 1000) else {
            panic!("as many as are allowed");
        };
        assert_eq!(parts.len(), RANGES_MAX);
        assert_eq!(select(&many(RANGES_MAX as u64 + 1), 1000), Whole);
    }
}
