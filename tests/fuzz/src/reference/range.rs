//! RFC 9110, 14: which bytes a Range field asks for.

use std::ops::Range;

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// 200, all of it.
    Whole,
    /// 206, these, in this order.
    Parts(Vec<Range<u64>>),
    /// 416
    Nothing,
}

/// Reads `field` for a representation of `size` bytes. Rules, which 14.2 leaves to the server: at most
/// `parts_max` ranges and not more bytes than there are, else all is sent; what overlaps or touches is
/// one part, at the place of the first.
#[must_use]
pub fn read(field: &str, size: u64, parts_max: usize) -> Sent {
    let Some((unit, set)) = field.split_once('=') else {
        return Sent::Whole;
    };
    let elements: Vec<&str> = set.split(',').collect();
    // Rule: white space is for lists.
    let trimmed = |element: &str| match elements.len() {
        1 => element.to_owned(),
        _ => element.trim_matches([' ', '\t']).to_owned(),
    };
    let specs: Vec<String> = elements.iter().map(|element| trimmed(element)).collect();
    let specs: Vec<&String> = specs.iter().filter(|spec| !spec.is_empty()).collect();
    let parts: Option<Vec<Option<Range<u128>>>> = specs
        .iter()
        .map(|spec| one(spec, u128::from(size)))
        .collect();
    let Some(parts) = parts.filter(|_| unit.eq_ignore_ascii_case("bytes") && !specs.is_empty())
    else {
        return Sent::Whole;
    };
    let count = parts.len();
    let parts: Vec<Range<u128>> = parts.into_iter().flatten().collect();
    let bytes: u128 = parts.iter().map(|part| part.end - part.start).sum();
    if count > parts_max || bytes > u128::from(size) {
        return Sent::Whole;
    }
    match united(parts) {
        none if none.is_empty() => Sent::Nothing,
        parts => Sent::Parts(parts),
    }
}

/// The outer `None` is nonsense, the inner one a range without a byte.
fn one(spec: &str, size: u128) -> Option<Option<Range<u128>>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| {
        let digits = text.trim_start_matches('0');
        let digits = if digits.is_empty() && !text.is_empty() {
            "0"
        } else {
            digits
        };
        let good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Far beyond any size, which is all that matters.
        good.then(|| {
            digits
                .parse()
                .unwrap_or(u128::from(u64::MAX))
                .min(u128::from(u64::MAX))
        })
    };
    let range = match (first, last) {
        ("", last) => size - number(last)?.min(size)..size,
        (first, "") => number(first)?..size,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..(last + 1).min(size)
        }
    };
    Some((range.start < range.end).then_some(range))
}

/// Joins until nothing touches.
fn united(mut parts: Vec<Range<u128>>) -> Vec<Range<u64>> {
    loop {
        let pairs = (0..parts.len()).flat_map(|a| (a + 1..parts.len()).map(move |b| (a, b)));
        let touching = |(a, b): &(usize, usize)| {
            parts[*a].start <= parts[*b].end && parts[*b].start <= parts[*a].end
        };
        let Some((a, b)) = pairs.into_iter().find(touching) else {
            break;
        };
        let other = parts.remove(b);
        parts[a] = parts[a].start.min(other.start)..parts[a].end.max(other.end);
    }
    let narrow = |part: Range<u128>| part.start as u64..part.end as u64;
    parts.into_iter().map(narrow).collect()
}
