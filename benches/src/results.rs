//! Results read back: the JSON of any command, as rounds of figures that can be drawn and compared.

mod rounds;
#[cfg(test)]
pub(crate) mod samples;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Error;
use crate::statistics::median;

pub use rounds::{Curve, Figure, Round};

/// The schema that is understood; see [`report`](crate::report).
const SCHEMA: u64 = 1;
/// Parameters that may differ between two results that are compared: where, not what.
const PLACES: [&str; 6] = [
    "url",
    "address",
    "filename",
    "targets",
    "directory",
    "paths_file",
];

/// The results in one file.
#[derive(Clone, Debug)]
pub struct Results {
    /// Where they were read.
    pub path: PathBuf,
    /// Which command made them.
    pub kind: String,
    /// All of it.
    pub value: Value,
}

/// Reads a file that `--json` wrote.
///
/// # Errors
/// [`Error::Start`] that names the file: it cannot be read, or is no result of this tool, or of a
/// version that is not understood.
pub fn read(path: &Path) -> Result<Results, Error> {
    let wrong = |why: &str| Error::Start(format!("{}: {why}", path.display()));
    let bytes = fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(&format!("no result of ambidex-bench, no JSON: {error}")))?;
    if value["tool"] != "ambidex-bench" {
        return Err(wrong(
            "no result of ambidex-bench: \"tool\" does not say so",
        ));
    }
    if value["schema"] != SCHEMA {
        let schema = &value["schema"];
        return Err(wrong(&format!(
            "schema {schema}, and only {SCHEMA} is understood"
        )));
    }
    let Some(kind) = value["kind"].as_str().map(str::to_owned) else {
        return Err(wrong("no result of ambidex-bench: \"kind\" is missing"));
    };
    Ok(Results {
        path: path.to_owned(),
        kind,
        value,
    })
}

impl Results {
    /// A field of all reports as text; empty if it is missing.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        text(&self.value[name])
    }

    /// The command as it was typed.
    #[must_use]
    pub fn command(&self) -> String {
        let words = self.value["command"].as_array();
        let words = words.into_iter().flatten().map(|word| {
            let word = text(word);
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
            match word.chars().all(plain) && !word.is_empty() {
                true => word,
                false => format!("'{}'", word.replace('\'', r"'\''")),
            }
        });
        words.collect::<Vec<String>>().join(" ")
    }

    /// Whether it ended before its time.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.value["interrupted"] == true
    }

    /// What was asked for, without where.
    #[must_use]
    pub fn parameters(&self) -> Value {
        let value = match self.kind.as_str() {
            "disk" => &self.value["jobs"][0]["job options"],
            "net" | "echo" => &self.value["load"],
            _ => &self.value["options"],
        };
        let mut parameters = value.clone();
        if let Some(fields) = parameters.as_object_mut() {
            fields.retain(|name, _| !PLACES.contains(&name.as_str()));
        }
        parameters
    }

    /// All rounds, in the order measured; none if the command is not known.
    #[must_use]
    pub fn rounds(&self) -> Vec<Round> {
        rounds::of(self)
    }
}

/// The groups of `rounds`, in order of appearance.
#[must_use]
pub fn groups(rounds: &[Round]) -> Vec<&str> {
    distinct(rounds.iter().map(|round| round.group.as_str()))
}

/// Each once, in order of appearance.
#[must_use]
pub fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The values of one figure of a group with their rounds, of rounds that count.
#[must_use]
pub fn values(rounds: &[Round], group: &str, name: &str) -> Vec<(u64, f64)> {
    let counted = rounds
        .iter()
        .filter(|round| round.group == group && round.failure.is_none());
    let values = counted.filter_map(|round| Some((round.number, round.figure(name)?)));
    values.collect()
}

/// The median of those.
#[must_use]
pub fn median_of(rounds: &[Round], group: &str, name: &str) -> Option<f64> {
    let values = values(rounds, group, name).into_iter();
    median(&values.map(|(_, value)| value).collect::<Vec<f64>>())
}

/// A string as it is, nothing for null, anything else as JSON.
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_result_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.json");
        for (text, told) in [
            ("not json", "no JSON"),
            ("{}", "\"tool\""),
            ("[1]", "\"tool\""),
            (
                r#"{"tool": "ambidex-bench", "schema": 9, "kind": "net"}"#,
                "schema 9",
            ),
            (r#"{"tool": "ambidex-bench", "schema": 1}"#, "\"kind\""),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(
                error.contains("other.json: ") && error.contains(told),
                "{error}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("other.json: ")
        );
    }

    #[test]
    fn a_command_is_written_so_that_a_shell_reads_it_alike() {
        let mut results = samples::http(&[100.0], None);
        results.value["command"] = serde_json::json!(["b", "http", "http://h/?a&b", "it's", ""]);
        assert_eq!(results.command(), r"b http 'http://h/?a&b' 'it'\''s' ''");
    }

    #[test]
    fn rounds_that_do_not_count_are_in_no_median() {
        let results = samples::http(&[100.0, 300.0, 5.0], Some("interrupted after 0.1 s"));
        let rounds = results.rounds();
        assert_eq!(rounds.len(), 3);
        assert_eq!(groups(&rounds), ["http"]);
        assert_eq!(median_of(&rounds, "http", "requests/s"), Some(200.0));
    }
}
