//! RFC 9110, 12.5: which codings a client takes, and how gladly.

/// A coding and its weight in thousandths.
type Weighted<'a> = (&'a str, u32);

/// The list with its weights. Rules: an element whose weight is nonsense is none, of several weights
/// the last counts, and parameters are cut at semicolons whatever they hold.
fn read(list: &str) -> Vec<Weighted<'_>> {
    let mut read = Vec::new();
    for element in list.split(',') {
        let parts: Vec<&str> = element.split(';').map(str::trim).collect();
        let weights = parts[1..].iter().filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            matches!(name.trim(), "q" | "Q").then(|| weight(value.trim()))
        });
        let weight = weights.last().unwrap_or(Some(1000));
        if let (false, Some(weight)) = (parts[0].is_empty(), weight) {
            read.push((parts[0], weight));
        }
    }
    read
}

/// 12.4.2. All the weights there are, written out.
fn weight(text: &str) -> Option<u32> {
    // Rule: "0." and "1." will do, as the grammar says.
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let padded = format!("{fraction:0<3}");
    (0..=1000).find(|weight| {
        let (thousands, rest) = (weight / 1000, weight % 1000);
        whole == thousands.to_string() && padded == format!("{rest:03}")
    })
}

/// What may be sent, the best first; `offered` is the order of the server, `None` the file as it is.
/// 12.5.3, steps 1 to 4.
#[must_use]
pub fn choices<'a>(list: Option<&str>, offered: &[&'a str]) -> Vec<Option<&'a str>> {
    let list = read(list.unwrap_or(""));
    // Rule: of an element that is repeated the last counts; x-gzip is gzip (8.4.1.3).
    let named = |coding: &str| {
        let alias = if coding == "gzip" { "x-gzip" } else { coding };
        let is = |name: &str| name.eq_ignore_ascii_case(coding) || name.eq_ignore_ascii_case(alias);
        list.iter()
            .rev()
            .find(|(name, _)| is(name))
            .map(|(_, weight)| *weight)
    };
    let any = named("*");
    let plain = named("identity");
    let identity = plain != Some(0) && (plain.is_some() || any != Some(0));
    let mut codings: Vec<(&str, u32)> = Vec::new();
    for coding in offered {
        let weight = named(coding).or(any).unwrap_or(0);
        // Rule: what is liked less than the file as it is is not sent.
        let liked = weight > 0 && plain.is_none_or(|plain| weight >= plain);
        if liked && !codings.iter().any(|(known, _)| known == coding) {
            let place = codings.iter().position(|(_, other)| *other < weight);
            codings.insert(place.unwrap_or(codings.len()), (coding, weight));
        }
    }
    let choices = codings.into_iter().map(|(coding, _)| Some(coding));
    choices.chain(identity.then_some(None)).collect()
}
