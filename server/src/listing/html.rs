//! A listing for people: no script, nothing from elsewhere.

use super::order::{Key, Order};
use super::{Item, reference, time};

/// Nothing is loaded, whatever a name may smuggle in; the style is part of the page.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem}\
h1{font-size:1.25rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}\
th,td{padding:.4rem .5rem;text-align:left;vertical-align:top}\
tr+tr td{border-top:1px solid #8884}\
td:first-child{overflow-wrap:anywhere;width:100%}\
.n{text-align:right;white-space:nowrap}\
@media(max-width:30rem){body{padding:.5rem}.t{display:none}}";

/// Writes what comes before the entries of the directory `path` (relative, decoded).
pub(super) fn start(out: &mut Vec<u8>, path: &[u8], order: Order) {
    let slash = if path.is_empty() { "" } else { "/" };
    let title = format!("/{}{slash}", shown(path));
    push(
        out,
        &format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Index of {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>Index of <bdi>{title}</bdi></h1>\n<table>\n<thead><tr>"
        ),
    );
    for (key, title, class) in [
        (Key::Name, "Name", ""),
        (Key::Size, "Size", " class=\"n\""),
        (Key::Time, "Modified (UTC)", " class=\"n t\""),
    ] {
        column(out, order, key, title, class);
    }
    push(out, "</tr></thead>\n<tbody>\n");
    if !path.is_empty() {
        push(
            out,
            "<tr><td><a href=\"../\">../</a></td><td></td><td class=\"t\"></td></tr>\n",
        );
    }
}

/// A head of a column, which sorts by it; the one that is sorted by turns the order round.
fn column(out: &mut Vec<u8>, order: Order, key: Key, title: &str, class: &str) {
    let current = order.key == key;
    let (sort, arrow) = match (current, order.descending) {
        (true, false) => (" aria-sort=\"ascending\"", " \u{2191}"),
        (true, true) => (" aria-sort=\"descending\"", " \u{2193}"),
        (false, _) => ("", ""),
    };
    let next = if current && !order.descending {
        "desc"
    } else {
        "asc"
    };
    let name = key.name();
    push(
        out,
        &format!(
            "<th{class}{sort}><a href=\"?sort={name}&amp;order={next}\">{title}</a>{arrow}</th>"
        ),
    );
}

/// Writes one entry.
pub(super) fn item(out: &mut Vec<u8>, item: &Item) {
    let (href, name) = (reference(item), shown(&item.name));
    let slash = if item.directory { "/" } else { "" };
    let size = match item.facts {
        Some(facts) if !item.directory => {
            let (exact, rounded) = (facts.size, size(facts.size));
            format!("<td class=\"n\" title=\"{exact} bytes\">{rounded}</td>")
        }
        _ => "<td></td>".to_owned(),
    };
    let date = item.facts.and_then(|facts| time::human(facts.modified));
    let date = date.unwrap_or_default();
    push(
        out,
        &format!(
            "<tr><td><a href=\"{href}\"><bdi>{name}{slash}</bdi></a></td>{size}\
             <td class=\"n t\">{date}</td></tr>\n"
        ),
    );
}

/// Writes what comes after `total` entries.
pub(super) fn end(out: &mut Vec<u8>, total: usize, cut: bool) {
    push(out, "</tbody>\n</table>\n");
    if total == 0 {
        push(out, "<p>Nothing here.</p>\n");
    }
    if cut {
        push(
            out,
            &format!("<p>There is more: only {total} entries are listed.</p>\n"),
        );
    }
    push(out, "</body>\n</html>\n");
}

fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// A name as text of HTML. What cannot be shown, is no UTF-8 or would break the line is replaced.
fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in String::from_utf8_lossy(name).chars() {
        match letter {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            // Marks that would turn the rest of the line round make a name lie about its ending.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => text.push('\u{fffd}'),
            letter if letter.is_control() => text.push('\u{fffd}'),
            letter => text.push(letter),
        }
    }
    text
}

/// `999 B`, `1.0 KiB`, `23 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let unit = UNITS[unit];
    if tenths < 100 {
        return format!("{}.{} {unit}", tenths / 10, tenths % 10);
    }
    format!("{} {unit}", tenths / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_240, "10 KiB"),
            (1_048_575, "1023 KiB"),
            (1_048_576, "1.0 MiB"),
            (5_368_709_120, "5.0 GiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn a_name_is_text_whatever_is_in_it() {
        for (name, expected) in [
            (&b"<b>&\"'"[..], "&lt;b&gt;&amp;&quot;&#39;"),
            (b"a\nb\x1b", "a\u{fffd}b\u{fffd}"),
            (b"\xff", "\u{fffd}"),
            ("é\u{202e}gpj".as_bytes(), "é\u{fffd}gpj"),
        ] {
            assert_eq!(shown(name), expected);
        }
    }
}
