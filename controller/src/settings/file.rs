//! The settings in a file. They become the defaults of the flags, so that the same parsers read them, and everything else
//! wins over them.

use std::{collections::BTreeMap, path::Path};

use clap::{ArgAction, Command, builder::Resettable, error::ErrorKind};
use serde_json::Value;

/// The command with the file's values as defaults. All of them are checked, also those that something else wins over.
pub fn with_defaults_of(path: &Path, mut command: Command) -> Result<Command, clap::Error> {
    let wrong = |command: &mut Command, problem: String| {
        command.error(ErrorKind::InvalidValue, format!("{}: {problem}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&mut command, error.to_string()))?;
    let values: Option<BTreeMap<String, Value>> =
        serde_saphyr::from_str(&text).map_err(|error| wrong(&mut command, error.to_string()))?;
    for (key, value) in values.unwrap_or_default() {
        let Some(id) = setting(&command, &key) else {
            let problem = unknown(&command, &key);
            return Err(wrong(&mut command, problem));
        };
        let texts = texts(&command, &id, &value).map_err(|problem| wrong(&mut command, format!("{key}: {problem}")))?;
        for text in &texts {
            check(&command, &key, text).map_err(|problem| wrong(&mut command, format!("{key}: {problem}")))?;
        }
        command = command.mut_arg(id, |argument| argument.default_values(texts));
    }
    Ok(command)
}

fn names(command: &Command) -> impl Iterator<Item = (&str, &str)> {
    let named = command.get_arguments().filter_map(|argument| Some((argument.get_long()?, argument.get_id().as_str())));
    named.filter(|(name, _)| !matches!(*name, "config" | "help" | "version"))
}

fn setting(command: &Command, key: &str) -> Option<String> {
    names(command).find(|(name, _)| *name == key).map(|(_, id)| id.to_owned())
}

/// A value as it would be written behind a flag; several where the flag may be given several times.
fn texts(command: &Command, id: &str, value: &Value) -> Result<Vec<String>, String> {
    let many = command
        .get_arguments()
        .any(|argument| argument.get_id() == id && matches!(argument.get_action(), ArgAction::Append));
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        Value::Array(values) if many => {
            let texts = values.iter().map(|value| texts(command, id, value));
            Ok(texts.collect::<Result<Vec<_>, _>>()?.concat())
        }
        _ if many => Err(format!("a value or a list of values is expected, not {value}")),
        _ => Err(format!("one value is expected, not {value}")),
    }
}

fn unknown(command: &Command, key: &str) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(name, key);
    let nearest = names(command).map(|(name, _)| name).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest.filter(|name| likeness(name) > 0.7) {
        Some(name) => format!("there is no setting {key:?}; is it {name:?}?"),
        None => format!("there is no setting {key:?}; see --help"),
    }
}

/// As if it were a flag, with nothing else set.
fn check(command: &Command, key: &str, value: &str) -> Result<(), String> {
    let alone = command.clone().mut_args(|argument| argument.env(Resettable::Reset));
    let flag = format!("--{key}={value}");
    let Err(error) = alone.try_get_matches_from(["", &flag]) else { return Ok(()) };
    let message = error.render().to_string();
    Err(message.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
}
