//! A listing for programs: an array of objects.
//!
//! `name` is for people: what of it is no UTF-8 is replaced by U+FFFD. `href` is exact for any
//! name: percent-encoded, relative to the directory. `type` is `file` or `directory`; `size` in
//! bytes, of files only; `mtime` in UTC. What cannot be told is null.

use super::{Item, reference, time};

/// Writes one entry.
pub(super) fn item(out: &mut Vec<u8>, item: &Item, first: bool) {
    out.extend_from_slice(if first { b"\n" } else { b",\n" });
    out.extend_from_slice(b"{\"name\":");
    text(out, &String::from_utf8_lossy(&item.name));
    let kind = if item.directory { "directory" } else { "file" };
    out.extend_from_slice(format!(",\"type\":\"{kind}\"").as_bytes());
    if !item.directory {
        let size = item.facts.map(|facts| facts.size.to_string());
        let size = size.as_deref().unwrap_or("null");
        out.extend_from_slice(format!(",\"size\":{size}").as_bytes());
    }
    out.extend_from_slice(b",\"mtime\":");
    match item.facts.and_then(|facts| time::machine(facts.modified)) {
        Some(date) => text(out, &date),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"href\":");
    text(out, &reference(item));
    out.push(b'}');
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a Vec does not fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::*;

    #[test]
    fn any_name_makes_valid_json() {
        let mut out = b"[".to_vec();
        let facts = Some(Facts {
            size: u64::MAX,
            modified: i64::MIN,
        });
        for (at, name) in [&b"a\"\\\n\x01"[..], b"\xff", b"\xed\xa0\x80"]
            .iter()
            .enumerate()
        {
            let written = Item {
                name: name.to_vec(),
                directory: at == 2,
                facts,
            };
            item(&mut out, &written, at == 0);
        }
        out.push(b']');
        let list: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(list[0]["name"], "a\"\\\n\u{1}");
        assert_eq!(list[0]["size"], u64::MAX);
        assert_eq!(list[0]["mtime"], serde_json::Value::Null);
        assert_eq!(
            (&list[1]["name"], &list[1]["href"]),
            (&"\u{fffd}".into(), &"./%FF".into())
        );
        assert_eq!(list[2]["type"], "directory");
        assert!(list[2].get("size").is_none());
    }
}
