//! What is said about a command line that makes no sense.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ErrorKind};

use crate::{Cli, EXIT_USAGE};

const TRY_HELP: &str = "try 'ambidex serve --help'";

const PREFIX: &str = "AMBIDEX_";

/// From here on a name is taken for a mistyped one (`strsim::jaro`).
const LIKENESS_MIN: f64 = 0.8;

/// Variables that no option has.
const OTHER_VARIABLES: [&str; 1] = ["AMBIDEX_DISK"];

/// Help as it is; a mistake in one line.
pub(crate) fn tell(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    if text.contains("Usage:") && !text.starts_with("error:") {
        // No subcommand at all: show what there is.
        eprint!("{text}");
        return ExitCode::from(EXIT_USAGE);
    }
    let first = text.lines().next().unwrap_or("bad usage");
    let first = first.trim_start_matches("error: ").trim_end_matches(':');
    let missing = text.lines().skip(1);
    let missing = missing.take_while(|line| line.starts_with("  "));
    let missing: String = missing.map(|line| format!(" {}", line.trim())).collect();
    eprintln!("ambidex: {first}{missing}; {}", advice(error, &text));
    ExitCode::from(EXIT_USAGE)
}

fn advice(error: &clap::Error, text: &str) -> String {
    let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand);
            if Path::new(&word).is_dir() {
                return format!("to serve that directory: 'ambidex serve {word}'");
            }
        }
        ErrorKind::UnknownArgument => {
            let word = context(ContextKind::InvalidArg);
            if let Some(option) = option_before(&word) {
                return format!("its value is written {option}={word}");
            }
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let argument = context(ContextKind::InvalidArg);
            if let Some(variable) = variable_of(&argument) {
                return format!("it stands in the environment, as {variable}");
            }
        }
        _ => {}
    }
    let tip = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("tip: "));
    tip.unwrap_or(TRY_HELP).to_owned()
}

/// The option before `word` that would have taken it as its value after `=`.
fn option_before(word: &str) -> Option<String> {
    let arguments = arguments();
    let at = arguments.iter().position(|argument| argument == word)?;
    let before = arguments.get(at.checked_sub(1)?)?;
    let long = before.strip_prefix("--")?;
    let command = Cli::command();
    let mut options = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments);
    let option = options.find(|option| {
        let aliases = option.get_visible_aliases().unwrap_or_default();
        option.get_long() == Some(long) || aliases.contains(&long)
    })?;
    let values = option.get_num_args()?;
    (values.min_values() == 0 && values.takes_values()).then(|| before.clone())
}

/// The command line, whatever its bytes.
fn arguments() -> Vec<String> {
    let arguments = env::args_os();
    arguments
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect()
}

/// The variable that `argument` (`--port <PORT>`) was taken from, if it was not on the command line.
fn variable_of(argument: &str) -> Option<String> {
    let option = argument.split([' ', '[']).next()?;
    let variable = variable_for(option.strip_prefix("--")?);
    let is_given = |word: String| word == option || word.starts_with(&format!("{option}="));
    let known = env::var_os(&variable).is_some() && !arguments().into_iter().any(is_given);
    known.then_some(variable)
}

fn variable_for(option: &str) -> String {
    format!("{PREFIX}{}", option.replace('-', "_").to_uppercase())
}

/// A line for each variable that is not read and looks like one that is.
pub(crate) fn misspelt_variables() -> Vec<String> {
    let command = Cli::command();
    let options = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments);
    let known: Vec<String> = options
        .filter_map(|option| option.get_env())
        .map(|name| name.to_string_lossy().into_owned())
        .chain(OTHER_VARIABLES.map(str::to_owned))
        .collect();
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let ours = names.filter(|name| name.starts_with(PREFIX) && !known.contains(name));
    let line = |name: String| {
        let likeness =
            |known: &&String| strsim::jaro(&name[PREFIX.len()..], &known[PREFIX.len()..]);
        let meant = known
            .iter()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
        let alike = likeness(&meant) >= LIKENESS_MIN;
        alike.then(|| format!("{name} in the environment is not read; did you mean {meant}?"))
    };
    ours.filter_map(line).collect()
}
