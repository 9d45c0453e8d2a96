//! The comparison page: each "yes" of our own leads to a test that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn page() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.join("../docs/src/comparison.md")
}

/// Names of links, each with its file and the test in it: lines of the form `[name]: path "test"`.
fn definitions(text: &str) -> BTreeMap<&str, (&str, &str)> {
    let definition = |line| -> Option<_> {
        let (name, rest) = str::strip_prefix(line, "[")?.split_once("]: ")?;
        let (path, title) = rest.split_once(" \"")?;
        Some((name, (path, title.strip_suffix('"')?)))
    };
    text.lines().filter_map(definition).collect()
}

/// The last cells of the rows of all tables that have a column for Ambidex, headings left out.
fn own_cells(text: &str) -> Vec<&str> {
    let mut is_ours = false;
    let mut cells = Vec::new();
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            is_ours = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        if last == "Ambidex" {
            is_ours = true;
        } else if is_ours && !last.starts_with("---") {
            cells.push(last);
        }
    }
    cells
}

/// What is wrong with a link to `test` in `source`.
fn flaw(source: &str, test: &str) -> Option<&'static str> {
    let Some((before, _)) = source.split_once(&format!("fn {test}(")) else {
        return Some("no such function");
    };
    let attributes = before.rsplit('}').next().unwrap_or_default();
    (!attributes.contains("#[test]")).then_some("no test")
}

#[test]
fn every_yes_of_the_comparison_leads_to_a_test_that_exists() {
    let text = fs::read_to_string(page()).expect("the page");
    let definitions = definitions(&text);
    let mut used = BTreeSet::new();
    for cell in own_cells(&text) {
        if cell == "no" {
            continue;
        }
        let name = cell
            .strip_prefix("[yes][")
            .and_then(|cell| cell.strip_suffix(']'));
        let name = name.unwrap_or_else(|| panic!("neither no nor a link: {cell}"));
        let (path, test) = definitions[name];
        let file = page().with_file_name("").join(path);
        let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(flaw(&source, test), None, "{path}: {test}");
        used.insert(name);
    }
    assert!(used.len() > 50, "the tables are there");
    assert!(
        used.iter().eq(definitions.keys()),
        "a link that no cell has"
    );
}

#[test]
fn a_link_to_what_is_no_test_is_found() {
    let source = "#[test]\nfn one() {}\n\nfn helper() {}\n\n#[test]\nfn two() {}\n";
    assert_eq!(flaw(source, "one"), None);
    assert_eq!(flaw(source, "two"), None);
    assert_eq!(flaw(source, "helper"), Some("no test"));
    assert_eq!(flaw(source, "tw"), Some("no such function"));
    let table = "| | Ambidex |\n|---|---|\n| a | [yes][t1] |\n\n| b | c |\n";
    assert_eq!(own_cells(table), ["[yes][t1]"]);
    assert_eq!(definitions("[t1]: a.rs \"f\"\nx")["t1"], ("a.rs", "f"));
}
