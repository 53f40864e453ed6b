//! Settings by flag, environment variable and file. What a file says becomes the defaults of the flags, so that the same
//! parsers read it, and everything else wins over it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgAction, Command, Parser, builder::Resettable, error::ErrorKind};
use serde_json::Value;

/// The namespace of the pod that this runs in, or the one that the product is usually installed in.
pub fn own_namespace() -> String {
    const OF_THE_POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
    let of_the_pod = std::fs::read_to_string(OF_THE_POD).map(|name| name.trim().to_owned());
    of_the_pod.unwrap_or_else(|_| "vdiwarden-system".to_owned())
}

/// Those of this process. What is wrong with them ends it, and is said, as clap does it.
pub fn load<S: Parser>() -> S {
    parse(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
}

/// Reads them from everywhere. The flag `--config` has to be one of them, and names the file.
pub fn parse<S: Parser>(arguments: Vec<OsString>) -> Result<S, clap::Error> {
    let mut command = S::command();
    // At first only to learn which file. What is wrong with the rest is said below.
    let first = command.clone().ignore_errors(true).try_get_matches_from(&arguments)?;
    if let Some(path) = first.get_one::<PathBuf>("config") {
        command = with_defaults_of(path, command)?;
    }
    S::from_arg_matches(&command.try_get_matches_from(&arguments)?)
}

/// The command with the file's values as defaults. All of them are checked, also those that something else wins over.
fn with_defaults_of(path: &Path, mut command: Command) -> Result<Command, clap::Error> {
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

/// As Markdown, one row a setting.
pub fn table(command: &Command) -> String {
    let mut table = "| flag | environment | default | |\n|---|---|---|---|\n".to_owned();
    for argument in command.get_arguments() {
        let (Some(flag), Some(variable), Some(help)) = (argument.get_long(), argument.get_env(), argument.get_help())
        else {
            continue;
        };
        let default = argument.get_default_values().first();
        let default = default.map_or_else(String::new, |value| format!("`{}`", value.to_string_lossy()));
        table += &format!("| `--{flag}` | `{}` | {default} | {help} |\n", variable.to_string_lossy());
    }
    table
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
