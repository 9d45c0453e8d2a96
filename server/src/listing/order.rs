//! In which order a directory is listed.

use std::cmp::Ordering;

use super::Item;

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Key {
    #[default]
    Name,
    Size,
    Time,
}

impl Key {
    /// As a query names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Key::Name => "name",
            Key::Size => "size",
            Key::Time => "time",
        }
    }
}

/// In which order a directory is listed: directories first, and equals by their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) key: Key,
    pub(super) descending: bool,
}

/// The value of `name` in a query that begins with `?`.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.strip_prefix('?')?.split('&');
    let mut named = pairs.filter_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    named.next().map(|(_, value)| value)
}

impl Order {
    /// Reads `?sort=name|size|time&order=asc|desc`; what is not understood is as if it were absent.
    pub(super) fn parse(query: &str) -> Order {
        let keys = [Key::Name, Key::Size, Key::Time];
        let wanted = parameter(query, "sort");
        let key = keys.into_iter().find(|key| wanted == Some(key.name()));
        Order {
            key: key.unwrap_or_default(),
            descending: parameter(query, "order") == Some("desc"),
        }
    }

    /// Whether it cannot be sorted before all is known about all entries.
    pub(super) fn needs_facts(self) -> bool {
        self.key != Key::Name
    }

    pub(super) fn sort(self, items: &mut [Item]) {
        items.sort_unstable_by(|a, b| self.compare(a, b));
    }

    fn compare(self, a: &Item, b: &Item) -> Ordering {
        let ascending = match self.key {
            Key::Name => a.name.cmp(&b.name),
            Key::Size if a.directory && b.directory => Ordering::Equal,
            Key::Size => a.facts.map(|f| f.size).cmp(&b.facts.map(|f| f.size)),
            Key::Time => {
                let modified = |item: &Item| item.facts.map(|facts| facts.modified);
                modified(a).cmp(&modified(b))
            }
        };
        let by_key = if self.descending {
            ascending.reverse()
        } else {
            ascending
        };
        // Names differ, so the order is total.
        let directories = b.directory.cmp(&a.directory);
        directories.then(by_key).then_with(|| a.name.cmp(&b.name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Facts;
    use super::*;

    fn item(name: &str, directory: bool, size: u64, modified: i64) -> Item {
        Item {
            name: name.as_bytes().to_vec(),
            directory,
            facts: Some(Facts { size, modified }),
        }
    }

    #[test]
    fn directories_come_first_and_equals_by_name() {
        let items = [
            item("b", false, 1, 30),
            item("a", false, 1, 10),
            item("c", false, 0, 20),
            item("z", true, 4096, 5),
            item("y", true, 9000, 5),
        ];
        for (query, expected) in [
            ("", "yzabc"),
            ("?sort=name&order=desc", "zycba"),
            ("?sort=size", "yzcab"),
            ("?sort=size&order=desc", "yzabc"),
            ("?sort=time", "yzacb"),
            ("?order=desc&sort=time", "yzbca"),
            ("?sort=nonsense&order=", "yzabc"),
            ("?sort", "yzabc"),
        ] {
            let order = Order::parse(query);
            for turn in 0..items.len() {
                let mut items = items.to_vec();
                items.rotate_left(turn);
                order.sort(&mut items);
                let names: Vec<u8> = items.iter().map(|item| item.name[0]).collect();
                assert_eq!(String::from_utf8(names).unwrap(), expected, "{query}");
            }
        }
    }

    #[test]
    fn names_alone_are_known_before_the_facts() {
        for (query, needed) in [("", false), ("?sort=size", true), ("?sort=time", true)] {
            assert_eq!(Order::parse(query).needs_facts(), needed, "{query}");
        }
    }
}
