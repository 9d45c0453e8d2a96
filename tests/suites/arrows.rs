//! The architecture's own rules: which package may depend on which, and where unsafe code may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Package and what of the workspace it may depend on.
const ARROWS: [(&str, &[&str]); 6] = [
    ("ambidex-net", &[]),
    ("ambidex-disk", &[]),
    ("ambidex", &["ambidex-net", "ambidex-disk"]),
    ("ambidex-server", &["ambidex"]),
    (
        "ambidex-bench",
        &["ambidex", "ambidex-net", "ambidex-disk", "ambidex-server"],
    ),
    (
        "ambidex-tests",
        &[
            "ambidex",
            "ambidex-net",
            "ambidex-disk",
            "ambidex-server",
            "ambidex-bench",
        ],
    ),
];

fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests/ is inside the workspace")
        .to_owned()
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(workspace());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"]
        .as_array()
        .expect("a list of packages")
        .clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

#[test]
fn every_dependency_follows_an_arrow_of_the_architecture() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| text(&package["name"]))
        .collect();
    let arrows = BTreeMap::from(ARROWS);
    assert_eq!(
        ours,
        arrows.keys().copied().collect(),
        "the packages of the workspace"
    );
    for package in &packages {
        let name = text(&package["name"]);
        // Of every kind: a development dependency ties two crates together as well.
        let dependencies = package["dependencies"].as_array().expect("a list");
        for dependency in dependencies
            .iter()
            .map(|dependency| text(&dependency["name"]))
        {
            let allowed = !ours.contains(dependency) || arrows[name].contains(&dependency);
            assert!(allowed, "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn unsafe_code_is_only_where_the_architecture_lists_it() {
    let root = workspace();
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let listed = listed_files(&page);
    let mut found = BTreeSet::new();
    for package in packages() {
        let manifest = Path::new(text(&package["manifest_path"])).to_owned();
        rust_files(manifest.parent().expect("a directory"), &mut |path| {
            let source = fs::read_to_string(path).expect("Rust sources are UTF-8");
            if has_word(&code_only(&source), "unsafe") {
                let path = path.strip_prefix(&root).expect("inside the workspace");
                found.insert(path.to_str().expect("a plain name").to_owned());
            }
        });
    }
    let unlisted: Vec<_> = found.difference(&listed).collect();
    assert!(
        unlisted.is_empty(),
        "unsafe code that ARCHITECTURE.md does not list: {unlisted:?}"
    );
    let stale: Vec<_> = listed.difference(&found).collect();
    assert!(
        stale.is_empty(),
        "listed in ARCHITECTURE.md, but without unsafe code: {stale:?}"
    );
}

/// The files of the section whose heading says `unsafe`: lines that start with "- `path`".
fn listed_files(page: &str) -> BTreeSet<String> {
    let mut in_section = false;
    let mut files = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with('#') {
            in_section = line.to_lowercase().contains("unsafe");
        } else if let Some((path, _)) = line
            .strip_prefix("- `")
            .filter(|_| in_section)
            .and_then(|line| line.split_once('`'))
        {
            files.insert(path.to_owned());
        }
    }
    files
}

fn rust_files(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a readable directory") {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, visit);
        } else if name.ends_with(".rs") {
            visit(&path);
        }
    }
}

fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|found| found == word)
}

/// `source` without comments, strings and characters, each of which may say anything.
fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = token_len(rest, code.chars().next_back());
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// Bytes of the comment, string or character that `rest` starts with, or 0.
fn token_len(rest: &str, previous: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if rest.starts_with('"') {
        return quoted_len(rest, b'"');
    }
    // A prefix is one only where no longer word ends in it.
    if !previous.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        let hashes = rest.trim_start_matches(['b', 'c']).strip_prefix('r');
        if let Some(hashes) = hashes {
            let count = hashes.len() - hashes.trim_start_matches('#').len();
            if hashes[count..].starts_with('"') {
                let start = rest.len() - hashes.len() + count + 1;
                let close = format!("\"{}", "#".repeat(count));
                return rest[start..]
                    .find(&close)
                    .map_or(rest.len(), |at| start + at + close.len());
            }
        }
    }
    if let Some(after) = rest.strip_prefix('\'') {
        // A lifetime has no quote after its first character, and no backslash.
        let second = after.chars().next().map_or(0, char::len_utf8);
        if after.starts_with('\\') || after[second..].starts_with('\'') {
            return quoted_len(rest, b'\'');
        }
    }
    0
}

fn quoted_len(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn block_comment_len(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
        } else {
            at += 1;
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[test]
fn the_check_sees_unsafe_code_and_nothing_that_only_speaks_of_it() {
    let harmless = [
        "// unsafe",
        "/* /* unsafe */ unsafe */",
        "/// unsafe\nfn f() {}",
        "\"unsafe\"",
        "\"\\\" unsafe\"",
        "r#\"\" unsafe\"#",
        "b\"unsafe\"",
        "br\"unsafe\"",
        "#![deny(unsafe_code)]",
        "let not_unsafe = '\"'; // unsafe",
        "'\\'' /* unsafe */",
        "r\"\\\"; // unsafe",
    ];
    for source in harmless {
        assert!(!has_word(&code_only(source), "unsafe"), "{source}");
    }
    let unsafe_code = [
        "unsafe {}",
        "pub unsafe fn f()",
        "\"\"; unsafe {}",
        "'\"'; unsafe {} // \"",
        "/**/unsafe{}",
        "fn f<'a>(x: &'a str) { unsafe {} }",
        "r\"\\\"; unsafe {}",
        "var\"unsafe\"; unsafe {}",
        "#[unsafe(no_mangle)]",
        "r#unsafe_type; unsafe {}",
    ];
    for source in unsafe_code {
        assert!(has_word(&code_only(source), "unsafe"), "{source}");
    }
}
