//! The comparison page: each "yes" of our own leads to a test that exists.

use std::collections::BTreeSet;
use std::fs;

use ambidex_tests::pages::{definitions, flaw, linked, page};

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

#[test]
fn every_yes_of_the_comparison_leads_to_a_test_that_exists() {
    let text = fs::read_to_string(page("comparison.md")).expect("the page");
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
        assert_eq!(flaw(&linked(path), test), None, "{path}: {test}");
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
