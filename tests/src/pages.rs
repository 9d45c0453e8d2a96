//! Pages of the book whose claims are links to tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the page `name` lies.
#[must_use]
pub fn page(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.join("../docs/src").join(name)
}

/// Names of links, each with its file and the test in it: lines of the form `[name]: path "test"`.
#[must_use]
pub fn definitions(text: &str) -> BTreeMap<&str, (&str, &str)> {
    let definition = |line| -> Option<_> {
        let (name, rest) = str::strip_prefix(line, "[")?.split_once("]: ")?;
        let (path, title) = rest.split_once(" \"")?;
        Some((name, (path, title.strip_suffix('"')?)))
    };
    text.lines().filter_map(definition).collect()
}

/// What the file holds that a page links to as `path`.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn linked(path: &str) -> String {
    let file = page("").join(path);
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What is wrong with a link to `test` in `source`.
#[must_use]
pub fn flaw(source: &str, test: &str) -> Option<&'static str> {
    let Some((before, _)) = source.split_once(&format!("fn {test}(")) else {
        return Some("no such function");
    };
    let attributes = before.rsplit('}').next().unwrap_or_default();
    (!attributes.contains("#[test]")).then_some("no test")
}
