//! The page of the traps: each row has a test that exists, or a reason.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use ambidex_tests::pages::{definitions, flaw, linked, page};

/// What a row says of its trap.
#[derive(Debug, PartialEq, Eq)]
enum Answer<'a> {
    /// The names of its links.
    Tests(Vec<&'a str>),
    /// Why there is nothing to test.
    DoesNotApply(&'a str),
}

/// The last cells of the rows of all tables, headings left out.
fn answers(text: &str) -> Vec<Answer<'_>> {
    let cells = text.lines().filter_map(|line| {
        let row = line.strip_prefix('|')?.strip_suffix('|')?;
        let cell = row.rsplit('|').next()?.trim();
        (!cell.starts_with("---") && !["Absent", "Ours"].contains(&cell)).then_some(cell)
    });
    cells.map(answer).collect()
}

/// `[suite][name]`, several of them with commas between, or `does not apply: why`.
fn answer(cell: &str) -> Answer<'_> {
    if let Some(why) = cell.strip_prefix("does not apply: ") {
        return Answer::DoesNotApply(why);
    }
    let names = cell.split(", ").map(|link| {
        let name = link
            .strip_prefix('[')
            .and_then(|link| link.split_once("]["));
        let name = name.and_then(|(_, name)| name.strip_suffix(']'));
        name.unwrap_or_else(|| panic!("neither a link nor a reason: {cell}"))
    });
    Answer::Tests(names.collect())
}

#[test]
fn every_trap_of_the_page_has_a_test_that_exists_or_a_reason() {
    let text = fs::read_to_string(page("traps.md")).expect("the page");
    let definitions = definitions(&text);
    let (mut used, mut tested, mut reasons) = (BTreeSet::new(), 0, 0);
    for answer in answers(&text) {
        let Answer::Tests(names) = answer else {
            reasons += 1;
            continue;
        };
        tested += 1;
        for name in names {
            let (path, test) = definitions[name];
            assert_eq!(flaw(&linked(path), test), None, "{path}: {test}");
            used.insert(name);
        }
    }
    assert!(used.iter().eq(definitions.keys()), "a link that no row has");
    let rows = tested + reasons;
    assert!(rows > 100, "the tables are there");
    // Past the harness, which keeps what a test that passes has printed.
    let line = format!(
        "PROVED traps: {tested} of {rows} traps and scenes by a test, {reasons} do not apply"
    );
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn a_row_without_a_link_or_a_reason_is_found() {
    let table =
        "| | Absent |\n|---|---|\n| a | [one][1a], [two][1b] |\n| b | does not apply: c |\n";
    let expected = [Answer::Tests(vec!["1a", "1b"]), Answer::DoesNotApply("c")];
    assert_eq!(answers(table), expected);
    let vague = std::panic::catch_unwind(|| answers("| a | surely |"));
    assert!(vague.is_err());
}
